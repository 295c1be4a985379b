"""The signals against independent implementations of their formulas, and their contract."""

from __future__ import annotations

import numpy as np
import pytest
from detections import detect
from real_data import needs_esh4

from vpcore import ConfigError, ScoringConfig, SignalContext
from vpcore.testing import SessionData, check_signal, signal_checks, synthetic_dataset
from vpcore_signals_stat.ads import Ads
from vpcore_signals_stat.composite import Composite
from vpcore_signals_stat.derivative import Derivative
from vpcore_signals_stat.erd import Erd
from vpcore_signals_stat.iirc import Iirc
from vpcore_signals_stat.jad import Jad
from vpcore_signals_stat.microprice import Microprice
from vpcore_signals_stat.msd import Msd
from vpcore_signals_stat.ofi import Ofi
from vpcore_signals_stat.pfp import Pfp
from vpcore_signals_stat.plugin import vp_signals
from vpcore_signals_stat.spg import Spg

SIGNALS = {
    "ads": Ads,
    "composite": Composite,
    "derivative": Derivative,
    "erd": Erd,
    "iirc": Iirc,
    "jad": Jad,
    "microprice": Microprice,
    "msd": Msd,
    "ofi": Ofi,
    "pfp": Pfp,
    "spg": Spg,
}
IN_TICKS = ("microprice", "ofi")
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
    ("derivative", {"rms_window": 25, "pressure_weight": 0.9, "vacuum_weight": 0.3, "mixed_damping": 1.0}),
    ("erd", {"zscore_window": 30}),
    ("erd", {"zscore_window": 41, "variant": "b", "spike_z": -0.5, "band_ticks": 7}),
    ("msd", {}),
    ("msd", {"weighting": "plain", "band_ticks": 25, "floor": 4.0}),
    ("spg", {"rms_window": 60}),
    (
        "spg",
        {
            "rms_window": 2,
            "band_ticks": 3,
            "vacuum_weight": 2.5,
            "fast_ms": 50.0,
            "slow_ms": 700.0,
            "blend_weights": [0, 1, 3],
            "rms_floor": 2.0,
            "tanh_scale": 0.7,
        },
    ),
    ("pfp", {}),
    ("pfp", {"lag_ms": 300.0, "average_ms": 2000.0, "pull_weight": 0.9, "floor": 3.0}),
    ("iirc", {}),
    (
        "iirc",
        {
            "band_ticks": 20,
            "fast_window": 2,
            "slow_window": 7,
            "slow_weight": 0.2,
            "intensity_floor": 2.0,
            "noise_floor": 0.4,
            "slope_scale": 3.0,
        },
    ),
    ("jad", {"zscore_window": 40}),
    (
        "jad",
        {
            "zscore_window": 21,
            "band_ticks": 3,
            "agree_weight": 0.9,
            "diverge_weight": 0.1,
            "zscore_scale_floor": 2.0,
            "tanh_scale": 1.0,
        },
    ),
    ("microprice", {}),
    ("microprice", {"levels": 25}),
    ("ofi", {}),
    ("ofi", {"window_bins": 7, "levels": 25}),
    ("composite", {"magnitude_ms": 3000.0, "zscore_ms": 5000.0, "average_ms": 4000.0}),
    (
        "composite",
        {
            "weights": [1.0, 3.0, 0.0],
            "magnitude_ms": 700.0,
            "zscore_ms": 2000.0,
            "slope_ms": [300.0, 900.0],
            "lag_ms": 500.0,
            "average_ms": 1000.0,
            "tanh_scale": 0.5,
        },
    ),
]


@pytest.fixture(scope="module")
def markets():
    """A session with many invalid bins for each seed, on a narrow grid."""
    return {seed: synthetic_dataset(seed, 320, radius=25, invalid=0.05) for seed in (0, 1)}


@pytest.fixture(scope="module")
def long_market():
    """A session that is longer than any default warm-up."""
    return synthetic_dataset(4, 900)


def collected(dataset, signal, scoring=None):
    return SessionData.collect(dataset, signal.columns, scoring)


def test_every_registered_signal_is_tested_here(oracles):
    registered = {component.name for component in vp_signals()}
    assert registered == set(SIGNALS) == set(oracles) == {name for name, _ in CASES}


@signal_checks(
    *(signal() for signal in SIGNALS.values()),
    Ads(slope_windows=(5, 8), blend_weights=(1, 2)),
    Erd(variant="b"),
    Msd(weighting="plain"),
    Ofi(levels=5),
    Microprice(levels=5),
    Composite(weights=(0.1, 2, 0.4), magnitude_ms=2000.0),
)
def test_conformance(check):
    check()


@pytest.mark.parametrize(("name", "params"), CASES)
@pytest.mark.parametrize("seed", [0, 1])
def test_the_value_is_the_formula(oracles, markets, name, params, seed):
    signal = SIGNALS[name](**params)
    data = collected(markets[seed], signal, SCORING)
    values, expected = signal.compute(data).values, oracles[name](data, signal.params)
    assert np.array_equal(np.isnan(values), np.isnan(expected))
    assert np.nanmax(np.abs(values)) > 0
    assert np.allclose(values, expected, rtol=1e-9, atol=1e-9, equal_nan=True)


@pytest.mark.parametrize("name", SIGNALS)
def test_values_are_within_one_unless_they_are_ticks(long_market, name):
    signal = SIGNALS[name]()
    data = collected(long_market, signal, SCORING)
    grid = signal.thresholds()
    assert list(grid) == sorted(grid)
    assert 0 < grid[0] < grid[-1]
    if name not in IN_TICKS:
        assert np.nanmax(np.abs(signal.compute(data).values)) <= 1.0
        assert grid[-1] < 1


# -- errors ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Ads(slope_windows=(10, 5), blend_weights=(1, 1)), "slope_windows must rise without repeats, was"),
        (lambda: Ads(slope_windows=(10, 25)), "one weight for each of the 2 slope_windows, had 3"),
        (lambda: Ads(blend_weights=(0, 0, 0)), "blend_weights must not all be 0"),
        (lambda: Derivative(derivative_weights=(0, 0, 0)), "derivative_weights must not all be 0"),
        (
            lambda: Derivative(pressure_weight=0, vacuum_weight=0),
            "pressure_weight and vacuum_weight must not both be 0",
        ),
        (lambda: Spg(fast_ms=500.0, slow_ms=500.0), "slow_ms must be above fast_ms, 500, was 500"),
        (lambda: Spg(blend_weights=(0, 0, 0)), "blend_weights must not all be 0"),
        (lambda: Iirc(fast_window=9, slow_window=9), "slow_window must be above fast_window, 9, was 9"),
        (lambda: Composite(weights=(0, 0, 0)), "weights must not all be 0"),
        (lambda: Composite(slope_ms=(900.0, 300.0)), r"slope_ms must rise without repeats, was \[900.0, 300.0\]"),
        (
            lambda: Composite(zscore_ms=500.0).compute(synthetic_dataset(n_bins=3)),
            "Ads.zscore_window must be a whole number from 10 to 10000, was 5",
        ),
        (
            lambda: Composite(slope_ms=(210.0, 220.0)).compute(synthetic_dataset(n_bins=3)),
            r"slope_windows must rise without repeats, was \[2, 2\]",
        ),
        (
            lambda: Pfp().compute(synthetic_dataset(n_bins=3, radius=11)),
            "cells up to 12 ticks from the mid, the grid has 11",
        ),
        *(
            (
                lambda make=make: make(levels=9).compute(synthetic_dataset(n_bins=3, radius=8)),
                "levels of signal '.*' must be at most the grid's radius, 8 ticks, was 9",
            )
            for make in (Ofi, Microprice)
        ),
        *(
            (
                lambda make=make: make(band_ticks=9).compute(synthetic_dataset(n_bins=3, radius=8)),
                "band_ticks of signal '.*' must be at most the grid's radius, 8 ticks, was 9",
            )
            for make in (Msd, Spg, Iirc, Jad)
        ),
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


@needs_esh4
@pytest.mark.parametrize("name", SIGNALS)
def test_it_speaks_on_the_real_market_without_shouting(esh4, name):
    signal = SIGNALS[name]()
    data = collected(esh4, signal)
    values = signal.compute(data).values
    warm = values[~np.isnan(values)]
    n_warm = signal.warmup_bins(SignalContext.of(data))
    assert len(warm) == esh4.valid.sum() - n_warm
    assert np.mean(np.abs(warm) > 1e-3) >= {"erd": 0.1, "derivative": 0.2}.get(name, 0.9)
    if name not in IN_TICKS:
        assert np.mean(np.abs(warm) > 0.95) < 0.05
    for threshold in signal.thresholds():
        found = detect(values, data.valid, data.bin("bin_seq"), threshold, cooldown_bins=30, warmup_bins=n_warm)
        assert 5 <= len(found.bins) <= 400, threshold
        assert {1, -1} == set(found.sides.tolist()), threshold


@pytest.mark.slow
@needs_esh4
@pytest.mark.parametrize("name", SIGNALS)
def test_it_passes_its_checks_on_the_real_market(esh4, name):
    signal, market = SIGNALS[name](), esh4.slice(0, 1800)
    assert signal.warmup_bins(SignalContext.of(market)) < market.n_bins // 2
    report = check_signal(signal, market)
    assert report.passed, report.failures


@pytest.mark.slow
@needs_esh4
@pytest.mark.parametrize(("name", "params"), CASES)
def test_the_value_is_the_formula_on_the_real_market(oracles, esh4, name, params):
    signal = SIGNALS[name](**params)
    data = collected(esh4.slice(0, 800), signal)
    values, expected = signal.compute(data).values, oracles[name](data, signal.params)
    assert np.nanmax(np.abs(values)) > 0
    assert np.allclose(values, expected, rtol=1e-9, atol=1e-9, equal_nan=True)
