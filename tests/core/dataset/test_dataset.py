from __future__ import annotations

import json
import pickle
import shutil

import numpy as np
import polars as pl
import pytest

from vpcore.canonical import file_digest
from vpcore.dataset import Dataset
from vpcore.errors import DatasetError
from vpcore.schema import BIN_COLUMNS, GRID_SUMS, GRID_VALUES


def in_memory(block, **more):
    return Dataset.from_arrays(
        block.bins, block.grid, dataset_id="m", cell_width_ns=100_000_000, tick_int=250_000_000, symbol="ESH4", **more
    )


@pytest.fixture(params=["file", "memory", "cache"])
def any_dataset(request, dataset, block, tmp_path):
    if request.param == "memory":
        return in_memory(block)
    if request.param == "cache":
        return Dataset.open(dataset.path, cache_dir=tmp_path / "cache")
    return dataset


def test_shape_and_names(any_dataset):
    assert (any_dataset.n_bins, any_dataset.n_cells, any_dataset.radius) == (100, 7, 3)
    assert (any_dataset.cell_width_ns, any_dataset.tick_int, any_dataset.symbol) == (100_000_000, 250_000_000, "ESH4")
    np.testing.assert_array_equal(any_dataset.k, [-3, -2, -1, 0, 1, 2, 3])
    assert any_dataset.k.dtype == np.int16
    assert any_dataset.grid_columns == (*GRID_VALUES, *GRID_SUMS)
    assert set(any_dataset.columns) == {*BIN_COLUMNS, *GRID_VALUES, *GRID_SUMS}
    assert any_dataset.valid.dtype == bool


def test_every_array_is_read_only_and_kept(any_dataset):
    for array in (
        any_dataset.grid("v_add"),
        any_dataset.grid("rest_depth"),
        any_dataset.bin("mid_price"),
        any_dataset.k,
    ):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1
    assert any_dataset.grid("v_add") is any_dataset.grid("v_add")
    assert any_dataset.grid("rest_depth") is any_dataset.grid("rest_depth")


def test_sums_are_float64_of_the_rounded_values(any_dataset, block):
    for name, (one, other) in GRID_SUMS.items():
        expected = block.grid[one].astype(np.float64) + block.grid[other].astype(np.float64)
        assert any_dataset.grid(name).dtype == np.float64
        np.testing.assert_array_equal(any_dataset.grid(name), expected)


def test_slices_are_views(any_dataset, block):
    part = any_dataset.slice(20, 70).slice(10, 30)
    assert part.n_bins == 20
    assert part.dataset_id == any_dataset.dataset_id + "[30:50]"
    np.testing.assert_array_equal(part.bin("bin_seq"), np.arange(30, 50))
    np.testing.assert_array_equal(part.grid("composite"), block.grid["composite"][30:50])
    assert np.shares_memory(part.grid("composite"), any_dataset.grid("composite"))
    assert not part.grid("composite").flags.writeable
    assert any_dataset.slice(0, 100).dataset_id == any_dataset.dataset_id
    assert any_dataset.slice(5, 5).grid("v_add").shape == (0, 7)
    with pytest.raises(DatasetError, match="must lie within its bins 0 to 20, was 3 to 21"):
        part.slice(3, 21)
    np.testing.assert_array_equal(part.until(5).bin("bin_seq"), np.arange(30, 35))
    assert part.until(5).dataset_id == any_dataset.dataset_id + "[30:35]"


def test_overlays(any_dataset):
    score = np.random.default_rng(1).normal(size=(100, 7))
    with_score = any_dataset.with_grid({"flow_score": score, "flow_state_code": np.sign(score)})
    assert "flow_score" not in any_dataset.grid_columns
    np.testing.assert_array_equal(with_score.grid("flow_score"), score)
    assert with_score.grid("flow_state_code").dtype == np.int8
    assert with_score.grid("v_add") is any_dataset.grid("v_add")
    np.testing.assert_array_equal(with_score.slice(4, 9).grid("flow_score"), score[4:9])
    with pytest.raises(
        DatasetError, match=r"'flow_score' must have the shape \(5, 7\) \(bins, cells\), had \(100, 7\)"
    ):
        any_dataset.slice(0, 5).with_grid({"flow_score": score})


@pytest.mark.parametrize(
    ("kind", "name", "message"),
    [
        ("grid", "v_ad", "has no grid column 'v_ad'. Did you mean 'v_add'"),
        ("grid", "mid_price", "has no grid column 'mid_price'. It is a bin column"),
        ("bin", "v_add", "has no bin column 'v_add'. It is a grid column"),
        ("grid", "flow_score", "It comes from the scorer: attach it with with_grid"),
        ("bin", "mid_prise", "Did you mean 'mid_price'"),
    ],
)
def test_unknown_columns(any_dataset, kind, name, message):
    with pytest.raises(DatasetError, match=message):
        getattr(any_dataset, kind)(name)


def test_a_column_that_was_not_generated(storage, registry, write, make_block):
    write(storage, make_block(20, ("v_add", "bid_depth")))
    dataset = registry.open("ES_x")
    for name in ("vacuum", "rest_depth"):
        with pytest.raises(
            DatasetError, match=r"was generated without it: see pipeline.columns. It has: bid_depth, v_add"
        ):
            dataset.grid(name)


def test_frames(any_dataset, block):
    score = np.random.default_rng(1).normal(size=(100, 7))
    for dataset in (any_dataset, any_dataset.with_grid({"flow_score": score})):
        for start, stop in ((0, 100), (10, 33)):
            part = dataset.slice(start, stop)
            grid = part.grid_frame()
            assert isinstance(grid, pl.LazyFrame)
            frame = grid.collect()
            assert set(frame.columns) == {"bin_seq", "k", "book_valid", *dataset.grid_columns}
            np.testing.assert_array_equal(frame["bin_seq"], np.repeat(np.arange(start, stop), 7))
            np.testing.assert_array_equal(frame["k"], np.tile(np.arange(-3, 4), stop - start))
            assert frame.schema["k"] == pl.Int16
            assert frame.schema["v_add"] == pl.Float32
            np.testing.assert_array_equal(frame["v_add"], block.grid["v_add"][start:stop].ravel())
            np.testing.assert_array_equal(frame["a_rest_depth"], part.grid("a_rest_depth").ravel())
            bins = part.bins_frame().collect()
            assert bins.columns == list(BIN_COLUMNS)
            np.testing.assert_array_equal(bins["mid_price"], block.bins["mid_price"][start:stop])
            assert [str(np.dtype(kind)) for kind in BIN_COLUMNS.values()] == [
                str(bins[name].to_numpy().dtype) for name in BIN_COLUMNS
            ]


def test_pickles_without_its_columns(dataset, block):
    dataset.grid("v_add")
    dataset.bin("mid_price")
    data = pickle.dumps(dataset)
    assert len(data) < 10_000
    again = pickle.loads(data)
    np.testing.assert_array_equal(again.slice(3, 5).grid("v_add"), block.grid["v_add"][3:5])


def test_from_arrays_refuses(block):
    ok = {"dataset_id": "m", "cell_width_ns": 1, "tick_int": 1}
    with pytest.raises(DatasetError, match=r"No bin column is called 'bin_sek'. Did you mean 'bin_seq'"):
        Dataset.from_arrays({"bin_sek": np.arange(3)}, block.grid, **ok)
    with pytest.raises(DatasetError, match="'m' needs the bin column 'book_valid'"):
        Dataset.from_arrays({"bin_seq": np.arange(3)}, block.grid, **ok)
    with pytest.raises(DatasetError, match="needs at least one grid column"):
        Dataset.from_arrays(block.bins, {}, **ok)
    with pytest.raises(DatasetError, match="must have an odd number of cells, 2 R \\+ 1, had 6"):
        Dataset.from_arrays(block.bins, {"v_add": np.zeros((100, 6))}, **ok)
    with pytest.raises(DatasetError, match=r"'v_add' must have the shape \(100, 7\) \(bins, cells\), had \(99, 7\)"):
        Dataset.from_arrays(block.bins, {"v_add": np.zeros((99, 7))}, **ok)
    with pytest.raises(DatasetError, match=r"Bin column 'mid_price' must have the shape \(100,\), had \(99,\)"):
        Dataset.from_arrays(block.bins | {"mid_price": np.zeros(99)}, block.grid, **ok)


def test_from_arrays_with_few_columns():
    dataset = Dataset.from_arrays(
        {"bin_seq": np.arange(4), "book_valid": np.ones(4)},
        {"v_add": np.ones((4, 5)), "flow_score": np.ones((4, 5))},
        dataset_id="m",
        cell_width_ns=1,
        tick_int=1,
    )
    assert dataset.bin_columns == ("bin_seq", "book_valid")
    assert dataset.grid("v_add").dtype == np.float32
    assert dataset.grid("flow_score").dtype == np.float64
    assert dataset.valid.dtype == bool
    assert dataset.grid_frame().collect().shape == (20, 5)
    with pytest.raises(DatasetError, match="has no bin column 'mid_price'"):
        dataset.bin("mid_price")


# -- what is wrong with files ------------------------------------------------------------------------------------------


def rewrite(path, change):
    value = json.loads(path.read_text())
    change(value)
    path.chmod(0o644)
    path.write_text(json.dumps(value))


def test_no_dataset_there(tmp_path):
    with pytest.raises(DatasetError, match=r"There is no dataset in .*: it has no manifest.json"):
        Dataset.open(tmp_path)


def test_another_format_version(dataset):
    rewrite(dataset.path / "manifest.json", lambda value: value.update(format_version=99))
    with pytest.raises(DatasetError, match="'ES_x' has format version 99; this vpcore reads version 1"):
        Dataset.open(dataset.path)


def test_a_renamed_folder(dataset):
    moved = dataset.path.rename(dataset.path.parent / "other")
    with pytest.raises(DatasetError, match="The folder 'other' holds the dataset 'ES_x'"):
        Dataset.open(moved)


def test_a_damaged_manifest(dataset):
    rewrite(dataset.path / "manifest.json", lambda value: value["shape"].pop("n_cells"))
    with pytest.raises(DatasetError, match=r"lacks shape.n_cells"):
        Dataset.open(dataset.path)
    (dataset.path / "manifest.json").write_text("{")
    with pytest.raises(DatasetError, match=r"manifest.json is not a JSON file"):
        Dataset.open(dataset.path)


def test_files_of_another_dataset(dataset, storage, registry, write, make_block):
    write(storage, make_block(100, seed=3), "ES_y")
    target = dataset.path / "grid_clean.parquet"
    target.unlink()
    shutil.copy(registry.path("ES_y") / "grid_clean.parquet", target)
    with pytest.raises(
        DatasetError, match=r"grid_clean.parquet was changed since it was written: its checksum is another"
    ):
        registry.open("ES_x").grid("v_add")


def test_a_cut_file(dataset, registry):
    path = dataset.path / "grid_clean.parquet"
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(DatasetError, match=r"its checksum is another\. .* See: vp verify ES_x"):
        registry.open("ES_x").grid("v_add")


def test_a_missing_file(dataset, registry):
    (dataset.path / "bins.parquet").unlink()
    with pytest.raises(DatasetError, match=r"'ES_x' is not complete: .*bins.parquet is missing"):
        _ = registry.open("ES_x").valid


def test_another_number_of_rows(dataset, registry):
    rewrite(dataset.path / "manifest.json", lambda value: value["shape"].update(n_bins=99))
    seal = file_digest(dataset.path / "manifest.json")
    rewrite(dataset.path / "checksums.json", lambda value: value.update({"manifest.json": seal}))
    with pytest.raises(DatasetError, match="has 700 rows where its manifest requires 693"):
        registry.open("ES_x").grid("v_add")


# -- the registry ------------------------------------------------------------------------------------------------------


def test_registry(storage, registry, write, make_block):
    assert registry.ids() == []
    with pytest.raises(
        DatasetError, match=r"No dataset is called 'ES_x'. The lake has no dataset yet. Make one: vp generate"
    ):
        registry.open("ES_x")
    write(storage, make_block(30), "ES_b")
    write(storage, make_block(40), "ES_a")
    (storage.root / "research/vp_immutable/.tmp-x").mkdir()
    (storage.root / "research/vp_immutable/foreign").mkdir()
    assert registry.ids() == ["ES_a", "ES_b"]
    assert registry.exists("ES_a")
    assert not registry.exists("foreign")
    info = registry.info("ES_a")
    assert (info.n_bins, info.symbol) == (40, "ESH4")
    assert info.valid_bins == 37
    assert info.valid_share == 37 / 40
    assert info.size_bytes == sum(path.stat().st_size for path in registry.path("ES_a").iterdir())
    assert info.created.utcoffset() is not None
    assert info.last_ns - info.first_ns == 40 * 100_000_000
    with pytest.raises(DatasetError, match=r"No dataset is called 'ES_c'. Did you mean 'ES_"):
        registry.manifest("ES_c")


def test_cold_start_and_sources(storage, registry, write, block):
    sources = [{"path": "a.dbn", "sha256": "ab", "size": 3}, {"path": "b.dbn", "sha256": "cd", "size": 4}]
    write(storage, block, manifest={"cold_start": True, "sources": sources})
    dataset = registry.open("ES_x")
    assert dataset.cold_start
    assert dataset.source_digests == ("ab", "cd")
