"""Order queues of the simulated market: first in, first out per price level, on plain arrays.

An order is a row of `orders` (int64[capacity, 8]), a level a row of `levels` (int64[n_levels, 4]). Free rows form a
list through their `NEXT`, whose first is ``state[FREE]``.
"""

from __future__ import annotations

from typing import Any

from vpcore.kernels.jit import jit

ID, LEVEL, SIDE, SIZE, HIDDEN, DISPLAY, NEXT, PREV = range(8)
"""Columns of `orders`. `SIZE` is what is displayed, `HIDDEN` what an iceberg has behind it, `DISPLAY` its slice."""

HEAD, TAIL, QUANTITY, COUNT = range(4)
"""Columns of `levels`; `QUANTITY` is the displayed size."""

FREE, LIVE = 0, 1
"""Places in the simulator's state: the first free row of `orders` (-1: none), and how many rows are in use."""

NOBODY = -1


@jit(borrows=True)
def append(orders: Any, levels: Any, state: Any, order_id: int, level: int, side: int, size: int, hidden: int) -> int:
    """Put a new order at the end of a level's queue; return its row. The caller has made sure that a row is free."""
    row = state[FREE]
    state[FREE] = orders[row, NEXT]
    state[LIVE] += 1
    orders[row, ID] = order_id
    orders[row, SIDE] = side
    orders[row, SIZE] = size
    orders[row, HIDDEN] = hidden
    orders[row, DISPLAY] = size
    join(orders, levels, row, level)
    return row


@jit(borrows=True)
def join(orders: Any, levels: Any, row: int, level: int) -> None:
    """Put an order that is in no queue at the end of a level's."""
    tail = levels[level, TAIL]
    orders[row, LEVEL] = level
    orders[row, PREV] = tail
    orders[row, NEXT] = NOBODY
    if tail == NOBODY:
        levels[level, HEAD] = row
    else:
        orders[tail, NEXT] = row
    levels[level, TAIL] = row
    levels[level, QUANTITY] += orders[row, SIZE]
    levels[level, COUNT] += 1


@jit(borrows=True)
def leave(orders: Any, levels: Any, row: int) -> None:
    """Take an order out of its queue; its row stays in use."""
    level = orders[row, LEVEL]
    before = orders[row, PREV]
    after = orders[row, NEXT]
    if before == NOBODY:
        levels[level, HEAD] = after
    else:
        orders[before, NEXT] = after
    if after == NOBODY:
        levels[level, TAIL] = before
    else:
        orders[after, PREV] = before
    levels[level, QUANTITY] -= orders[row, SIZE]
    levels[level, COUNT] -= 1


@jit(borrows=True)
def remove(orders: Any, levels: Any, state: Any, row: int) -> None:
    """Take an order out of its queue and free its row."""
    leave(orders, levels, row)
    orders[row, NEXT] = state[FREE]
    state[FREE] = row
    state[LIVE] -= 1


@jit(borrows=True)
def resize(orders: Any, levels: Any, row: int, size: int) -> None:
    """Set an order's displayed size where it stands."""
    levels[orders[row, LEVEL], QUANTITY] += size - orders[row, SIZE]
    orders[row, SIZE] = size


@jit(borrows=True)
def nth(orders: Any, levels: Any, level: int, n: int) -> int:
    """Return the row of the order at place `n` of a level's queue, which has more than `n`."""
    row = levels[level, HEAD]
    for _ in range(n):
        row = orders[row, NEXT]
    return row
