"""The synthetic session is consistent, and its mirror image exact."""

from __future__ import annotations

import numpy as np
import pytest

from vpcore.errors import ConfigError
from vpcore.schema import BIN_COLUMNS, GRID_VALUES
from vpcore.scoring import CHANNELS, score_arrays
from vpcore.signal.conformance.check import CHECK_SCORING
from vpcore.testing import SessionData, mirrored_dataset, synthetic_dataset


@pytest.fixture(scope="module")
def dataset():
    return synthetic_dataset(1, 800, radius=30)


def test_every_column_is_there_and_finite(dataset):
    for name in BIN_COLUMNS:
        assert dataset.bin(name).dtype == BIN_COLUMNS[name]
    for name in GRID_VALUES:
        assert np.isfinite(dataset.grid(name)).all()
        assert dataset.grid(name).any(), name


def test_same_seed_same_bytes(dataset):
    again, other = synthetic_dataset(1, 800, radius=30), synthetic_dataset(2, 800, radius=30)
    for name in GRID_VALUES:
        assert again.grid(name).tobytes() == dataset.grid(name).tobytes()
        assert other.grid(name).tobytes() != dataset.grid(name).tobytes()


def test_it_holds_what_signals_trip_over(dataset):
    valid = dataset.valid
    assert not valid[0]
    runs = np.diff(np.flatnonzero(np.diff(np.concatenate([[1], valid, [1]]).astype(int))))[::2]
    assert runs.min() == 1
    assert runs.max() >= 3
    assert set(np.unique(dataset.bin("spread_ticks")[valid])) >= {1, 2}
    assert {1, 2, -1, -2} <= set(dataset.bin("state_above")) | set(dataset.bin("state_below"))
    assert (dataset.grid("v_add")[valid] == 0).mean() > 0.1


def test_invalid_bins_are_as_the_engine_leaves_them(dataset):
    invalid = ~dataset.valid
    for name in (
        "best_bid_price_int",
        "best_ask_size",
        "best_bid_move_ticks",
        "state_above",
        "mid2_high",
        "spread_ticks",
    ):
        assert not dataset.bin(name)[invalid].any()
    assert (dataset.bin("microstate_id")[invalid] == 4).all()
    assert not any(dataset.grid(name)[invalid].any() for name in GRID_VALUES)


def test_bin_columns_agree(dataset):
    valid = dataset.valid
    bid, ask = dataset.bin("best_bid_price_int"), dataset.bin("best_ask_price_int")
    assert np.array_equal((ask - bid)[valid], dataset.bin("spread_ticks")[valid] * dataset.tick_int)
    assert np.allclose((bid + ask)[valid] / 2e9, dataset.bin("mid_price")[valid])
    assert np.array_equal(np.diff(bid[valid]) // dataset.tick_int, dataset.bin("best_bid_move_ticks")[valid][1:])
    assert (dataset.bin("bid_high_int") >= bid).all()
    assert (dataset.bin("ask_low_int") <= ask).all()


def test_the_mirror_image(dataset):
    mirror = mirrored_dataset(dataset)
    twice = mirrored_dataset(mirror)
    for name in BIN_COLUMNS:
        if name != "mid_price":
            assert np.array_equal(twice.bin(name), dataset.bin(name)), name
    for name in GRID_VALUES:
        assert np.array_equal(twice.grid(name), dataset.grid(name))
    assert np.array_equal(mirror.grid("v_bid_depth"), dataset.grid("v_ask_depth")[:, ::-1])
    assert np.array_equal(mirror.grid("pressure"), dataset.grid("pressure")[:, ::-1])
    assert np.array_equal(mirror.bin("best_bid_size"), dataset.bin("best_ask_size"))
    assert np.array_equal(mirror.bin("state_above"), -dataset.bin("state_below"))
    assert np.array_equal(mirror.bin("best_ask_move_ticks"), -dataset.bin("best_bid_move_ticks"))
    valid = dataset.valid
    for data in (dataset, mirror):  # prices, extremes and mid are those of one market
        bid, ask, tick = data.bin("best_bid_price_int")[valid], data.bin("best_ask_price_int")[valid], data.tick_int
        assert (ask > bid).all()
        assert np.allclose((bid + ask) / 2e9, data.bin("mid_price")[valid])
        assert np.array_equal(
            (data.bin("bid_low_int") + data.bin("ask_low_int"))[valid] // tick, data.bin("mid2_low")[valid]
        )


def test_microstates_follow_the_labels_in_the_mirror(dataset):
    table = dict(
        zip(
            dataset.bin("microstate_id"),
            zip(dataset.bin("state_above"), dataset.bin("state_below"), strict=True),
            strict=True,
        )
    )
    mirror = mirrored_dataset(dataset)
    for micro, above, below in zip(
        *(mirror.bin(name) for name in ("microstate_id", "state_above", "state_below")), strict=True
    ):
        if micro in table:
            assert table[micro] == (above, below)


def test_session_data_cuts_disturbs_and_scores(dataset):
    data = SessionData.collect(dataset, ("flow_score", "best_bid_price_int"), CHECK_SCORING)
    assert set(data.bins) == {"bin_seq", "book_valid", "best_bid_price_int", "best_ask_price_int"}
    score, _ = score_arrays(*(dataset.grid(name) for name in CHANNELS), dataset.valid, CHECK_SCORING)
    assert np.array_equal(data.grid("flow_score"), score)
    cut, other = data.prefix(100), data.disturbed(100, 1)
    assert cut.n_bins == 100
    for name, array in data.bins.items():
        assert np.array_equal(other.bins[name][:100], array[:100])
    assert np.array_equal(other.grid("flow_score")[:100], score[:100])
    assert not np.array_equal(other.grid("flow_score")[100:], score[100:])
    assert np.array_equal(other.bin("bin_seq"), data.bin("bin_seq"))
    still = data.constant()
    assert still.valid.all()
    assert (still.grid("flow_score") == still.grid("flow_score")[0]).all()
    assert not data.invalid().valid.any()


def test_sizes_are_checked():
    assert synthetic_dataset(n_bins=0).n_bins == 0
    with pytest.raises(ConfigError, match="n_bins >= 0, radius >= 1 and cell_width_ms >= 1, was -1, 50, 100"):
        synthetic_dataset(n_bins=-1)
