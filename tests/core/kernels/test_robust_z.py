"""Median, MAD and robust z of a moving window against numpy, to the bit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from vpcore.kernels import robust_z as kernel

VALUES = st.one_of(
    st.sampled_from([0.0, -0.0, 1.0, -1.0, 0.5, 1e-300, 5e-324, 1e300, -1e300]),
    st.integers(-3, 3).map(lambda i: i / 3),
    st.floats(allow_nan=False, allow_infinity=False, width=32),
)


def windows(values, window):
    for i in range(len(values)):
        yield np.asarray(values[max(0, i - window + 1) : i + 1], dtype=float) + 0.0


empty = kernel.new_window


def naive_z(values, window, min_periods, floor):
    out = []
    for part in windows(values, window):
        scale = 1.4826 * np.median(np.abs(part - np.median(part)))
        out.append(0.0 if len(part) < min_periods or scale <= floor else (part[-1] - np.median(part)) / scale)
    return np.array(out)


@settings(max_examples=60)
@given(st.lists(VALUES, min_size=1, max_size=60), st.integers(1, 20))
def test_median_and_mad_are_those_of_numpy(values, window):
    ring, ordered, cursor, stats = empty(window)
    for x, part in zip(values, windows(values, window), strict=True):
        kernel.window_push(ring, ordered, cursor, stats, x + 0.0)
        median = np.median(part)
        assert stats[0] == median
        assert stats[1] == np.median(np.abs(part - median))
        assert np.array_equal(ordered[: cursor[0]], np.sort(part))


@pytest.mark.compiled
@pytest.mark.parametrize("window", [2, 3, 8, 75, 300])
def test_long_windows_of_rough_and_smooth_series(window):
    rng = np.random.default_rng(window)
    n = 4 * window + 20
    for series in (
        rng.standard_normal(n),
        np.cumsum(rng.standard_normal(n)),
        rng.integers(-2, 3, n) / 7.0,
        np.zeros(n),
    ):
        ring, ordered, cursor, stats = empty(window)
        z = [kernel.robust_z_step(ring, ordered, cursor, stats, x, 2, 1e-9) for x in series]
        assert np.array_equal(z, naive_z(series, window, 2, 1e-9))


@settings(max_examples=40)
@given(st.lists(VALUES, min_size=1, max_size=40).map(sorted), st.integers(-5, 50))
def test_the_mad_does_not_depend_on_where_its_search_begins(values, guess):
    ordered = np.array(values) + 0.0
    median = np.median(ordered)
    mad, _ = kernel.mad_ordered(ordered, len(ordered), median, guess)
    assert mad == np.median(np.abs(ordered - median))


def test_what_is_not_finite_counts_as_zero():
    with np.errstate(all="ignore"):
        assert [kernel.clean(x) for x in (np.nan, np.inf, -np.inf, 2.0)] == [0.0, 0.0, 0.0, 2.0]
    assert not np.signbit(kernel.clean(-0.0))


def test_z_is_exactly_antisymmetric():
    rng = np.random.default_rng(1)
    series = rng.standard_normal(200)
    plus, minus = empty(31), empty(31)
    for x in series:
        assert kernel.robust_z_step(*plus, x, 5, 0.0) == -kernel.robust_z_step(*minus, -x, 5, 0.0)


def test_a_full_window_forgets_what_came_before():
    rng = np.random.default_rng(2)
    series = rng.standard_normal(400)
    whole, late = empty(50), empty(50)
    a = [kernel.robust_z_step(*whole, x, 5, 0.0) for x in series][250:]
    b = [kernel.robust_z_step(*late, x, 5, 0.0) for x in series[200:]][50:]
    assert a == b


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_cells_are_steps(dtype):
    rng = np.random.default_rng(3)
    n_bins, n_cells, window = 1100, 3, 40  # more bins than one pass over the cells takes
    x = rng.standard_normal((n_bins, n_cells)).astype(dtype)
    x[5, 0], x[7, 1] = np.nan, np.inf
    valid = rng.random(n_bins) > 0.1
    valid[[5, 7]] = True
    x[~valid] = np.nan
    state = (
        np.zeros((n_cells, window)),
        np.zeros((n_cells, window)),
        np.zeros((n_cells, 3), np.int64),
        np.zeros((n_cells, 2)),
    )
    z = np.full((n_bins, n_cells), np.nan)
    assert kernel.robust_z_cells(x, valid, *state, 10, 1e-6, z) == 2
    for c in range(n_cells):
        series = np.nan_to_num(x[valid, c].astype(float), posinf=0.0)
        assert np.array_equal(z[valid, c], naive_z(series, window, 10, 1e-6))
    assert not z[~valid].any()
