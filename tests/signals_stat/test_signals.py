"""The signals against independent implementations of their formulas, their contract, and planted markets."""

from __future__ import annotations

import numpy as np
import pytest
from real_data import ES_TICK_INT, ESH4, ESH4_ID, ESH4_OPEN_NS, needs_esh4, read_records

from vpcore import ConfigError, Dataset, Engine, EngineParams, ScoringConfig
from vpcore.testing import SessionData, check_signal, signal_checks, synthetic_dataset
from vpcore_signals_stat.ads import Ads
from vpcore_signals_stat.derivative import Derivative
from vpcore_signals_stat.erd import Erd

SIGNALS = {"ads": Ads, "derivative": Derivative, "erd": Erd}
SCORING = ScoringConfig(zscore_window_bins=40, zscore_min_periods=10)

CASES = [
    ("ads", {"zscore_window": 30}),
    ("ads", {"zscore_window": 50, "slope_windows": [2, 9], "blend_weights": [0.2, 2.0], "tanh_scale": 1.0}),
    ("ads", {"zscore_window": 20, "zscore_scale_floor": 0.6, "slope_windows": [7], "blend_weights": [1.0]}),
    ("derivative", {"rms_window": 50}),
    (
        "derivative",
        {"rms_window": 33, "memory_ms": 700, "smoothing_ms": 100, "spatial_decay": 0.5, "center_exclusion": 2},
    ),
    (
        "derivative",
        {"rms_window": 21, "rms_floor": [1.0, 10.0, 100.0], "derivative_weights": [0, 1, 3], "tanh_scale": 0.5},
    ),
    ("erd", {"zscore_window": 30}),
    ("erd", {"zscore_window": 41, "variant": "b", "spike_z": -0.5, "band_ticks": 7}),
]


@signal_checks(Ads(), Derivative(), Erd(), Ads(slope_windows=(5, 8), blend_weights=(1, 2)), Erd(variant="b"))
def test_conformance(check):
    check()


@pytest.mark.parametrize(("name", "params"), CASES)
@pytest.mark.parametrize("seed", [0, 1])
def test_the_value_is_the_formula(oracles, name, params, seed):
    signal = SIGNALS[name](**params)
    dataset = synthetic_dataset(seed, 320, radius=25, invalid=0.05)
    data = SessionData.collect(dataset, signal.columns, SCORING)
    values, expected = signal.compute(data).values, oracles[name](data, signal.params)
    assert np.array_equal(np.isnan(values), np.isnan(expected))
    assert np.nanmax(np.abs(values)) > 0
    assert np.allclose(values, expected, rtol=1e-9, atol=1e-9, equal_nan=True)


@pytest.mark.parametrize("name", SIGNALS)
def test_values_are_within_one(name):
    signal = SIGNALS[name]()
    data = SessionData.collect(synthetic_dataset(4, 900), signal.columns, SCORING)
    assert np.nanmax(np.abs(signal.compute(data).values)) <= 1.0
    grid = signal.thresholds()
    assert list(grid) == sorted(grid)
    assert 0 < grid[0] < grid[-1] < 1


# -- planted markets ---------------------------------------------------------------------------------------------------


def market(n_bins=700, radius=25, **columns):
    """Return a still market of one-tick spread in which only the given columns are not 0."""
    bid = np.full(n_bins, 20_000, dtype=np.int64)
    bins = {
        "bin_seq": np.arange(n_bins),
        "book_valid": np.ones(n_bins, bool),
        "best_bid_price_int": bid * ES_TICK_INT,
        "best_ask_price_int": (bid + 1) * ES_TICK_INT,
        "state_above": np.zeros(n_bins),
        "state_below": np.zeros(n_bins),
        **{name: values for name, values in columns.items() if values.ndim == 1},
    }
    zeros = np.zeros((n_bins, 2 * radius + 1), np.float32)
    names = ("v_add", "v_pull", "composite_d1", "flow_score", "flow_state_code")
    grid = {name: columns.get(name, zeros) for name in names}
    return Dataset.from_arrays(bins, grid, dataset_id="planted", cell_width_ns=10**8, tick_int=ES_TICK_INT)


def test_ads_rises_when_the_bid_fills_up_and_the_ask_empties():
    rng = np.random.default_rng(0)
    for column, side in (("v_add", slice(0, 25)), ("v_pull", slice(26, 51))):
        flow = rng.random((700, 51)).astype(np.float32)
        flow[600:, side] += np.linspace(0, 20, 100)[:, None]
        bull = Ads().compute(market(**{column: flow})).values
        bear = Ads().compute(market(**{column: np.ascontiguousarray(flow[:, ::-1])})).values
        assert bull[620:].mean() > 0.5
        assert np.allclose(bull, -bear, equal_nan=True)
    assert (Ads().compute(market()).values[300:] == 0).all()


def test_derivative_rises_with_bull_labels():
    labels = np.zeros(700)
    labels[650] = 2
    bull = Derivative(rms_window=100).compute(market(state_above=labels, state_below=labels / 2)).values
    bear = Derivative(rms_window=100).compute(market(state_above=-labels / 2, state_below=-labels)).values
    assert bull[650] > 0.5
    assert (bull[99:650] == 0).all()
    assert np.array_equal(bull, -bear, equal_nan=True)


def test_derivative_remembers_levels_and_not_cells():
    labels = np.zeros(700)
    labels[650] = 1
    still = market(state_above=labels)
    up = np.full(700, 20_000, dtype=np.int64)
    up[655:] += 3  # the labelled levels come to lie around and below the mid; no label says so
    moved = market(state_above=labels, best_bid_price_int=up * ES_TICK_INT, best_ask_price_int=(up + 1) * ES_TICK_INT)
    signal = Derivative(rms_window=100, spatial_decay=0.5)
    a, b = signal.compute(still).values, signal.compute(moved).values
    assert np.array_equal(a[:655], b[:655], equal_nan=True)
    assert b[655] > a[655]  # more of the bull levels near the touch, on both sides of it


def test_derivative_forgets_with_its_memory():
    labels = np.zeros(700)
    labels[650] = 2
    short, long = (
        np.abs(Derivative(rms_window=100, memory_ms=ms).compute(market(state_above=labels)).values[690])
        for ms in (200, 2000)
    )
    assert short < 1e-3 < long


def test_derivative_takes_no_difference_across_invalid_bins():
    labels = np.zeros(700)
    labels[655] = 2
    valid = np.ones(700, bool)
    valid[650:655] = False
    values = Derivative(rms_window=100).compute(market(state_above=labels, book_valid=valid)).values
    assert values[655] == 0.0
    assert values[656] != 0.0


def test_erd_speaks_on_a_spike_of_disorder_only():
    rng = np.random.default_rng(1)
    code = (rng.random((700, 51)) < 0.04) * rng.choice([-1, 1], (700, 51))
    code[600, :] = rng.choice([-1, 0, 1], 51)
    score = np.zeros((700, 51))
    score[:, :25], score[:, 26:] = 0.4, -0.4
    planted = market(flow_score=score, flow_state_code=code.astype(np.int8))
    values = Erd(spike_z=3.0).compute(planted).values
    assert values[600] > 0.3
    assert (values[99:600] >= 0).all()
    assert np.mean(values[99:] == 0) > 0.9
    assert (Erd().compute(market()).values[99:] == 0).all()


def test_erd_b_goes_against_the_disordered_side():
    rng = np.random.default_rng(2)
    code = (rng.random((700, 51)) < 0.04).astype(np.int8)
    code[600, 26:] = rng.choice([-1, 0, 1], 25)  # the ask breaks up
    assert Erd(variant="b", spike_z=1.0).compute(market(flow_state_code=code)).values[600] > 0.2


# -- errors ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Ads(slope_windows=(10, 5), blend_weights=(1, 1)), "slope_windows must rise without repeats, was"),
        (lambda: Ads(slope_windows=(10, 25)), "one weight for each of the 2 slope_windows, had 3"),
        (lambda: Ads(blend_weights=(0, 0, 0)), "blend_weights must not all be 0"),
        (lambda: Derivative(derivative_weights=(0, 0, 0)), "derivative_weights must not all be 0"),
        (lambda: Derivative(memory=3), r"Derivative has no parameter 'memory'. Did you mean 'memory_ms'\?"),
        (lambda: Erd(variant="c"), "Erd.variant must be 'a' or 'b', was 'c'"),
        (
            lambda: Ads().compute(synthetic_dataset(n_bins=3, radius=22)),
            "cells up to 23 ticks from the mid, the grid has 22",
        ),
        (
            lambda: Erd(band_ticks=23).compute(synthetic_dataset(n_bins=3, radius=22)),
            "at most the grid's radius, 22 ticks, was 23",
        ),
        (
            lambda: Derivative(center_exclusion=4).compute(synthetic_dataset(n_bins=3, radius=4)),
            "below the grid's radius, 4 ticks",
        ),
    ],
)
def test_parameters_that_cannot_work_are_refused(make, message):
    with pytest.raises(ConfigError, match=message):
        make()


# -- the real market ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def esh4():
    """Twenty minutes from the evening open of ESH4."""
    records = read_records(ESH4)
    end = ESH4_OPEN_NS + 20 * 60 * 10**9
    columns = ("v_add", "v_pull", "composite_d1", "composite_d2", "composite_d3")
    engine = Engine(EngineParams(columns=columns), tick_int=ES_TICK_INT, start_ns=ESH4_OPEN_NS, end_ns=end)
    blocks = list(engine.blocks(records, ESH4_ID))
    bins = {name: np.concatenate([block.bins[name] for block in blocks]) for name in blocks[0].bins}
    grid = {name: np.concatenate([block.grid[name] for block in blocks]) for name in columns}
    return Dataset.from_arrays(bins, grid, dataset_id="esh4", cell_width_ns=10**8, tick_int=ES_TICK_INT)


@needs_esh4
@pytest.mark.parametrize(("name", "share"), [("ads", 0.9), ("derivative", 0.2), ("erd", 0.1)])
def test_it_speaks_on_the_real_market_without_shouting(esh4, name, share):
    signal = SIGNALS[name]()
    values = signal.compute(SessionData.collect(esh4, signal.columns)).values
    warm = values[~np.isnan(values)]
    assert len(warm) == esh4.valid.sum() - signal.warmup_bins(None)
    assert np.mean(np.abs(warm) > 1e-3) >= share
    assert np.mean(np.abs(warm) > 0.95) < 0.05


@needs_esh4
@pytest.mark.parametrize("name", SIGNALS)
def test_it_passes_its_checks_on_the_real_market(esh4, name):
    report = check_signal(SIGNALS[name](), esh4)
    assert report.passed, report.failures


@needs_esh4
@pytest.mark.parametrize(("name", "params"), CASES[::3])
def test_the_value_is_the_formula_on_the_real_market(oracles, esh4, name, params):
    signal = SIGNALS[name](**params)
    data = SessionData.collect(esh4.slice(0, 1500), signal.columns)
    assert np.allclose(
        signal.compute(data).values, oracles[name](data, signal.params), rtol=1e-9, atol=1e-9, equal_nan=True
    )
