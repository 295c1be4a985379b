"""Labels from trades, resolved bin by bin: the outcome of a trade decided at each bin, and its time.

The trades are those of the evaluation (`vpcore.backtest`): a long and a short decided at the end of bin i enter at the
end of bin ``i + latency_bins``, if that bin is open. The barriers are tested against the extremes inside each valid bin
of the hold, the stop first. Without a touch the trade leaves at the end of the hold, at the last bin before a daily
halt, or at the first open bin after any other closure. The label names the side that paid::

    UP    the long took its profit and the short did not, or the long did so in an earlier bin
    DOWN  the same with long and short exchanged
    NONE  neither did, or both in the same bin

The label is known when both trades have ended: ``resolved = max(end of the long, end of the short)``. A decision whose
entry bin is not open, or (touch prices) has a spread as wide as the stop, has no label.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from vpcore import TradeRules
from vpcore.halts import halted, in_halt
from vpcore.kernels.jit import jit

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Codes = npt.NDArray[np.int8]

UNKNOWN, DOWN, UP, NONE = -1, 0, 1, 2
"""Values of `y`."""

OPEN = 9
"""Outcome of a trade that has not ended; others as in `vpcore.kernels.barrier`: 1 profit, -1 stop, 0 timeout."""

NEVER = np.iinfo(np.int64).max
"""`resolved` of a decision without a label."""

VALID, STALE, HALT, BEFORE_HALT = 1, 2, 4, 8
"""Flags of a bin: valid book; no recent event; inside a daily halt; the next bin is in a halt."""

BUY, SELL, BEST, WORST = 0, 1, 2, 4
"""Columns of the prices: paid by a long and by a short at the end of the bin, and the best and the worst extreme inside
the bin at which a long leaves; those of a short come next to those of the long."""

T_ROW, T_SEQ, T_BUY, T_SELL, T_CLOSED = range(5)
"""Columns of a trade: row of the decision, bin of the entry, price of the long and of the short, 1 after a closure."""

_EXTREMES = {
    "touch": ("bid_high_int", "ask_low_int", "bid_low_int", "ask_high_int"),
    "mid": ("mid2_high", "mid2_low", "mid2_low", "mid2_high"),
}

LABEL_COLUMNS = (
    *("best_bid_price_int", "best_ask_price_int", "bin_event_count", "bin_start_ns"),
    *dict.fromkeys(name for names in _EXTREMES.values() for name in names),
)
"""Bin columns behind the labels."""


class LabelBook(NamedTuple):
    """The open trades by entry, and the experiment's barriers in the unit of the prices."""

    take_profit: int  # 1e-9 at the touch, half-ticks at the mid
    stop_loss: int
    hold: int  # bins
    latency: int
    n_open: Ints  # int64[1], pairs of a long and a short
    trades: Ints  # int64[hold + 2, 5], columns `T_ROW` to `T_CLOSED`


class Labels(NamedTuple):
    """The outcomes and labels of the decisions at each row."""

    outcome: Codes  # int8[n_rows, 2], of the long and of the short: `OPEN` until it ended
    ends: Ints  # int64[n_rows, 2], bin at whose end the outcome was known
    y: Codes  # int8[n_rows]: `UP`, `DOWN` or `NONE`, at first `UNKNOWN`
    resolved: Ints  # int64[n_rows], bin at whose end `y` was known, at first `NEVER`


class MarketClock:
    """Flags and prices of bins, for a stream bin by bin and for a batch at once; bins follow each other without gaps.

    Parameters
    ----------
    rules : TradeRules
    tick_int, cell_width_ns : int
        Tick size in 1e-9, and width of a bin.
    """

    def __init__(self, rules: TradeRules, tick_int: int, cell_width_ns: int) -> None:
        self._rules, self._tick_int, self._width = rules, tick_int, cell_width_ns
        self._stale_bins = rules.stale_after_ms * 1_000_000 // cell_width_ns
        self._quiet = 0

    def bin(self, frame: Any) -> tuple[int, Ints]:
        """Return the flags of the next bin, and its prices int64[1, 6]."""
        halt, start = self._rules.daily_halt, int(frame["bin_start_ns"])
        self._quiet = 0 if frame["bin_event_count"] else self._quiet + 1
        flags = VALID * frame.valid + STALE * (self._quiet > self._stale_bins)
        flags += HALT * in_halt(halt, start, self._width, 0) + BEFORE_HALT * in_halt(halt, start, self._width, 1)
        return flags, np.array([self._prices(frame.__getitem__)], dtype=np.int64)

    def bins(self, dataset: Any) -> tuple[Ints, Ints]:
        """Return the flags int64[n_bins] of all bins of a dataset, and their prices int64[n_bins, 6]."""
        start, at = dataset.bin("bin_start_ns"), np.arange(dataset.n_bins)
        halt = halted(self._rules.daily_halt, np.append(start, start[-1:] + self._width), self._width)
        stale = at - np.maximum.accumulate(np.where(dataset.bin("bin_event_count") > 0, at, -1)) > self._stale_bins
        flags = VALID * np.asarray(dataset.valid, np.int64) + STALE * stale
        prices = np.stack(self._prices(dataset.bin), axis=-1, dtype=np.int64)
        return flags + HALT * halt[:-1] + BEFORE_HALT * halt[1:], prices

    def _prices(self, read: Callable[[str], Any]) -> list[Any]:
        """Return six whole numbers, or columns of them: fixed-point prices at the touch, half-ticks at the mid."""
        buy, sell = read("best_ask_price_int"), read("best_bid_price_int")
        if self._rules.price == "mid":
            buy = sell = (buy + sell) // self._tick_int
        return [buy, sell, *(read(name) for name in _EXTREMES[self._rules.price])]


def new_book(rules: TradeRules, tick_int: int) -> LabelBook:
    """Return a book without trades."""
    unit = tick_int if rules.price == "touch" else 2
    return LabelBook(
        take_profit=rules.tp_ticks * unit,
        stop_loss=rules.sl_ticks * unit,
        hold=rules.max_hold_bins,
        latency=rules.latency_bins,
        n_open=np.zeros(1, dtype=np.int64),
        trades=np.zeros((rules.max_hold_bins + 2, 5), dtype=np.int64),
    )


@jit
def _direction(outcome: Codes, ends: Ints) -> int:
    long_paid = ends[0] if outcome[0] == 1 else NEVER
    short_paid = ends[1] if outcome[1] == 1 else NEVER
    if long_paid == short_paid:
        return NONE
    return UP if long_paid < short_paid else DOWN


@jit
def _end(outcome: Codes, ends: Ints, side: int, code: int, now: int) -> None:
    if outcome[side] == OPEN:
        outcome[side] = code
        ends[side] = now


@jit
def _touch(book: LabelBook, trade: Ints, price: Ints, outcome: Codes, ends: Ints, now: int) -> None:
    for side in range(2):
        sign = 1 - 2 * side
        paid = trade[T_BUY + side]
        if sign * (price[WORST + side] - paid) <= -book.stop_loss:
            _end(outcome, ends, side, -1, now)
        elif sign * (price[BEST + side] - paid) >= book.take_profit:
            _end(outcome, ends, side, 1, now)


@jit
def resolve(
    book: LabelBook, first_seq: int, flags: Ints, prices: Ints, last_row: Ints, row_seq: Ints, found: Labels
) -> None:
    """Follow the open trades through consecutive bins, and enter the trades of due decisions.

    Parameters
    ----------
    book : LabelBook, written
        The open trades.
    first_seq : int
        Number of the first bin.
    flags : int64[n_bins]
        `VALID`, `STALE`, `HALT` and `BEFORE_HALT`, added up.
    prices : int64[n_bins, 6]
        From `MarketClock`; read in valid bins alone.
    last_row : int64[n_bins]
        Row of the last valid bin up to and including each bin; -1 before the first.
    row_seq : int64[n_rows]
        Number of the valid bin of each row.
    found : Labels, written
        Of the decisions at the end of each valid bin.
    """
    trades, outcome, ends = book.trades, found.outcome, found.ends
    for i in range(flags.shape[0]):
        now = first_seq + i
        valid, before_halt = flags[i] & VALID, flags[i] & BEFORE_HALT
        stale = flags[i] & STALE and not flags[i] & HALT
        opened = valid and not flags[i] & (STALE | HALT)
        price = prices[i]
        # A trade that can enter now is appended first. The bin of its entry tests no barrier.
        d = last_row[i]
        while d > 0 and row_seq[d] > now - book.latency:
            d -= 1
        # At the touch a trade needs a stop wider than the spread; at the mid both prices are equal.
        enters = opened and d >= 0 and row_seq[d] == now - book.latency
        enters = enters and (price[BUY] == price[SELL] or price[BUY] - price[SELL] < book.stop_loss)
        n_open = book.n_open[0]
        if enters:
            trades[n_open, T_ROW] = d
            trades[n_open, T_SEQ] = now
            trades[n_open, T_BUY] = price[BUY]
            trades[n_open, T_SELL] = price[SELL]
            trades[n_open, T_CLOSED] = 0
            n_open += 1
        kept = 0
        for t in range(n_open):
            trade = trades[t]
            d = trade[T_ROW]
            if trade[T_CLOSED]:  # the market closed during the hold: the first open bin ends the trade
                leaves = opened
            elif stale:
                trade[T_CLOSED] = 1
                leaves = False
            else:
                if valid and now > trade[T_SEQ]:
                    _touch(book, trade, price, outcome[d], ends[d], now)
                leaves = before_halt or now >= trade[T_SEQ] + book.hold
            if leaves:
                _end(outcome[d], ends[d], 0, 0, now)
                _end(outcome[d], ends[d], 1, 0, now)
            if outcome[d, 0] != OPEN and outcome[d, 1] != OPEN:
                found.y[d] = _direction(outcome[d], ends[d])
                found.resolved[d] = max(ends[d, 0], ends[d, 1])
                continue
            if kept != t:
                for c in range(5):
                    trades[kept, c] = trade[c]
            kept += 1
        book.n_open[0] = kept
