"""Price levels: depth per side, the best prices, and live orders entering and leaving them.

A page has 64 neighbouring ticks. The first 1,024 pages have all their levels side by side, in the order of the pages,
so that a level follows from its page; later pages get groups of 4 levels, as they are touched. A page is found
through a hash table, the next best page of a side through a heap. So the cost of a record does not depend on the
number or the distance of touched prices, and a far price costs 1 kB.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from vpcore.kernels.hashing import KEY, ROW, find_slot, remove_slot
from vpcore.kernels.jit import jit
from vpcore.kernels.state import (
    ASK_SIDE,
    BEST_ASK,
    BEST_BID,
    BEST_LEFT,
    BID_SIDE,
    GROUP,
    GROUP_BITS,
    L_FLOW,
    L_TOUCHED,
    LAST_NUMBER,
    LAST_PAGE,
    MOST_ORDERS,
    N_LEVEL,
    N_LEVELS,
    N_ORDERS,
    N_PAGES,
    N_QUEUED_BID,
    NO_ASK,
    NO_BID,
    O_ID,
    O_PLACE,
    O_SIZE,
    O_STAMP,
    P_NUMBER,
    P_OCCUPIED,
    P_QUEUED,
    PAGE,
    PAGE_BITS,
    WHOLE_PAGES,
)


@jit(inline=True, borrows=True)
def find_page(book, number):
    """Return a page by its number, ``tick >> PAGE_BITS``; -1 for an untouched page."""
    if book.ints[LAST_NUMBER] == number:
        return book.ints[LAST_PAGE]
    slot = find_slot(book.page_table, number)
    if slot < 0:
        return np.int64(-1)
    page = book.page_table[slot, ROW] - 1
    book.ints[LAST_NUMBER] = number
    book.ints[LAST_PAGE] = page
    return page


@jit(inline=True, borrows=True)
def level_of(book, page, tick):
    """Return the level of a tick on its page; -1 for an untouched group or page."""
    if 0 <= page < WHOLE_PAGES:
        return page * PAGE + (tick & (PAGE - 1))
    if page < 0:
        return np.int64(-1)
    first = np.int64(book.page_levels[page, (tick & (PAGE - 1)) >> GROUP_BITS])
    return first - 1 + (tick & (GROUP - 1)) if first > 0 else np.int64(-1)


@jit(inline=True, borrows=True)
def make_level(book, tick):
    """Make sure that a level exists. Return False if the arrays are full."""
    page = find_page(book, tick >> PAGE_BITS)
    return level_of(book, page, tick) >= 0 or _add_group(book, page, tick)


@jit(borrows=True)
def _add_group(book, page, tick):
    level = book.ints[N_LEVELS]
    first = (tick & (PAGE - 1)) >> GROUP_BITS
    n_groups = np.int64(1)
    if page < 0 and book.ints[N_PAGES] < WHOLE_PAGES:
        first, n_groups = np.int64(0), np.int64(PAGE // GROUP)
    if level + n_groups * GROUP > book.levels.shape[0]:
        return False
    if page < 0:
        page = book.ints[N_PAGES]
        if page >= book.pages.shape[0]:
            return False
        number = tick >> PAGE_BITS
        slot = -1 - find_slot(book.page_table, number)
        book.page_table[slot, KEY] = number
        book.page_table[slot, ROW] = page + 1
        book.pages[page, P_NUMBER] = number
        book.ints[N_PAGES] = page + 1
    for i in range(n_groups):
        book.page_levels[page, first + i] = level + 1 + i * GROUP
    book.ints[N_LEVELS] = level + n_groups * GROUP
    return True


@jit(borrows=True)
def date_levels(book: Any, now: int) -> None:
    """Give the time `now` to impulses that lack a time, on every level so far."""
    for level in range(book.ints[N_LEVELS]):
        for i in range(L_FLOW, N_LEVEL):
            if book.levels[level, i] != 0:
                book.levels[level, L_TOUCHED] = now


@jit(inline=True, borrows=True)
def change_depth(book, page, level, tick, side, size):
    """Add `size` (negative to take away) to a level, and keep the best prices up to date as far as additions go.

    `page` and `level` are those of the tick. A best level that empties is only noted, for `settle_best`.
    """
    before = book.levels[level, side]
    after = before + size
    book.levels[level, side] = after
    if before == 0 and after > 0:
        book.pages[page, P_OCCUPIED + side] += 1
        if book.pages[page, P_QUEUED + side] == 0:
            _queue(book, page, side)
        if side == BID_SIDE:
            if tick > book.ints[BEST_BID]:
                book.ints[BEST_BID] = tick
        elif tick < book.ints[BEST_ASK]:
            book.ints[BEST_ASK] = tick
    elif before > 0 and after == 0:
        book.pages[page, P_OCCUPIED + side] -= 1
        if tick == book.ints[BEST_BID] or tick == book.ints[BEST_ASK]:
            book.ints[BEST_LEFT] = 1


@jit(inline=True, borrows=True)
def _rank(book, page, side):
    """Return the rank of a page in the queue of its side; the lowest is the best."""
    return -book.pages[page, P_NUMBER] if side == BID_SIDE else book.pages[page, P_NUMBER]


@jit(borrows=True)
def _queue(book, page, side):
    """Put a page into the queue of a side, a binary heap. It stays there until it is the best and empty."""
    queue = book.queues[side]
    at = book.ints[N_QUEUED_BID + side]
    book.ints[N_QUEUED_BID + side] = at + 1
    book.pages[page, P_QUEUED + side] = 1
    rank = _rank(book, page, side)
    while at > 0 and _rank(book, queue[(at - 1) >> 1], side) > rank:
        queue[at] = queue[(at - 1) >> 1]
        at = (at - 1) >> 1
    queue[at] = page


@jit(borrows=True)
def _drop_best(book, side):
    """Take the best page out of the queue of a side."""
    queue = book.queues[side]
    n = book.ints[N_QUEUED_BID + side] - 1
    book.ints[N_QUEUED_BID + side] = n
    book.pages[queue[0], P_QUEUED + side] = 0
    page = queue[n]
    rank = _rank(book, page, side)
    at = 0
    while 2 * at + 1 < n:
        child = 2 * at + 1
        if child + 1 < n and _rank(book, queue[child + 1], side) < _rank(book, queue[child], side):
            child += 1
        if _rank(book, queue[child], side) >= rank:
            break
        queue[at] = queue[child]
        at = child
    queue[at] = page


@jit(inline=True, borrows=True)
def settle_best(book):
    """Move the best prices inwards past levels that have emptied. ``NO_BID`` and ``NO_ASK`` stand for an empty side.

    Needed only if `BEST_LEFT` is set.
    """
    book.ints[BEST_LEFT] = 0
    tick = book.ints[BEST_BID]
    if tick != NO_BID and level_depth(book, tick, np.int64(BID_SIDE)) == 0:
        book.ints[BEST_BID] = _next_best(book, tick, np.int64(BID_SIDE))
    tick = book.ints[BEST_ASK]
    if tick != NO_ASK and level_depth(book, tick, np.int64(ASK_SIDE)) == 0:
        book.ints[BEST_ASK] = _next_best(book, tick, np.int64(ASK_SIDE))


@jit(inline=True, borrows=True)
def _rests(book, page, tick, side):
    level = level_of(book, page, tick)
    return level >= 0 and book.levels[level, side] > 0


@jit(borrows=True)
def _next_best(book, tick, side):
    """Return the best tick of a side with orders; no tick better than `tick` has any."""
    outwards = 1 if side == ASK_SIDE else -1
    while book.ints[N_QUEUED_BID + side] > 0:
        page = book.queues[side, 0]
        if book.pages[page, P_OCCUPIED + side] > 0:
            base = book.pages[page, P_NUMBER] << PAGE_BITS
            tick = max(tick, base) if side == ASK_SIDE else min(tick, base + PAGE - 1)
            while not _rests(book, page, tick, side):
                tick += outwards
            return tick
        _drop_best(book, side)
    return np.int64(NO_ASK) if side == ASK_SIDE else np.int64(NO_BID)


@jit(inline=True, borrows=True)
def level_depth(book, tick, side):
    """Return the contracts that rest at a level on one side."""
    level = level_of(book, find_page(book, tick >> PAGE_BITS), tick)
    return book.levels[level, side] if level >= 0 else np.int64(0)


@jit(borrows=True)
def clear_book(book):
    """Drop every order. Depth goes to zero; accumulators and flows stay as they are.

    Cost: that of the orders and pages since the last clear, so a stream of clears is not slower than one of orders.
    """
    used = book.ints[MOST_ORDERS]
    if used > book.table.shape[0] >> 6:
        book.table[:] = 0
    else:
        for row in range(used):
            slot = find_slot(book.table, book.pool[row, O_ID])
            if slot >= 0:
                remove_slot(book.table, slot)
    for row in range(used):
        book.free[row] = row
    for side in range(2):
        for i in range(book.ints[N_QUEUED_BID + side]):
            page = book.queues[side, i]
            for place in range(PAGE if book.pages[page, P_OCCUPIED + side] > 0 else 0):
                level = level_of(book, page, place)
                if level >= 0:
                    book.levels[level, side] = 0
            book.pages[page, P_OCCUPIED + side] = 0
            book.pages[page, P_QUEUED + side] = 0
        book.ints[N_QUEUED_BID + side] = 0
    book.ints[N_ORDERS] = 0
    book.ints[MOST_ORDERS] = 0
    book.ints[BEST_BID] = NO_BID
    book.ints[BEST_ASK] = NO_ASK


@jit(inline=True, borrows=True)
def insert_order(book, order_id, slot, place, size, stamp):
    """Put a new order into the empty `slot`. Depth stays unchanged.

    `stamp` is the bin in which it took its place in the queue.
    """
    n_orders = book.ints[N_ORDERS]
    row = book.free[n_orders]
    book.ints[N_ORDERS] = n_orders + 1
    if n_orders >= book.ints[MOST_ORDERS]:
        book.ints[MOST_ORDERS] = n_orders + 1
    book.table[slot, KEY] = order_id
    book.table[slot, ROW] = row + 1
    book.pool[row, O_ID] = order_id
    book.pool[row, O_PLACE] = place
    book.pool[row, O_SIZE] = size
    book.pool[row, O_STAMP] = stamp


@jit(inline=True, borrows=True)
def remove_order(book, slot):
    """Take the order of a slot out of the table and give its row back. Depth stays unchanged."""
    n_orders = book.ints[N_ORDERS] - 1
    book.ints[N_ORDERS] = n_orders
    book.free[n_orders] = book.table[slot, ROW] - 1
    remove_slot(book.table, slot)


@jit(borrows=True)
def set_snapshot_order(book, order_id, place, size):
    """Insert or replace an order of a snapshot: depth changes, flow stays."""
    slot = find_slot(book.table, order_id)
    if slot >= 0:
        row = book.table[slot, ROW] - 1
        _rest(book, book.pool[row, O_PLACE], -book.pool[row, O_SIZE])
        remove_order(book, slot)
        slot = find_slot(book.table, order_id)
    insert_order(book, order_id, -1 - slot, place, size, np.int64(0))  # of unknown age: before every virtual order
    _rest(book, place, size)


@jit(borrows=True)
def _rest(book, place, size):
    page = find_page(book, place >> (PAGE_BITS + 1))
    change_depth(book, page, level_of(book, page, place >> 1), place >> 1, place & 1, size)
