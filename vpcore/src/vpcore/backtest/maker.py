"""Maker entries: orders that wait in the queue, their fills, and the outcomes of their trades.

A fill table says when a virtual order of each bin and side is filled, whatever its patience. It is no column of the
dataset: a signal cannot name it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from vpcore.backtest.open_market import next_of
from vpcore.backtest.triple_barrier import Market, OutcomeTable, empty_table
from vpcore.dataset import Dataset
from vpcore.dataset.cache import ColumnCache
from vpcore.errors import DatasetError
from vpcore.halts import halted
from vpcore.kernels import barrier
from vpcore.kernels.virtual_orders import WAITING
from vpcore.rules import TradeRules
from vpcore.units import HALF_TICKS_PER_TICK

FILLS = "fills"
"""Name of a fill table in the cache of a dataset."""


@dataclass(frozen=True, slots=True)
class FillTable:
    """The fill of an order that joins the best bid (row 0) or the best ask (row 1) at the end of each bin.

    Attributes
    ----------
    tick : int64[2, n_bins]
        Price of the order, in ticks.
    filled : int64[2, n_bins]
        Bin of the fill, later than its own; negative for an order without a fill
        (`vpcore.kernels.virtual_orders`: waiting at the end, not placed, gone).
    time_ns : int64[2, n_bins]
        Time of the fill, 0 without one.
    reason : int64[2, n_bins]
        1 an order behind it was filled, 2 a trade at a worse price, 3 an opposite order rests at its price.
    """

    tick: npt.NDArray[np.int64]
    filled: npt.NDArray[np.int64]
    time_ns: npt.NDArray[np.int64]
    reason: npt.NDArray[np.int64]

    @classmethod
    def of(cls, whole: npt.NDArray[np.int64], dataset: Dataset) -> Self:
        """Return the table of a dataset, from that of all its bins, int64[2, n_bins, 4]. Later fills are left out.

        Raises
        ------
        DatasetError
            If the replay had another best bid or ask than the dataset.
        """
        first = int(dataset.bin("bin_seq")[0]) if dataset.n_bins else 0
        tick, filled, time, reason = (np.ascontiguousarray(part) for part in np.moveaxis(
            whole[:, first : first + dataset.n_bins], 2, 0
        ))  # fmt: skip
        touch = np.stack([dataset.bin("best_bid_price_int"), dataset.bin("best_ask_price_int")])
        if touch.shape != tick.shape or (touch != tick * dataset.tick_int).any():
            raise DatasetError(
                f"The replay of the sources of dataset '{dataset.dataset_id}' gives other best prices than it holds",
                fix=f"Compare: vp verify {dataset.manifest['dataset_id']} --rebuild",
            )
        filled = np.where(filled >= 0, filled - first, filled)
        late = filled >= dataset.n_bins
        return cls(tick, *(np.where(late, none, part) for none, part in ((WAITING, filled), (0, time), (0, reason))))


def cached_fills(cache: Path, dataset: Dataset, tag: str) -> FillTable | None:
    """Return the fill table of a dataset from ``lake/cache``, or None if it is missing there or damaged."""
    whole = ColumnCache(cache / dataset.manifest["dataset_id"], tag).get(FILLS)
    return None if whole is None else FillTable.of(whole, dataset)


def maker_table(market: Market, rules: TradeRules, fills: FillTable) -> OutcomeTable:
    """Return the outcome of a long and of a short whose order joins the queue at the end of every bin.

    The order joins the best bid (long) or the best ask (short) in an open bin and waits `patience_bins`; it leaves at
    the last bin before a daily halt. A filled order is a position from the end of its bin on, at its price. The stop is
    tested from the bin of the fill on, against all of that bin; the take-profit and the hold begin behind it. Exits are
    those of a taker: the take-profit at its price, stop and timeout at the opposite side of the spread.

    Parameters
    ----------
    market : Market
        The bins.
    rules : TradeRules
        With ``entry="maker"``.
    fills : FillTable
        Of the same bins.

    Returns
    -------
    OutcomeTable
        Indexed by the bin in which the order joins. An order without a fill is `NO_TRADE`, resolved in its last bin.
    """
    n_bins, bins = market.n_bins, np.arange(market.n_bins, dtype=np.int64)
    opened, leave = market.opened(rules), market.exits(rules)
    halt = next_of(halted(rules.daily_halt, market.bin_start_ns, market.cell_width_ns))
    last_wait = np.minimum(bins + rules.patience_bins, np.where(halt < n_bins, halt - 1, barrier.NEVER))
    table = empty_table(market)
    no_spread = np.zeros(n_bins, dtype=np.int64)
    long = (market.bid, "bid_high", "bid_low", market.bid)
    short = (market.ask, "ask_low", "ask_high", market.ask)
    for row, (sign, (entry, towards, away, last)) in enumerate(((1, long), (-1, short))):
        filled = opened & (fills.filled[row] >= 0) & (fills.filled[row] <= last_wait)
        at = np.where(filled, fills.filled[row], bins)
        order = np.argsort(at, kind="stable")
        taken, stopped = np.empty((2, n_bins), dtype=np.int32)
        queries: Any = ((towards, sign, rules.tp_ticks, at + 1, taken), (away, -sign, rules.sl_ticks, at, stopped))
        for extreme, direction, distance, start, touched in queries:
            barrier.touch_times_from(
                start, order, entry, getattr(market, extreme), market.valid, direction, distance, touched
            )
        barrier.first_touch(
            entry, getattr(market, away), last, market.mid2, filled, no_spread, leave.until[at], leave.bin[at],
            leave.known[at], taken, stopped, sign, rules.tp_ticks, 1, HALF_TICKS_PER_TICK,
            table.outcome[row], table.tie[row], table.exit_bin[row], table.resolved_at[row], table.net[row],
            table.gross[row],
        )  # fmt: skip
        mid2 = market.mid2[market.last_valid[at]]
        table.gross[row] = np.where(filled, sign * (market.mid2[table.exit_bin[row]] - mid2), 0)
        # Without a valid bin after the fill a trade is worth its last valid price, and leaves at the fill.
        table.exit_bin[row] = np.maximum(table.exit_bin[row], at)
        table.resolved_at[row] = np.where(filled | ~opened, table.resolved_at[row], np.maximum(last_wait, bins))
        table.opened_at[row] = at
    table.freeze()
    return table
