"""Features of the kinds ``touch``, ``state`` and ``profile``: sizes and trades, recent prices, cells around the mid.

Leans and windows are as in `vpcore_signals_stat.flow_features`; *net* is pressure minus vacuum. A return over an
invalid stretch is the one from the last valid bin. The profile is c(k) = (pressure - vacuum) / (pressure + vacuum +
0.001).
"""

from __future__ import annotations

import math

import numpy as np

from vpcore.kernels.jit import jit
from vpcore.kernels.rolling import lagged, push, rolling_mean, rolling_std
from vpcore_signals_stat.flow_features import Series, change_over, lean, new_series, ratio
from vpcore_signals_stat.groups import ASK_SIZE, BID_SIZE, BUY_VOLUME, MID2, SELL_VOLUME, SPREAD, Feature, Floats, Group

WINDOW = 101
"""Values of every series: a change over 100 bins needs 101 mids."""

PROFILE = 20
"""Cells of the profile on each side."""

BANDS = ((1, 3), (4, 10), (11, 20))
RETURNS = (1, 5, 10, 20, 50, 100)
DEVIATIONS = (20, 50, 100)
REACH = 8
"""Farthest of the single cells."""


@jit
def _depth_lean(bid_depth: Floats, ask_depth: Floats, far: int) -> float:
    radius = bid_depth.shape[0] >> 1
    bid = 0.0
    ask = 0.0
    for d in range(1, far + 1):
        bid += bid_depth[radius - d]
        ask += ask_depth[radius + d]
    return ratio(bid - ask, bid + ask)


@jit
def _share(series: Series, n: int) -> float:
    """Return (buys - sells) / (buys + sells) over `n` bins; series 2 and 3 hold numerator and denominator."""
    net = rolling_mean(series.rings[2], series.cursors[2], n)
    return ratio(net, rolling_mean(series.rings[3], series.cursors[3], n))


@jit
def _touch_step(series: Series, grid: Floats, numbers: Floats, out: Floats) -> None:
    rings, cursors = series
    for i in range(grid.shape[0]):
        bid_size, ask_size = numbers[i, BID_SIZE], numbers[i, ASK_SIZE]
        buys, sells = numbers[i, BUY_VOLUME], numbers[i, SELL_VOLUME]
        row = out[i]
        row[0] = numbers[i, SPREAD]
        row[2] = ratio(bid_size - ask_size, bid_size + ask_size)
        push(rings[0], cursors[0], row[0])
        push(rings[1], cursors[1], row[2])
        push(rings[2], cursors[2], buys - sells)
        push(rings[3], cursors[3], buys + sells)
        row[1] = rolling_mean(rings[0], cursors[0], 50)
        row[3] = rolling_mean(rings[1], cursors[1], 20)
        row[4] = _depth_lean(grid[i, 0], grid[i, 1], 3)
        row[5] = _depth_lean(grid[i, 0], grid[i, 1], 10)
        row[6] = _share(series, 10)
        row[7] = _share(series, 20)
        row[8] = _share(series, 100)
        row[9] = math.log1p(rolling_mean(rings[3], cursors[3], 100))


@jit
def _skew(series: Series, s: int, n: int) -> float:
    mean = rolling_mean(series.rings[s], series.cursors[s], n)
    deviation = rolling_std(series.rings[s], series.cursors[s], n)
    if math.isnan(mean):
        return math.nan
    if not deviation > 1e-9:
        return 0.0
    total = 0.0
    for lag in range(n):
        x = lagged(series.rings[s], series.cursors[s], lag) - mean
        total += x * x * x
    return total / n / (deviation * deviation * deviation)


@jit
def _spot_step(series: Series, grid: Floats, numbers: Floats, out: Floats) -> None:
    rings, cursors = series
    net = np.empty(grid.shape[2])
    for i in range(grid.shape[0]):
        for k in range(net.shape[0]):
            net[k] = grid[i, 0, k] - grid[i, 1, k]
        out[i, 0] = lean(net, 1, 3)
        out[i, 1] = lean(net, 1, 10)
        push(rings[0], cursors[0], out[i, 0])
        out[i, 2] = rolling_mean(rings[0], cursors[0], 10)
        out[i, 3] = rolling_mean(rings[0], cursors[0], 50)


@jit
def _return_step(series: Series, grid: Floats, numbers: Floats, out: Floats) -> None:
    for i in range(numbers.shape[0]):
        push(series.rings[0], series.cursors[0], numbers[i, MID2])
        for j in range(len(RETURNS)):
            out[i, j] = change_over(series, 0, RETURNS[j])


@jit
def _moment_step(series: Series, grid: Floats, numbers: Floats, out: Floats) -> None:
    rings, cursors = series
    for i in range(numbers.shape[0]):
        push(rings[0], cursors[0], numbers[i, MID2])
        if cursors[0, 0] > 1:
            push(rings[1], cursors[1], change_over(series, 0, 1))
        for j in range(len(DEVIATIONS)):
            out[i, j] = rolling_std(rings[1], cursors[1], DEVIATIONS[j])
        out[i, 3] = _skew(series, 1, 100)


@jit
def _profile_step(state: Floats, grid: Floats, numbers: Floats, out: Floats) -> None:
    radius = grid.shape[2] >> 1
    for i in range(grid.shape[0]):
        for d in range(1, PROFILE + 1):
            for side in range(2):
                cell = radius + (2 * side - 1) * d
                pressure, vacuum = grid[i, 0, cell], grid[i, 1, cell]
                out[i, side * PROFILE + d - 1] = (pressure - vacuum) / (pressure + vacuum + 1e-3)


@jit
def _band_step(series: Series, grid: Floats, numbers: Floats, out: Floats) -> None:
    rings, cursors = series
    net = np.empty(grid.shape[2])
    for i in range(grid.shape[0]):
        for k in range(net.shape[0]):
            net[k] = grid[i, 0, k] - grid[i, 1, k]
        for b in range(3):
            near, far = BANDS[b]
            out[i, b] = lean(net, near, far)
            push(rings[b], cursors[b], out[i, b])
            out[i, 3 + b] = rolling_mean(rings[b], cursors[b], 50)
            out[i, 6 + b] = rolling_std(rings[b], cursors[b], 50)


@jit
def _cell_step(state: Floats, grid: Floats, numbers: Floats, out: Floats) -> None:
    first = (grid.shape[2] >> 1) - REACH
    width = 2 * REACH + 1
    for i in range(grid.shape[0]):
        for c in range(grid.shape[1]):
            for j in range(width):
                out[i, c * width + j] = grid[i, c, first + j]


def _feature(kind: str, name: str, summary: str, warmup: int = 0, sign: int = -1, partner: str = "") -> Feature:
    return Feature(name, kind, summary, warmup, sign, partner or name)


def _no_memory(radius: int) -> Floats:
    return np.zeros(1)


_FLOW = "(buys - sells) / (buys + sells) over"
TOUCH = Group(
    "touch",
    (
        _feature("touch", "spread", "spread, ticks", sign=1),
        _feature("touch", "spread_50", "mean spread over 50 bins, ticks", 49, 1),
        _feature("touch", "touch", "(bid size - ask size) / (bid size + ask size) at the touch"),
        _feature("touch", "touch_20", "mean of touch over 20 bins", 19),
        *(_feature("touch", f"depth_{far}", f"lean of the resting depth, 1 to {far} ticks") for far in (3, 10)),
        *(_feature("touch", f"flow_{n}", f"{_FLOW} {n} bins; 0 without trades", n - 1) for n in (10, 20, 100)),
        _feature("touch", "volume_100", "log(1 + mean volume per bin over 100 bins)", 99, 1),
    ),
    ("bid_depth", "ask_depth"),
    10,
    lambda radius: new_series(4, WINDOW),
    _touch_step,
)
SPOT = Group(
    "spot",
    (
        *(_feature("state", f"spot_{far}", f"lean of net, 1 to {far} ticks") for far in (3, 10)),
        *(_feature("state", f"spot_mean_{n}", f"mean of spot_3 over {n} bins", n - 1) for n in (10, 50)),
    ),
    ("pressure", "vacuum"),
    10,
    lambda radius: new_series(1, 50),
    _spot_step,
)
RETURN = Group(
    "returns",
    tuple(_feature("state", f"return_{n}", f"change of the mid over {n} bins, half-ticks", n) for n in RETURNS),
    (),
    0,
    lambda radius: new_series(1, WINDOW),
    _return_step,
)
MOMENTS = Group(
    "moments",
    (
        *(
            _feature("state", f"deviation_{n}", f"deviation of {n} one-bin returns, half-ticks", n, 1)
            for n in DEVIATIONS
        ),
        _feature("state", "skew_100", "skewness of 100 one-bin returns; 0 without movement", 100),
    ),
    (),
    0,
    lambda radius: new_series(2, WINDOW),
    _moment_step,
)
_SIDES = {"bid": "ask", "ask": "bid"}
PROFILES = Group(
    "profile",
    tuple(
        _feature("profile", f"{side}_{d}", f"c in the {side} cell {d} ticks from the mid", 0, 1, f"{other}_{d}")
        for side, other in _SIDES.items()
        for d in range(1, PROFILE + 1)
    ),
    ("pressure", "vacuum"),
    PROFILE,
    _no_memory,
    _profile_step,
)
_BANDS = [f"{near} to {far} ticks" for near, far in BANDS]
BAND = Group(
    "bands",
    (
        *(_feature("profile", f"band_{b + 1}", f"lean of net, {_BANDS[b]}") for b in range(3)),
        *(_feature("profile", f"band_mean_{b + 1}", f"mean of band_{b + 1} over 50 bins", 49) for b in range(3)),
        *(
            _feature("profile", f"band_deviation_{b + 1}", f"deviation of band_{b + 1} over 50 bins", 49, 1)
            for b in range(3)
        ),
    ),
    ("pressure", "vacuum"),
    PROFILE,
    lambda radius: new_series(3, 50),
    _band_step,
)
_UNITS = {"pressure": "contracts/s", "vacuum": "contracts/s", "flow_score": "in [-1, 1]"}
CELLS = Group(
    "cells",
    tuple(
        _feature("profile", f"{short}_{k}", f"{name} in cell {k}, {_UNITS[name]}", 0, 1, f"{short}_{-k}")
        for name, short in (("pressure", "pressure"), ("vacuum", "vacuum"), ("flow_score", "score"))
        for k in range(-REACH, REACH + 1)
    ),
    ("pressure", "vacuum", "flow_score"),
    REACH,
    _no_memory,
    _cell_step,
)
GROUPS = (TOUCH, SPOT, RETURN, MOMENTS, PROFILES, BAND, CELLS)
