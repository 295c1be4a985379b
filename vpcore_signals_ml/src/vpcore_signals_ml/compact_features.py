"""The features of ``lsvm_der`` (set ``der``), ``knn_cl`` (set ``cl``) and ``pca_ad`` (set ``ad``).

Leans, windows, "odd" and "even" as in `vpcore_signals_ml.flow_features`; *spot* is the lean of pressure minus vacuum 1
to 3 ticks from the mid.

Set ``der`` (42 features, there after 49 valid bins): how the asymmetry of each derivative changes. The seven columns
are v_add, v_pull, v_fill, a_add, a_pull, j_add and j_pull, slopes are ordinary least squares, per bin, over 10, 25 and
50 bins (<n>).

| feature | | what |
|---|---|---|
| ``slope<n>_<column>_3`` | odd | slope of its lean 1 to 3 ticks from the mid |
| ``slope<n>_<column>_10`` | odd | slope of its lean 1 to 10 ticks from the mid |

Set ``cl`` (10 features, there after 50 valid bins): a compact state, so that near neighbours can be near.

| feature | | what |
|---|---|---|
| ``spot`` | odd | now |
| ``spot_mean_10``, ``spot_mean_50`` | odd | its mean over that many bins |
| ``wide`` | odd | lean of pressure minus vacuum 1 to 10 ticks from the mid |
| ``touch_20`` | odd | (bid size - ask size) / (their sum) at the touch, mean over 20 bins |
| ``depth`` | odd | lean of the resting depth 1 to 10 ticks from the mid |
| ``flow_20`` | odd | (buys - sells) / (buys + sells) over 20 bins, contracts; 0 without trades |
| ``return_10``, ``return_50`` | odd | change of the mid over that many bins, half-ticks |
| ``deviation_50`` | even | deviation of one-bin returns over 50 bins, half-ticks |

Set ``ad`` (41 features, no warm-up of their own), with c(k) = (pressure - vacuum) / (pressure + vacuum + 0.001):

| feature | | what |
|---|---|---|
| ``bid_<d>``, ``ask_<d>`` | change places | c in the cell d ticks from the mid, 1 to 20: the profile |
| ``spot`` | odd | the direction, no part of the profile |
"""

from __future__ import annotations

import math

import numpy as np

from vpcore.kernels.jit import jit
from vpcore.kernels.rolling import push, rolling_mean, rolling_slope, rolling_std
from vpcore_signals_ml.features import (
    ASK_SIZE,
    BID_SIZE,
    BUY_VOLUME,
    MID2,
    SELL_VOLUME,
    FeatureSet,
    described,
)
from vpcore_signals_ml.flow_features import (
    Series,
    change_over,
    lean,
    lean_of_depth,
    lean_of_difference,
    new_series,
    push_mid,
    ratio,
    sum_of,
)
from vpcore_signals_ml.labels import Floats

DERIVATIVES = ("v_add", "v_pull", "v_fill", "a_add", "a_pull", "j_add", "j_pull")
SLOPE_WINDOWS = (10, 25, 50)
SLOPE_WINDOW = 50
STATE_WINDOW = 51
"""Values that every series of a set keeps: a change over 50 bins needs 51 mids."""

PROFILE = 20
"""Cells of the profile on each side."""


@jit
def _der_step(series: Series, grid: Floats, numbers: Floats, out: Floats) -> None:
    rings, cursors = series
    for i in range(grid.shape[0]):
        row = out[i]
        for c in range(7):
            push(rings[2 * c], cursors[2 * c], lean(grid[i, c], 1, 3))
            push(rings[2 * c + 1], cursors[2 * c + 1], lean(grid[i, c], 1, 10))
        if cursors[0, 0] < SLOPE_WINDOW:
            for j in range(row.shape[0]):
                row[j] = math.nan
            continue
        for band in range(2):
            for w in range(3):
                for c in range(7):
                    s = 2 * c + band
                    row[(band * 3 + w) * 7 + c] = rolling_slope(rings[s], cursors[s], SLOPE_WINDOWS[w])


@jit
def _cl_step(series: Series, grid: Floats, numbers: Floats, out: Floats) -> None:
    rings, cursors = series
    for i in range(grid.shape[0]):
        row = out[i]
        spot = lean_of_difference(grid[i, 0], grid[i, 1], 1, 3)
        push(rings[0], cursors[0], spot)
        change = push_mid(series, 1, numbers[i, MID2])
        push(rings[2], cursors[2], change)
        bid_size = numbers[i, BID_SIZE]
        ask_size = numbers[i, ASK_SIZE]
        push(rings[3], cursors[3], ratio(bid_size - ask_size, bid_size + ask_size))
        push(rings[4], cursors[4], numbers[i, BUY_VOLUME] - numbers[i, SELL_VOLUME])
        push(rings[5], cursors[5], numbers[i, BUY_VOLUME] + numbers[i, SELL_VOLUME])
        if cursors[0, 0] < STATE_WINDOW:
            for j in range(row.shape[0]):
                row[j] = math.nan
            continue
        row[0] = spot
        row[1] = rolling_mean(rings[0], cursors[0], 10)
        row[2] = rolling_mean(rings[0], cursors[0], 50)
        row[3] = lean_of_difference(grid[i, 0], grid[i, 1], 1, 10)
        row[4] = rolling_mean(rings[3], cursors[3], 20)
        row[5] = lean_of_depth(grid[i, 2], grid[i, 3], 10)
        row[6] = ratio(sum_of(series, 4, 20), sum_of(series, 5, 20))
        row[7] = change_over(series, 1, 10)
        row[8] = change_over(series, 1, 50)
        row[9] = rolling_std(rings[2], cursors[2], 50)


@jit
def _ad_step(state: Floats, grid: Floats, numbers: Floats, out: Floats) -> None:
    radius = grid.shape[2] >> 1
    for i in range(grid.shape[0]):
        pressure = grid[i, 0]
        vacuum = grid[i, 1]
        for d in range(1, PROFILE + 1):
            for side in range(2):
                cell = radius + (2 * side - 1) * d
                total = pressure[cell] + vacuum[cell] + 1e-3
                out[i, side * PROFILE + d - 1] = (pressure[cell] - vacuum[cell]) / total
        out[i, 2 * PROFILE] = lean_of_difference(pressure, vacuum, 1, 3)


def _der() -> FeatureSet:
    names, sign, partner = described(
        [(f"slope{n}_{name}_{far}", -1) for far in (3, 10) for n in SLOPE_WINDOWS for name in DERIVATIVES]
    )
    start = lambda: new_series(2 * len(DERIVATIVES), SLOPE_WINDOW)  # noqa: E731
    return FeatureSet("der", names, sign, partner, DERIVATIVES, 10, SLOPE_WINDOW - 1, start, _der_step)


def _cl() -> FeatureSet:
    odd = ("spot", "spot_mean_10", "spot_mean_50", "wide", "touch_20", "depth", "flow_20", "return_10", "return_50")
    names, sign, partner = described([*((name, -1) for name in odd), ("deviation_50", 1)])
    columns = ("pressure", "vacuum", "bid_depth", "ask_depth")
    start = lambda: new_series(6, STATE_WINDOW)  # noqa: E731
    return FeatureSet("cl", names, sign, partner, columns, 10, STATE_WINDOW - 1, start, _cl_step)


def _ad() -> FeatureSet:
    items = [(f"{side}_{d}", 1) for side in ("bid", "ask") for d in range(1, PROFILE + 1)]
    names, sign, partner = described([*items, ("spot", -1)])
    partner[:PROFILE] += PROFILE
    partner[PROFILE : 2 * PROFILE] -= PROFILE
    return FeatureSet("ad", names, sign, partner, ("pressure", "vacuum"), PROFILE, 0, _no_memory, _ad_step)


def _no_memory() -> Floats:
    return np.zeros(1)


DER = _der()
CL = _cl()
AD = _ad()
