"""``microprice``: how far from the mid is the price that the resting sizes point to?

Over `levels` price levels of each side, from the best price outwards, the level m ticks behind it counts 1 / (m + 1)::

    bid, ask = sum_m size(m) / (m + 1) of each side
    value    = (bid - ask) / (bid + ask) * spread / 2                        ticks

With `levels` 1 this is the imbalance-weighted mid less the mid: ``(ask bid_size + bid ask_size) / (bid_size +
ask_size)`` has the best prices weighted by the size of the *other* side.

Economic reading: a large queue at the bid and a small one at the ask will sooner be followed by the ask being eaten up
than the bid, so the fair price lies nearer the ask. A baseline everyone asks about, and a strong one.

Sources: S. Stoikov, "The micro-price: a high-frequency estimator of future prices", Quantitative Finance 18 (2018);
the imbalance as a predictor: M. Gould and J. Bonart, "Queue imbalance as a one-tick-ahead price predictor in a limit
order book", Market Microstructure and Liquidity 2 (2016). Stoikov's micro-price replaces the straight line in the
imbalance by the expected mid after many changes, a table that is estimated from the market. That is learning, with all
that it needs to be honest; this signal is the line that he compares with. It needs no estimate, and where the
micro-price rises with the imbalance it orders the bins of one spread in the same way.

Sizes are those at the end of the bin; levels beyond the grid count as empty. Positive is bullish. There is no memory:
every valid bin has a value.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from pydantic import Field

from vpcore import SignalContext, SignalParams, StatisticalSignal
from vpcore.kernels.jit import jit
from vpcore_signals_stat.book import require_reach, size_behind, touch_distance


class State(NamedTuple):
    """Constants only: a bin leaves nothing behind."""

    tick_int: int
    weights: npt.NDArray[np.float64]


@jit
def _step(
    state: State,
    bid_int: int,
    ask_int: int,
    bid_size: int,
    ask_size: int,
    bid_depth: npt.NDArray[np.float64],
    ask_depth: npt.NDArray[np.float64],
) -> float:
    touch = touch_distance(bid_int, ask_int, state.tick_int)
    bid = float(bid_size)
    ask = float(ask_size)
    for m in range(1, state.weights.shape[0]):
        bid += state.weights[m] * size_behind(bid_depth, touch + m, -1)
        ask += state.weights[m] * size_behind(ask_depth, touch + m, 1)
    total = bid + ask
    if not total > 0.0:
        return 0.0
    return (bid - ask) / total * ((ask_int - bid_int) // state.tick_int) / 2.0


class Microprice(StatisticalSignal):
    """Size-weighted mid minus mid."""

    version = 1
    columns = ("best_bid_price_int", "best_ask_price_int", "best_bid_size", "best_ask_size", "bid_depth", "ask_depth")
    kernel = _step

    class Params(SignalParams):
        """Parameters of ``microprice``."""

        levels: int = Field(1, ge=1, le=100, description="Price levels of each side that count, from the best price.")

    params: Params

    def start(self, context: SignalContext) -> State:
        """Return the weights.

        Raises
        ------
        ConfigError
            If the grid does not reach `levels`.
        """
        p = self.params
        require_reach(context, "microprice", "levels", p.levels)
        return State(context.tick_int, 1.0 / np.arange(1.0, p.levels + 1.0))

    def warmup_bins(self, context: SignalContext) -> int:
        """Return 0: there is nothing to fill."""
        return 0

    def thresholds(self) -> tuple[float, ...]:
        """Return the default grid: with a spread of one tick the value stays within half a tick."""
        return (0.2, 0.3, 0.4, 0.45)
