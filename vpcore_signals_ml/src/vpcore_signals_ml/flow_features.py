"""The features of ``gbm_mf`` and ``logit`` (set ``mf``) and of ``svm_sp`` (set ``sp``).

With the mean of a column over the cells from `near` to `far` ticks from the mid on the bid and on the ask side::

    lean(column, near, far) = (bid mean - ask mean) / (bid mean of |column| + ask mean of |column|)      in [-1, 1]

and 0 where nothing is there. `mid` is in half-ticks, windows count valid bins, and a return over an invalid stretch is
the one from the last valid bin. No feature is there (NaN) for the first 100 valid bins, while the longest window fills.

Set ``mf`` (48 features; "odd" ones change sign in the mirrored market, "even" ones do not). The nine columns are v_add,
v_pull, v_fill, a_add, a_pull, j_add, j_pull, pressure and vacuum; the four: v_add, v_pull, pressure, vacuum. Slopes
are ordinary least squares.

| feature | | what |
|---|---|---|
| ``lean_<column>_3`` | odd | lean of each of nine columns, 1 to 3 ticks |
| ``lean_<column>_10`` | odd | the same, 1 to 10 ticks |
| ``slope10_<column>``, ``slope50_<column>`` | odd | slope per bin of ``lean_<column>_3`` of four, over 10 and 50 bins |
| ``mean50_<column>`` | odd | mean of ``lean_<column>_3`` over 50 bins, the same four |
| ``spot_3``, ``spot_10`` | odd | lean of pressure minus vacuum |
| ``return_1``, ``_5``, ``_20``, ``_100`` | odd | change of the mid over that many bins, half-ticks |
| ``deviation_20``, ``_100`` | even | deviation of one-bin returns, half-ticks |
| ``skew_100`` | odd | third central moment of one-bin returns over the cube of their deviation; 0 without movement |
| ``spread``, ``spread_50`` | even | spread now and its mean over 50 bins, ticks |
| ``touch``, ``touch_20`` | odd | (bid size - ask size) / (their sum) at the touch, and its mean over 20 bins |
| ``depth_3``, ``depth_10`` | odd | lean of the resting depth |
| ``flow_10``, ``flow_100`` | odd | (buys - sells) / (buys + sells) over that many bins, contracts; 0 without trades |
| ``volume_100`` | even | log(1 + mean volume per bin over 100 bins) |

Set ``sp`` (31 features), with the cells at d = 1 2 3 4 6 8 11 15 20 ticks from the mid and c(k) = (pressure - vacuum) /
(pressure + vacuum + 0.001):

| feature | | what |
|---|---|---|
| ``bid_<d>``, ``ask_<d>`` | change places | c in the cell d ticks from the mid |
| ``band_<b>`` | odd | lean of pressure minus vacuum over the bands 1-3, 4-10 and 11-20 ticks |
| ``band_mean_<b>`` | odd | its mean over 50 bins |
| ``band_deviation_<b>`` | even | its deviation over 50 bins |
| ``return_1``, ``_5``, ``_20``, ``_100`` | odd | as above |
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from vpcore.kernels.jit import jit
from vpcore.kernels.rolling import lagged, push, rolling_mean, rolling_slope, rolling_std
from vpcore_signals_ml.features import (
    ASK_SIZE,
    BID_SIZE,
    BUY_VOLUME,
    MID2,
    SELL_VOLUME,
    SPREAD,
    FeatureSet,
    described,
)
from vpcore_signals_ml.labels import Floats, Ints

WINDOW = 101
"""Values that every series keeps: a change over 100 bins needs 101 mids."""

FLOW = ("v_add", "v_pull", "v_fill", "a_add", "a_pull", "j_add", "j_pull", "pressure", "vacuum")
FOLLOWED = (0, 1, 7, 8)
"""Which of `FLOW` have slopes and means."""

PRESSURE, VACUUM, BID_DEPTH, ASK_DEPTH = 7, 8, 9, 10

DISTANCES = (1, 2, 3, 4, 6, 8, 11, 15, 20)
BANDS = ((1, 3), (4, 10), (11, 20))


class Series(NamedTuple):
    """The last values of several series; see `vpcore.kernels.rolling`."""

    rings: Floats
    cursors: Ints


def new_series(n: int, window: int = WINDOW) -> Series:
    """Return `n` empty series that keep their last `window` values."""
    return Series(np.zeros((n, 2 * window)), np.zeros((n, 2), dtype=np.int64))


@jit
def ratio(a: float, b: float) -> float:
    """Return ``a / b``, 0 where `b` is not above 0."""
    return a / b if b > 0.0 else 0.0


@jit
def lean(row: Floats, near: int, far: int) -> float:
    """Return the lean of one column; see the module."""
    radius = row.shape[0] >> 1
    bid = 0.0
    ask = 0.0
    bid_size = 0.0
    ask_size = 0.0
    for d in range(near, far + 1):
        bid += row[radius - d]
        ask += row[radius + d]
        bid_size += abs(row[radius - d])
        ask_size += abs(row[radius + d])
    return ratio(bid - ask, bid_size + ask_size)


@jit
def lean_of_difference(plus: Floats, minus: Floats, near: int, far: int) -> float:
    """Return the lean of one column minus another."""
    radius = plus.shape[0] >> 1
    bid = 0.0
    ask = 0.0
    bid_size = 0.0
    ask_size = 0.0
    for d in range(near, far + 1):
        b = plus[radius - d] - minus[radius - d]
        a = plus[radius + d] - minus[radius + d]
        bid += b
        ask += a
        bid_size += abs(b)
        ask_size += abs(a)
    return ratio(bid - ask, bid_size + ask_size)


@jit
def lean_of_depth(bid_depth: Floats, ask_depth: Floats, far: int) -> float:
    """Return the lean of the resting depth, 1 to `far` ticks from the mid."""
    radius = bid_depth.shape[0] >> 1
    bid = 0.0
    ask = 0.0
    for d in range(1, far + 1):
        bid += bid_depth[radius - d]
        ask += ask_depth[radius + d]
    return ratio(bid - ask, bid + ask)


@jit
def sum_of(series: Series, s: int, n: int) -> float:
    """Return the sum of the last `n` values of series `s`."""
    return n * rolling_mean(series.rings[s], series.cursors[s], n)


@jit
def push_mid(series: Series, s: int, mid2: float) -> float:
    """Append a mid to series `s` and return its change over the last bin."""
    change = mid2 - lagged(series.rings[s], series.cursors[s], 0) if series.cursors[s, 0] > 0 else 0.0
    push(series.rings[s], series.cursors[s], mid2)
    return change


@jit
def _skew(series: Series, s: int, n: int) -> float:
    mean = rolling_mean(series.rings[s], series.cursors[s], n)
    deviation = rolling_std(series.rings[s], series.cursors[s], n)
    if not deviation > 1e-9:
        return 0.0
    total = 0.0
    for lag in range(n):
        x = lagged(series.rings[s], series.cursors[s], lag) - mean
        total += x * x * x
    return total / n / (deviation * deviation * deviation)


@jit
def _mf_step(series: Series, grid: Floats, numbers: Floats, out: Floats) -> None:
    rings, cursors = series
    for i in range(grid.shape[0]):
        row = out[i]
        for c in range(9):
            row[c] = lean(grid[i, c], 1, 3)
            row[c + 9] = lean(grid[i, c], 1, 10)
        for s in range(4):
            push(rings[s], cursors[s], row[s if s < 2 else s + 5])
        change = push_mid(series, 4, numbers[i, MID2])
        push(rings[5], cursors[5], change)
        push(rings[6], cursors[6], numbers[i, SPREAD])
        bid_size = numbers[i, BID_SIZE]
        ask_size = numbers[i, ASK_SIZE]
        touch = ratio(bid_size - ask_size, bid_size + ask_size)
        push(rings[7], cursors[7], touch)
        push(rings[8], cursors[8], numbers[i, BUY_VOLUME] - numbers[i, SELL_VOLUME])
        push(rings[9], cursors[9], numbers[i, BUY_VOLUME] + numbers[i, SELL_VOLUME])
        if cursors[4, 0] < WINDOW:
            for j in range(row.shape[0]):
                row[j] = math.nan
            continue
        for s in range(4):
            row[18 + s] = rolling_slope(rings[s], cursors[s], 10)
            row[22 + s] = rolling_slope(rings[s], cursors[s], 50)
            row[26 + s] = rolling_mean(rings[s], cursors[s], 50)
        row[30] = lean_of_difference(grid[i, PRESSURE], grid[i, VACUUM], 1, 3)
        row[31] = lean_of_difference(grid[i, PRESSURE], grid[i, VACUUM], 1, 10)
        _returns(series, 4, row, 32)
        row[36] = rolling_std(rings[5], cursors[5], 20)
        row[37] = rolling_std(rings[5], cursors[5], 100)
        row[38] = _skew(series, 5, 100)
        row[39] = numbers[i, SPREAD]
        row[40] = rolling_mean(rings[6], cursors[6], 50)
        row[41] = touch
        row[42] = rolling_mean(rings[7], cursors[7], 20)
        row[43] = lean_of_depth(grid[i, BID_DEPTH], grid[i, ASK_DEPTH], 3)
        row[44] = lean_of_depth(grid[i, BID_DEPTH], grid[i, ASK_DEPTH], 10)
        row[45] = ratio(sum_of(series, 8, 10), sum_of(series, 9, 10))
        row[46] = ratio(sum_of(series, 8, 100), sum_of(series, 9, 100))
        row[47] = math.log1p(rolling_mean(rings[9], cursors[9], 100))


@jit
def change_over(series: Series, s: int, n: int) -> float:
    """Return by how much series `s` has changed over the last `n` steps."""
    return lagged(series.rings[s], series.cursors[s], 0) - lagged(series.rings[s], series.cursors[s], n)


@jit
def _returns(series: Series, s: int, row: Floats, first: int) -> None:
    row[first] = change_over(series, s, 1)
    row[first + 1] = change_over(series, s, 5)
    row[first + 2] = change_over(series, s, 20)
    row[first + 3] = change_over(series, s, 100)


@jit
def _sp_step(series: Series, grid: Floats, numbers: Floats, out: Floats) -> None:
    rings, cursors = series
    radius = grid.shape[2] >> 1
    for i in range(grid.shape[0]):
        row = out[i]
        pressure = grid[i, 0]
        vacuum = grid[i, 1]
        for b in range(3):
            near, far = BANDS[b]
            row[18 + b] = lean_of_difference(pressure, vacuum, near, far)
            push(rings[b], cursors[b], row[18 + b])
        push_mid(series, 3, numbers[i, MID2])
        if cursors[3, 0] < WINDOW:
            for j in range(row.shape[0]):
                row[j] = math.nan
            continue
        for j in range(9):
            for side in range(2):
                cell = radius + (2 * side - 1) * DISTANCES[j]
                total = pressure[cell] + vacuum[cell] + 1e-3
                row[9 * side + j] = (pressure[cell] - vacuum[cell]) / total
        for b in range(3):
            row[21 + b] = rolling_mean(rings[b], cursors[b], 50)
            row[24 + b] = rolling_std(rings[b], cursors[b], 50)
        _returns(series, 3, row, 27)


def _mf() -> FeatureSet:
    followed = [FLOW[c] for c in FOLLOWED]
    odd = [f"lean_{name}_{far}" for far in (3, 10) for name in FLOW]
    odd += [f"{kind}_{name}" for kind in ("slope10", "slope50", "mean50") for name in followed]
    odd += ["spot_3", "spot_10", "return_1", "return_5", "return_20", "return_100"]
    items = [(name, -1) for name in odd]
    items += [("deviation_20", 1), ("deviation_100", 1), ("skew_100", -1), ("spread", 1), ("spread_50", 1)]
    items += [(name, -1) for name in ("touch", "touch_20", "depth_3", "depth_10", "flow_10", "flow_100")]
    items += [("volume_100", 1)]
    names, sign, partner = described(items)
    columns = (*FLOW, "bid_depth", "ask_depth")
    return FeatureSet("mf", names, sign, partner, columns, 10, WINDOW - 1, lambda: new_series(10), _mf_step)


def _sp() -> FeatureSet:
    items = [(f"{side}_{d}", 1) for side in ("bid", "ask") for d in DISTANCES]
    items += [
        (f"{kind}_{b + 1}", s) for kind, s in (("band", -1), ("band_mean", -1), ("band_deviation", 1)) for b in range(3)
    ]
    items += [(f"return_{lag}", -1) for lag in (1, 5, 20, 100)]
    names, sign, partner = described(items)
    n = len(DISTANCES)
    partner[:n], partner[n : 2 * n] = np.arange(n, 2 * n), np.arange(n)
    return FeatureSet(
        "sp", names, sign, partner, ("pressure", "vacuum"), 20, WINDOW - 1, lambda: new_series(4), _sp_step
    )


MF = _mf()
SP = _sp()
