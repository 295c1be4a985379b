"""Features of kind ``flow``: leans of the engine's columns towards one side, their slopes and means.

With the mean of a column over the cells `near` to `far` ticks from the mid, on the bid and on the ask side::

    lean(column, near, far) = (bid mean - ask mean) / (bid mean of |column| + ask mean of |column|)      in [-1, 1]

and 0 where both sides are empty. Windows count valid bins. Slopes are ordinary least squares, per bin.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from vpcore.kernels.jit import jit
from vpcore.kernels.rolling import lagged, push, rolling_mean, rolling_slope
from vpcore_signals_stat.groups import Feature, Floats, Group, Ints

FLOW = ("v_add", "v_pull", "v_fill", "a_add", "a_pull", "j_add", "j_pull", "pressure", "vacuum")
FOLLOWED = (0, 1, 7, 8)
"""Columns of `FLOW` with slopes and means of their level."""

DERIVATIVES = FLOW[:7]
WINDOW = 50


class Series(NamedTuple):
    """The last values of several series; see `vpcore.kernels.rolling`."""

    rings: Floats
    cursors: Ints


def new_series(n: int, window: int) -> Series:
    """Return `n` empty series that keep their last `window` values."""
    return Series(np.zeros((n, 2 * window)), np.zeros((n, 2), dtype=np.int64))


@jit
def ratio(a: float, b: float) -> float:
    """Return ``a / b``: 0 where `b` is not above 0, NaN where it is NaN."""
    if b > 0.0:
        return a / b
    return math.nan if math.isnan(b) else 0.0


@jit
def lean(row: Floats, near: int, far: int) -> float:
    """Return the lean of one column; see the module."""
    radius = row.shape[0] >> 1
    bid = 0.0
    ask = 0.0
    size = 0.0
    for d in range(near, far + 1):
        bid += row[radius - d]
        ask += row[radius + d]
        size += abs(row[radius - d]) + abs(row[radius + d])
    return ratio(bid - ask, size)


@jit
def change_over(series: Series, s: int, n: int) -> float:
    """Return the change of series `s` over the last `n` steps; NaN while there are fewer."""
    if series.cursors[s, 0] <= n:
        return math.nan
    return lagged(series.rings[s], series.cursors[s], 0) - lagged(series.rings[s], series.cursors[s], n)


@jit
def _lean_step(series: Series, grid: Floats, numbers: Floats, out: Floats) -> None:
    rings, cursors = series
    for i in range(grid.shape[0]):
        row = out[i]
        for c in range(9):
            row[c] = lean(grid[i, c], 1, 3)
            row[c + 9] = lean(grid[i, c], 1, 10)
        for s in range(4):
            push(rings[s], cursors[s], row[FOLLOWED[s]])
            row[18 + s] = rolling_slope(rings[s], cursors[s], 10)
            row[22 + s] = rolling_slope(rings[s], cursors[s], 50)
            row[26 + s] = rolling_mean(rings[s], cursors[s], 50)


@jit
def _slope_step(series: Series, grid: Floats, numbers: Floats, out: Floats) -> None:
    rings, cursors = series
    for i in range(grid.shape[0]):
        for c in range(7):
            push(rings[c], cursors[c], lean(grid[i, c], 1, 3))
            push(rings[c + 7], cursors[c + 7], lean(grid[i, c], 1, 10))
            for band in range(2):
                s = c + 7 * band
                out[i, 21 * band + c] = rolling_slope(rings[s], cursors[s], 10)
                out[i, 21 * band + 7 + c] = rolling_slope(rings[s], cursors[s], 25)
                out[i, 21 * band + 14 + c] = rolling_slope(rings[s], cursors[s], 50)


def _odd(name: str, summary: str, warmup: int = 0) -> Feature:
    return Feature(name, "flow", summary, warmup, -1, name)


_FOLLOWED = [FLOW[c] for c in FOLLOWED]
LEANS = Group(
    "leans",
    (
        *(_odd(f"lean_{name}_{far}", f"lean of {name}, 1 to {far} ticks") for far in (3, 10) for name in FLOW),
        *(
            _odd(f"slope{n}_{name}", f"slope of lean_{name}_3 over {n} bins, per bin", n - 1)
            for n in (10, 50)
            for name in _FOLLOWED
        ),
        *(_odd(f"mean50_{name}", f"mean of lean_{name}_3 over 50 bins", 49) for name in _FOLLOWED),
    ),
    FLOW,
    10,
    lambda radius: new_series(4, WINDOW),
    _lean_step,
)
SLOPES = Group(
    "slopes",
    tuple(
        _odd(f"slope{n}_{name}_{far}", f"slope of the lean of {name}, 1 to {far} ticks, over {n} bins, per bin", n - 1)
        for far in (3, 10)
        for n in (10, 25, 50)
        for name in DERIVATIVES
    ),
    DERIVATIVES,
    10,
    lambda radius: new_series(14, WINDOW),
    _slope_step,
)
GROUPS = (LEANS, SLOPES)
