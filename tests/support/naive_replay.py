"""A plain-Python order book for checking files: no vpcore code, dictionaries only, one record at a time."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np

BID, ASK = ord("B"), ord("A")


@dataclass
class Replay:
    """What a replay saw. Events are those of live records, that is without the snapshot."""

    actions: Counter[str] = field(default_factory=Counter)
    events: int = 0
    unknown: int = 0
    clipped: int = 0
    duplicates: int = 0
    wrong_order: int = 0
    crossed: int = 0
    one_sided: int = 0
    unequal_fills: int = 0
    trade_events: int = 0
    volume: int = 0
    own: int = 0
    hidden: int = 0
    adds: int = 0
    pulls: int = 0
    fills: int = 0
    times: list[int] = field(default_factory=list)
    touches: list[tuple[int, int]] = field(default_factory=list)
    near_flow: list[tuple[int, float, float, float, float]] = field(default_factory=list)
    sizes_at_touch: list[tuple[int, int]] = field(default_factory=list)
    open_at_end: bool = False
    bids: dict[int, int] = field(default_factory=dict)
    asks: dict[int, int] = field(default_factory=dict)


def replay(records: np.ndarray[Any, Any], tick_int: int = 250_000_000, near: int = 4) -> Replay:
    """Replay the records of one instrument.

    `near_flow` has, per event, the touch movement that it made (mid, in half ticks) and the contracts that it added to
    and drained from each side within `near` ticks of the touch before it: (moved, bid added, bid drained, ask added,
    ask drained).
    """
    seen = Replay()
    orders: dict[int, tuple[int, int, int]] = {}
    sides: dict[int, dict[int, int]] = {BID: seen.bids, ASK: seen.asks}
    event: list[tuple[Any, ...]] = []
    best = (0, 0)

    def change(side: int, price: int, size: int) -> None:
        levels = sides[side]
        left = levels.get(price, 0) + size
        if left:
            levels[price] = left
        else:
            del levels[price]

    columns = [records[name].tolist() for name in ("action", "side", "order_id", "price", "size", "flags", "ts_recv")]
    for action_code, side, order_id, price_int, size, flags, ts in zip(*columns, strict=True):
        action = chr(action_code)
        seen.actions[action] += 1
        price = price_int // tick_int
        if action != "R":
            assert price_int % tick_int == 0
        if flags & 32:
            if action == "R":
                orders.clear()
                seen.bids.clear()
                seen.asks.clear()
            elif action == "A":
                orders[order_id] = (side, price, size)
                change(side, price, size)
            if seen.bids and seen.asks:
                best = (max(seen.bids), min(seen.asks))
            continue
        event.append((action, side, order_id, price, size))
        if not flags & 128:
            continue
        _apply(seen, event, orders, change, best, near)
        event = []
        seen.events += 1
        if not seen.bids or not seen.asks:
            seen.one_sided += 1
            continue
        before, best = best, (max(seen.bids), min(seen.asks))
        seen.crossed += best[0] >= best[1]
        seen.times.append(ts)
        seen.touches.append(best)
        seen.sizes_at_touch.append((seen.bids[best[0]], seen.asks[best[1]]))
        _moved, *flow = seen.near_flow[-1]
        seen.near_flow[-1] = (sum(best) - sum(before), *flow)
    seen.open_at_end = bool(event)
    return seen


def _apply(
    seen: Replay, event: list[tuple[Any, ...]], orders: Any, change: Any, best: tuple[int, int], near: int
) -> None:
    own_ids = {order_id for action, _, order_id, _, _ in event if action == "T" and order_id}
    traded = sum(size for action, _, _, _, size in event if action == "T")
    filled: Counter[int] = Counter()
    flow = [0.0, 0.0, 0.0, 0.0]

    def count(side: int, price: int, size: float, drains: int) -> None:
        away = best[0] - price if side == BID else price - best[1]
        if 0 <= away < near:
            flow[(0 if side == BID else 2) + drains] += size

    passive_side = {(ASK if side == BID else BID) for action, side, _, _, _ in event if action == "T"}
    passive = 0
    for action, side, order_id, _, size in event:
        if action == "F":
            if order_id in own_ids:
                seen.own += size
            else:
                passive += size
                filled[order_id] += size
                seen.wrong_order += order_id not in orders or side not in passive_side or orders[order_id][0] != side
    if traded:
        seen.trade_events += 1
        seen.volume += traded
    seen.unequal_fills += passive != traded
    reduced: Counter[int] = Counter()
    homes = {order_id: orders[order_id] for order_id in filled if order_id in orders}
    for action, side, order_id, price, size in event:
        known = orders.get(order_id)
        if action == "A":
            seen.duplicates += known is not None
            orders[order_id] = (side, price, size)
            change(side, price, size)
            seen.adds += size
            count(side, price, size, 0)
        elif action == "C":
            if known is None:
                seen.unknown += 1
                continue
            seen.wrong_order += known[:2] != (side, price)
            seen.clipped += size > known[2]
            cut = min(size, known[2])
            change(known[0], known[1], -cut)
            reduced[order_id] += cut
            seen.pulls += cut
            count(known[0], known[1], cut, 1)
            if known[2] > cut:
                orders[order_id] = (known[0], known[1], known[2] - cut)
            else:
                del orders[order_id]
        elif action == "M":
            if known is None:
                seen.unknown += 1
                seen.adds += size
            else:
                change(known[0], known[1], -known[2])
                if known[1] == price:
                    grown = size - known[2]
                    reduced[order_id] += max(-grown, 0)
                    seen.adds += max(grown, 0)
                    seen.pulls += max(-grown, 0)
                    count(side, price, abs(grown), int(grown < 0))
                else:
                    reduced[order_id] += known[2]
                    seen.adds += size
                    seen.pulls += known[2]
                    count(known[0], known[1], known[2], 1)
                    count(side, price, size, 0)
            orders[order_id] = (side, price, size)
            change(side, price, size)
    for order_id, size in filled.items():
        if order_id not in homes:
            continue
        attributed = min(size, reduced[order_id])
        excess = size - attributed
        seen.pulls -= attributed
        seen.adds += excess
        seen.fills += size
        seen.hidden += excess
    seen.near_flow.append((0, *flow))
