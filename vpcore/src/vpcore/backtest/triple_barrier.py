"""Triple barriers: the outcomes of a long and of a short entered at the end of every bin."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from vpcore.backtest.open_market import Exits, exits, open_bins, quiet_bins, stale_bins
from vpcore.errors import DatasetError
from vpcore.halts import halted
from vpcore.kernels import barrier
from vpcore.rules import TradeRules
from vpcore.statistics.permutation import RING_BYTES, Ring
from vpcore.units import HALF_TICKS_PER_TICK, NS_PER_S

MARKET_COLUMNS = (
    "bin_seq", "bin_start_ns", "bin_end_ns", "book_valid", "best_bid_price_int", "best_ask_price_int", "spread_ticks",
    "bid_high_int", "bid_low_int", "ask_high_int", "ask_low_int", "mid2_high", "mid2_low",
    "bin_event_count",
)  # fmt: skip
"""Bin columns behind outcomes."""

_HIGHEST = np.iinfo(np.int64).max

TOUCH_BYTES = 128 << 20
"""Limit of the memory for touch times of one market."""

ACTIVITY_NS = 60 * NS_PER_S
"""Time over which the activity of a market is measured."""


@dataclass(frozen=True, slots=True)
class Market:
    """The bins of one dataset in ticks, prepared once for all outcome tables.

    Attributes
    ----------
    bin_seq, bin_start_ns : int64[n_bins]
    valid : bool[n_bins]
    bid, ask, bid_high, bid_low, ask_high, ask_low, spread : int64[n_bins]
        Ticks; 0 in invalid bins.
    mid2, mid2_high, mid2_low : int64[n_bins]
        Half-ticks; 0 in invalid bins.
    last_valid : int64[n_bins]
        Index of the last valid bin up to and including each one, -1 before the first.
    event_counts : int64[n_bins]
        Events in each bin.
    cell_width_ns : int
        Width of a bin.
    """

    bin_seq: npt.NDArray[np.int64]
    bin_start_ns: npt.NDArray[np.int64]
    valid: npt.NDArray[np.bool_]
    bid: npt.NDArray[np.int64]
    ask: npt.NDArray[np.int64]
    bid_high: npt.NDArray[np.int64]
    bid_low: npt.NDArray[np.int64]
    ask_high: npt.NDArray[np.int64]
    ask_low: npt.NDArray[np.int64]
    spread: npt.NDArray[np.int64]
    mid2: npt.NDArray[np.int64]
    mid2_high: npt.NDArray[np.int64]
    mid2_low: npt.NDArray[np.int64]
    last_valid: npt.NDArray[np.int64]
    event_counts: npt.NDArray[np.int64]
    cell_width_ns: int
    _touched: dict[tuple[Any, ...], npt.NDArray[np.int32]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    _opened: dict[Any, npt.NDArray[np.bool_]] = field(default_factory=dict, init=False, repr=False, compare=False)
    _exits: dict[Any, Exits] = field(default_factory=dict, init=False, repr=False, compare=False)
    _activity: list[npt.NDArray[np.float64]] = field(default_factory=list, init=False, repr=False, compare=False)
    _opened_at: list[npt.NDArray[np.int32]] = field(default_factory=list, init=False, repr=False, compare=False)

    def touch_times(
        self, entry: npt.NDArray[np.int64], extreme: str, sign: int, distance: int, hold: int
    ) -> npt.NDArray[np.int32]:
        """Return the first touch of a barrier for every entry bin; see `vpcore.kernels.barrier.touch_times`.

        Parameters
        ----------
        entry : int64[n_bins]
            Entry price of each bin, in the unit of `extreme`.
        extreme : str
            Attribute with the extreme prices, for instance ``bid_high``.
        sign, distance, hold : int
            Arguments of the kernel.
        """
        key = (extreme, sign, distance, hold)
        found = self._touched.get(key)
        if found is None:
            found = np.empty(self.n_bins, dtype=np.int32)
            barrier.touch_times(entry, getattr(self, extreme), self.valid, sign, distance, hold, found)
            # The oldest goes: a grid is evaluated in order, and the next pair shares a distance with the last ones.
            while self._touched and (len(self._touched) + 1) * found.nbytes > TOUCH_BYTES:
                del self._touched[next(iter(self._touched))]
            self._touched[key] = found
        return found

    def opened(self, rules: TradeRules) -> npt.NDArray[np.bool_]:
        """Return a mask of the open bins; see `vpcore.backtest.open_market`."""
        key = (rules.stale_after_ms, rules.daily_halt)
        found = self._opened.get(key)
        if found is None:
            found = open_bins(self.valid, self.event_counts, self.cell_width_ns, rules.stale_after_ms)
            found &= ~halted(rules.daily_halt, self.bin_start_ns, self.cell_width_ns)
            self._opened[key] = found
        return found

    def exits(self, rules: TradeRules) -> Exits:
        """Return where trades leave that touch no barrier; see `vpcore.backtest.open_market.exits`."""
        key = (rules.max_hold_bins, rules.stale_after_ms, rules.daily_halt)
        if key not in self._exits:
            halt = halted(rules.daily_halt, self.bin_start_ns, self.cell_width_ns)
            stale = quiet_bins(self.event_counts) > stale_bins(self.cell_width_ns, rules.stale_after_ms)
            self._exits.clear()  # the tables of one experiment share their hold
            self._exits[key] = exits(self.opened(rules), stale, halt, self.last_valid, rules.max_hold_bins)
        return self._exits[key]

    @property
    def activity(self) -> npt.NDArray[np.float64]:
        """Mean change of the mid per bin over the last `ACTIVITY_NS`, half-ticks: float64[n_bins]."""
        if not self._activity:
            change = np.zeros(self.n_bins, dtype=np.int64)
            both = self.valid[1:] & self.valid[:-1]
            change[1:] = np.where(both, np.abs(np.diff(self.mid2)), 0)
            total = np.cumsum(change)
            n = max(1, min(ACTIVITY_NS // self.cell_width_ns, self.n_bins))
            recent = total - np.concatenate([np.zeros(n, dtype=np.int64), total])[: self.n_bins]
            self._activity.append(recent / np.clip(np.arange(self.n_bins), 1, n))
        return self._activity[0]

    @property
    def opened_at(self) -> npt.NDArray[np.int32]:
        """Where a trade opens that enters at once: int32[2, n_bins], read only; all such tables share it."""
        if not self._opened_at:
            self._opened_at.append(np.tile(np.arange(self.n_bins, dtype=np.int32), (2, 1)))
            self._opened_at[0].setflags(write=False)
        return self._opened_at[0]

    @property
    def n_bins(self) -> int:
        """Number of bins."""
        return int(self.bin_seq.shape[0])

    @classmethod
    def from_bins(cls, bins: Mapping[str, npt.NDArray[Any]], tick_int: int) -> Market:
        """Prepare the bins of a dataset.

        Parameters
        ----------
        bins : mapping of name to array of shape (n_bins,)
            Holds `MARKET_COLUMNS`, as in a dataset.
        tick_int : int
            Tick size in fixed point (1e-9).

        Raises
        ------
        DatasetError
            If a column is missing or of another length, a price is off the tick grid, a valid bin is crossed, or
            `bin_seq` has a gap.
        """
        missing = [name for name in MARKET_COLUMNS if name not in bins]
        if missing:
            raise DatasetError(f"Outcomes need the bin columns {', '.join(missing)}, which are missing.")
        if tick_int < 1:
            raise DatasetError(f"tick_int must be at least 1 (a price of 1e-9), was {tick_int}.")
        seq = np.ascontiguousarray(bins["bin_seq"], dtype=np.int64)
        n_bins = seq.shape[0]
        for name in MARKET_COLUMNS:
            if np.shape(bins[name]) != (n_bins,):
                raise DatasetError(
                    f"Bin column {name} must have {n_bins} values, one per bin, was {np.shape(bins[name])}."
                )
        gaps = np.flatnonzero(np.diff(seq) != 1)
        if gaps.size:
            row = int(gaps[0])
            raise DatasetError(f"bin_seq must count up by 1, was {seq[row]} and then {seq[row + 1]} (row {row + 1}).")
        valid = np.ascontiguousarray(bins["book_valid"], dtype=np.bool_)

        def ticks(name: str) -> npt.NDArray[np.int64]:
            price = np.where(valid, np.asarray(bins[name], dtype=np.int64), 0)
            off = np.flatnonzero(price % tick_int)
            if off.size:
                row = int(off[0])
                raise DatasetError(
                    f"{name} must be a multiple of the tick {tick_int} (1e-9), was {price[row]} (bin {seq[row]})."
                )
            return price // tick_int

        def plain(name: str) -> npt.NDArray[np.int64]:
            return np.where(valid, np.asarray(bins[name], dtype=np.int64), 0)

        bid, ask = ticks("best_bid_price_int"), ticks("best_ask_price_int")
        crossed = np.flatnonzero(valid & (bid >= ask))
        if crossed.size:
            raise DatasetError(f"A valid bin must have its best bid below its best ask, bin {seq[crossed[0]]} has not.")
        starts = np.array(bins["bin_start_ns"], dtype=np.int64)  # a copy: read-only columns compile kernels anew
        return cls(
            bin_seq=seq,
            bin_start_ns=starts,
            valid=valid,
            bid=bid,
            ask=ask,
            bid_high=ticks("bid_high_int"),
            bid_low=ticks("bid_low_int"),
            ask_high=ticks("ask_high_int"),
            ask_low=ticks("ask_low_int"),
            spread=np.where(valid, ask - bid, 0),
            mid2=np.where(valid, bid + ask, 0),
            mid2_high=plain("mid2_high"),
            mid2_low=plain("mid2_low"),
            last_valid=np.maximum.accumulate(np.where(valid, np.arange(n_bins), -1))
            if n_bins
            else np.empty(0, dtype=np.int64),
            event_counts=np.ascontiguousarray(bins["bin_event_count"], dtype=np.int64),
            cell_width_ns=int(np.asarray(bins["bin_end_ns"])[0] - starts[0]) if n_bins else 1,
        )


@dataclass(frozen=True, slots=True)
class OutcomeTable:
    """The outcome of a trade entered at the end of every bin. Row 0 of each array is the long, row 1 the short.

    Attributes
    ----------
    outcome : int8[2, n_bins]
        `TAKE_PROFIT` (1), `STOP_LOSS` (-1), `TIMEOUT` (0), or `NO_TRADE` (2): the bin is not open or, at touch prices,
        its spread is at least the stop.
    tie : bool[2, n_bins]
        True for a stop if the take-profit was touched in the same bin.
    opened_at : int32[2, n_bins]
        Bin at whose end the position opens: the entry bin itself, of a maker the bin of the fill.
    exit_bin : int32[2, n_bins]
        Bin of the exit price. A timeout exits in the last valid bin of the hold or of the data, before a daily halt, or
        in the first open bin after a closed stretch.
    resolved_at : int32[2, n_bins]
        First bin with a known outcome, at its end. For a trade still open at the end of the data the bin lies beyond
        the last bin: a longer capture may change the outcome, so a label must leave the trade out.
    net : int32[2, n_bins]
        PnL of the trade before fees, half-ticks.
    activity : float64[n_bins]
        See `Market.activity`.
    gross : int32[2, n_bins]
        From mid at entry to mid at the end of the exit bin, in the trade's direction, half-ticks.
    rings : dict
        The latest ring of `vpcore.backtest.metrics.ring_of`, by its settings.
    """

    outcome: npt.NDArray[np.int8]
    tie: npt.NDArray[np.bool_]
    opened_at: npt.NDArray[np.int32]
    exit_bin: npt.NDArray[np.int32]
    resolved_at: npt.NDArray[np.int32]
    net: npt.NDArray[np.int32]
    gross: npt.NDArray[np.int32]
    activity: npt.NDArray[np.float64]
    rings: dict[tuple[Any, ...], Ring] = field(default_factory=dict, init=False, repr=False, compare=False)

    @property
    def nbytes(self) -> int:
        """Memory held, in bytes, a ring included."""
        return sum(array.nbytes for array in self._arrays) + RING_BYTES * len(self.activity)

    @property
    def _arrays(self) -> tuple[npt.NDArray[Any], ...]:
        return self.outcome, self.tie, self.opened_at, self.exit_bin, self.resolved_at, self.net, self.gross

    def freeze(self) -> None:
        """Make the arrays read-only."""
        for array in self._arrays:
            array.setflags(write=False)

    @property
    def enterable(self) -> npt.NDArray[np.bool_]:
        """Whether a trade can be entered at a bin, or an order placed: bool[2, n_bins]."""
        waited: npt.NDArray[np.bool_] = self.resolved_at > np.arange(self.outcome.shape[1])
        waited |= self.outcome != barrier.NO_TRADE
        return waited

    def entered(
        self, bins: npt.NDArray[np.int64], sides: npt.NDArray[np.int8], latency_bins: int
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Return the trades of signals: index of the signal, entry bin, and row of the table, int64[n_trades] each.

        Signals without a trade are left out: the entry bin is past the end, or its outcome is `NO_TRADE`.
        """
        entries, side = bins + latency_bins, (sides < 0).astype(np.int64)
        which = np.flatnonzero(entries < self.outcome.shape[1])
        which = which[self.outcome[side[which], entries[which]] != barrier.NO_TRADE]
        return which, entries[which], side[which]


def empty_table(market: Market, opened_at: npt.NDArray[np.int32] | None = None) -> OutcomeTable:
    """Return a table to be filled, but for `opened_at` if that is given."""
    shape = (2, market.n_bins)
    return OutcomeTable(
        outcome=np.empty(shape, dtype=np.int8),
        tie=np.empty(shape, dtype=np.bool_),
        opened_at=np.empty(shape, dtype=np.int32) if opened_at is None else opened_at,
        exit_bin=np.empty(shape, dtype=np.int32),
        resolved_at=np.empty(shape, dtype=np.int32),
        net=np.empty(shape, dtype=np.int32),
        gross=np.empty(shape, dtype=np.int32),
        activity=market.activity,
    )


def kept_signals(
    table: OutcomeTable, bins: npt.NDArray[np.int64], sides: npt.NDArray[np.int8], rules: TradeRules
) -> npt.NDArray[np.bool_]:
    """Return which signals of one trial `TradeRules.positions` lets through; of overlapping positions all."""
    kept = np.ones(len(bins), dtype=np.bool_)
    if rules.positions == "one":
        barrier.one_at_a_time(bins, sides, rules.latency_bins, table.resolved_at, kept)
    return kept


def outcome_table(market: Market, rules: TradeRules) -> OutcomeTable:
    """Return the outcome of a long and of a short entered at the end of every bin.

    A trade is entered in an open bin (`vpcore.backtest.open_market`). The barriers are tested in the `max_hold_bins`
    bins after the entry, against the extremes inside each bin; an invalid bin keeps trades open. Both barriers in one
    bin count as the stop. A trade leaves at the last bin before a daily halt, and at the first open bin after an
    unexpected closure; both are timeouts. At touch prices a long is bought at the ask and leaves at the bid, a short
    the other way round; at mid prices both are measured on the mid.

    Parameters
    ----------
    market : Market
        The bins.
    rules : TradeRules
        Barriers, hold, price, `stale_after_ms` and `daily_halt` decide the table; the other rules have no influence.

    Returns
    -------
    OutcomeTable
        Indexed by entry bin: add the latency to a decision's bin.

    Notes
    -----
    Time grows with n_bins; the hold has no influence. The market caches touch times, so a table that shares a distance
    with an earlier table takes a tenth of the time.
    """
    table = empty_table(market, market.opened_at)
    touch = rules.price == "touch"
    scale = 1 if touch else HALF_TICKS_PER_TICK
    tp, sl, hold = rules.tp_ticks * scale, rules.sl_ticks * scale, rules.max_hold_bins
    if touch:
        widest = rules.sl_ticks
        long = (market.ask, "bid_high", "bid_low", market.bid)
        short = (market.bid, "ask_low", "ask_high", market.ask)
    else:
        widest = _HIGHEST
        long = (market.mid2, "mid2_high", "mid2_low", market.mid2)
        short = (market.mid2, "mid2_low", "mid2_high", market.mid2)
    opened, leave = market.opened(rules), market.exits(rules)
    for row, (sign, (entry, towards, away, last)) in enumerate(((1, long), (-1, short))):
        taken = market.touch_times(entry, towards, sign, tp, hold)
        stopped = market.touch_times(entry, away, -sign, sl, hold)
        barrier.first_touch(
            entry, getattr(market, away), last, market.mid2, opened, market.spread, leave.until,
            leave.bin, leave.known, taken, stopped, sign, tp, widest, HALF_TICKS_PER_TICK // scale,
            table.outcome[row], table.tie[row], table.exit_bin[row], table.resolved_at[row],
            table.net[row], table.gross[row],
        )  # fmt: skip
    table.freeze()
    return table
