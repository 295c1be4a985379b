from __future__ import annotations

import pytest

from vpcore.dataset import verify_files
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
