from __future__ import annotations

import errno
import os
import re
import subprocess
import sys
import textwrap
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings, strategies as st

from vpcore.dataset import DatasetWriter, verify_files, writer
from vpcore.engine import FrameBlock
from vpcore.errors import DatasetError, StorageError
from vpcore.schema import BIN_COLUMNS, GRID_KEYS, GRID_VALUES
from vpcore.storage import LocalStorage

FORM = {"n_cells": 7, "cell_width_ns": 100_000_000, "tick_int": 250_000_000}


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def folder_of(storage: LocalStorage) -> Path:
    return storage.root / "research" / "vp_immutable"


def test_what_is_written_is_read_back(dataset, block):
    for name, kind in BIN_COLUMNS.items():
        array = dataset.bin(name)
        assert array.dtype == kind
        np.testing.assert_array_equal(array, block.bins[name])
    for name in GRID_VALUES:
        array = dataset.grid(name)
        assert array.dtype == np.float32
        assert array.flags.c_contiguous
        np.testing.assert_array_equal(array, block.grid[name])
    assert dataset.manifest["rows"] == {"bins.parquet": 100, "grid_clean.parquet": 700}
    assert dataset.manifest["valid_bins"] == int(block.bins["book_valid"].sum())
    assert (dataset.manifest["first_ns"], dataset.manifest["last_ns"]) == (
        block.bins["bin_start_ns"][0],
        block.bins["bin_end_ns"][-1],
    )


def test_files_as_the_format_describes_them(storage, write, make_block, monkeypatch):
    monkeypatch.setattr(writer, "GROUP_ROWS", 7 * 32 + 3)
    monkeypatch.setattr(writer, "_BINS_GROUP", 40)
    write(storage, make_block(100))
    path = folder_of(storage) / "ES_x"
    assert sorted(files(path)) == ["bins.parquet", "checksums.json", "grid_clean.parquet", "manifest.json"]
    with pq.ParquetFile(path / "grid_clean.parquet") as grid:
        assert grid.schema_arrow.names == [*GRID_KEYS, *GRID_VALUES]
        assert [str(kind) for kind in grid.schema_arrow.types[:4]] == ["int64", "int16", "bool", "float"]
        meta = grid.metadata
        assert meta.metadata[b"vpcore.dataset_id"] == b"ES_x"
        assert meta.metadata[b"vpcore.format_version"] == b"1"
        assert [meta.row_group(i).num_rows for i in range(meta.num_row_groups)] == [224, 224, 224, 28]
        column = meta.row_group(0).column(3)
        assert column.compression == "ZSTD"
        assert "BYTE_STREAM_SPLIT" in column.encodings
        table = grid.read()
        np.testing.assert_array_equal(table["bin_seq"].to_numpy(), np.repeat(np.arange(100), 7))
        np.testing.assert_array_equal(table["k"].to_numpy(), np.tile(np.arange(-3, 4), 100))
        np.testing.assert_array_equal(table["book_valid"].to_numpy(), np.repeat(np.arange(100) % 17 != 3, 7))
    with pq.ParquetFile(path / "bins.parquet") as bins:
        assert bins.schema_arrow.names == list(BIN_COLUMNS)
        assert [bins.metadata.row_group(i).num_rows for i in range(bins.metadata.num_row_groups)] == [40, 40, 20]
        assert bins.metadata.metadata[b"vpcore.dataset_id"] == b"ES_x"


@pytest.mark.slow
@settings(max_examples=30)
@given(cuts=st.lists(st.integers(0, 100), max_size=8).map(sorted))
def test_bytes_do_not_depend_on_how_bins_arrive(cuts, tmp_path_factory, make_block, write):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(writer, "GROUP_ROWS", 7 * 24)
        patch.setattr(writer, "_BINS_GROUP", 20)
        lakes = [LocalStorage(tmp_path_factory.mktemp("lake")) for _ in range(2)]
        write(lakes[0], make_block(100))
        write(lakes[1], make_block(100), cuts=tuple(cuts))
    one, other = (files(folder_of(lake) / "ES_x") for lake in lakes)
    assert one == other


def test_same_input_same_bytes_in_every_file(tmp_path, write, make_block):
    for name in "ab":
        write(LocalStorage(tmp_path / name), make_block(300), cuts=(100,) if name == "a" else (7, 200))
    one, other = (files(folder_of(LocalStorage(tmp_path / name)) / "ES_x") for name in "ab")
    assert one == other


def test_fewer_columns(storage, registry, write, make_block):
    write(storage, make_block(20, ("v_add", "pressure")))
    dataset = registry.open("ES_x")
    assert dataset.grid_columns == ("v_add", "pressure")
    assert dataset.manifest["shape"]["grid_columns"] == ["v_add", "pressure"]


def test_the_caller_may_reuse_its_arrays(storage, registry, make_block, part):
    block = make_block(100)
    with DatasetWriter(storage, "ES_x", **FORM) as out:
        buffer = part(make_block(50, seed=9), 0, 50)
        for start in (0, 50):
            for columns, source in ((buffer.bins, block.bins), (buffer.grid, block.grid)):
                for name in columns:
                    columns[name][:] = source[name][start : start + 50]
            out.append(buffer)
        out.commit({})
    np.testing.assert_array_equal(registry.open("ES_x").grid("vacuum"), block.grid["vacuum"])


def test_a_second_writer_of_the_same_id_loses_and_changes_nothing(storage, write, make_block):
    assert write(storage, make_block(100))
    before = files(folder_of(storage) / "ES_x")
    assert not write(storage, make_block(100, seed=5))
    assert files(folder_of(storage) / "ES_x") == before
    assert [path.name for path in folder_of(storage).iterdir()] == ["ES_x"]


def test_many_writers_at_once_one_wins(storage, write, make_block):
    barrier = threading.Barrier(4)

    def run(seed: int) -> bool:
        barrier.wait()
        return write(storage, make_block(60, seed=seed))

    with ThreadPoolExecutor(4) as pool:
        won = list(pool.map(run, range(4)))
    assert sum(won) == 1
    assert verify_files(folder_of(storage) / "ES_x").ok
    assert [path.name for path in folder_of(storage).iterdir()] == ["ES_x"]


def test_bins_must_follow_each_other(storage, make_block, part):
    block = make_block(100)
    with DatasetWriter(storage, "ES_x", **FORM) as out:
        out.append(part(block, 0, 10))
        with pytest.raises(DatasetError, match="bin 10 was due, a block had 11 to 19"):
            out.append(part(block, 11, 20))
    assert list(folder_of(storage).iterdir()) == []


def test_a_block_of_another_form(storage, make_block):
    block = make_block(10)
    with DatasetWriter(storage, "ES_x", **(FORM | {"n_cells": 9})) as out:
        with pytest.raises(DatasetError, match=r"grid column 'add_mass' must have the shape \(10, 9\).*had \(10, 7\)"):
            out.append(block)
        with pytest.raises(DatasetError, match="a block of frames lacks the column 'vacuum'"):
            out.append(FrameBlock(block.bins, {k: v for k, v in block.grid.items() if k != "vacuum"}))


def test_no_bins_is_an_error(storage, make_block):
    out = DatasetWriter(storage, "ES_x", **FORM)
    out.append(make_block(0))
    with pytest.raises(DatasetError, match="'ES_x' has no bins: no record reached the end of its first bin"):
        out.commit({})
    assert list(folder_of(storage).iterdir()) == []


KILLED = """
    import sys, os
    from pathlib import Path
    import numpy as np
    from vpcore.dataset import DatasetWriter, writer
    from vpcore.schema import BIN_COLUMNS, GRID_VALUES
    from vpcore.engine import FrameBlock
    from vpcore.storage import LocalStorage
    writer.GROUP_ROWS = 700
    n = 5000
    out = DatasetWriter(LocalStorage(Path(sys.argv[1])), "ES_x", n_cells=7, cell_width_ns=1, tick_int=1)
    bins = {name: np.ones(n, kind) for name, kind in BIN_COLUMNS.items()}
    bins["bin_seq"] = np.arange(n)
    out.append(FrameBlock(bins, {name: np.random.default_rng(0).random((n, 7), "f4") for name in GRID_VALUES}))
    print(out.path, flush=True)
    sys.stdin.read()
"""


@pytest.mark.slow
def test_killed_half_way_leaves_a_temporary_that_the_next_run_removes(storage, write, block):
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(KILLED), str(storage.root)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout is not None
        left = Path(process.stdout.readline().strip())
        process.kill()
    assert (left / "grid_clean.parquet").stat().st_size > 0
    assert [path.name for path in folder_of(storage).iterdir()] == [left.name]
    assert write(storage, block)
    assert [path.name for path in folder_of(storage).iterdir()] == ["ES_x"]


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="mounting a small tmpfs needs root")
def test_full_disk(tmp_path, make_block, write):
    lake = tmp_path / "lake"
    lake.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "none", str(lake)], capture_output=True)
    if mounted.returncode:
        pytest.skip(f"cannot mount a tmpfs: {mounted.stderr.decode().strip()}")
    try:
        storage = LocalStorage(lake)
        message = r"The disk is full: could not write dataset 'ES_x' \(.*\)\. Free there: 0\.\d MB\. Make room"
        with pytest.raises(StorageError, match=message):
            write(storage, make_block(20_000))
        assert list(folder_of(storage).iterdir()) == []
        assert write(storage, make_block(50))
    finally:
        subprocess.run(["umount", str(lake)], check=True)


@pytest.mark.parametrize("file", ["grid_clean.parquet", "bins.parquet", "manifest.json"])
def test_a_write_that_fails_leaves_nothing(storage, make_block, monkeypatch, file):
    out = DatasetWriter(storage, "ES_x", **FORM)
    out.append(make_block(50))

    def full(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    if file == "grid_clean.parquet":
        monkeypatch.setattr(out._grid_file, "write_table", full)
    elif file == "bins.parquet":
        monkeypatch.setattr(out._bins_file, "write_table", full)
    else:
        monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(StorageError, match="The disk is full: could not write dataset 'ES_x'"):
        out.commit({})
    assert list(folder_of(storage).iterdir()) == []


def test_metadata_holds_no_clock_and_no_host(storage, write, block):
    write(storage, block)
    text = (folder_of(storage) / "ES_x" / "manifest.json").read_text()
    assert not re.search(r"created|host|time", text)
