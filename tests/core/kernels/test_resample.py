"""Block length and stationary bootstrap against `arch`."""

from __future__ import annotations

import numpy as np
import pytest

from vpcore.kernels import resample
from vpcore.kernels.random import seeded


def autoregressive(seed: int, n: int, phi: float) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(size=n)
    values = np.empty(n)
    last = 0.0
    for i in range(n):
        values[i] = last = phi * last + noise[i]
    return values


@pytest.mark.compiled
@pytest.mark.parametrize("n", [30, 50, 100, 400, 2000])
@pytest.mark.parametrize("phi", [-0.3, 0.0, 0.3, 0.8])
def test_the_block_length_is_that_of_arch(n: int, phi: float) -> None:
    bootstrap = pytest.importorskip("arch.bootstrap")
    for seed in range(5):
        values = autoregressive(seed, n, phi)
        want = float(bootstrap.optimal_block_length(values)["stationary"].iloc[0])
        assert resample.politis_white(values) == pytest.approx(max(1.0, want), rel=1e-9)


def test_the_block_length_of_what_has_none_is_one() -> None:
    assert resample.politis_white(np.array([1, 5, 2], np.int64)) == 1.0
    assert resample.politis_white(np.full(50, 3, np.int64)) == 1.0
    assert 1.0 <= resample.politis_white(np.array([1, 5, 2, 8], np.int64)) <= 2.0


@pytest.mark.parametrize("length", [1.0, 3.0, 12.0])
@pytest.mark.compiled
def test_resampled_sums_have_the_mean_and_spread_of_the_theory(length: float) -> None:
    """Variance of the stationary bootstrap's mean in closed form (Politis and Romano 1994, equation 9)."""
    x = np.rint(10 * autoregressive(4, 200, 0.5)).astype(np.int64)
    n, centred = x.size, x - x.mean()
    p = 1 / length
    circular = [centred @ np.roll(centred, -lag) / n for lag in range(n)]
    weight = [(1 - lag / n) * (1 - p) ** lag + lag / n * (1 - p) ** (n - lag) for lag in range(1, n)]
    variance = n * (circular[0] + sum(w * c for w, c in zip(weight, circular[1:], strict=True)))
    sums = np.empty(60_000, np.int64)
    resample.stationary_sums(x, length, seeded(7, 0), sums)
    assert sums.mean() == pytest.approx(x.sum(), abs=4 * np.sqrt(variance / sums.size))
    assert sums.var() == pytest.approx(variance, rel=0.03)


def test_resamples_of_equal_values_are_equal() -> None:
    sums = np.empty(50, np.int64)
    resample.stationary_sums(np.full(7, 3, np.int64), 2.0, seeded(1, 0), sums)
    assert set(sums) == {21}
    resample.stationary_sums(np.array([5], np.int64), 1.0, seeded(1, 0), sums)
    assert set(sums) == {5}


def test_moments() -> None:
    stats = pytest.importorskip("scipy.stats")
    x = np.random.default_rng(0).integers(-20, 30, 101)
    out = np.empty(4)
    resample.moments(x, out)
    want = [x.mean(), x.std(ddof=1), stats.skew(x), stats.kurtosis(x, fisher=False)]
    np.testing.assert_allclose(out, want, rtol=1e-12)
    for values, defined in (([], 0), ([3], 1), ([3, 3], 2)):
        resample.moments(np.array(values, np.int64), out)
        assert np.isfinite(out).sum() == defined


def test_a_series_whose_long_run_variance_is_0_has_the_longest_blocks() -> None:
    assert resample.politis_white(np.array([-1, 1, 0, 0])) == 2.0  # min(3 sqrt(n), n / 3), rounded up
