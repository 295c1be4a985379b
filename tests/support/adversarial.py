"""Tapes whose records cost as much as records can: far prices, long events, clears, a touch that jumps."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from markets import INSTRUMENT, START_NS, TICK_INT

from vpcore.kernels.records import ADD, ASK, BID, CANCEL, CLEAR, F_LAST, FILL, MBO_DTYPE, MODIFY, TRADE

FAR_TICKS = 1 << 20
"""Half of the span of far prices."""


def blank(n: int) -> np.ndarray:
    """Return adds of one contract each at one price, each an event of its own, 1 us apart."""
    records = np.zeros(n, MBO_DTYPE)
    records["length"], records["rtype"], records["publisher_id"], records["instrument_id"] = 14, 160, 1, INSTRUMENT
    records["action"], records["side"], records["flags"], records["size"] = ADD, BID, F_LAST, 1
    records["order_id"] = np.arange(n) + 1
    records["price"] = 19_000 * TICK_INT
    records["ts_recv"] = records["ts_event"] = START_NS - 10**9 + 1000 * np.arange(n)
    return records


def far_prices(n: int, rng: np.random.Generator) -> np.ndarray:
    """Every order at a price of its own, far from all others."""
    records = blank(n)
    records["price"] = (rng.permutation(n) - n // 2) * (2 * FAR_TICKS // n) * TICK_INT
    return records


def one_event(n: int, rng: np.random.Generator) -> np.ndarray:
    """A single event of adds, trades and fills of many orders."""
    records = blank(n)
    records["flags"][:-1] = 0
    records["price"] = (19_000 + rng.integers(-50, 50, n)) * TICK_INT
    half = n // 2
    records["action"][half:] = np.where(np.arange(n - half) % 2, FILL, TRADE)
    records["order_id"][half:] = rng.integers(1, n, n - half)
    return records


def emptied_touch(n: int, rng: np.random.Generator) -> np.ndarray:
    """Far bids, cancelled one by one from the best: each cancel moves the touch a long way."""
    records = far_prices(n, rng)
    half = n // 2
    best_first = np.argsort(-records["price"][:half])
    records["action"][half:] = CANCEL
    for name in ("order_id", "price"):
        records[name][half : 2 * half] = records[name][:half][best_first]
    return records


def clears(n: int, rng: np.random.Generator) -> np.ndarray:
    """Many far orders, then a clear after every further order."""
    records = far_prices(n, rng)
    records["action"][n // 2 :: 2] = CLEAR
    return records


def wandering(n: int, rng: np.random.Generator) -> np.ndarray:
    """Few orders, modified from one far price and side to another."""
    records = far_prices(n, rng)
    records["order_id"] = rng.integers(1, 20, n)
    records["side"] = np.where(rng.random(n) < 0.5, ASK, BID)
    records["action"] = MODIFY
    return records


def strided_ids(n: int, rng: np.random.Generator) -> np.ndarray:
    """Order ids in strides of a power of two, cancelled in random order."""
    records = blank(n)
    half = n // 2
    records["order_id"][:half] = (np.arange(half) + 1) << int(rng.integers(0, 40))
    records["order_id"][half : 2 * half] = rng.permutation(records["order_id"][:half])
    records["action"][half:] = CANCEL
    return records


FAMILIES: tuple[Callable[[int, np.random.Generator], np.ndarray], ...] = (
    far_prices, one_event, emptied_touch, clears, wandering, strided_ids,
)  # fmt: skip


def tape(seed: int, n: int, step_ns: int = 1000) -> np.ndarray:
    """Return about `n` records, `step_ns` apart: four stretches, each of a family drawn at random, as one stream."""
    rng = np.random.default_rng(seed)
    parts = [FAMILIES[int(rng.integers(len(FAMILIES)))](n // 4, rng) for _ in range(4)]
    records = np.concatenate(parts)
    records["ts_recv"] = records["ts_event"] = START_NS - 10**9 + step_ns * np.arange(len(records))
    return records
