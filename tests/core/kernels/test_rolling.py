"""Rolling steps against numpy on the same window, and what makes them safe to restart."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from vpcore.kernels import rolling

SERIES = st.lists(st.floats(-1e6, 1e6, allow_nan=False, width=32), min_size=1, max_size=60)


empty = rolling.new_series


def slope_of(part):
    return np.polyfit(np.arange(len(part)), part, 1)[0]


STEPS = {
    "mean": (rolling.rolling_mean, np.mean, 1),
    "rms": (rolling.rolling_rms, lambda part: np.sqrt(np.mean(part**2)), 1),
    "std": (rolling.rolling_std, np.std, 1),
    "slope": (rolling.rolling_slope, slope_of, 2),
}


@pytest.mark.parametrize("name", STEPS)
@settings(max_examples=30)
@given(series=SERIES, n=st.integers(1, 13), slack=st.integers(0, 4))
def test_steps_are_those_of_numpy(name, series, n, slack):
    step, oracle, least = STEPS[name]
    ring, cursor = empty(n + slack)
    scale = max(1.0, np.abs(series).max())
    for i, x in enumerate(series):
        rolling.push(ring, cursor, x)
        value = step(ring, cursor, n)
        if i + 1 < n or n < least:
            assert np.isnan(value)
        else:
            assert value == pytest.approx(oracle(np.array(series[i + 1 - n : i + 1])), rel=1e-9, abs=1e-9 * scale)


@pytest.mark.parametrize("name", STEPS)
def test_the_window_decides_every_bit(name):
    step = STEPS[name][0]
    series = np.random.default_rng(0).standard_normal(300)
    whole, late = empty(37), empty(37)
    for x in series:
        rolling.push(*whole, x)
    for x in series[-37:]:
        rolling.push(*late, x)
    for n in (2, 3, 36, 37):
        assert step(*whole, n) == step(*late, n)


@pytest.mark.parametrize("level", [0.1, -7.3, 1e15])
def test_a_constant_has_slope_zero_and_a_negated_series_the_negative(level):
    ring, cursor = empty(10)
    for _ in range(17):
        rolling.push(ring, cursor, level)
    assert rolling.rolling_slope(ring, cursor, 10) == 0.0
    plus, minus = empty(10), empty(10)
    for x in np.random.default_rng(4).standard_normal(23):
        rolling.push(*plus, x + level)
        rolling.push(*minus, -(x + level))
    assert rolling.rolling_slope(*plus, 9) == -rolling.rolling_slope(*minus, 9)


def test_lagged_values_and_reset():
    ring, cursor = empty(4)
    for i in range(11):
        rolling.push(ring, cursor, float(i))
        assert [rolling.lagged(ring, cursor, lag) for lag in range(min(i + 1, 4))] == [
            i - lag for lag in range(min(i + 1, 4))
        ]
    rolling.reset(cursor)
    assert np.isnan(rolling.rolling_mean(ring, cursor, 1))


def test_a_nan_leaves_with_its_window():
    ring, cursor = empty(3)
    seen = []
    for x in (1.0, np.nan, 2.0, 3.0, 4.0):
        rolling.push(ring, cursor, x)
        seen.append(rolling.rolling_mean(ring, cursor, 3))
    assert np.isnan(seen[:4]).all()
    assert seen[4] == 3.0


def test_ema_starts_at_its_first_value():
    state = np.zeros(2)
    alpha = 0.3
    expected = None
    for x in (5.0, 1.0, -2.0, 0.0):
        expected = x if expected is None else expected + alpha * (x - expected)
        assert rolling.ema_step(state, x, alpha) == expected


def test_the_weight_of_a_time_constant():
    assert rolling.ema_alpha(0.1, 2.0) == pytest.approx(1 - np.exp(-0.05), rel=1e-15)
    assert rolling.ema_alpha(0.1, 1e12) == pytest.approx(1e-13, rel=1e-9)  # 1 - exp(-x) would have 3 digits left
    state = np.zeros(2)
    rolling.ema_step(state, 1.0, 0.5)
    for _ in range(20):
        rolling.ema_step(state, 0.0, rolling.ema_alpha(0.1, 2.0))
    assert state[0] == pytest.approx(np.exp(-1.0))  # 20 steps of 0.1 s are one time constant
