"""An engine written for reading: dictionaries, lists, and sums over every impulse. Slow, and independent of the kernels.

It follows the definitions one by one: the clock and the bins, the book, flow attribution per event, mechanics by direct
summation, the frame around the mid, composite histories per level.
"""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

import numpy as np

NS = 1e-9
UNDEF = 2**63 - 1
TABLE = {
    (1, 1): (2, 1), (1, 0): (2, 0), (0, 1): (0, 1), (-1, -1): (-1, -2), (-1, 0): (-1, 0), (0, -1): (0, -2),
    (0, 0): (0, 0), (1, -1): (0, 0), (-1, 1): (0, 0),
}  # fmt: skip


@dataclass
class Bin:
    scalars: dict[str, Any]
    cells: dict[int, dict[str, float]] = field(default_factory=dict)  # k -> column -> value
    terms: dict[int, dict[str, float]] = field(default_factory=dict)  # k -> sum of absolute terms, for tolerances


class NaiveEngine:
    def __init__(self, params: Any, tick_int: int, start_ns: int, end_ns: int | None, build_cold: bool = False) -> None:
        self.p, self.tick_int = params, tick_int
        self.start, self.end = start_ns, end_ns
        self.width = params.cell_width_ms * 10**6
        self.build_cold = build_cold
        self.clock = 0
        self.orders: dict[int, list[int]] = {}  # id -> [side sign, tick, size]
        self.impulses: dict[int, dict[str, list[tuple[int, int]]]] = defaultdict(lambda: defaultdict(list))
        self.flow: dict[int, list[int]] = defaultdict(lambda: [0, 0, 0])
        self.event: list[dict[str, int]] = []
        self.seen = self.cold = self.bad = self.valid = self.in_snapshot = False
        self.bins: list[Bin] = []
        self.n_events = 0
        self.history: dict[int, list[int]] = {}
        self.rolled: dict[int, tuple[float, float, float, float]] = {}
        self.last_touch: tuple[int, int] | None = None
        self.count: dict[str, int] = defaultdict(int)
        self.next_end = start_ns
        self.reset_bin()

    # -- clock and bins

    def reset_bin(self) -> None:
        self.events_in_bin = 0
        self.volume = {"buy": 0, "sell": 0, "cross": 0, "n": 0}
        self.states = [self.touch()] if self.valid else []

    def touch(self) -> tuple[int, int]:
        bids = [o[1] for o in self.orders.values() if o[0] == 1 and o[2] > 0]
        asks = [o[1] for o in self.orders.values() if o[0] == -1 and o[2] > 0]
        return (max(bids) if bids else None, min(asks) if asks else None)  # type: ignore[return-value]

    def emit_until(self, now: int) -> None:
        while self.next_end <= now:
            if self.next_end > self.start:
                if self.end is not None and self.next_end > self.end:
                    return
                self.bins.append(self.make_bin())
            self.next_end += self.width
            self.reset_bin()

    def feed(self, records: np.ndarray, instrument: int) -> None:
        """Apply the whole stream at once. Records before the first usable time have that time."""
        names = ("order_id", "price", "size", "flags", "action", "side", "ts_recv")
        own = [{name: int(r[name]) for name in names} for r in records if int(r["instrument_id"]) == instrument]
        usable = [rec["ts_recv"] > 0 and bool(rec["flags"] & 32 or not rec["flags"] & 8) for rec in own]
        n_before = usable.index(True) if any(usable) else len(own)
        first_time = own[n_before]["ts_recv"] if any(usable) else 0
        for i, rec in enumerate(own):
            snapshot = bool(rec["flags"] & 32)
            now = self.clock
            if i < n_before:
                now = first_time
            elif snapshot or not rec["flags"] & 8:
                now = max(self.clock, rec["ts_recv"])
                self.count["clamps"] += rec["ts_recv"] < self.clock
            self.emit_until(now)
            if self.end is not None and now >= self.end:
                return
            self.clock = now
            self.one(rec, snapshot)

    def one(self, rec: dict[str, int], snapshot: bool) -> None:
        action = chr(rec["action"])
        begins = action == "R" or (snapshot and not self.in_snapshot)
        if not self.seen:
            self.seen, self.cold = True, not begins
        if begins:
            self.count["dropped"] += bool(self.event)
            self.event, self.orders = [], {}
            self.valid = self.cold = self.bad = False
        self.in_snapshot = snapshot
        if snapshot or action == "R":
            if action in "AM" and rec["price"] != UNDEF and chr(rec["side"]) in "AB":
                sign = 1 if chr(rec["side"]) == "B" else -1
                self.orders[rec["order_id"]] = [sign, rec["price"] // self.tick_int, rec["size"]]
            if rec["flags"] & 128:
                self.settle()
            return
        if rec["flags"] & 4:
            self.bad, self.valid = True, False
        self.event.append(rec)
        if rec["flags"] & 128:
            event, self.event = self.event, []
            self.apply(event)
            self.n_events += 1
            self.events_in_bin += 1
            self.settle()

    def settle(self) -> None:
        bid, ask = self.touch()
        both = bid is not None and ask is not None
        self.valid = both and bid < ask and not self.bad and (not self.cold or self.build_cold)
        if self.valid:
            self.states.append((bid, ask))

    # -- events

    def hit(self, tick: int, side: int, name: str, size: int, depth: int) -> None:
        """`size` contracts of one quantity, `depth` contracts of signed depth change."""
        if size:
            self.impulses[tick][name].append((self.clock, size))
            self.flow[tick][("add", "pull", "fill").index(name)] += size
        if depth:
            self.impulses[tick]["bid_depth" if side == 1 else "ask_depth"].append((self.clock, depth))

    def apply(self, event: list[dict[str, int]]) -> None:
        aggressors = {r["order_id"] for r in event if chr(r["action"]) == "T" and r["order_id"] != 0}
        filled: dict[int, int] = defaultdict(int)
        home: dict[int, tuple[int, int]] = {}
        traded = passive = 0
        for r in event:
            if chr(r["action"]) == "T":
                side = {"B": "buy", "A": "sell"}.get(chr(r["side"]), "cross")
                self.volume[side] += r["size"]
                self.volume["n"] += 1
                traded += r["size"]
            if chr(r["action"]) == "F":
                if r["order_id"] in aggressors:
                    self.count["aggressor"] += r["size"]
                    continue
                passive += r["size"]
                if r["order_id"] not in self.orders:
                    self.count["unattributed"] += r["size"]
                    continue
                filled[r["order_id"]] += r["size"]
                home[r["order_id"]] = (self.orders[r["order_id"]][1], self.orders[r["order_id"]][0])
        self.count["unbalanced"] += traded != passive
        for r in event:
            action, oid = chr(r["action"]), r["order_id"]
            if action == "C":
                if oid not in self.orders:
                    self.count["unknown_cancel"] += 1
                    continue
                self.count["clipped"] += r["size"] > self.orders[oid][2]
                self.reduce(oid, min(r["size"], self.orders[oid][2]), filled)
                if self.orders[oid][2] == 0:
                    del self.orders[oid]
            elif action in "AM":
                if r["price"] == UNDEF or chr(r["side"]) not in "AB":
                    continue
                sign, tick, size = 1 if chr(r["side"]) == "B" else -1, r["price"] // self.tick_int, r["size"]
                known = oid in self.orders
                if action == "M" and known:
                    held = self.orders[oid]
                    if held[0] == sign and held[1] == tick:
                        if size < held[2]:
                            self.reduce(oid, held[2] - size, filled)
                        else:
                            self.hit(tick, sign, "add", size - held[2], size - held[2])
                            held[2] = size
                    else:
                        self.reduce(oid, held[2], filled)
                        self.orders[oid] = [sign, tick, size]
                        self.hit(tick, sign, "add", size, size)
                    if size == 0:
                        del self.orders[oid]
                    continue
                self.count["unknown_modify"] += action == "M"
                if known:
                    self.count["duplicate"] += 1
                    self.reduce(oid, self.orders[oid][2], filled)
                self.orders[oid] = [sign, tick, size]
                self.hit(tick, sign, "add", size, size)
        for oid, left in filled.items():
            if left:
                tick, sign = home[oid]
                self.count["hidden"] += left
                self.hit(tick, sign, "add", left, 0)
                self.hit(tick, sign, "fill", left, 0)

    def reduce(self, oid: int, size: int, filled: dict[int, int]) -> None:
        sign, tick, _ = self.orders[oid]
        fill = min(filled.get(oid, 0), size)
        if oid in filled:
            filled[oid] -= fill
        self.orders[oid][2] -= size
        self.hit(tick, sign, "fill", fill, -fill)
        self.hit(tick, sign, "pull", size - fill, -(size - fill))

    # -- frames

    def chain(self, tick: int, name: str, now: int) -> tuple[tuple[float, float], ...]:
        """(value, sum of absolute terms) of v, a, j and the mass, by direct summation."""
        v, a, j = self.p.tau_velocity, self.p.tau_acceleration, self.p.tau_jerk
        m = self.p.tau_rest_decay
        out = []
        coefficients = (
            {v: 1 / v},
            {v: -1 / (v * (v - a)), a: -1 / (a * (a - v))},
            {v: 1 / (v * (v - a) * (v - j)), a: 1 / (a * (a - v) * (a - j)), j: 1 / (j * (j - v) * (j - a))},
            {m: 1.0},
        )
        for parts in coefficients:
            terms = [
                c * delta * math.exp(-(now - t) * NS / tau)
                for tau, c in parts.items()
                for t, delta in self.impulses[tick][name]
            ]
            out.append((math.fsum(terms), math.fsum(map(abs, terms))))
        return tuple(out)

    def make_bin(self) -> Bin:
        end = self.next_end
        scalars: dict[str, Any] = {
            "bin_end_ns": end, "book_valid": self.valid, "event_id": self.n_events, "bin_event_count": self.events_in_bin,
            "buy_volume": self.volume["buy"], "sell_volume": self.volume["sell"], "cross_volume": self.volume["cross"],
            "trade_count": self.volume["n"], "microstate_id": 4, "state_above": 0, "state_below": 0,
            "best_bid_move_ticks": 0, "best_ask_move_ticks": 0,
        }  # fmt: skip
        if not self.valid:
            self.history.clear()
            return Bin(scalars)
        bid, ask = self.touch()
        scalars |= {
            "bid": bid, "ask": ask, "spread_ticks": ask - bid,
            "best_bid_size": sum(o[2] for o in self.orders.values() if o[0] == 1 and o[1] == bid),
            "best_ask_size": sum(o[2] for o in self.orders.values() if o[0] == -1 and o[1] == ask),
            "bid_high": max(s[0] for s in self.states), "bid_low": min(s[0] for s in self.states),
            "ask_high": max(s[1] for s in self.states), "ask_low": min(s[1] for s in self.states),
            "mid2_high": max(sum(s) for s in self.states), "mid2_low": min(sum(s) for s in self.states),
        }  # fmt: skip
        if self.last_touch is not None:
            up = (ask - self.last_touch[1], bid - self.last_touch[0])
            signs = tuple((x > 0) - (x < 0) for x in up)
            scalars |= {
                "best_ask_move_ticks": up[0], "best_bid_move_ticks": up[1],
                "microstate_id": 3 * (signs[0] + 1) + signs[1] + 1,
                "state_above": TABLE[signs][0], "state_below": TABLE[signs][1],
            }  # fmt: skip
        self.last_touch = (bid, ask)
        out = Bin(scalars)
        band = self.p.grid_radius_ticks + self.p.band_margin_ticks
        tracked = {}
        rolled_now = {}
        for tick in range(bid - 2 * band - 5, ask + 2 * band + 6):
            d = 2 * tick - (bid + ask)
            k = (d > 0) - (d < 0)
            k *= (abs(d) + 1) // 2
            if abs(k) > band:
                continue
            cell, terms = self.cell(tick, end)
            whole = round(cell["composite_now"] * 2**44)
            past = self.history.get(tick)
            longest = max(self.p.flow_windows)
            past = [whole] * longest if past is None else [*past[1:], whole]
            tracked[tick] = past
            means = [sum(past[-w:]) / (2**44 * w) for w in self.p.flow_windows]
            rolled = math.fsum(means) / len(means)
            seconds = self.width * NS
            if tick in self.history:
                before = self.rolled[tick]
                d1 = (rolled - before[0]) / seconds
                d2 = (d1 - before[1]) / seconds
                d3 = (d2 - before[2]) / seconds
            else:
                d1 = d2 = d3 = 0.0
            rolled_now[tick] = (rolled, d1, d2, d3)
            if abs(k) <= self.p.grid_radius_ticks:
                cell |= {"composite": rolled, "composite_d1": d1, "composite_d2": d2, "composite_d3": d3}
                out.cells[k], out.terms[k] = cell, terms
        self.history, self.rolled = tracked, rolled_now
        return out

    def cell(self, tick: int, end: int) -> tuple[dict[str, float], dict[str, float]]:
        cell: dict[str, float] = {
            "bid_depth": float(sum(o[2] for o in self.orders.values() if o[0] == 1 and o[1] == tick)),
            "ask_depth": float(sum(o[2] for o in self.orders.values() if o[0] == -1 and o[1] == tick)),
        }
        terms: dict[str, float] = {}
        for name in ("add", "pull", "fill", "bid_depth", "ask_depth"):
            for prefix, (value, size) in zip("vajm", self.chain(tick, name, end), strict=True):
                if prefix == "m":
                    if name in ("add", "pull", "fill"):
                        cell[f"{name}_mass"], terms[f"{name}_mass"] = value, size
                else:
                    cell[f"{prefix}_{name}"], terms[f"{prefix}_{name}"] = value, size
        rest = cell["v_bid_depth"] + cell["v_ask_depth"]
        p = self.p
        pressure = p.c1 * cell["v_add"] + p.c2 * max(rest, 0) + p.c3 * max(cell["a_add"], 0)
        vacuum = p.c4 * cell["v_pull"] + p.c5 * cell["v_fill"] + p.c6 * max(-rest, 0) + p.c7 * max(cell["a_pull"], 0)
        cell |= {
            "pressure": pressure, "vacuum": vacuum,
            "composite_now": (pressure - vacuum) / (pressure + vacuum + p.composite_floor),
        }  # fmt: skip
        return cell, terms
