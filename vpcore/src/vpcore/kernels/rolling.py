# mypy: disable-error-code="no-any-return"
"""Steps over the last values of one series: mean, deviation, root mean square, slope, exponential average.

A series' window is two plain arrays, so that compiled loops and streaming signals share one step:

* ``ring`` : float64[2 * window]. Every value is written twice, one window apart, so that the last `n` values are always
  one contiguous run in order of arrival;
* ``cursor`` : int64[2], ``(count, next position)``.

Both start as zeros, as `new_series` makes them. Everything but `ema_step` is computed anew from the window at every
step. A running sum would be cheaper and would drift: its bits depend on all that ever passed through it, so a restart
would differ for ever. Sums are taken in four interleaved lanes: this order depends on positions in the window only, and
the additions overlap.

NaN policy: a NaN in the window makes the result NaN until it has left. Series that may hold NaN are cleaned by the
caller (`vpcore.kernels.robust_z.clean`).
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from vpcore.kernels.jit import jit

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


def new_series(window: int) -> tuple[Floats, Ints]:
    """Return the ring and the cursor of an empty series whose last `window` values are kept; ``window >= 1``."""
    return np.zeros(2 * window), np.zeros(2, dtype=np.int64)


def ema_alpha(step_seconds: float, tau_seconds: float) -> float:
    """Return the weight of the newest value for a time constant: ``1 - exp(-step / tau)``, both above 0."""
    return -math.expm1(-step_seconds / tau_seconds)


@jit
def push(ring: Floats, cursor: Ints, x: float) -> None:
    """Append `x` to a series' window, dropping the oldest value of a full one.

    Parameters
    ----------
    ring : float64[2 * window], written
        The series' window; see the module.
    cursor : int64[2], written
        The window's counters; see the module.
    x : float
        The new value.
    """
    window = ring.shape[0] >> 1
    position = cursor[1]
    ring[position] = x
    ring[position + window] = x
    cursor[1] = position + 1 if position + 1 < window else 0
    if cursor[0] < window:
        cursor[0] += 1


@jit
def reset(cursor: Ints) -> None:
    """Empty a series' window."""
    cursor[0] = 0
    cursor[1] = 0


@jit
def first_of(ring: Floats, cursor: Ints, n: int) -> int:
    """Return the index in `ring` at which the last `n` values begin; ``1 <= n <= count``."""
    window = ring.shape[0] >> 1
    return cursor[1] + window - n if cursor[0] == window else cursor[0] - n


@jit
def lagged(ring: Floats, cursor: Ints, lag: int) -> float:
    """Return the value `lag` steps before the newest one; ``0 <= lag < count``."""
    return ring[first_of(ring, cursor, lag + 1)]


@jit
def rolling_mean(ring: Floats, cursor: Ints, n: int) -> float:
    """Return the mean of the last `n` values; NaN while there are fewer."""
    if n < 1 or cursor[0] < n:
        return math.nan
    first = first_of(ring, cursor, n)
    a = 0.0
    b = 0.0
    c = 0.0
    d = 0.0
    whole = n - (n & 3)
    for i in range(first, first + whole, 4):
        a += ring[i]
        b += ring[i + 1]
        c += ring[i + 2]
        d += ring[i + 3]
    for i in range(first + whole, first + n):
        a += ring[i]
    return ((a + b) + (c + d)) / n


@jit
def rolling_rms(ring: Floats, cursor: Ints, n: int) -> float:
    """Return the root of the mean square of the last `n` values; NaN while there are fewer."""
    if n < 1 or cursor[0] < n:
        return math.nan
    first = first_of(ring, cursor, n)
    a = 0.0
    b = 0.0
    c = 0.0
    d = 0.0
    whole = n - (n & 3)
    for i in range(first, first + whole, 4):
        a += ring[i] * ring[i]
        b += ring[i + 1] * ring[i + 1]
        c += ring[i + 2] * ring[i + 2]
        d += ring[i + 3] * ring[i + 3]
    for i in range(first + whole, first + n):
        a += ring[i] * ring[i]
    return math.sqrt(((a + b) + (c + d)) / n)


@jit
def rolling_std(ring: Floats, cursor: Ints, n: int) -> float:
    """Return the population standard deviation of the last `n` values, in two passes; NaN while there are fewer."""
    mean = rolling_mean(ring, cursor, n)
    if math.isnan(mean):
        return mean
    first = first_of(ring, cursor, n)
    total = 0.0
    for i in range(first, first + n):
        deviation = ring[i] - mean
        total += deviation * deviation
    return math.sqrt(total / n)


@jit
def rolling_slope(ring: Floats, cursor: Ints, n: int) -> float:
    """Return the ordinary least squares slope of the last `n` values, per step; NaN while there are fewer.

    Values are taken relative to the oldest value, so that the slope of a constant is exactly 0, and the negated series
    has exactly the negative slope.

    Parameters
    ----------
    ring : float64[2 * window]
        The series' window; see the module.
    cursor : int64[2]
        The window's counters; see the module.
    n : int
        At least 2 and at most the window.
    """
    if n < 2 or cursor[0] < n:
        return math.nan
    first = first_of(ring, cursor, n)
    oldest = ring[first]
    middle = (n - 1) / 2.0
    a = 0.0
    b = 0.0
    whole = n - (n & 1)
    for i in range(0, whole, 2):
        a += (i - middle) * (ring[first + i] - oldest)
        b += (i + 1 - middle) * (ring[first + i + 1] - oldest)
    if n & 1:
        a += (n - 1 - middle) * (ring[first + n - 1] - oldest)
    return (a + b) / (n * (n * n - 1.0) / 12.0)


@jit
def ema_step(state: Floats, x: float, alpha: float) -> float:
    """Advance an exponential average by one value and return it.

    The first value starts it, which avoids a pull towards 0. Its memory is endless: after a restart the values agree up
    to the remaining weight ``(1 - alpha)**n``.

    Parameters
    ----------
    state : float64[2], written
        (average, 1.0 once started).
    x : float
        The new value.
    alpha : float
        In (0, 1]; for a time constant, see `ema_alpha`.
    """
    if state[1] == 0.0:
        state[0] = x
        state[1] = 1.0
    else:
        state[0] += alpha * (x - state[0])
    return state[0]
