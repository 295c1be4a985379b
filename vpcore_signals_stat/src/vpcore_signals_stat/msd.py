"""``msd``, spatial vacuum asymmetry: on which side of the mid is the book draining?

Over the cells with 1 <= |k| <= `band_ticks`, with ``w_k = 1 / |k|`` (`weighting` inverse) or 1 (plain)::

    above = sum over k > 0 of w_k vacuum(k) / sum w_k                        contracts/s per cell
    below = sum over k < 0 of w_k vacuum(k) / sum w_k
    value = (above - below) / (above + below + floor)                        in (-1, 1)

Economic reading: vacuum is size that is pulled or traded away. A book that empties above the mid offers the price less
and less resistance there, so the next move is easier upwards: more vacuum above than below is bullish. Vacuum next to
the touch decides first, which is what the weights say; plain ones ask about the whole band. The ratio makes the value
independent of how busy the market is, and the floor keeps an almost dead book from speaking at full voice.

Positive is bullish. There is no memory beyond that of the vacuum itself: every valid bin has a value.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from pydantic import Field

from vpcore import SignalContext, SignalParams, StatisticalSignal
from vpcore.kernels.jit import jit
from vpcore_signals_stat.book import require_reach
from vpcore_signals_stat.signal_features import side_weights, vacuum_share


class State(NamedTuple):
    """Constants only: a bin leaves nothing behind."""

    weights: npt.NDArray[np.float64]
    floor: float


@jit
def msd_step(state: State, vacuum: npt.NDArray[np.float64]) -> float:
    """Return the value of one bin from its float64[n_cells] of vacuum."""
    return vacuum_share(vacuum, state.weights, state.floor)


class Msd(StatisticalSignal):
    """Vacuum above the mid minus vacuum below it, as a share of both."""

    version = 1
    columns = ("vacuum",)
    kernel = msd_step

    class Params(SignalParams):
        """Parameters of ``msd``."""

        weighting: Literal["inverse", "plain"] = Field("inverse", description="Cells count as 1/|k|, or all the same.")
        band_ticks: int = Field(10, ge=1, le=500, description="Farthest cell that counts, in ticks from the mid.")
        floor: float = Field(
            0.5, gt=0.0, le=1e6, description="Sum of both at which the value is halved, in contracts/s per cell."
        )

    params: Params

    def start(self, context: SignalContext) -> State:
        """Return the weights.

        Raises
        ------
        ConfigError
            If the grid does not reach `band_ticks`.
        """
        p = self.params
        require_reach(context, "msd", "band_ticks", p.band_ticks)
        power = 1.0 if p.weighting == "inverse" else 0.0
        return State(side_weights(context.radius, p.band_ticks, power), float(p.floor))

    def warmup_bins(self, context: SignalContext) -> int:
        """Return 0: there is nothing to fill."""
        return 0

    def thresholds(self) -> tuple[float, ...]:
        """Return the default grid."""
        return (0.4, 0.6, 0.7, 0.8)
