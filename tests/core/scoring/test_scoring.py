"""The scorer against numpy medians and MADs; one implementation, whatever the split."""

from __future__ import annotations

import itertools
import math

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings, strategies as st
from pydantic import ValidationError

from vpcore.errors import ConfigError, DatasetError
from vpcore.scoring import (
    CHANNELS,
    ScoringConfig,
    SpectrumScorer,
    score_arrays,
    score_dataset,
    score_from_z,
    z_nodes,
    zscore_arrays,
)

SMALL = ScoringConfig(zscore_window_bins=20, zscore_min_periods=6, zscore_scale_floor=(1e-3, 1e-2, 1e-1))


def session(seed, n_bins=90, n_cells=5, invalid=0.1):
    rng = np.random.default_rng(seed)
    scale = np.array([1.0, 10.0, 100.0])[:, None, None]
    d = (rng.standard_normal((3, n_bins, n_cells)) * scale).astype(np.float32)
    d[:, :, 1] = 0  # a cell without flow
    d[:, :, 2] = np.round(d[:, :, 2])  # many ties
    d[:, :, 3] *= 1e-6  # below the floor
    return d, rng.random(n_bins) > invalid


def naive(d, valid, config):
    """Median and MAD by sorting, one cell and bin at a time."""
    _, n_bins, n_cells = d.shape
    score = np.zeros((n_bins, n_cells))
    for c in range(n_cells):
        for i in np.flatnonzero(valid):
            total = 0.0
            for channel in range(3):
                past = d[channel, : i + 1, c][valid[: i + 1]].astype(float)[-config.zscore_window_bins :]
                past = np.where(np.isfinite(past), past, 0.0)
                scale = 1.4826 * np.median(np.abs(past - np.median(past)))
                if len(past) >= config.zscore_min_periods and scale > config.zscore_scale_floor[channel]:
                    z = (past[-1] - np.median(past)) / scale
                    total += config.derivative_weights[channel] * math.tanh(z / config.tanh_scale)
            score[i, c] = total / sum(config.derivative_weights)
    return score


@settings(max_examples=20)
@given(
    seed=st.integers(0, 2**32 - 1),
    window=st.integers(2, 30),
    weights=st.sampled_from([(0.55, 0.30, 0.15), (1.0, 0.0, 0.0), (0.0, 2.0, 1.0)]),
)
def test_the_score_is_the_definition(seed, window, weights):
    d, valid = session(seed, 60)
    config = SMALL.model_copy(
        update={"zscore_window_bins": window, "zscore_min_periods": min(6, window), "derivative_weights": weights}
    )
    score, state = score_arrays(*d, valid, config)
    assert np.allclose(score, naive(d, valid, config), rtol=1e-12, atol=1e-15)
    assert np.array_equal(state, np.where(score >= 0.15, 1, np.where(score <= -0.15, -1, 0)))
    assert not score[~valid].any()
    assert np.abs(score).max() <= 1.0


@settings(max_examples=20)
@given(seed=st.integers(0, 2**32 - 1), cuts=st.sets(st.integers(1, 89), max_size=5))
def test_every_split_gives_the_same_bits(seed, cuts):
    d, valid = session(seed)
    whole = score_arrays(*d, valid, SMALL)
    scorer = SpectrumScorer(SMALL, d.shape[2])
    edges = [0, *sorted(cuts), len(valid)]
    parts = [scorer.run(*d[:, a:b], valid[a:b]) for a, b in itertools.pairwise(edges)]
    single = SpectrumScorer(SMALL, d.shape[2])
    steps = [single.update(*d[:, i], valid=bool(valid[i])) for i in range(len(valid))]
    for j in (0, 1):
        assert np.concatenate([part[j] for part in parts]).tobytes() == whole[j].tobytes()
        assert np.array([step[j] for step in steps]).tobytes() == whole[j].tobytes()


@pytest.mark.parametrize("n_threads", [2, 3, 1000])
def test_threads_share_the_cells_and_do_not_show(n_threads):
    d, valid = session(4)
    assert d.shape[2] > 3
    whole, shared = (score_arrays(*d, valid, SMALL, n_threads=n) for n in (1, n_threads))
    assert all(a.tobytes() == b.tobytes() for a, b in zip(whole, shared, strict=True))
    with pytest.raises(ConfigError, match="must be the same bins"):
        score_arrays(*d, valid[1:], SMALL, n_threads=n_threads)
    with pytest.raises(ConfigError, match="must have"):
        score_arrays(d[0], d[1][:, 1:], d[2], valid, SMALL, n_threads=n_threads)


def test_chunks_of_a_long_session_do_not_show(monkeypatch):
    d, valid = session(1)
    whole = score_arrays(*d, valid, SMALL)
    monkeypatch.setattr("vpcore.scoring._CHUNK", 7)
    chunked = score_arrays(*d, valid, SMALL)
    assert all(a.tobytes() == b.tobytes() for a, b in zip(whole, chunked, strict=True))


def test_a_restart_agrees_once_the_window_is_full():
    d, _ = session(2)
    valid = np.ones(d.shape[1], bool)
    whole, _ = score_arrays(*d, valid, SMALL)
    late, _ = score_arrays(*d[:, 30:], valid[30:], SMALL)
    window = SMALL.zscore_window_bins
    assert late[window - 1 :].tobytes() == whole[30 + window - 1 :].tobytes()
    assert late[: window - 1].tobytes() != whole[30 : 30 + window - 1].tobytes()


def test_the_nodes_of_a_sweep_give_the_bits_of_the_scorer():
    d, valid = session(3)
    z = [zscore_arrays(values, valid, node) for values, node in zip(d, z_nodes(SMALL), strict=True)]
    for config in (
        SMALL,
        SMALL.model_copy(update={"tanh_scale": 1.7, "threshold_neutral": 0.4, "derivative_weights": (0.0, 1.0, 3.0)}),
    ):
        assert z_nodes(config) == z_nodes(SMALL)
        for ours, theirs in zip(score_from_z(*z, config), score_arrays(*d, valid, config), strict=True):
            assert ours.tobytes() == theirs.tobytes()


def test_what_is_not_finite_counts_as_zero_and_is_counted():
    d, valid = session(4, invalid=0.0)
    dirty, clean = d.copy(), d.copy()
    dirty[0, 10, 0], dirty[1, 11, 2], dirty[2, 12, 4] = np.nan, np.inf, -np.inf
    clean[0, 10, 0], clean[1, 11, 2], clean[2, 12, 4] = 0, 0, 0
    scorer = SpectrumScorer(SMALL, 5)
    assert scorer.run(*dirty, valid)[0].tobytes() == score_arrays(*clean, valid, SMALL)[0].tobytes()
    assert scorer.nan_count == 3
    scorer.update(*[np.full(5, np.nan)] * 3, valid=False)
    assert scorer.nan_count == 3


def test_negative_zero_is_zero():
    zeros = np.zeros((30, 2))
    for config in (SMALL, SMALL.model_copy(update={"zscore_scale_floor": (0.0, 0.0, 0.0)})):
        score, _ = score_arrays(-zeros, -zeros, -zeros, np.ones(30, bool), config)
        assert score.tobytes() == zeros.tobytes()


def test_an_invalid_bin_leaves_no_trace():
    d, valid = session(5, invalid=0.3)
    score, state = score_arrays(*d, valid, SMALL)
    dense, _ = score_arrays(*d[:, valid], np.ones(valid.sum(), bool), SMALL)
    assert score[valid].tobytes() == dense.tobytes()
    assert not state[~valid].any()


def test_update_takes_any_float_and_returns_fresh_arrays_unless_told():
    d, _ = session(6, 8)
    expected = None
    for dtype in (np.float32, np.float64, ">f4", np.longdouble):
        scorer = SpectrumScorer(SMALL.model_copy(update={"zscore_min_periods": 2}), 5)
        first = [scorer.update(*d[:, i].astype(dtype)) for i in range(8)]
        assert first[0][0] is not first[1][0]
        assert first[0][0].dtype == np.float64
        assert first[0][1].dtype == np.int8
        bits = b"".join(score.tobytes() for score, _ in first)
        expected = expected or bits
        assert bits == expected
    out = (np.empty(5), np.empty(5, np.int8))
    for valid in (True, False):
        score, state = scorer.update(*d[:, 0], valid=valid, out=out)
        assert score is out[0]
        assert state is out[1]
    assert not out[0].any()


def test_inputs_are_not_written():
    d, valid = session(7)
    before = d.copy()
    d.setflags(write=False)
    score_arrays(*d, valid, SMALL)
    SpectrumScorer(SMALL, 5).update(*d[:, 0])
    assert np.array_equal(d, before)


def test_the_score_is_antisymmetric():
    d, valid = session(8)
    plus, state = score_arrays(*d, valid, SMALL)
    minus, mirrored = score_arrays(*-d, valid, SMALL)
    assert np.array_equal(plus, -minus)
    assert np.array_equal(state, -mirrored)


def grid(d, valid):
    n_bins, n_cells = d.shape[1:]
    return pl.DataFrame(
        {
            "bin_seq": np.repeat(np.arange(n_bins), n_cells),
            "k": np.tile(np.arange(n_cells, dtype=np.int16) - n_cells // 2, n_bins),
            "book_valid": np.repeat(valid, n_cells),
            **{name: values.reshape(-1) for name, values in zip(CHANNELS, d, strict=True)},
        }
    )


def test_score_dataset_adds_two_columns():
    d, valid = session(9)
    frame = grid(d, valid)
    scored = score_dataset(frame, SMALL)
    score, state = score_arrays(*d, valid, SMALL)
    assert scored.columns == [*frame.columns, "flow_score", "flow_state_code"]
    assert scored.schema["flow_score"] == pl.Float64
    assert scored.schema["flow_state_code"] == pl.Int8
    assert scored["flow_score"].to_numpy().tobytes() == score.tobytes()
    assert scored["flow_state_code"].to_numpy().tobytes() == state.tobytes()
    assert scored.select(frame.columns).equals(frame)


def test_score_dataset_of_no_rows():
    d, valid = session(9)
    assert score_dataset(grid(d, valid).head(0), SMALL).columns[-2:] == ["flow_score", "flow_state_code"]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda f: f.sample(fraction=1.0, shuffle=True, seed=1),
        lambda f: f.head(-1),
        lambda f: f.slice(3),
        lambda f: pl.concat([f.head(5), f]),
        lambda f: f.reverse(),
    ],
)
def test_score_dataset_refuses_rows_that_are_not_dense_and_sorted(spoil):
    with pytest.raises(DatasetError, match="not one per bin and cell in order"):
        score_dataset(spoil(grid(*session(10, 12))), SMALL)


def test_score_dataset_names_missing_columns():
    with pytest.raises(DatasetError, match="no column composite_d2. The scorer reads"):
        score_dataset(grid(*session(10)).drop("composite_d2"), SMALL)


@pytest.mark.parametrize(
    ("settings_", "message"),
    [
        ({"zscore_min_periods": 301}, "at most zscore_window_bins"),
        ({"derivative_weights": (0, 0, 0)}, "must not all be 0"),
        ({"tanh_scale": 0}, "greater than 0"),
        ({"threshold_neutral": 0}, "greater than 0"),
        ({"zscore_window": 3}, "Extra inputs"),
        ({"zscore_scale_floor": (1, -1, 1)}, "greater than or equal to 0"),
    ],
)
def test_config_is_strict(settings_, message):
    with pytest.raises(ValidationError, match=message):
        ScoringConfig(**settings_)


def test_shapes_are_checked():
    d, valid = session(11)
    scorer = SpectrumScorer(SMALL, 4)
    with pytest.raises(ConfigError, match=r"composite_d1 must have the shape \(4,\)"):
        scorer.update(*d[:, 0])
    with pytest.raises(ConfigError, match="must have 4 cells, had 5"):
        scorer.run(*d, valid)
    with pytest.raises(ConfigError, match="has 90 bins, valid has 89"):
        score_arrays(*d, valid[1:], SMALL)
    with pytest.raises(ConfigError, match="out's state must be a contiguous int8 array of 4 cells"):
        scorer.update(*d[:, 0, :4], out=(np.empty(4), np.empty(4)))
    with pytest.raises(ConfigError, match="at least 1 cell"):
        SpectrumScorer(SMALL, 0)
