"""``ads``, asymmetric derivative slope: is support building on the bid faster than resistance on the ask?

For each band of cells B (|k| of 1 to 3, 4 to 11, 12 to 23; ``n_B`` cells a side)::

    add_B  = mean over the bid side of v_add  - mean over the ask side of v_add
    pull_B = mean over the bid side of v_pull - mean over the ask side of v_pull
    asymmetry = sum_B (add_B - pull_B) / sqrt(n_B)  /  sum_B 1 / sqrt(n_B)             contracts/s per cell

For each slope window n, the least squares slope of the last n asymmetries, per second, and its robust z over the last
`zscore_window` slopes (``z = (x - median) / (1.4826 MAD)``, 0 where 1.4826 MAD is at most `zscore_scale_floor`)::

    value = sum_n w_n tanh(z_n / tanh_scale) / sum_n w_n                               in [-1, 1]

Economic reading: size that arrives on the bid and leaves the ask leans the book upwards. Everyone who sees the book
knows the level of this lean. A steep slope means that the lean is growing now, and a large z that the slope is unusual
for this market. Near bands weigh more; the square root preserves the weight of far, wide bands.

Positive is bullish. The value is NaN until the longest slope window and then the z window have filled.
"""

from __future__ import annotations

import math
from typing import Annotated, NamedTuple, Self

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from vpcore import ConfigError, SignalContext, SignalParams, StatisticalSignal
from vpcore.kernels.jit import jit
from vpcore.kernels.robust_z import robust_z_step
from vpcore.kernels.rolling import push, rolling_slope
from vpcore_signals_stat.signal_features import BANDS, Bands, asymmetry, new_bands

Window = Annotated[int, Field(ge=2, le=10_000)]
Weight = Annotated[float, Field(ge=0.0, le=1e6)]


class State(NamedTuple):
    """Memory between bins, with the parameters for compiled code."""

    bands: Bands
    windows: npt.NDArray[np.int64]
    weights: npt.NDArray[np.float64]
    bin_seconds: float
    tanh_scale: float
    scale_floor: float
    series: npt.NDArray[np.float64]
    series_cursor: npt.NDArray[np.int64]
    ring: npt.NDArray[np.float64]
    ordered: npt.NDArray[np.float64]
    cursor: npt.NDArray[np.int64]
    stats: npt.NDArray[np.float64]


@jit
def ads_step(state: State, v_add: npt.NDArray[np.float64], v_pull: npt.NDArray[np.float64]) -> float:
    """Return the value of one bin from its rows, float64[n_cells] each."""
    push(state.series, state.series_cursor, asymmetry(state.bands, v_add, v_pull))

    window = state.ring.shape[1]
    warm = True
    blend = 0.0
    total = 0.0
    for j in range(state.windows.shape[0]):
        slope = rolling_slope(state.series, state.series_cursor, state.windows[j]) / state.bin_seconds
        if math.isnan(slope):
            warm = False
            continue
        z = robust_z_step(
            state.ring[j], state.ordered[j], state.cursor[j], state.stats[j], slope, window, state.scale_floor
        )
        if state.cursor[j, 0] < window:
            warm = False
        blend += state.weights[j] * math.tanh(z / state.tanh_scale)
        total += state.weights[j]
    return blend / total if warm else math.nan


class Ads(StatisticalSignal):
    """Slope of the bid/ask asymmetry of adds and pulls near the touch."""

    version = 1
    columns = ("v_add", "v_pull")
    kernel = ads_step

    class Params(SignalParams):
        """Parameters of ``ads``."""

        slope_windows: tuple[Window, ...] = Field(
            (10, 25, 50), min_length=1, max_length=8, description="Windows of the slopes, rising, in bins."
        )
        blend_weights: tuple[Weight, ...] = Field(
            (0.40, 0.35, 0.25), min_length=1, max_length=8, description="Weight of each slope window; not all 0."
        )
        zscore_window: int = Field(200, ge=10, le=10_000, description="Slopes that a slope is compared with, in bins.")
        zscore_scale_floor: float = Field(
            1e-3, ge=0.0, le=1e3, description="A slope is 0 where 1.4826 MAD is at most this, in contracts/s^2."
        )
        tanh_scale: float = Field(2.0, gt=0.0, le=100.0, description="z at which a slope says tanh(1) = 0.76.")

        @model_validator(mode="after")
        def _fit(self) -> Self:
            if list(self.slope_windows) != sorted(set(self.slope_windows)):
                raise ValueError(f"slope_windows must rise without repeats, was {list(self.slope_windows)}.")
            if len(self.blend_weights) != len(self.slope_windows):
                raise ValueError(
                    f"blend_weights must have one weight for each of the {len(self.slope_windows)} slope_windows, "
                    f"had {len(self.blend_weights)}."
                )
            if not math.fsum(self.blend_weights) > 0.0:
                raise ValueError("blend_weights must not all be 0: give at least one slope window a weight above 0.")
            return self

    params: Params

    def start(self, context: SignalContext) -> State:
        """Return empty windows.

        Raises
        ------
        ConfigError
            If the grid does not reach the farthest band.
        """
        reach = BANDS[-1][1]
        if context.radius < reach:
            raise ConfigError(
                f"Signal 'ads' reads cells up to {reach} ticks from the mid, the grid has {context.radius}. "
                f"Set pipeline.grid_radius_ticks to at least {reach}."
            )
        p = self.params
        n, window = len(p.slope_windows), p.zscore_window
        return State(
            bands=new_bands(),
            windows=np.array(p.slope_windows, dtype=np.int64),
            weights=np.array(p.blend_weights, dtype=np.float64),
            bin_seconds=context.bin_seconds,
            tanh_scale=float(p.tanh_scale),
            scale_floor=float(p.zscore_scale_floor),
            series=np.zeros(2 * max(p.slope_windows)),
            series_cursor=np.zeros(2, dtype=np.int64),
            ring=np.zeros((n, window)),
            ordered=np.zeros((n, window)),
            cursor=np.zeros((n, 3), dtype=np.int64),
            stats=np.zeros((n, 2)),
        )

    def warmup_bins(self, context: SignalContext) -> int:
        """Return the bins until the longest slope window and then the z window are full."""
        return max(self.params.slope_windows) + self.params.zscore_window - 2
