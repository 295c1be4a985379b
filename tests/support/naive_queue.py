"""A book of queues written for reading: real and virtual orders stand in one line per price, in order of time.

It takes clock, bins and book rules from `naive_engine` and adds the lines. Slow, and independent of the kernels.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np
from naive_engine import UNDEF, Bin, NaiveEngine

WAITING, NOT_PLACED, GONE = -1, -2, -3
BEHIND, WORSE_PRICE, RESTS = 1, 2, 3


class NaiveQueues(NaiveEngine):
    """`found` has, per side (+1 bid, -1 ask) and bin: tick, bin of the fill or a state, time, reason."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.found: dict[int, list[list[int]]] = {1: [], -1: []}
        # (side, tick) -> the line, first in time first: ("order", id) or ("virtual", bin)
        self.lines: dict[tuple[int, int], dict[tuple[str, int], None]] = defaultdict(dict)
        self.waiting: dict[int, dict[int, int]] = {1: defaultdict(int), -1: defaultdict(int)}  # tick -> virtual orders
        self.levels: dict[int, dict[int, int]] = {1: defaultdict(int), -1: defaultdict(int)}  # tick -> orders with size
        self.best: dict[int, int | None] = {1: None, -1: None}

    # -- the book

    def touch(self) -> tuple[int, int]:
        return self.best[1], self.best[-1]  # type: ignore[return-value]

    def recount(self, side: int, tick: int, change: int) -> None:
        levels, best = self.levels[side], self.best[side]
        levels[tick] += change
        if not levels[tick]:
            del levels[tick]
            if tick == best:
                self.best[side] = (max(levels) if side == 1 else min(levels)) if levels else None
        elif best is None or side * tick > side * best:
            self.best[side] = tick

    def leave(self, oid: int, order: list[int]) -> None:
        side, tick, size = order
        self.lines[side, tick].pop(("order", oid), None)
        if size:
            self.recount(side, tick, -1)

    def join(self, oid: int, order: list[int], *, front: bool = False) -> None:
        """Put an order at the end of its line, or before the first virtual order."""
        side, tick, size = order
        line = self.lines[side, tick]
        line[("order", oid)] = None
        if front:
            line.pop(("order", oid))
            tokens = list(line)
            first = next((i for i, (kind, _) in enumerate(tokens) if kind == "virtual"), len(tokens))
            tokens.insert(first, ("order", oid))
            self.lines[side, tick] = dict.fromkeys(tokens)
        if size:
            self.recount(side, tick, 1)

    def one(self, rec: dict[str, int], snapshot: bool) -> None:
        action = chr(rec["action"])
        if action == "R" or (snapshot and not self.in_snapshot):
            for oid, order in self.orders.items():
                self.leave(oid, order)
            if not snapshot:  # the venue cleared its book: our orders are gone too
                for (side, _), line in self.lines.items():
                    for kind, number in list(line):
                        if kind == "virtual":
                            self.found[side][number][1] = GONE
                            del line[kind, number]
                self.waiting = {1: defaultdict(int), -1: defaultdict(int)}
        if snapshot and self.taken(rec):  # of unknown age
            oid, sign = rec["order_id"], 1 if chr(rec["side"]) == "B" else -1
            if self.in_snapshot and oid in self.orders:
                self.leave(oid, self.orders[oid])
            self.join(oid, [sign, rec["price"] // self.tick_int, rec["size"]], front=True)
        super().one(rec, snapshot)

    @staticmethod
    def taken(rec: dict[str, int]) -> bool:
        return chr(rec["action"]) in "AM" and rec["price"] != UNDEF and chr(rec["side"]) in "AB"

    def apply(self, event: list[dict[str, int]]) -> None:
        filled = self.match(event)
        for rec in event:
            oid = rec["order_id"]
            before = list(self.orders[oid]) if oid in self.orders else None
            super().apply([rec])
            after = self.orders.get(oid)
            if chr(rec["action"]) == "C" and before is not None:
                cut = before[2] - (after[2] if after else 0)
                if oid in filled:
                    filled[oid] -= cut
                if after is None:
                    self.leave(oid, before)
            elif self.taken(rec):
                self.arrive(rec, before, after, filled)
        for oid, left in filled.items():  # more was filled than it showed: it was loaded anew
            if left > 0 and oid in self.orders:
                self.leave(oid, self.orders[oid])
                self.join(oid, self.orders[oid])

    def arrive(self, rec: dict[str, int], before: Any, after: Any, filled: dict[int, int]) -> None:
        oid, modify = rec["order_id"], chr(rec["action"]) == "M"
        place = [1 if chr(rec["side"]) == "B" else -1, rec["price"] // self.tick_int]
        same = before is not None and modify and before[:2] == place
        if before is not None and oid in filled:
            filled[oid] -= max(before[2] - rec["size"], 0) if same else before[2]
        if same and after is not None and 0 < after[2] <= before[2]:
            return  # it keeps its place
        if before is not None:
            self.leave(oid, before)
        if after is not None:
            self.join(oid, after, front=modify and before is None)

    # -- virtual orders

    def fill(self, side: int, tick: int, number: int, reason: int) -> None:
        del self.lines[side, tick]["virtual", number]
        self.waiting[side][tick] -= 1
        if not self.waiting[side][tick]:
            del self.waiting[side][tick]
        self.found[side][number][1:] = [len(self.bins), self.clock, reason]

    def fill_tick(self, side: int, tick: int, reason: int) -> None:
        for kind, number in list(self.lines[side, tick]):
            if kind == "virtual":
                self.fill(side, tick, number, reason)

    def match(self, event: list[dict[str, int]]) -> dict[int, int]:
        aggressors = {r["order_id"] for r in event if chr(r["action"]) == "T" and r["order_id"]}
        filled: dict[int, int] = defaultdict(int)
        for r in event:
            if chr(r["action"]) == "F" and r["order_id"] not in aggressors and r["order_id"] in self.orders:
                filled[r["order_id"]] += r["size"]
        prices = [r["price"] for r in event if chr(r["action"]) == "T" and r["price"] != UNDEF]
        for oid, size in filled.items():
            side, tick, shown = self.orders[oid]
            if not self.waiting[side].get(tick):
                continue
            ahead = []
            for kind, number in self.lines[side, tick]:
                if (kind, number) == ("order", oid) and size <= shown:
                    break
                if kind == "virtual":
                    ahead.append(number)
            for number in ahead:
                self.fill(side, tick, number, BEHIND)
        for side in (1, -1):
            passive = [self.orders[oid][1] for oid in filled if self.orders[oid][0] == side]
            for tick in list(self.waiting[side]):
                worse = any(side * price < side * tick * self.tick_int for price in prices)
                if worse or any(side * other < side * tick for other in passive):
                    self.fill_tick(side, tick, WORSE_PRICE)
        return filled

    def settle(self) -> None:
        super().settle()
        if self.valid:
            bid, ask = self.touch()
            for side, opposite in ((1, ask), (-1, bid)):
                for tick in list(self.waiting[side]):
                    if side * opposite <= side * tick:
                        self.fill_tick(side, tick, RESTS)

    def make_bin(self) -> Bin:
        number = len(self.bins)
        for side, tick in zip((1, -1), self.touch(), strict=True):
            self.found[side].append([tick if self.valid else 0, WAITING if self.valid else NOT_PLACED, 0, 0])
            if self.valid:
                self.lines[side, tick]["virtual", number] = None
                self.waiting[side][tick] += 1
        return Bin({"book_valid": self.valid})

    def fills(self) -> np.ndarray:
        return np.array([self.found[1], self.found[-1]], np.int64).reshape(2, -1, 4)
