from __future__ import annotations

import numpy as np
import pyarrow.parquet as pq
import pytest

from vpcore.dataset import verify_files
from vpcore.dataset.verify import column_digests, compare_datasets
from vpcore.errors import DatasetError


def test_untouched(dataset):
    report = verify_files(dataset.path)
    assert report.ok
    assert [check.name for check in report.files] == ["bins.parquet", "grid_clean.parquet", "manifest.json"]


@pytest.mark.parametrize("name", ["bins.parquet", "grid_clean.parquet", "manifest.json"])
def test_one_bit_changed_by_hand(dataset, name):
    path = dataset.path / name
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.chmod(0o644)
    path.write_bytes(data)
    report = verify_files(dataset.path)
    assert not report.ok
    assert [check.name for check in report.files if check.status == "changed"] == [name]


def test_missing_and_unexpected_files(dataset):
    (dataset.path / "bins.parquet").unlink()
    (dataset.path / "notes.txt").write_text("x")
    report = verify_files(dataset.path)
    assert {check.name: check.status for check in report.files} == {
        "bins.parquet": "missing",
        "grid_clean.parquet": "ok",
        "manifest.json": "ok",
        "notes.txt": "unexpected",
    }


def test_no_dataset(tmp_path):
    with pytest.raises(DatasetError, match="There is no dataset 'none'"):
        verify_files(tmp_path / "none")
    with pytest.raises(DatasetError, match=r"is not complete: .*checksums.json is missing"):
        verify_files(tmp_path)


def test_values_compare_across_ways_of_writing(dataset, storage, registry, write, make_block, tmp_path):
    other = tmp_path / "ES_x"
    other.mkdir()
    for name in ("bins.parquet", "grid_clean.parquet"):
        pq.write_table(pq.read_table(dataset.path / name), other / name, compression="snappy", row_group_size=150)
    assert column_digests(other) == column_digests(dataset.path)
    assert compare_datasets(dataset.path, other, same_libraries=False).equal
    by_bytes = compare_datasets(dataset.path, other, same_libraries=True)
    assert by_bytes.different == ("bins.parquet", "grid_clean.parquet")

    changed = make_block(100)
    changed.grid["vacuum"][50, 2] = np.nextafter(changed.grid["vacuum"][50, 2], np.float32(9))
    write(storage, changed, "ES_z")
    found = compare_datasets(dataset.path, registry.path("ES_z"), same_libraries=False)
    assert found.different == ("grid_clean.parquet:vacuum",)
    assert compare_datasets(dataset.path, dataset.path, same_libraries=True).equal
