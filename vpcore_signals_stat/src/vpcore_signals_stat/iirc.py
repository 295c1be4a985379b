"""``iirc``, imbalance of intensity, rate of change: is arrival gaining on departure, on the bid faster than on the ask?

On each side, over the cells with 1 <= |k| <= `band_ticks`, the mean of each velocity, and the log ratio of what arrives
to what leaves::

    r = log((v_add + intensity_floor) / (v_pull + v_fill + intensity_floor))
    x = r of the bid side - r of the ask side

For the fast and the slow window, s_n is the least squares slope of the last n values of x, per second, and what is
within the noise does not count::

    u_n = sign(s_n) max(|s_n| - noise_floor, 0)
    value = (1 - slow_weight) tanh(u_fast / slope_scale) + slow_weight tanh(u_slow / slope_scale)     in (-1, 1)

Economic reading: the ratio of arriving to leaving size says who is winning a side of the book, whatever its volume. Its
level is soon in the price; its rate of change says that the balance is tipping now. The fast slope sees the turn, the
slow one asks that it lasts. Small floors keep an empty side at a ratio of 1 instead of at none, and slopes below the
noise floor are those of a ratio that merely drifts with the engine's memory.

Positive is bullish. The value is NaN until the slow window is full.
"""

from __future__ import annotations

import math
from typing import NamedTuple, Self

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from vpcore import SignalContext, SignalParams, StatisticalSignal
from vpcore.kernels.jit import jit
from vpcore.kernels.rolling import new_series, push, rolling_slope
from vpcore_signals_stat.book import require_reach
from vpcore_signals_stat.signal_features import arrival_ratio


class State(NamedTuple):
    """Memory between bins, with the parameters for compiled code."""

    band: int
    fast: int
    slow: int
    slow_weight: float
    bin_seconds: float
    intensity_floor: float
    noise_floor: float
    slope_scale: float
    series: npt.NDArray[np.float64]
    cursor: npt.NDArray[np.int64]


@jit
def _voice(state: State, n: int) -> float:
    slope = rolling_slope(state.series, state.cursor, n) / state.bin_seconds
    if math.isnan(slope):
        return slope
    beyond = max(abs(slope) - state.noise_floor, 0.0)
    return math.copysign(math.tanh(beyond / state.slope_scale), slope)


@jit
def _step(
    state: State, v_add: npt.NDArray[np.float64], v_pull: npt.NDArray[np.float64], v_fill: npt.NDArray[np.float64]
) -> float:
    push(state.series, state.cursor, arrival_ratio(v_add, v_pull, v_fill, state.band, state.intensity_floor))
    return (1.0 - state.slow_weight) * _voice(state, state.fast) + state.slow_weight * _voice(state, state.slow)


class Iirc(StatisticalSignal):
    """Rate of change of the log ratio of arriving to leaving size, bid minus ask."""

    version = 1
    columns = ("v_add", "v_pull", "v_fill")
    kernel = _step

    class Params(SignalParams):
        """Parameters of ``iirc``."""

        band_ticks: int = Field(5, ge=1, le=500, description="Farthest cell that counts, in ticks from the mid.")
        fast_window: int = Field(10, ge=2, le=10_000, description="Window of the fast slope, in bins.")
        slow_window: int = Field(
            50, ge=3, le=10_000, description="Window of the slow slope, above fast_window, in bins."
        )
        slow_weight: float = Field(
            0.5, ge=0.0, le=1.0, description="Share of the slow slope; the fast one has the rest."
        )
        intensity_floor: float = Field(
            0.1, gt=0.0, le=1e6, description="What is added above and below the ratio, in contracts/s per cell."
        )
        noise_floor: float = Field(0.02, ge=0.0, le=1e3, description="Slope that does not count, in 1/s.")
        slope_scale: float = Field(1.0, gt=0.0, le=1e3, description="Slope at which tanh says 0.76, in 1/s.")

        @model_validator(mode="after")
        def _rising(self) -> Self:
            if not self.slow_window > self.fast_window:
                raise ValueError(f"slow_window must be above fast_window, {self.fast_window}, was {self.slow_window}.")
            return self

    params: Params

    def start(self, context: SignalContext) -> State:
        """Return an empty window.

        Raises
        ------
        ConfigError
            If the grid does not reach `band_ticks`.
        """
        p = self.params
        require_reach(context, "iirc", "band_ticks", p.band_ticks)
        series, cursor = new_series(p.slow_window)
        return State(
            band=p.band_ticks,
            fast=p.fast_window,
            slow=p.slow_window,
            slow_weight=float(p.slow_weight),
            bin_seconds=context.bin_seconds,
            intensity_floor=float(p.intensity_floor),
            noise_floor=float(p.noise_floor),
            slope_scale=float(p.slope_scale),
            series=series,
            cursor=cursor,
        )

    def warmup_bins(self, context: SignalContext) -> int:
        """Return the bins until the slow window is full."""
        return self.params.slow_window - 1

    def thresholds(self) -> tuple[float, ...]:
        """Return the default grid: a ratio that changes e-fold within a second says about 0.75."""
        return (0.3, 0.45, 0.6, 0.7)
