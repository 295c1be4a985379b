"""``spg``, spatial pressure gradient: does the flow pile up at the touch, and is it piling up further?

With the net flow ``n(k) = pressure(k) - vacuum_weight * vacuum(k)``, its least squares slope over the distances 1 to
`band_ticks`, outwards from the mid, and its curvature at the touch, on each side::

    slope     = sum_d (d - mean d) n(d) / sum_d (d - mean d)^2               contracts/s per tick
    curvature = n(1) - 2 n(2) + n(3)                                         contracts/s
    g = slope of the ask side - slope of the bid side
    c = curvature of the bid side - curvature of the ask side

With exponential averages E (time constants `fast_ms` and `slow_ms`, one step per valid bin)::

    x_1 = E_fast(g)        x_2 = E_fast(g) - E_slow(g)        x_3 = E_fast(c)
    value = sum_i w_i tanh(x_i / (tanh_scale max(rms_i, rms_floor))) / sum_i w_i       in [-1, 1]

with ``rms_i`` the root mean square of x_i over the last `rms_window` bins.

Economic reading: net flow that falls off outwards on the bid side (a negative slope) is support that is built where it
counts, at the touch; the same on the ask side is resistance. The fast average is the lean as it stands, its difference
from the slow one says that the lean is new, and the curvature asks about the three cells at the touch alone, where a
peak or a hole shows first.

Positive is bullish. The value is NaN until the window of the root mean square is full.
"""

from __future__ import annotations

import math
from typing import Annotated, NamedTuple, Self

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from vpcore import SignalContext, SignalParams, StatisticalSignal
from vpcore.kernels.jit import jit
from vpcore.kernels.rolling import ema_alpha, ema_step, push, rolling_rms
from vpcore_signals_stat.book import require_reach
from vpcore_signals_stat.signal_features import gradient

Weight = Annotated[float, Field(ge=0.0, le=1e6)]


class State(NamedTuple):
    """Memory between bins, with the parameters for compiled code."""

    band: int
    vacuum_weight: float
    alpha_fast: float
    alpha_slow: float
    weights: npt.NDArray[np.float64]
    tanh_scale: float
    floor: float
    averages: npt.NDArray[np.float64]
    rings: npt.NDArray[np.float64]
    cursors: npt.NDArray[np.int64]


@jit
def _step(state: State, pressure: npt.NDArray[np.float64], vacuum: npt.NDArray[np.float64]) -> float:
    slope, curve = gradient(pressure, vacuum, state.band, state.vacuum_weight)
    fast = ema_step(state.averages[0], slope, state.alpha_fast)
    slow = ema_step(state.averages[1], slope, state.alpha_slow)
    curvature = ema_step(state.averages[2], curve, state.alpha_fast)

    blend = 0.0
    total = 0.0
    for j in range(3):
        x = fast if j == 0 else (fast - slow if j == 1 else curvature)
        push(state.rings[j], state.cursors[j], x)
        rms = rolling_rms(state.rings[j], state.cursors[j], state.rings.shape[1] >> 1)
        if not math.isnan(rms):
            blend += state.weights[j] * math.tanh(x / (state.tanh_scale * max(rms, state.floor)))
            total += state.weights[j]
    return blend / total if total > 0.0 else math.nan


class Spg(StatisticalSignal):
    """Slope of net flow across the cells of each side, its change, and its curvature at the touch."""

    version = 1
    columns = ("pressure", "vacuum")
    kernel = _step

    class Params(SignalParams):
        """Parameters of ``spg``."""

        band_ticks: int = Field(8, ge=3, le=500, description="Farthest cell that counts, in ticks from the mid.")
        vacuum_weight: float = Field(1.0, ge=0.0, le=100.0, description="Weight of vacuum against pressure.")
        fast_ms: float = Field(1000.0, ge=1.0, le=600_000.0, description="Time constant of the fast average, in ms.")
        slow_ms: float = Field(
            10_000.0, ge=1.0, le=3_600_000.0, description="Time constant of the slow average, above fast_ms, in ms."
        )
        blend_weights: tuple[Weight, Weight, Weight] = Field(
            (0.5, 0.25, 0.25), description="Weights of the gradient, its change and the curvature; not all 0."
        )
        rms_window: int = Field(600, ge=2, le=100_000, description="Window of the root mean square, in bins.")
        rms_floor: float = Field(
            0.05, gt=0.0, le=1e6, description="Least root mean square, in contracts/s (per tick, of the slopes)."
        )
        tanh_scale: float = Field(2.0, gt=0.0, le=1000.0, description="Multiple of the RMS at which tanh says 0.76.")

        @model_validator(mode="after")
        def _fit(self) -> Self:
            if not self.slow_ms > self.fast_ms:
                raise ValueError(f"slow_ms must be above fast_ms, {self.fast_ms:g}, was {self.slow_ms:g}.")
            if not math.fsum(self.blend_weights) > 0.0:
                raise ValueError("blend_weights must not all be 0: give at least one part a weight above 0.")
            return self

    params: Params

    def start(self, context: SignalContext) -> State:
        """Return empty averages and windows.

        Raises
        ------
        ConfigError
            If the grid does not reach `band_ticks`.
        """
        p = self.params
        require_reach(context, "spg", "band_ticks", p.band_ticks)
        return State(
            band=p.band_ticks,
            vacuum_weight=float(p.vacuum_weight),
            alpha_fast=ema_alpha(context.bin_seconds, p.fast_ms / 1000.0),
            alpha_slow=ema_alpha(context.bin_seconds, p.slow_ms / 1000.0),
            weights=np.array(p.blend_weights, dtype=np.float64),
            tanh_scale=float(p.tanh_scale),
            floor=float(p.rms_floor),
            averages=np.zeros((3, 2)),
            rings=np.zeros((3, 2 * p.rms_window)),
            cursors=np.zeros((3, 2), dtype=np.int64),
        )

    def warmup_bins(self, context: SignalContext) -> int:
        """Return the bins until the window of the root mean square is full."""
        return self.params.rms_window - 1
