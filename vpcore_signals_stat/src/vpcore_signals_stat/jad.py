"""``jad``, jerk and acceleration divergence: is the change of flow still gathering, or already turning?

Over the cells with 1 <= |k| <= `band_ticks` and ``w_k = 1 / |k|``, the weighted mean of acceleration and of jerk of add
less those of pull, bid side minus ask side; the jerk times 10 s, the engine's own time constant of it, so that both are
in contracts/s^2 per cell::

    A = mean_bid(a_add - a_pull) - mean_ask(a_add - a_pull)
    J = 10 (mean_bid(j_add - j_pull) - mean_ask(j_add - j_pull))
    w = agree_weight where A and J have the same sign, diverge_weight where they have opposite ones or one is 0
    x = (1 - w) A + w J
    value = tanh(z / tanh_scale)                                             in (-1, 1)

with z the robust z of x over the last `zscore_window` bins, itself included (``(x - median) / (1.4826 MAD)``, 0 where
1.4826 MAD is at most `zscore_scale_floor`).

Economic reading: where jerk and acceleration agree, the shift of flow towards one side is still gathering, and the
acceleration, the steadier of the two, says how large it is. Where they part, the acceleration is the past and the jerk
the turn: it has the larger weight there. The z says how unusual the push is for this market.

Positive is bullish. The value is NaN until the z window is full.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from pydantic import Field

from vpcore import SignalContext, SignalParams, StatisticalSignal
from vpcore.kernels.jit import jit
from vpcore.kernels.robust_z import robust_z_step
from vpcore_signals_stat.book import require_reach
from vpcore_signals_stat.signal_features import JERK_SECONDS, net_tilt, side_weights


class State(NamedTuple):
    """Memory between bins, with the parameters for compiled code."""

    cell_weights: npt.NDArray[np.float64]
    agree_weight: float
    diverge_weight: float
    tanh_scale: float
    scale_floor: float
    ring: npt.NDArray[np.float64]
    ordered: npt.NDArray[np.float64]
    cursor: npt.NDArray[np.int64]
    stats: npt.NDArray[np.float64]


@jit
def _step(
    state: State,
    a_add: npt.NDArray[np.float64],
    a_pull: npt.NDArray[np.float64],
    j_add: npt.NDArray[np.float64],
    j_pull: npt.NDArray[np.float64],
) -> float:
    acceleration = net_tilt(a_add, a_pull, state.cell_weights)
    jerk = JERK_SECONDS * net_tilt(j_add, j_pull, state.cell_weights)
    agree = (acceleration > 0.0 and jerk > 0.0) or (acceleration < 0.0 and jerk < 0.0)
    weight = state.agree_weight if agree else state.diverge_weight
    x = (1.0 - weight) * acceleration + weight * jerk
    window = state.ring.shape[0]
    z = robust_z_step(state.ring, state.ordered, state.cursor, state.stats, x, window, state.scale_floor)
    return math.tanh(z / state.tanh_scale) if state.cursor[0] == window else math.nan


class Jad(StatisticalSignal):
    """Jerk against acceleration of adds less pulls, bid minus ask."""

    version = 1
    columns = ("a_add", "a_pull", "j_add", "j_pull")
    kernel = _step

    class Params(SignalParams):
        """Parameters of ``jad``."""

        band_ticks: int = Field(10, ge=1, le=500, description="Farthest cell that counts, in ticks from the mid.")
        agree_weight: float = Field(0.3, ge=0.0, le=1.0, description="Share of the jerk where both signs agree.")
        diverge_weight: float = Field(0.7, ge=0.0, le=1.0, description="Share of the jerk where they do not.")
        zscore_window: int = Field(600, ge=10, le=10_000, description="Window of the robust z, in bins.")
        zscore_scale_floor: float = Field(
            0.01,
            ge=0.0,
            le=1e6,
            description="The value is 0 where 1.4826 MAD is at most this, in contracts/s^2 per cell.",
        )
        tanh_scale: float = Field(4.0, gt=0.0, le=100.0, description="z at which tanh says 0.76.")

    params: Params

    def start(self, context: SignalContext) -> State:
        """Return an empty window.

        Raises
        ------
        ConfigError
            If the grid does not reach `band_ticks`.
        """
        p = self.params
        require_reach(context, "jad", "band_ticks", p.band_ticks)
        return State(
            cell_weights=side_weights(context.radius, p.band_ticks),
            agree_weight=float(p.agree_weight),
            diverge_weight=float(p.diverge_weight),
            tanh_scale=float(p.tanh_scale),
            scale_floor=float(p.zscore_scale_floor),
            ring=np.zeros(p.zscore_window),
            ordered=np.zeros(p.zscore_window),
            cursor=np.zeros(3, dtype=np.int64),
            stats=np.zeros(2),
        )

    def warmup_bins(self, context: SignalContext) -> int:
        """Return the bins until the z window is full."""
        return self.params.zscore_window - 1

    def thresholds(self) -> tuple[float, ...]:
        """Return the default grid."""
        return (0.4, 0.6, 0.8, 0.9)
