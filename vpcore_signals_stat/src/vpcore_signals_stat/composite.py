"""``composite``: asymmetric derivative slope, pressure front and vacuum asymmetry as one voice.

The parts x_i are the values of ``ads``, ``pfp`` and ``msd`` (their modules have the formulas), with the durations given
here, equal weights for the slope windows of ``ads``, and their other parameters at the defaults. Each is brought to a
common scale by its own running magnitude: with E the exponential average of time constant `magnitude_ms`, started by
the part's first value::

    m_i   = sqrt(E[x_i^2])
    y_i   = tanh(x_i / (tanh_scale max(m_i, 0.001)))
    value = sum_i w_i y_i / sum_i w_i                                        in [-1, 1], over the parts that are warm

A part is warm once it has had values for `magnitude_ms`. While some are not, the others' weights are all there is.

Economic reading: the three look at the same thing, which side of the book gives way, in its change, its propagation and
its level, and their errors are not the same. Dividing by the magnitude, and not by a deviation about a mean, keeps the
sign of each part. The tanh keeps a single part in an unusual minute from drowning the others.

Durations are in ms and are rounded to whole bins, so that the signal means the same at every bin width. Positive is
bullish. The value is NaN until the first part with a weight is warm.
"""

from __future__ import annotations

import math
from typing import Annotated, NamedTuple, Self

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from vpcore import SignalContext, SignalParams, StatisticalSignal
from vpcore.kernels.jit import jit
from vpcore.kernels.rolling import ema_alpha, ema_step
from vpcore_signals_stat import ads, msd, pfp
from vpcore_signals_stat.book import bins_of

MAGNITUDE_FLOOR = 1e-3
"""Least magnitude of a part; all of them have values in [-1, 1]."""

Weight = Annotated[float, Field(ge=0.0, le=1e6)]
SlopeMs = Annotated[float, Field(ge=1.0, le=600_000.0)]


class State(NamedTuple):
    """Memory between bins, with the parameters: the parts' states, and the magnitudes."""

    ads: ads.State
    pfp: pfp.State
    msd: msd.State
    weights: npt.NDArray[np.float64]
    alpha: float
    settle: int
    tanh_scale: float
    seen: npt.NDArray[np.int64]
    squares: npt.NDArray[np.float64]


@jit
def _voice(state: State, part: int, x: float) -> float:
    """Update the magnitude of one part and return the scaled value of the part; NaN until it is warm."""
    if math.isnan(x):
        return x
    square = ema_step(state.squares[part], x * x, state.alpha)
    state.seen[part] += 1
    if state.seen[part] < state.settle:
        return math.nan
    return math.tanh(x / (state.tanh_scale * max(math.sqrt(square), MAGNITUDE_FLOOR)))


@jit
def _step(
    state: State,
    bin_seq: int,
    v_add: npt.NDArray[np.float64],
    v_pull: npt.NDArray[np.float64],
    v_fill: npt.NDArray[np.float64],
    vacuum: npt.NDArray[np.float64],
) -> float:
    voices = (
        _voice(state, 0, ads.ads_step(state.ads, v_add, v_pull)),
        _voice(state, 1, pfp.pfp_step(state.pfp, bin_seq, v_add, v_pull, v_fill)),
        _voice(state, 2, msd.msd_step(state.msd, vacuum)),
    )
    blend = 0.0
    total = 0.0
    for part in range(3):
        if not math.isnan(voices[part]):
            blend += state.weights[part] * voices[part]
            total += state.weights[part]
    return blend / total if total > 0.0 else math.nan


class Composite(StatisticalSignal):
    """``ads``, ``pfp`` and ``msd``, each over its running magnitude, blended."""

    version = 1
    columns = ("bin_seq", "v_add", "v_pull", "v_fill", "vacuum")
    kernel = _step

    class Params(SignalParams):
        """Parameters of ``composite``."""

        weights: tuple[Weight, Weight, Weight] = Field(
            (0.4, 0.2, 0.4), description="Weights of ads, pfp and msd; not all 0."
        )
        slope_ms: tuple[SlopeMs, ...] = Field(
            (1000.0, 2500.0, 5000.0), min_length=1, max_length=8, description="Slope windows of ads, rising, in ms."
        )
        zscore_ms: float = Field(20_000.0, ge=10.0, le=600_000.0, description="z window of ads, in ms.")
        lag_ms: float = Field(1000.0, ge=1.0, le=60_000.0, description="How far the inner cells lead in pfp, in ms.")
        average_ms: float = Field(
            10_000.0, ge=1.0, le=3_600_000.0, description="Time constant of the averages of pfp, in ms."
        )
        magnitude_ms: float = Field(
            60_000.0, ge=1.0, le=3_600_000.0, description="Time constant of the parts' magnitudes, in ms."
        )
        tanh_scale: float = Field(
            2.0, gt=0.0, le=1000.0, description="Multiple of the magnitude at which tanh says 0.76."
        )

        @model_validator(mode="after")
        def _fit(self) -> Self:
            if list(self.slope_ms) != sorted(set(self.slope_ms)):
                raise ValueError(f"slope_ms must rise without repeats, was {list(self.slope_ms)}.")
            if not math.fsum(self.weights) > 0.0:
                raise ValueError("weights must not all be 0: give at least one part a weight above 0.")
            return self

    params: Params

    def parts(self, context: SignalContext) -> tuple[ads.Ads, pfp.Pfp, msd.Msd]:
        """Return the parts with their windows in bins.

        Raises
        ------
        ConfigError
            If a window is shorter than its part allows at this bin width, or two slope windows become one.
        """
        p = self.params
        windows = tuple(bins_of(ms, context) for ms in p.slope_ms)
        return (
            ads.Ads(
                slope_windows=windows, blend_weights=(1.0,) * len(windows), zscore_window=bins_of(p.zscore_ms, context)
            ),
            pfp.Pfp(lag_ms=p.lag_ms, average_ms=p.average_ms),
            msd.Msd(),
        )

    def start(self, context: SignalContext) -> State:
        """Return the parts' fresh states.

        Raises
        ------
        ConfigError
            If the parts do not fit the grid or the bin width; see `parts`.
        """
        p = self.params
        first, second, third = self.parts(context)
        return State(
            ads=first.start(context),
            pfp=second.start(context),
            msd=third.start(context),
            weights=np.array(p.weights, dtype=np.float64),
            alpha=ema_alpha(context.bin_seconds, p.magnitude_ms / 1000.0),
            settle=bins_of(p.magnitude_ms, context),
            tanh_scale=float(p.tanh_scale),
            seen=np.zeros(3, dtype=np.int64),
            squares=np.zeros((3, 2)),
        )

    def warmup_bins(self, context: SignalContext) -> int:
        """Return the bins until the first part with a weight is warm."""
        settle = bins_of(self.params.magnitude_ms, context) - 1
        weighted = zip(self.parts(context), self.params.weights, strict=True)
        return settle + min(part.warmup_bins(context) for part, weight in weighted if weight > 0.0)

    def thresholds(self) -> tuple[float, ...]:
        """Return the default grid: parts that are unusual at the same time are rare."""
        return (0.3, 0.4, 0.5, 0.6)
