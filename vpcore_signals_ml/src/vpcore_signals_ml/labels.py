"""Labels from first touch, resolved bin by bin: what a trade decided at each bin became, and when that was known.

The trades are those of the evaluation: a long and a short decided at the end of bin i, entered at the end of bin
``i + latency_bins``, tested against the extremes inside each of the next `max_hold_bins` bins, the stop first. The
label says which of the two paid::

    UP    the long took its profit and the short did not, or the long did so in an earlier bin
    DOWN  the same with long and short exchanged
    NONE  neither did, or both in the same bin

It is known when both trades have ended: ``resolved = max(end of the long, end of the short)``. A decision whose entry
bin has no valid book, or (touch prices) a spread as wide as the stop, never gets a label.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from vpcore import TradeRules
from vpcore.kernels.jit import jit

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Codes = npt.NDArray[np.int8]

UNKNOWN, DOWN, UP, NONE = -1, 0, 1, 2
"""Values of `y`."""

OPEN = 9
"""A trade that has not ended, among the outcomes of `vpcore.kernels.barrier`: 1 profit, -1 stop, 0 time is up."""

NEVER = np.iinfo(np.int64).max
"""`resolved` of a decision without a label."""

BUY, SELL, BID_HIGH, BID_LOW, ASK_HIGH, ASK_LOW = range(6)
"""Columns of the prices: what a long and a short pay at the end of the bin, and the extremes that close them."""

T_ROW, T_SEQ, T_BUY, T_SELL = range(4)

PRICE_COLUMNS = (
    "best_bid_price_int",
    "best_ask_price_int",
    "bid_high_int",
    "bid_low_int",
    "ask_high_int",
    "ask_low_int",
    "mid2_high",
    "mid2_low",
)
"""Bin columns that labels are made of."""

_EXTREMES = {
    "touch": ("bid_high_int", "bid_low_int", "ask_high_int", "ask_low_int"),
    "mid": ("mid2_high", "mid2_low", "mid2_high", "mid2_low"),
}


class LabelBook(NamedTuple):
    """The open trades, and the experiment's barriers in the unit of the prices.

    Attributes
    ----------
    take_profit, stop_loss : int
        Distances: 1e-9 at the touch, half-ticks at the mid.
    hold, latency : int
        Bins.
    n_open : int64[1]
        Number of open pairs.
    trades : int64[hold + 2, 4]
        Row of the decision, bin of the entry, price of the long, price of the short, in order of entry.
    """

    take_profit: int
    stop_loss: int
    hold: int
    latency: int
    n_open: Ints
    trades: Ints


class Labels(NamedTuple):
    """The outcomes and labels of decisions.

    Attributes
    ----------
    outcome : int8[n_rows, 2]
        Of the long and of the short decided at each row: `OPEN` until it ended. Starts as `OPEN`.
    ends : int64[n_rows, 2]
        Bin at whose end the outcome was known.
    y : int8[n_rows]
        `UP`, `DOWN` or `NONE`. Starts as `UNKNOWN`.
    resolved : int64[n_rows]
        Bin at whose end `y` was known. Starts as `NEVER`.
    """

    outcome: Codes
    ends: Ints
    y: Codes
    resolved: Ints


def new_book(rules: TradeRules, tick_int: int) -> LabelBook:
    """Return a book without trades."""
    unit = tick_int if rules.price == "touch" else 2
    return LabelBook(
        take_profit=rules.tp_ticks * unit,
        stop_loss=rules.sl_ticks * unit,
        hold=rules.max_hold_bins,
        latency=rules.latency_bins,
        n_open=np.zeros(1, dtype=np.int64),
        trades=np.zeros((rules.max_hold_bins + 2, 4), dtype=np.int64),
    )


def prices_of(read: Callable[[str], Any], price: str, tick_int: int) -> Ints:
    """Return int64[..., 6], of one bin or of all of them: fixed-point prices at the touch, half-ticks at the mid."""
    buy, sell = read("best_ask_price_int"), read("best_bid_price_int")
    if price == "mid":
        buy = sell = (buy + sell) // tick_int
    columns = (buy, sell, *(read(name) for name in _EXTREMES[price]))
    return np.stack([np.asarray(column, dtype=np.int64) for column in columns], axis=-1)


@jit
def _direction(outcome: Codes, ends: Ints) -> int:
    long_paid = outcome[0] == 1
    short_paid = outcome[1] == 1
    if long_paid and (not short_paid or ends[0] < ends[1]):
        return UP
    if short_paid and (not long_paid or ends[1] < ends[0]):
        return DOWN
    return NONE


@jit
def resolve(
    book: LabelBook,
    first: int,
    stop: int,
    seq: Ints,
    prices: Ints,
    found: Labels,
) -> None:
    """Follow the open trades through valid bins, and enter those whose time has come.

    Parameters
    ----------
    book : LabelBook, written
        The open trades.
    first, stop : int
        Rows of the bins to go through; earlier rows have been.
    seq : int64[n_rows]
        Number of each valid bin. Bins that are missing had no valid book: they close nothing, but time passes.
    prices : int64[stop - first, 6]
        Of these bins, from `prices_of`.
    found : Labels, written
        Of the decisions at the end of each bin.
    """
    trades, outcome, ends = book.trades, found.outcome, found.ends
    for row in range(first, stop):
        now = seq[row]
        price = prices[row - first]
        kept = 0
        for t in range(book.n_open[0]):
            d = trades[t, T_ROW]
            last = trades[t, T_SEQ] + book.hold
            if now <= last:
                if outcome[d, 0] == OPEN:
                    if price[BID_LOW] <= trades[t, T_BUY] - book.stop_loss:
                        outcome[d, 0] = -1
                        ends[d, 0] = now
                    elif price[BID_HIGH] >= trades[t, T_BUY] + book.take_profit:
                        outcome[d, 0] = 1
                        ends[d, 0] = now
                if outcome[d, 1] == OPEN:
                    if price[ASK_HIGH] >= trades[t, T_SELL] + book.stop_loss:
                        outcome[d, 1] = -1
                        ends[d, 1] = now
                    elif price[ASK_LOW] <= trades[t, T_SELL] - book.take_profit:
                        outcome[d, 1] = 1
                        ends[d, 1] = now
            if now >= last:
                for side in range(2):
                    if outcome[d, side] == OPEN:
                        outcome[d, side] = 0
                        ends[d, side] = last
            if outcome[d, 0] != OPEN and outcome[d, 1] != OPEN:
                found.y[d] = _direction(outcome[d], ends[d])
                found.resolved[d] = max(ends[d, 0], ends[d, 1])
                continue
            if kept != t:
                for c in range(4):
                    trades[kept, c] = trades[t, c]
            kept += 1
        book.n_open[0] = kept
        d = row
        while d > 0 and seq[d] > now - book.latency:
            d -= 1
        # At the touch a trade whose stop is not wider than the spread is not entered; at the mid the two are equal.
        if seq[d] == now - book.latency and (price[BUY] == price[SELL] or price[BUY] - price[SELL] < book.stop_loss):
            trades[kept, T_ROW] = d
            trades[kept, T_SEQ] = now
            trades[kept, T_BUY] = price[BUY]
            trades[kept, T_SELL] = price[SELL]
            book.n_open[0] = kept + 1
