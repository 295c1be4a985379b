"""``pfp``, pressure front propagation: does activity near the touch run ahead of activity farther out?

Per side, the mean over the inner cells (|k| of 1 to 3) and over the outer ones (|k| of 5 to 12) of ``v_add + v_fill``
(the front) and of ``v_pull`` (the retreat). For each of the two, with E the exponential average of time constant
`average_ms` and L the `lag_ms` in whole bins::

    ahead  = E[inner(t - L) outer(t)]       behind = E[inner(t) outer(t - L)]        (contracts/s)^2
    lead   = (ahead - behind) / (ahead + behind + floor)                             in (-1, 1)
    front, retreat = lead of the bid side - lead of the ask side
    value  = ((1 - pull_weight) front - pull_weight retreat) / 2                     in (-1, 1)

**The lagged series.** When the inner cells lead, the outer activity *now* resembles the inner activity *before*:
``ahead`` lags the inner series. ``behind`` lags the outer series and is large when the outer cells lead.

**The comparison.** The obvious comparison is the product at the same time, E[inner(t) outer(t)]. But flows have a
memory (2 s by default), so a lagged product is smaller than the simultaneous product, for simultaneous bands as well as
for leading outer cells. The ratio of ``ahead`` to the simultaneous product finds a lead of the inner cells and confuses
the other two cases. The ratio of ``behind`` has the same bias, and the quotient of both ratios, ahead / behind, is free
of it. ``lead`` is the tanh of half the logarithm of ahead / behind (up to the floor): above 0 when the inner cells
lead, below 0 when the outer cells lead, and 0 when neither leads.

Economic reading: orders that arrive and trade at the best bid and are then backed by orders behind them are a front
that others join: support grows outwards, which is bullish. A retreat that starts at the best bid and spreads outwards
is the opposite. The ratio takes out how busy a side is.

No product reaches across invalid bins: after them the lag fills anew, and the averages wait. Positive is bullish.
The value is NaN for the lag and one time constant.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from pydantic import Field

from vpcore import ConfigError, SignalContext, SignalParams, StatisticalSignal
from vpcore.kernels.jit import jit
from vpcore.kernels.rolling import ema_alpha, ema_step, lagged, push, reset
from vpcore.kernels.spatial import ask_mean, bid_mean
from vpcore_signals_stat.book import bins_of

INNER = (1, 3)
OUTER = (5, 12)
"""Nearest and farthest |k| of the two bands."""

SEEN, LAST_SEQ = range(2)


class State(NamedTuple):
    """Memory between bins, with the parameters. Rows: front and retreat of the bid side, then of the ask side."""

    lag: int
    warmup: int
    alpha: float
    pull_weight: float
    floor: float
    place: npt.NDArray[np.int64]
    inner: npt.NDArray[np.float64]
    outer: npt.NDArray[np.float64]
    cursors: npt.NDArray[np.int64]
    ahead: npt.NDArray[np.float64]
    behind: npt.NDArray[np.float64]


@jit
def _lead(state: State, row: int, inner: float, outer: float) -> float:
    """Add one bin's activity of one side and return the lead of the inner over the outer cells."""
    push(state.inner[row], state.cursors[row, 0], inner)
    push(state.outer[row], state.cursors[row, 1], outer)
    if state.cursors[row, 0, 0] > state.lag:
        ema_step(state.ahead[row], lagged(state.inner[row], state.cursors[row, 0], state.lag) * outer, state.alpha)
        ema_step(state.behind[row], inner * lagged(state.outer[row], state.cursors[row, 1], state.lag), state.alpha)
    ahead = float(state.ahead[row, 0])
    behind = float(state.behind[row, 0])
    return (ahead - behind) / (ahead + behind + state.floor)


@jit
def pfp_step(
    state: State,
    bin_seq: int,
    v_add: npt.NDArray[np.float64],
    v_pull: npt.NDArray[np.float64],
    v_fill: npt.NDArray[np.float64],
) -> float:
    """Return the value of one bin from its rows, float64[n_cells] each."""
    if state.place[SEEN] > 0 and bin_seq != state.place[LAST_SEQ] + 1:
        for row in range(4):
            reset(state.cursors[row, 0])
            reset(state.cursors[row, 1])
    state.place[LAST_SEQ] = bin_seq
    state.place[SEEN] += 1

    near, far = INNER
    out_near, out_far = OUTER
    bid_front = _lead(
        state,
        0,
        bid_mean(v_add, near, far) + bid_mean(v_fill, near, far),
        bid_mean(v_add, out_near, out_far) + bid_mean(v_fill, out_near, out_far),
    )
    bid_retreat = _lead(state, 1, bid_mean(v_pull, near, far), bid_mean(v_pull, out_near, out_far))
    ask_front = _lead(
        state,
        2,
        ask_mean(v_add, near, far) + ask_mean(v_fill, near, far),
        ask_mean(v_add, out_near, out_far) + ask_mean(v_fill, out_near, out_far),
    )
    ask_retreat = _lead(state, 3, ask_mean(v_pull, near, far), ask_mean(v_pull, out_near, out_far))
    if state.place[SEEN] <= state.warmup:
        return math.nan
    front = bid_front - ask_front
    retreat = bid_retreat - ask_retreat
    return ((1.0 - state.pull_weight) * front - state.pull_weight * retreat) / 2.0


class Pfp(StatisticalSignal):
    """Lead of activity near the touch over activity farther out, bid minus ask."""

    version = 1
    columns = ("bin_seq", "v_add", "v_pull", "v_fill")
    kernel = pfp_step

    class Params(SignalParams):
        """Parameters of ``pfp``."""

        lag_ms: float = Field(1000.0, ge=1.0, le=60_000.0, description="How far the inner cells lead, in ms.")
        average_ms: float = Field(10_000.0, ge=1.0, le=3_600_000.0, description="Time constant of the averages, in ms.")
        pull_weight: float = Field(0.4, ge=0.0, le=1.0, description="Share of the retreat; the front has the rest.")
        floor: float = Field(
            0.01,
            gt=0.0,
            le=1e9,
            description="Sum of both averages at which a lead is halved, in (contracts/s per cell)^2.",
        )

    params: Params

    def start(self, context: SignalContext) -> State:
        """Return empty averages.

        Raises
        ------
        ConfigError
            If the grid does not reach the outer cells.
        """
        if context.radius < OUTER[1]:
            raise ConfigError(
                f"Signal 'pfp' reads cells up to {OUTER[1]} ticks from the mid, the grid has {context.radius}. "
                f"Set pipeline.grid_radius_ticks to at least {OUTER[1]}."
            )
        p = self.params
        lag = bins_of(p.lag_ms, context)
        return State(
            lag=lag,
            warmup=self.warmup_bins(context),
            alpha=ema_alpha(context.bin_seconds, p.average_ms / 1000.0),
            pull_weight=float(p.pull_weight),
            floor=float(p.floor),
            place=np.zeros(2, dtype=np.int64),
            inner=np.zeros((4, 2 * (lag + 1))),
            outer=np.zeros((4, 2 * (lag + 1))),
            cursors=np.zeros((4, 2, 2), dtype=np.int64),
            ahead=np.zeros((4, 2)),
            behind=np.zeros((4, 2)),
        )

    def warmup_bins(self, context: SignalContext) -> int:
        """Return the lag and one time constant."""
        return bins_of(self.params.lag_ms, context) + bins_of(self.params.average_ms, context)

    def thresholds(self) -> tuple[float, ...]:
        """Return the default grid: a lead of the lag itself is a small part of what the averages hold."""
        return (0.04, 0.07, 0.1, 0.15)
