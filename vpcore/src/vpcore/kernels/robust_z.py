# mypy: disable-error-code="no-any-return"
"""Steps for the median, the MAD and the robust z of a moving window, and their loops over cells.

A window is four plain arrays, so that a compiled loop, a streaming signal and a scorer of many cells share one step:

* ``ring`` : float64[window], the values in order of arrival, oldest overwritten;
* ``ordered`` : float64[window], the same values ascending, the first ``count`` of them in use;
* ``cursor`` : int64[3], ``(count, next position in the ring, start of the MAD's run)``;
* ``stats`` : float64[2], ``(median, MAD)`` of the window as it stands.

Every array starts as zeros, as `new_window` makes them. The results depend only on the values in the window (a running
sum would drift): any split of a stream into calls gives the same bits, and so does a restart once the window is full.

A window holds finite numbers; `clean` is the policy for everything else.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from vpcore.kernels.jit import jit

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Rows = npt.NDArray[np.float32] | npt.NDArray[np.float64]

MAD_SCALE = 1.4826
"""Times the MAD, the standard deviation of a normal distribution (1 / 0.6745, as usually rounded)."""

_BLOCK = 128
"""Bins per pass over the cells: the window of one cell stays in the first-level cache while its block is done."""


def new_window(window: int) -> tuple[Floats, Floats, Ints, Floats]:
    """Return the ring, the ordered values, the cursor and the stats of an empty window; ``window >= 1``."""
    return np.zeros(window), np.zeros(window), np.zeros(3, dtype=np.int64), np.zeros(2)


@jit(borrows=True)
def clean(x: float) -> float:
    """Return `x` as float64, with 0.0 for NaN and infinities and 0.0 for -0.0."""
    value = np.float64(x)
    if not math.isfinite(value):
        return 0.0
    return value + 0.0


@jit(inline=True, borrows=True)
def lower_bound(ordered: Floats, count: int, x: float) -> int:
    """Return the first index of ``ordered[:count]`` with a value of at least `x`, or `count`.

    The halving is free of branches on data: the compiler uses conditional moves, which cost a third of a mispredicted
    branch per level.
    """
    if count == 0:
        return 0
    one = np.uint64(1)  # unsigned: a signed index costs a test for wrapping round at every access
    base = np.uint64(0)
    size = np.uint64(count)
    while size > one:
        half = size >> one
        if ordered[base + half - one] < x:
            base += half
        size -= half
    if ordered[base] < x:
        base += one
    return np.int64(base)  # type: ignore[return-value]  # compiled, it is an int


@jit(borrows=True)
def insert_ordered(ordered: Floats, count: int, x: float) -> None:
    """Insert `x` into ``ordered[:count]``, which grows to ``count + 1`` values."""
    at = lower_bound(ordered, count, x)
    for i in range(count, at, -1):
        ordered[i] = ordered[i - 1]
    ordered[at] = x


@jit(inline=True, borrows=True)
def replace_ordered(ordered: Floats, count: int, old: float, x: float) -> None:
    """Remove `old`, which must be present, from ``ordered[:count]`` and insert `x`: one shift of the values between
    them.
    """
    at = np.uint64(lower_bound(ordered, count, old))
    one = np.uint64(1)  # unsigned, as in `lower_bound`
    if x > old:
        to = np.uint64(lower_bound(ordered, count, x) - 1)
        while at < to:
            ordered[at] = ordered[at + one]
            at += one
    else:
        to = np.uint64(lower_bound(ordered, count, x))
        while at > to:
            ordered[at] = ordered[at - one]
            at -= one
    ordered[to] = x


@jit(borrows=True)
def median_ordered(ordered: Floats, count: int) -> float:
    """Return the median of ``ordered[:count]``, ``count >= 1``: of an even count the mean of the two middle values."""
    half = count >> 1
    if count & 1:
        return ordered[half]
    return (ordered[half - 1] + ordered[half]) / 2.0


@jit(inline=True, borrows=True)
def mad_ordered(ordered: Floats, count: int, median: float, guess: int) -> tuple[float, int]:
    """Return the median absolute deviation of ``ordered[:count]`` and the start of the run that holds it.

    The ``count // 2 + 1`` values nearest the median are consecutive. Their start is the first index ``s`` where the
    entering value on the right is at least as far as the leaving value on the left; that predicate is monotone even in
    rounded arithmetic, so the start is unique and the search may begin anywhere: at `guess`, the last start.

    Returns
    -------
    (float64, int64)
        Bit-equal to ``numpy.median(numpy.abs(x - median))``, and the start to pass as `guess` next time.
    """
    run = (count >> 1) + 1
    low = 0
    high = count - run
    at = min(max(guess, 0), high)
    # Gallop from the guess, then bisect what is left.
    step = 1
    if at < high and median - ordered[at] > ordered[at + run] - median:
        low = at + 1
        at = low
        while at < high and median - ordered[at] > ordered[at + run] - median:
            low = at + 1
            at = min(at + step, high)
            step += step
        high = min(at, high)
    else:
        high = at
        at = high - 1
        while at >= 0 and not (median - ordered[at] > ordered[at + run] - median):
            high = at
            at = max(at - step, 0) if at > 0 else -1
            step += step
        low = at + 1
    while low < high:
        mid = (low + high) >> 1
        if median - ordered[mid] > ordered[mid + run] - median:
            low = mid + 1
        else:
            high = mid
    left = median - ordered[low]
    right = ordered[low + run - 1] - median
    largest = max(left, right)
    if count & 1:
        return largest, low
    if left >= right:
        second = max(median - ordered[low + 1], right)
    else:
        second = max(left, ordered[low + run - 2] - median)
    return (second + largest) / 2.0, low


@jit(inline=True, borrows=True)
def window_push(ring: Floats, ordered: Floats, cursor: Ints, stats: Floats, x: float) -> None:
    """Put a finite `x` into a window and bring its median and MAD up to date.

    Replacing an equal value is free: cells far from the touch are 0 for long.

    Parameters
    ----------
    ring, ordered : float64[window], written
        The window's arrays; see the module.
    cursor : int64[3], written
        The window's counters; see the module.
    stats : float64[2], written
        (median, MAD) of the window, `x` included.
    x : float
        Finite, and 0.0 instead of -0.0 (see `clean`).
    """
    window = ring.shape[0]
    count = cursor[0]
    position = cursor[1]
    if count < window:
        insert_ordered(ordered, count, x)
        count += 1
        cursor[0] = count
    else:
        old = ring[position]
        if old == x:
            cursor[1] = position + 1 if position + 1 < window else 0
            return
        replace_ordered(ordered, count, old, x)
    ring[position] = x
    cursor[1] = position + 1 if position + 1 < window else 0
    median = median_ordered(ordered, count)
    if ordered[0] == ordered[count - 1]:
        mad, start = 0.0, 0
    else:
        mad, start = mad_ordered(ordered, count, median, cursor[2])
    stats[0] = median
    stats[1] = mad
    cursor[2] = start


@jit(inline=True, borrows=True)
def robust_z_step(
    ring: Floats, ordered: Floats, cursor: Ints, stats: Floats, x: float, min_periods: int, scale_floor: float
) -> float:
    """Put a value into a window and return its robust z: ``(x - median) / (1.4826 MAD)``, `x` itself included.

    Parameters
    ----------
    ring, ordered : float64[window], written
        The window's arrays; see the module.
    cursor : int64[3], written
        The window's counters; see the module.
    stats : float64[2], written
        (median, MAD) of the window.
    x : float
        Any value; NaN and infinity count as 0.
    min_periods : int
        z is 0 while the window holds fewer values.
    scale_floor : float
        z is 0 where 1.4826 MAD is at most this; in the unit of `x`.

    Returns
    -------
    float64
        Always finite.
    """
    value = clean(x)
    window_push(ring, ordered, cursor, stats, value)
    if cursor[0] < min_periods:
        return 0.0
    scale = MAD_SCALE * stats[1]
    if scale <= scale_floor:
        return 0.0
    return (value - stats[0]) / scale


@jit(borrows=True)
def robust_z_cells(
    x: Rows,
    valid: Bools,
    ring: Floats,
    ordered: Floats,
    cursor: Ints,
    stats: Floats,
    min_periods: int,
    scale_floor: float,
    z: Floats,
) -> int:
    """Robust z of every cell, each against its own window, over any number of bins.

    Parameters
    ----------
    x : float32 or float64[n_bins, n_cells]
        One row per bin.
    valid : bool[n_bins]
        An invalid bin leaves the windows untouched; its z is 0.
    ring, ordered : float64[n_cells, window], written
        The window's arrays; see the module.
    cursor : int64[n_cells, 3], written
        The window's counters; see the module.
    stats : float64[n_cells, 2], written
        (median, MAD) of the window.
    min_periods : int
        z is 0 while a window holds fewer values.
    scale_floor : float
        z is 0 where 1.4826 MAD is at most this.
    z : float64[n_bins, n_cells], written
        The z-scores.

    Returns
    -------
    int64
        Number of NaN and infinite values in valid bins, which count as 0.
    """
    n_bins, n_cells = x.shape
    replaced = 0
    for first in range(0, n_bins, _BLOCK):
        last = min(first + _BLOCK, n_bins)
        for c in range(n_cells):
            ring_c = ring[c]
            ordered_c = ordered[c]
            cursor_c = cursor[c]
            stats_c = stats[c]
            for i in range(first, last):
                if not valid[i]:
                    z[i, c] = 0.0
                    continue
                value = x[i, c]
                if not math.isfinite(value):
                    replaced += 1
                z[i, c] = robust_z_step(ring_c, ordered_c, cursor_c, stats_c, value, min_periods, scale_floor)
    return replaced


@jit(borrows=True)
def blend_cells(
    z1: Floats,
    z2: Floats,
    z3: Floats,
    weights: Floats,
    tanh_scale: float,
    threshold: float,
    score: Floats,
    state: npt.NDArray[np.int8],
) -> None:
    """Blend three z-scores into the score and its three-valued state.

    Parameters
    ----------
    z1, z2, z3 : float64[n_bins, n_cells]
        z-scores of the three channels.
    weights : float64[3]
        At least one is above 0.
    tanh_scale, threshold : float
        Both above 0.
    score : float64[n_bins, n_cells], written
        ``sum(w tanh(z / tanh_scale)) / sum(w)``, in [-1, 1].
    state : int8[n_bins, n_cells], written
        +1 where the score is at least `threshold`, -1 where it is at most ``-threshold``, else 0.

    Notes
    -----
    numpy's tanh differs in the last bit of some values: every score comes from here.
    """
    n_bins, n_cells = z1.shape
    total = weights[0] + weights[1] + weights[2]
    for i in range(n_bins):
        for c in range(n_cells):
            value = 0.0
            if z1[i, c] != 0.0:
                value += weights[0] * math.tanh(z1[i, c] / tanh_scale)
            if z2[i, c] != 0.0:
                value += weights[1] * math.tanh(z2[i, c] / tanh_scale)
            if z3[i, c] != 0.0:
                value += weights[2] * math.tanh(z3[i, c] / tanh_scale)
            value /= total
            score[i, c] = value
            if value >= threshold:
                state[i, c] = 1
            elif value <= -threshold:
                state[i, c] = -1
            else:
                state[i, c] = 0
