"""Shared helpers of signals: durations in bins, the reach of the grid, the depth behind the touch."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from vpcore import ConfigError, SignalContext
from vpcore.kernels.jit import jit


def bins_of(milliseconds: float, context: SignalContext) -> int:
    """Return a duration in whole bins, at least one."""
    return max(1, round(milliseconds / 1000.0 / context.bin_seconds))


def require_reach(context: SignalContext, signal: str, parameter: str, reach: int) -> None:
    """Raise `ConfigError` if the grid does not reach a parameter's distance.

    Parameters
    ----------
    context : SignalContext
        The grid.
    signal, parameter : str
        Names, for the message.
    reach : int
        The parameter's value: the farthest cell that counts, in ticks.
    """
    if reach > context.radius:
        raise ConfigError(
            f"{parameter} of signal '{signal}' must be at most the grid's radius, {context.radius} ticks, was {reach}. "
            "Lower it, or raise pipeline.grid_radius_ticks."
        )


@jit
def touch_distance(bid_int: int, ask_int: int, tick_int: int) -> int:
    """Return |k| of the cells that hold the best bid and the best ask: half the spread in ticks, rounded up."""
    return ((ask_int - bid_int) // tick_int + 1) >> 1


@jit
def size_behind(depth: npt.NDArray[np.float64], distance: int, side: int) -> float:
    """Return the depth in the cell ``k = side * distance``; 0 beyond the grid.

    The price one tick behind another lies in the next cell outwards, so the level `m` ticks behind the touch is at the
    touch's distance plus `m`.
    """
    radius = depth.shape[0] >> 1
    if distance > radius:
        return 0.0
    return float(depth[radius + side * distance])
