"""A dataset generated again."""

from __future__ import annotations

import json

import numpy as np
import pyarrow.parquet as pq
import pytest

from vpcore.api import generate
from vpcore.canonical import file_digest
from vpcore.errors import DatasetError
from vpcore_cli.rebuild import column_digests, compare_datasets, rebuild


def test_same_bytes_after_a_rebuild_and_anew(workspace, put_tape, put_pipeline):
    put_tape()
    dataset = generate(workspace, put_pipeline())
    first = {path.name: path.read_bytes() for path in dataset.path.iterdir()}
    comparison = rebuild(workspace, dataset.dataset_id)
    assert comparison.equal
    assert comparison.by == "bytes"
    for path in dataset.path.iterdir():
        path.unlink()
    dataset.path.rmdir()
    again = generate(workspace, "p")
    assert {path.name: path.read_bytes() for path in again.path.iterdir()} == first
    assert not list((workspace.lake / "research" / "vp_rebuild").iterdir())


def test_rebuild_compares_values_when_libraries_differ(workspace, put_tape, put_pipeline):
    put_tape()
    dataset = generate(workspace, put_pipeline())
    path = dataset.path / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["packages"]["pyarrow"] = "1.0"
    path.chmod(0o644)
    path.write_text(json.dumps(manifest))
    seals = dataset.path / "checksums.json"
    seals.chmod(0o644)
    seals.write_text(json.dumps({**json.loads(seals.read_text()), "manifest.json": file_digest(path)}))
    comparison = rebuild(workspace, dataset.dataset_id)
    assert comparison.equal
    assert comparison.by == "values"


def test_rebuild_needs_the_same_source(workspace, put_tape, put_pipeline):
    put_tape()
    dataset = generate(workspace, put_pipeline())
    put_tape(seed=3)
    with pytest.raises(DatasetError, match=r"was made from another a.npy"):
        rebuild(workspace, dataset.dataset_id)


def test_values_compare_across_ways_of_writing(workspace, put_tape, put_pipeline, tmp_path):
    put_tape()
    path = generate(workspace, put_pipeline()).path
    other, changed = tmp_path / "other", tmp_path / "changed"
    for name in ("bins.parquet", "grid_clean.parquet"):
        table = pq.read_table(path / name)
        for folder in (other, changed):
            folder.mkdir(exist_ok=True)
            pq.write_table(table, folder / name, compression="snappy", row_group_size=15)
    assert column_digests(other) == column_digests(path)
    assert compare_datasets(path, other, same_libraries=False).equal
    by_bytes = compare_datasets(path, other, same_libraries=True)
    assert by_bytes.different == ("bins.parquet", "grid_clean.parquet")

    values = table["vacuum"].to_numpy().copy()
    values[50] = np.nextafter(values[50], np.float32(9))
    place = table.column_names.index("vacuum")
    pq.write_table(table.set_column(place, table.field(place), [values]), changed / "grid_clean.parquet")
    found = compare_datasets(path, changed, same_libraries=False)
    assert found.different == ("grid_clean.parquet:vacuum",)
    assert compare_datasets(path, path, same_libraries=True).equal
