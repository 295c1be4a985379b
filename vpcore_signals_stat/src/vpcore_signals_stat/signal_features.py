"""Features that statistical signals follow: the number of a bin before its slope, z or average.

The formulas are those of the signals ``ads``, ``msd``, ``iirc``, ``jad``, ``spg`` and ``erd``, which call the functions
of this module with their own parameters. The registered features have the default parameters.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from vpcore.kernels.jit import jit
from vpcore.kernels.spatial import (
    ask_mean,
    ask_weighted,
    bid_mean,
    bid_weighted,
    entropy_of_counts,
    inverse_distance_weights,
)
from vpcore_signals_stat.groups import Feature, Floats, Group, Ints

BANDS = ((1, 3), (4, 11), (12, 23))
"""Nearest and farthest |k| of each band of `asymmetry`."""

JERK_SECONDS = 10.0
"""The engine's time constant of the jerk."""


class Bands(NamedTuple):
    """Bands of cells and their weights."""

    cells: Ints
    weights: Floats


def new_bands() -> Bands:
    """Return `BANDS`, weighted by 1 / sqrt(cells)."""
    cells = np.array(BANDS, dtype=np.int64)
    return Bands(cells, np.array([1.0 / math.sqrt(far - near + 1) for near, far in BANDS]))


def side_weights(radius: int, far: int, power: float = 1.0) -> Floats:
    """Return float64[radius + 1]: ``|k| ** -power`` up to `far`, as shares of their sum; 0 beyond."""
    weights = inverse_distance_weights(radius, power)
    weights[far + 1 :] = 0.0
    shares: Floats = weights / weights.sum()
    return shares


@jit
def asymmetry(bands: Bands, v_add: Floats, v_pull: Floats) -> float:
    """Return adds less pulls, bid minus ask, averaged over the bands; contracts/s per cell."""
    found = 0.0
    total = 0.0
    for b in range(bands.cells.shape[0]):
        near = bands.cells[b, 0]
        far = bands.cells[b, 1]
        add = bid_mean(v_add, near, far) - ask_mean(v_add, near, far)
        pull = bid_mean(v_pull, near, far) - ask_mean(v_pull, near, far)
        found += bands.weights[b] * (add - pull)
        total += bands.weights[b]
    return found / total


@jit
def vacuum_share(vacuum: Floats, weights: Floats, floor: float) -> float:
    """Return vacuum above the mid minus vacuum below it, as a share of both."""
    above = ask_weighted(vacuum, weights)
    below = bid_weighted(vacuum, weights)
    return (above - below) / (above + below + floor)


@jit
def net_tilt(add: Floats, pull: Floats, weights: Floats) -> float:
    """Return the weighted mean of add less pull, bid minus ask."""
    bid = bid_weighted(add, weights) - bid_weighted(pull, weights)
    ask = ask_weighted(add, weights) - ask_weighted(pull, weights)
    return bid - ask


@jit
def arrival_ratio(v_add: Floats, v_pull: Floats, v_fill: Floats, band: int, floor: float) -> float:
    """Return the log ratio of arriving to leaving size, bid minus ask."""
    bid_in = bid_mean(v_add, 1, band) + floor
    bid_out = bid_mean(v_pull, 1, band) + bid_mean(v_fill, 1, band) + floor
    ask_in = ask_mean(v_add, 1, band) + floor
    ask_out = ask_mean(v_pull, 1, band) + ask_mean(v_fill, 1, band) + floor
    return math.log(bid_in / bid_out) - math.log(ask_in / ask_out)


@jit
def gradient(pressure: Floats, vacuum: Floats, band: int, vacuum_weight: float) -> tuple[float, float]:
    """Return the slope of net flow outwards, ask minus bid, per tick, and its curvature at the touch, bid minus ask."""
    middle = pressure.shape[0] >> 1
    mean = (band + 1) / 2.0
    bid_slope = 0.0
    ask_slope = 0.0
    bid_curve = 0.0
    ask_curve = 0.0
    for d in range(1, band + 1):
        bid = pressure[middle - d] - vacuum_weight * vacuum[middle - d]
        ask = pressure[middle + d] - vacuum_weight * vacuum[middle + d]
        bid_slope += (d - mean) * bid
        ask_slope += (d - mean) * ask
        if d <= 3:
            share = -2.0 if d == 2 else 1.0
            bid_curve += share * bid
            ask_curve += share * ask
    return (ask_slope - bid_slope) / (band * (band * band - 1.0) / 12.0), bid_curve - ask_curve


@jit
def state_counts(code: Floats, band: int) -> tuple[int, int, int, int]:
    """Return the building and draining cells of the bid side, and of the ask side, up to `band` ticks."""
    middle = code.shape[0] >> 1
    bid_up = 0
    bid_down = 0
    ask_up = 0
    ask_down = 0
    for distance in range(1, band + 1):
        bid = code[middle - distance]
        ask = code[middle + distance]
        if bid > 0.0:
            bid_up += 1
        elif bid < 0.0:
            bid_down += 1
        if ask > 0.0:
            ask_up += 1
        elif ask < 0.0:
            ask_down += 1
    return bid_up, bid_down, ask_up, ask_down


@jit
def state_entropy(code: Floats, band: int) -> float:
    """Return the entropy of the score's states over the cells up to `band` ticks, in [0, 1]."""
    bid_up, bid_down, ask_up, ask_down = state_counts(code, band)
    up = bid_up + ask_up
    down = bid_down + ask_down
    return entropy_of_counts(up, down, 2 * band - up - down)


# -- registered features -----------------------------------------------------------------------------------------------


@jit
def _asymmetry_step(bands: Bands, grid: Floats, numbers: Floats, out: Floats) -> None:
    for i in range(grid.shape[0]):
        out[i, 0] = asymmetry(bands, grid[i, 0], grid[i, 1])


@jit
def _tilt_step(weights: Floats, grid: Floats, numbers: Floats, out: Floats) -> None:
    for i in range(grid.shape[0]):
        out[i, 0] = vacuum_share(grid[i, 7], weights, 0.5)
        out[i, 1] = arrival_ratio(grid[i, 0], grid[i, 1], grid[i, 2], 5, 0.1)
        out[i, 2] = net_tilt(grid[i, 3], grid[i, 4], weights)
        out[i, 3] = JERK_SECONDS * net_tilt(grid[i, 5], grid[i, 6], weights)


@jit
def _gradient_step(state: Floats, grid: Floats, numbers: Floats, out: Floats) -> None:
    for i in range(grid.shape[0]):
        out[i, 0], out[i, 1] = gradient(grid[i, 0], grid[i, 1], 8, 1.0)


@jit
def _entropy_step(state: Floats, grid: Floats, numbers: Floats, out: Floats) -> None:
    for i in range(grid.shape[0]):
        out[i, 0] = state_entropy(grid[i, 0], 20)


def _feature(kind: str, name: str, summary: str, sign: int = -1) -> Feature:
    return Feature(name, kind, summary, 0, sign, name)


ASYMMETRY = Group(
    "asymmetry",
    (_feature("flow", "asymmetry_23", "asymmetry of `ads`, contracts/s per cell"),),
    ("v_add", "v_pull"),
    BANDS[-1][1],
    lambda radius: new_bands(),
    _asymmetry_step,
)
TILTS = Group(
    "tilts",
    (
        _feature("flow", "vacuum_share_10", "value of `msd`"),
        _feature("flow", "arrival_ratio_5", "x of `iirc`"),
        _feature("flow", "acceleration_10", "A of `jad`, contracts/s^2 per cell"),
        _feature("flow", "jerk_10", "J of `jad`, contracts/s^2 per cell"),
    ),
    ("v_add", "v_pull", "v_fill", "a_add", "a_pull", "j_add", "j_pull", "vacuum"),
    10,
    lambda radius: side_weights(radius, 10),
    _tilt_step,
)
GRADIENT = Group(
    "gradient",
    (
        _feature("profile", "gradient_8", "g of `spg`, contracts/s per tick"),
        _feature("profile", "curvature_3", "c of `spg`, contracts/s"),
    ),
    ("pressure", "vacuum"),
    8,
    lambda radius: np.zeros(1),
    _gradient_step,
)
ENTROPY = Group(
    "entropy",
    (_feature("state", "entropy_20", "H of `erd`, in [0, 1]", 1),),
    ("flow_state_code",),
    20,
    lambda radius: np.zeros(1),
    _entropy_step,
)
GROUPS = (ASYMMETRY, TILTS, GRADIENT, ENTROPY)
