from __future__ import annotations

import logging
import shutil
import subprocess
import sys

import numpy as np
import pytest

from vpcore.dataset import ColumnCache, Dataset, cache as cache_module
from vpcore.errors import StorageError


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "cache"


def opened(dataset, folder):
    return Dataset.open(dataset.path, cache_dir=folder)


def cached_files(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_columns_are_mapped_from_the_cache(dataset, block, folder, monkeypatch):
    one = opened(dataset, folder)
    np.testing.assert_array_equal(one.grid("v_add"), block.grid["v_add"])
    np.testing.assert_array_equal(one.grid("rest_depth"), dataset.grid("rest_depth"))
    files = cached_files(folder)
    assert [name.split(".")[0] for name in files] == [
        "ES_x/ask_depth",
        "ES_x/bid_depth",
        "ES_x/rest_depth",
        "ES_x/v_add",
    ]
    shutil.move(dataset.path / "grid_clean.parquet", dataset.path.parent / "away")
    again = opened(dataset, folder)
    assert isinstance(again.grid("v_add").base, np.memmap)
    np.testing.assert_array_equal(again.grid("v_add"), block.grid["v_add"])
    assert cached_files(folder) == files


def test_a_damaged_file_is_made_again(dataset, block, folder):
    opened(dataset, folder).grid("v_add")
    (path,) = (folder / "ES_x").iterdir()
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    np.testing.assert_array_equal(opened(dataset, folder).grid("v_add"), block.grid["v_add"])
    path.write_bytes(data[:200])
    np.testing.assert_array_equal(opened(dataset, folder).grid("v_add"), block.grid["v_add"])
    assert len(cached_files(folder)) == 1


def test_any_flipped_bit_of_a_header_is_damage(tmp_path):
    """numpy reads a header with Python's own parser, which has errors of its own."""
    cache = ColumnCache(tmp_path, "ab" * 32)
    path = cache.put("vectors", np.arange(6.0).reshape(2, 3))
    whole = path.read_bytes()
    for place in range(128):
        for bit in (0, 3, 6):
            data = bytearray(whole)
            data[place] ^= 1 << bit
            path.write_bytes(data)
            assert cache.get("vectors") is None, (place, bit)
    path.write_bytes(whole)
    np.testing.assert_array_equal(cache.get("vectors"), np.arange(6.0).reshape(2, 3))


def test_columns_of_an_earlier_dataset_of_the_same_id_are_not_used(
    dataset, storage, registry, folder, write, make_block
):
    opened(dataset, folder).grid("v_add")
    shutil.rmtree(dataset.path)
    other = make_block(100, seed=8)
    write(storage, other)
    np.testing.assert_array_equal(opened(registry.open("ES_x"), folder).grid("v_add"), other.grid["v_add"])


def test_deleting_it_while_in_use_is_harmless(dataset, block, folder):
    one = opened(dataset, folder)
    array = one.grid("v_add")
    shutil.rmtree(folder)
    np.testing.assert_array_equal(array, block.grid["v_add"])
    np.testing.assert_array_equal(one.grid("vacuum"), block.grid["vacuum"])


def test_a_cache_that_cannot_be_written_costs_no_result(dataset, block, folder, monkeypatch, caplog):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cache_module, "write_atomic", full)
    with caplog.at_level(logging.WARNING):
        np.testing.assert_array_equal(opened(dataset, folder).grid("v_add"), block.grid["v_add"])
    assert "The disk is full: could not write the column 'v_add' to the cache" in caplog.text
    with pytest.raises(StorageError, match="to the cache"):
        ColumnCache(folder, "tag").put("x", np.zeros(3))


def test_any_array_can_be_kept(folder):
    cache = ColumnCache(folder, "0123456789abcdef0123")
    values = np.random.default_rng(0).normal(size=(5, 3))
    assert cache.get("flow_score") is None
    cache.put("flow_score", values)
    found = cache.get("flow_score")
    np.testing.assert_array_equal(found, values)
    assert not found.flags.writeable
    assert ColumnCache(folder, "other").get("flow_score") is None


@pytest.mark.slow
def test_two_processes_share_one_file(dataset, folder):
    code = (
        "import sys; from vpcore.dataset import Dataset\n"
        "print(Dataset.open(sys.argv[1], cache_dir=sys.argv[2]).grid('v_add').sum())"
    )
    command = [sys.executable, "-c", code, str(dataset.path), str(folder)]
    runs = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    answers = {run.communicate()[0] for run in runs}
    assert len(answers) == 1
    assert [run.returncode for run in runs] == [0, 0]
    assert len(cached_files(folder)) == 1
