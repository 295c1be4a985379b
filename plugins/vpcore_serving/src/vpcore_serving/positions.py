"""Positions as bins come: where each signalled trade enters and leaves, by the rules of `vpcore.backtest`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from vpcore.rules import TradeRules

Reason = Literal["take-profit", "stop", "timeout"]


@dataclass(frozen=True, slots=True)
class Exit:
    """A trade that left.

    Attributes
    ----------
    side : int
        +1 long, -1 short.
    decided_bin, entry_bin, exit_bin : int
        Bins of the signal, of the entry, and of the exit price.
    entry_price, exit_price : float
        Points.
    reason : str
        ``take-profit``, ``stop`` or ``timeout``.
    net_pnl_ticks : float
        After spread and fee.
    """

    side: int
    decided_bin: int
    entry_bin: int
    exit_bin: int
    entry_price: float
    exit_price: float
    reason: Reason
    net_pnl_ticks: float


@dataclass(frozen=True, slots=True)
class OpenPosition:
    """A position and its barriers.

    Attributes
    ----------
    side : int
        +1 long, -1 short.
    entry_bin : int
        Bin of the entry.
    entry_price, take_profit, stop : float
        Points.
    """

    side: int
    entry_bin: int
    entry_price: float
    take_profit: float
    stop: float


@dataclass(frozen=True, slots=True)
class _Position:
    side: int
    decided: int
    entered: int
    paid: int  # half-ticks
    held_at: int  # last valid bin within the hold
    worth: int  # half-ticks, at the end of that bin
    closed: bool = False  # the market closed since


@dataclass(frozen=True, slots=True)
class _Order:
    side: int
    decided: int
    joined: int
    price: int  # half-ticks


class PositionTracker:
    """Follows the trades of a stream of signals, and the orders of a maker.

    Parameters
    ----------
    rules : TradeRules
    stale_bins : int
        Bins without an event after which the market is closed.
    tick_int : int
        Tick size in 1e-9.
    halted : callable
        Whether a bin, given by its number, lies in a daily halt.

    Attributes
    ----------
    accepted : int
        Side of the last signal, 0 if `TradeRules.positions` dropped it.
    filled : callable
        Returns the bin of the fill of an order by its side and the bin at whose end it joined, negative without one:
        `vpcore.engine.Engine.filled`. For makers.
    """

    def __init__(
        self, rules: TradeRules, stale_bins: int, tick_int: int, halted: Callable[[int], bool] = lambda _: False
    ) -> None:
        self._rules, self._stale_bins, self._tick_int, self._halted = rules, stale_bins, tick_int, halted
        self._quiet = 0
        self._decided: list[tuple[int, int]] = []
        self._open: list[_Position] = []
        self._orders: list[_Order] = []
        self._last: Mapping[str, Any] = {}
        self.accepted = 0
        self.filled: Callable[[int, int], int] = lambda side, seq: -1

    @property
    def order_bins(self) -> int:
        """Bins for which an order may wait; 0 of takers."""
        return self._rules.patience_bins if self._rules.entry == "maker" else 0

    @property
    def open(self) -> tuple[OpenPosition, ...]:
        """Open positions, in the order of entry."""
        point, rules = self._tick_int / 2e9, self._rules
        return tuple(
            OpenPosition(
                position.side,
                position.entered,
                position.paid * point,
                (position.paid + 2 * position.side * rules.tp_ticks) * point,
                (position.paid - 2 * position.side * rules.sl_ticks) * point,
            )
            for position in self._open
        )

    def push(self, bins: Mapping[str, Any], entry: int) -> list[Exit]:
        """Take the next bin and the signal at its end, and return the trades that leave in it."""
        seq, valid = int(bins["bin_seq"]), bool(bins["book_valid"])
        self._quiet = 0 if int(bins["bin_event_count"]) else self._quiet + 1
        stale, halt = self._quiet > self._stale_bins, self._halted(seq)
        busy = bool(self._open or self._decided or self._orders)
        self._last = bins if valid else self._last
        left, kept = [], []
        for position in self._open:
            found = self._leave(position, bins, seq, valid, stale, halt)
            if isinstance(found, Exit):
                left.append(found)
            else:
                kept.append(found)
        self._orders = [] if halt else self._wait(bins, seq, valid, left, kept)
        self.accepted = 0 if busy and self._rules.positions == "one" else entry
        if self.accepted:
            self._decided.append((seq, entry))
        due = [pair for pair in self._decided if pair[0] + self._rules.latency_bins <= seq]
        self._decided = [pair for pair in self._decided if pair not in due]
        for decided, side in due:
            if not self._is_open(valid, stale, halt):
                continue
            if self._rules.entry == "maker":
                self._orders.append(_Order(side, decided, seq, self._price(bins, -side)))
            elif self._narrow(bins):
                paid = self._price(bins, side)
                kept.append(_Position(side, decided, seq, paid, seq, self._price(bins, -side)))
        self._open = kept
        return left

    def _wait(
        self, bins: Mapping[str, Any], seq: int, valid: bool, left: list[Exit], opened: list[_Position]
    ) -> list[_Order]:
        """Return the orders that wait on; a filled one goes to `opened`, or to `left` if its bin stops it out."""
        waiting = []
        for order in self._orders:
            filled = self.filled(order.side, order.joined)
            if not 0 <= filled <= seq:
                waiting += [order] if seq < order.joined + self._rules.patience_bins else []
                continue
            worth = self._price(self._last, -order.side)
            position = _Position(order.side, order.decided, seq, order.price, seq, worth)
            found = self._barrier(position, bins, seq) if valid else None
            if found is not None and found.reason == "stop":
                left.append(found)
            else:
                opened.append(position)
        return waiting

    def _leave(
        self, position: _Position, bins: Mapping[str, Any], seq: int, valid: bool, stale: bool, halt: bool
    ) -> Exit | _Position:
        last = position.entered + self._rules.max_hold_bins
        if position.closed:
            return (
                self._exit(position, seq, self._price(bins, -position.side), "timeout")
                if self._is_open(valid, stale, halt)
                else position
            )
        if halt:  # the bin before was the last
            return self._exit(position, position.held_at, position.worth, "timeout")
        if stale:
            return replace(position, closed=True)
        if valid:
            found = self._barrier(position, bins, seq)
            if found is not None:
                return found
            position = replace(position, held_at=seq, worth=self._price(bins, -position.side))
        return self._exit(position, position.held_at, position.worth, "timeout") if seq >= last else position

    @staticmethod
    def _is_open(valid: bool, stale: bool, halt: bool) -> bool:
        return valid and not stale and not halt

    def _barrier(self, position: _Position, bins: Mapping[str, Any], seq: int) -> Exit | None:
        high, low = self._extremes(bins, position.side)
        tp, sl = 2 * self._rules.tp_ticks, 2 * self._rules.sl_ticks
        if position.side > 0:
            stopped, taken, worst = low <= position.paid - sl, high >= position.paid + tp, low
        else:
            stopped, taken, worst = high >= position.paid + sl, low <= position.paid - tp, high
        if stopped:
            return self._exit(position, seq, worst, "stop")
        return self._exit(position, seq, position.paid + position.side * tp, "take-profit") if taken else None

    def _narrow(self, bins: Mapping[str, Any]) -> bool:
        spread = (int(bins["best_ask_price_int"]) - int(bins["best_bid_price_int"])) // self._tick_int
        return self._rules.price == "mid" or spread < self._rules.sl_ticks

    def _price(self, bins: Mapping[str, Any], side: int) -> int:
        """Return what a buyer (+1) pays or a seller (-1) gets at the end of the bin, half-ticks."""
        bid, ask = (int(bins[f"best_{name}_price_int"]) // self._tick_int for name in ("bid", "ask"))
        if self._rules.price == "mid":
            return bid + ask
        return 2 * (ask if side > 0 else bid)

    def _extremes(self, bins: Mapping[str, Any], side: int) -> tuple[int, int]:
        """Return the highest and lowest price at which a position could leave inside the bin, half-ticks."""
        if self._rules.price == "mid":
            return int(bins["mid2_high"]), int(bins["mid2_low"])
        name = "bid" if side > 0 else "ask"
        high, low = (2 * (int(bins[f"{name}_{end}_int"]) // self._tick_int) for end in ("high", "low"))
        return high, low

    def _exit(self, position: _Position, seq: int, price: int, reason: Reason) -> Exit:
        point = self._tick_int / 2e9
        net = position.side * (price - position.paid) / 2 - self._rules.fee_ticks
        return Exit(
            position.side, position.decided, position.entered, seq, position.paid * point, price * point, reason, net
        )
