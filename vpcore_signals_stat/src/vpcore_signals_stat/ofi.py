"""``ofi``, order flow imbalance: by how many ticks should the flow at the best prices have moved the mid?

From one bin end to the next, with P the price and q the size of the best bid (b) and ask (a)::

    e_b = q_b(t) [P_b(t) >= P_b(t-1)]  -  q_b(t-1) [P_b(t) <= P_b(t-1)]      contracts
    e_a = q_a(t) [P_a(t) <= P_a(t-1)]  -  q_a(t-1) [P_a(t) >= P_a(t-1)]
    e   = e_b - e_a

An unmoved best price contributes the change of its size, an advancing price its new size, a retreating price the loss
of its old size. With `levels` above 1 the same formula applies to the sizes m ticks behind the best price, for m from
0. e and the mean size of the two sides, D, are then averages over the levels with weights 1 / (m + 1). Over the last
`window_bins` bins::

    value = sum of e / (2 mean of D)                                         ticks; 0 where D is 0

Economic reading: size that arrives at the bid and size that leaves the ask push the mid up, and a book of depth D takes
D contracts per tick on each side. The paper models *contemporaneous* price changes (R^2 about 65 %). As a forecast the
signal assumes that the push continues, or that the price still lags behind. It is the usual baseline.

Sources: R. Cont, A. Kukanov and S. Stoikov, "The price impact of order book events", Journal of Financial Econometrics
12 (2014); several levels: K. Xu, M. Gould and S. Howison, "Multi-level order-flow imbalance in a limit order book",
Market Microstructure and Liquidity 4 (2018).

**Snapshots, not events.** The paper adds one e per event; frames are states at bin ends. If the best prices are
constant inside a bin, the sum of the e of its events equals the e of its ends. A move and return of the price inside a
bin is invisible. Levels here are prices, m ticks behind the best price, empty or not; levels beyond the grid count as
empty.

In the first bin and in the first bin after invalid bins e is 0. Positive is bullish. The value is NaN until the window
is full.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from pydantic import Field

from vpcore import SignalContext, SignalParams, StatisticalSignal
from vpcore.kernels.jit import jit
from vpcore.kernels.rolling import push, rolling_mean
from vpcore_signals_stat.book import require_reach, size_behind, touch_distance

STARTED, LAST_SEQ, LAST_BID, LAST_ASK = range(4)


class State(NamedTuple):
    """Memory between bins, with the parameters for compiled code."""

    tick_int: int
    weights: npt.NDArray[np.float64]
    place: npt.NDArray[np.int64]
    sizes: npt.NDArray[np.float64]
    flows: npt.NDArray[np.float64]
    depths: npt.NDArray[np.float64]
    cursors: npt.NDArray[np.int64]


@jit
def _side(now: float, before: float, advance: int) -> float:
    """Return the flow of one side's level; `advance`: the sign of its price's move towards the other side."""
    flow = 0.0
    if advance >= 0:
        flow += now
    if advance <= 0:
        flow -= before
    return flow


@jit
def _step(
    state: State,
    bin_seq: int,
    bid_int: int,
    ask_int: int,
    bid_size: int,
    ask_size: int,
    bid_depth: npt.NDArray[np.float64],
    ask_depth: npt.NDArray[np.float64],
) -> float:
    touch = touch_distance(bid_int, ask_int, state.tick_int)
    follows = state.place[STARTED] == 1 and bin_seq == state.place[LAST_SEQ] + 1
    bid_move = bid_int - state.place[LAST_BID]
    ask_move = state.place[LAST_ASK] - ask_int
    bid_flow = 0.0
    ask_flow = 0.0
    depth = 0.0
    total = 0.0
    for m in range(state.weights.shape[0]):
        bid = float(bid_size) if m == 0 else size_behind(bid_depth, touch + m, -1)
        ask = float(ask_size) if m == 0 else size_behind(ask_depth, touch + m, 1)
        if follows:
            bid_flow += state.weights[m] * _side(bid, state.sizes[0, m], bid_move)
            ask_flow += state.weights[m] * _side(ask, state.sizes[1, m], ask_move)
        state.sizes[0, m] = bid
        state.sizes[1, m] = ask
        depth += state.weights[m] * (bid + ask) / 2.0
        total += state.weights[m]
    state.place[STARTED] = 1
    state.place[LAST_SEQ] = bin_seq
    state.place[LAST_BID] = bid_int
    state.place[LAST_ASK] = ask_int

    push(state.flows, state.cursors[0], (bid_flow - ask_flow) / total)
    push(state.depths, state.cursors[1], depth / total)
    n = state.flows.shape[0] >> 1
    mean_depth = rolling_mean(state.depths, state.cursors[1], n)
    if math.isnan(mean_depth):
        return math.nan
    return n * rolling_mean(state.flows, state.cursors[0], n) / (2.0 * mean_depth) if mean_depth > 0.0 else 0.0


class Ofi(StatisticalSignal):
    """Order flow imbalance at the best prices, or at several levels, in ticks of expected move."""

    version = 1
    columns = (
        "bin_seq",
        "best_bid_price_int",
        "best_ask_price_int",
        "best_bid_size",
        "best_ask_size",
        "bid_depth",
        "ask_depth",
    )
    kernel = _step

    class Params(SignalParams):
        """Parameters of ``ofi``."""

        window_bins: int = Field(100, ge=1, le=100_000, description="Bins whose flow is added up.")
        levels: int = Field(1, ge=1, le=100, description="Price levels of each side that count, from the best price.")

    params: Params

    def start(self, context: SignalContext) -> State:
        """Return empty windows.

        Raises
        ------
        ConfigError
            If the grid does not reach `levels`.
        """
        p = self.params
        require_reach(context, "ofi", "levels", p.levels)
        return State(
            tick_int=context.tick_int,
            weights=1.0 / np.arange(1.0, p.levels + 1.0),
            place=np.zeros(4, dtype=np.int64),
            sizes=np.zeros((2, p.levels)),
            flows=np.zeros(2 * p.window_bins),
            depths=np.zeros(2 * p.window_bins),
            cursors=np.zeros((2, 2), dtype=np.int64),
        )

    def warmup_bins(self, context: SignalContext) -> int:
        """Return the bins until the window is full."""
        return self.params.window_bins - 1

    def thresholds(self) -> tuple[float, ...]:
        """Return the default grid, in ticks of expected move."""
        return (0.5, 1.0, 1.5, 2.0)
