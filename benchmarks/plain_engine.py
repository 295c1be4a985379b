"""The same engine as one would write it in plain Python: an object per order and per level, dictionaries, no arrays.

It knows the book and its touch after every event, the attribution of flow within an event, the mechanics of all five
quantities with lazy decay, the frame of cells around the mid with every grid column, the composite's history per level,
and the extremes and volumes of a bin. It leaves out what never happens to well-formed data: clamps of the clock, cold
starts, quality counters. The benchmark checks its columns against the engine's.
"""

from __future__ import annotations

import math
from collections import defaultdict, deque
from collections.abc import Iterator
from typing import Any

from vpcore.engine import EngineParams

QUANTITIES = ("add", "pull", "fill", "bid_depth", "ask_depth")
ADD, PULL, FILL, BID, ASK = range(5)


class Order:
    __slots__ = ("side", "size", "tick")

    def __init__(self, side: int, tick: int, size: int) -> None:
        self.side, self.tick, self.size = side, tick, size


class Level:
    __slots__ = ("depth", "sums", "time")

    def __init__(self, now: int) -> None:
        self.depth = [0, 0]
        self.time = now
        self.sums = [[0.0, 0.0, 0.0, 0.0] for _ in QUANTITIES]  # velocity, acceleration, jerk, rest


class PlainEngine:
    """Feed it records, one tuple each; it yields a frame, a dictionary per cell, for every bin that ends."""

    def __init__(self, params: EngineParams, tick_int: int, start_ns: int) -> None:
        self.p, self.tick_int = params, tick_int
        self.width = params.cell_width_ms * 10**6
        self.bin_end = start_ns + self.width
        self.taus = (params.tau_velocity, params.tau_acceleration, params.tau_jerk, params.tau_rest_decay)
        self.orders: dict[int, Order] = {}
        self.levels: dict[int, Level] = {}
        self.sides: tuple[dict[int, int], dict[int, int]] = ({}, {})  # tick -> depth, for the touch
        self.event: list[tuple[int, int, int, int, int, int, int]] = []
        self.history: dict[int, deque[float]] = {}
        self.rolled: dict[int, tuple[float, float, float]] = {}
        self.quiet = False
        self.best = [-(2**62), 2**62]
        self.touch: tuple[int, int] | None = None
        self.bins: list[dict[str, int]] = []
        self.events = 0
        self.begin_bin()

    def begin_bin(self) -> None:
        self.events_before, self.volume, self.trades = self.events, {66: 0, 65: 0, 78: 0}, 0
        self.extremes: list[int] | None = None
        if self.touch is not None:
            self.note(*self.touch)

    def note(self, bid: int, ask: int) -> None:
        """Widen the extremes of the bin by a valid state of the book."""
        if self.extremes is None:
            self.extremes = [bid, bid, ask, ask, bid + ask, bid + ask]
            return
        e, mid2 = self.extremes, bid + ask
        e[0], e[1] = max(e[0], bid), min(e[1], bid)
        e[2], e[3] = max(e[2], ask), min(e[3], ask)
        e[4], e[5] = max(e[4], mid2), min(e[5], mid2)

    def feed(self, rows: list[tuple[int, int, int, int, int, int, int]]) -> Iterator[dict[int, dict[str, float]]]:
        """Apply (time, order id, price, size, flags, action, side) rows."""
        for row in rows:
            while row[0] >= self.bin_end:
                self.bins.append(self.scalars())
                yield self.frame(self.bin_end)
                self.bin_end += self.width
                self.begin_bin()
            self.event.append(row)
            if row[4] & 128:
                self.apply(row[0])
                self.event.clear()

    def apply(self, now: int) -> None:
        fills: dict[int, int] = defaultdict(int)
        aggressors = {row[1] for row in self.event if row[5] == 84 and row[1]}
        for row in self.event:
            if row[5] == 70 and row[1] not in aggressors and row[1] in self.orders:
                fills[row[1]] += row[3]
        before = {order_id: self.orders[order_id].tick for order_id in fills}
        self.quiet = bool(self.event[0][4] & 32)
        for _, order_id, price, size, _, action, side in self.event:
            order = self.orders.get(order_id)
            if action == 65:
                self.orders[order_id] = Order(0 if side == 66 else 1, price // self.tick_int, size)
                self.change(self.orders[order_id], size, 0, now)
            elif action == 67 and order is not None:
                gone = min(size, order.size)
                self.change(order, -gone, self.take(fills, order_id, gone), now)
                order.size -= gone
                if not order.size:
                    del self.orders[order_id]
            elif action == 77 and order is not None:
                tick = price // self.tick_int
                if tick != order.tick:
                    self.change(order, -order.size, self.take(fills, order_id, order.size), now)
                    order.tick, order.size = tick, size
                    self.change(order, size, 0, now)
                elif size != order.size:
                    less = max(order.size - size, 0)
                    self.change(order, size - order.size, self.take(fills, order_id, less), now)
                    order.size = size
            elif action == 84:
                self.volume[side] += size
                self.trades += 1
            elif action == 82:
                self.orders.clear()
                for level in self.levels.values():
                    level.depth = [0, 0]
                self.sides[0].clear()
                self.sides[1].clear()
                self.best = [-(2**62), 2**62]
        for order_id, hidden in fills.items():  # an iceberg: filled beyond what was shown, and reloaded
            if hidden and not self.quiet:
                level = self.level(before[order_id], now)
                self.impulse(level, FILL, hidden)
                self.impulse(level, ADD, hidden)
        self.events += not self.quiet
        bids, asks = self.sides
        # The best prices are looked for again only where the best level went.
        self.touch = None
        if bids and asks:
            if self.best[0] not in bids:
                self.best[0] = max(bids)
            if self.best[1] not in asks:
                self.best[1] = min(asks)
            if self.best[0] < self.best[1]:
                self.touch = (self.best[0], self.best[1])
                self.note(*self.touch)

    def take(self, fills: dict[int, int], order_id: int, reduction: int) -> int:
        filled = min(fills.get(order_id, 0), reduction)
        if filled:
            fills[order_id] -= filled
        return filled

    def change(self, order: Order, change: int, filled: int, now: int) -> None:
        level = self.level(order.tick, now)
        level.depth[order.side] += change
        book = self.sides[order.side]
        book[order.tick] = book.get(order.tick, 0) + change
        if not book[order.tick]:
            del book[order.tick]
        elif change > 0:
            self.best[order.side] = (max, min)[order.side](self.best[order.side], order.tick)
        if self.quiet:
            return
        self.impulse(level, BID + order.side, change)
        if change > 0:
            self.impulse(level, ADD, change)
        else:
            if filled:
                self.impulse(level, FILL, filled)
            if -change - filled:
                self.impulse(level, PULL, -change - filled)

    def level(self, tick: int, now: int) -> Level:
        level = self.levels.get(tick)
        if level is None:
            level = self.levels[tick] = Level(now)
        elif level.time != now:
            for i, decay in enumerate(self.decays(now - level.time)):
                for sums in level.sums:
                    sums[i] *= decay
            level.time = now
        return level

    def decays(self, elapsed: int) -> list[float]:
        return [math.exp(-elapsed * 1e-9 / tau) for tau in self.taus]

    def impulse(self, level: Level, quantity: int, size: int) -> None:
        sums = level.sums[quantity]
        for i in range(4):
            sums[i] += size

    def scalars(self) -> dict[str, int]:
        """Return the columns of the bin that ends."""
        bid, ask = self.touch or (0, 0)
        e = self.extremes or [0] * 6
        return {
            "book_valid": self.touch is not None,
            "best_bid_price_int": bid * self.tick_int,
            "best_ask_price_int": ask * self.tick_int,
            "best_bid_size": self.sides[0].get(bid, 0),
            "best_ask_size": self.sides[1].get(ask, 0),
            "bin_event_count": self.events - self.events_before,
            "bid_high_int": e[0] * self.tick_int,
            "bid_low_int": e[1] * self.tick_int,
            "ask_high_int": e[2] * self.tick_int,
            "ask_low_int": e[3] * self.tick_int,
            "mid2_high": e[4],
            "mid2_low": e[5],
            "buy_volume": self.volume[66],
            "sell_volume": self.volume[65],
            "cross_volume": self.volume[78],
            "trade_count": self.trades,
        }

    def frame(self, now: int) -> dict[int, dict[str, float]]:
        """Return every cell's columns at the end of a bin; nothing while the book is not valid."""
        if self.touch is None:
            return {}
        bid, ask = self.touch
        p, band = self.p, self.p.grid_radius_ticks + self.p.band_margin_ticks
        found, history, rolled = {}, {}, {}
        per_second = 1000.0 / p.cell_width_ms
        for k in range(-band, band + 1):
            tick = self.tick_at(k, bid + ask)
            if tick is None:
                found[k] = dict.fromkeys(("add_mass", "v_add", "pressure", "vacuum", "composite"), 0.0)
                continue
            cell = self.cell(self.levels.get(tick), now)
            composite = (cell["pressure"] - cell["vacuum"]) / (cell["pressure"] + cell["vacuum"] + p.composite_floor)
            past = self.history.get(tick)
            if past is None:
                past = deque([composite] * max(p.flow_windows), maxlen=max(p.flow_windows))
            past.append(composite)
            history[tick] = past
            values = list(past)
            mean = sum(sum(values[-window:]) / window for window in p.flow_windows) / len(p.flow_windows)
            last, first, second = self.rolled.get(tick, (mean, 0.0, 0.0))
            d1 = (mean - last) * per_second
            d2 = (d1 - first) * per_second
            cell["composite"], cell["composite_d1"], cell["composite_d2"] = mean, d1, d2
            cell["composite_d3"] = (d2 - second) * per_second
            rolled[tick] = (mean, d1, d2)
            if abs(k) <= p.grid_radius_ticks:
                found[k] = cell
        self.history, self.rolled = history, rolled
        return found

    def tick_at(self, k: int, mid2: int) -> int | None:
        if k == 0:
            return None if mid2 % 2 else mid2 // 2
        distance = 2 * abs(k) - mid2 % 2
        return (mid2 + distance) // 2 if k > 0 else (mid2 - distance) // 2

    def cell(self, level: Level | None, now: int) -> dict[str, float]:
        p = self.p
        cell: dict[str, Any] = {}
        decays = self.decays(now - level.time) if level is not None else [0.0] * 4
        tv, ta, tj = self.taus[:3]
        for i, name in enumerate(QUANTITIES):
            s = level.sums[i] if level is not None else (0.0, 0.0, 0.0, 0.0)
            sv, sa, sj = s[0] * decays[0], s[1] * decays[1], s[2] * decays[2]
            if i <= FILL:
                cell[name + "_mass"] = s[3] * decays[3]
            cell["v_" + name] = sv / tv
            cell["a_" + name] = -sv / (tv * (tv - ta)) - sa / (ta * (ta - tv))
            cell["j_" + name] = (
                sv / (tv * (tv - ta) * (tv - tj))
                + sa / (ta * (ta - tv) * (ta - tj))
                + sj / (tj * (tj - tv) * (tj - ta))
            )
        cell["bid_depth"] = float(level.depth[0]) if level is not None else 0.0
        cell["ask_depth"] = float(level.depth[1]) if level is not None else 0.0
        rest = cell["v_bid_depth"] + cell["v_ask_depth"]
        cell["pressure"] = p.c1 * cell["v_add"] + p.c2 * max(rest, 0.0) + p.c3 * max(cell["a_add"], 0.0)
        cell["vacuum"] = (
            p.c4 * cell["v_pull"] + p.c5 * cell["v_fill"] + p.c6 * max(-rest, 0.0) + p.c7 * max(cell["a_pull"], 0.0)
        )
        return cell
