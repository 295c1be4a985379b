"""``erd``, entropy regime: when the book's agreement with itself breaks up, which way does it lean?

Over the cells with 1 <= |k| <= `band_ticks`, the score's three states (building, neutral, draining) occur with the
shares ``p_+, p_0, p_-``::

    H     = -sum p log p / log 3                                             in [0, 1]
    z     = robust z of H over the last `zscore_window` bins, H itself included
    gate  = tanh(max(z - spike_z, 0))                                        in [0, 1)
    a:  direction = (mean score of the bid side - mean score of the ask side) / 2
    b:  direction = H of the ask side - H of the bid side
    value = gate * direction                                                 in (-1, 1)

Economic reading: in a quiet market most cells are neutral and H is low and steady. A spike of H says that liquidity
is being rearranged at many prices at once, a change of regime; only then is a lean of the score informative. Variant a
goes with the side where liquidity builds (a building bid is bullish). Variant b goes against the side that has become
disordered: resistance that breaks up lets the price rise.

Positive is bullish. The value is NaN until the z window is full.
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from pydantic import Field

from vpcore import ConfigError, SignalContext, SignalParams, StatisticalSignal
from vpcore.kernels.jit import jit
from vpcore.kernels.robust_z import robust_z_step
from vpcore.kernels.spatial import ask_mean, bid_mean, entropy_of_counts
from vpcore_signals_stat.signal_features import state_counts, state_entropy

ENTROPY_FLOOR = 1e-6
"""1.4826 MAD of the entropy at or below which there is no spike: rounding, not a change of the market."""


class State(NamedTuple):
    """Memory between bins, with the parameters for compiled code."""

    band: int
    by_score: bool
    spike_z: float
    ring: npt.NDArray[np.float64]
    ordered: npt.NDArray[np.float64]
    cursor: npt.NDArray[np.int64]
    stats: npt.NDArray[np.float64]


@jit
def _step(state: State, score: npt.NDArray[np.float64], code: npt.NDArray[np.float64]) -> float:
    whole = state_entropy(code, state.band)
    window = state.ring.shape[0]
    z = robust_z_step(state.ring, state.ordered, state.cursor, state.stats, whole, window, ENTROPY_FLOOR)
    if state.cursor[0] < window:
        return math.nan
    if not z > state.spike_z:
        return 0.0
    if state.by_score:
        direction = (bid_mean(score, 1, state.band) - ask_mean(score, 1, state.band)) / 2.0
    else:
        bid_up, bid_down, ask_up, ask_down = state_counts(code, state.band)
        ask_entropy = entropy_of_counts(ask_up, ask_down, state.band - ask_up - ask_down)
        direction = ask_entropy - entropy_of_counts(bid_up, bid_down, state.band - bid_up - bid_down)
    return math.tanh(z - state.spike_z) * direction


class Erd(StatisticalSignal):
    """Spikes of the score's entropy across cells, signed by its asymmetry."""

    version = 1
    columns = ("flow_score", "flow_state_code")
    kernel = _step

    class Params(SignalParams):
        """Parameters of ``erd``."""

        variant: Literal["a", "b"] = Field("a", description="Direction from the asymmetry of score (a) or entropy (b).")
        zscore_window: int = Field(100, ge=10, le=10_000, description="Window of the robust z, in bins.")
        spike_z: float = Field(0.5, ge=-10.0, le=10.0, description="z of the entropy above which the gate opens.")
        band_ticks: int = Field(20, ge=2, le=500, description="Farthest cell that counts, in ticks from the mid.")

    params: Params

    def start(self, context: SignalContext) -> State:
        """Return an empty window.

        Raises
        ------
        ConfigError
            If the grid does not reach `band_ticks`.
        """
        p = self.params
        if p.band_ticks > context.radius:
            raise ConfigError(
                f"band_ticks of signal 'erd' must be at most the grid's radius, {context.radius} ticks, "
                f"was {p.band_ticks}. "
                "Lower it, or raise pipeline.grid_radius_ticks."
            )
        return State(
            band=p.band_ticks,
            by_score=p.variant == "a",
            spike_z=float(p.spike_z),
            ring=np.zeros(p.zscore_window),
            ordered=np.zeros(p.zscore_window),
            cursor=np.zeros(3, dtype=np.int64),
            stats=np.zeros(2),
        )

    def warmup_bins(self, context: SignalContext) -> int:
        """Return the bins until the z window is full."""
        return self.params.zscore_window - 1

    def thresholds(self) -> tuple[float, ...]:
        """Return the default grid: directions are means over a side and stay well inside [-1, 1]."""
        return (0.02, 0.05, 0.1, 0.15)
