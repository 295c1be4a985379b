"""Price levels: depth per side, the best prices, and live orders entering and leaving them.

Levels lie in pages of 64 ticks; the directory of pages is sorted by page number. Any price range costs only its touched
pages, and the search for the next best level skips empty pages.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from vpcore.kernels.hashing import find_slot, remove_slot
from vpcore.kernels.jit import jit
from vpcore.kernels.state import (
    ASK_SIDE,
    BEST_ASK,
    BEST_BID,
    BEST_LEFT,
    BID_SIDE,
    L_FLOW,
    L_TOUCHED,
    LAST_PAGE,
    N_LEVEL,
    N_ORDERS,
    N_PAGES,
    NO_ASK,
    NO_BID,
    O_FILL,
    O_SIDE,
    O_SIZE,
    O_TICK,
    PAGE,
    PAGE_BITS,
)


@jit(inline=True, borrows=True)
def page_position(pages, n_pages, number):
    """Return the position of the first page whose number is at least `number`."""
    low = 0
    high = n_pages
    while low < high:
        middle = (low + high) >> 1
        if pages[middle, 0] < number:
            low = middle + 1
        else:
            high = middle
    return low


@jit(inline=True, borrows=True)
def find_page(book, number):
    """Return the storage index of a page, -1 for an untouched page."""
    n_pages = book.ints[N_PAGES]
    near = book.ints[LAST_PAGE]
    if near < n_pages and book.pages[near, 0] == number:
        return book.pages[near, 1]
    position = page_position(book.pages, n_pages, number)
    if position < n_pages and book.pages[position, 0] == number:
        book.ints[LAST_PAGE] = position
        return book.pages[position, 1]
    return np.int64(-1)


@jit(inline=True, borrows=True)
def make_page(book, number):
    """Make sure that a page exists. Return False if the arrays are full."""
    if find_page(book, number) >= 0:
        return True
    n_pages = book.ints[N_PAGES]
    if n_pages >= book.pages.shape[0]:
        return False
    position = page_position(book.pages, n_pages, number)
    for i in range(n_pages, position, -1):
        book.pages[i, 0] = book.pages[i - 1, 0]
        book.pages[i, 1] = book.pages[i - 1, 1]
    book.pages[position, 0] = number
    book.pages[position, 1] = n_pages  # pages are never given back, so storage is used in order of arrival
    book.ints[N_PAGES] = n_pages + 1
    return True


@jit(borrows=True)
def date_levels(book: Any, now: int) -> None:
    """Give the time `now` to impulses that lack a time, on every level so far."""
    for page in range(book.ints[N_PAGES]):
        for level in range(PAGE):
            for i in range(L_FLOW, N_LEVEL):
                if book.levels[page, level, i] != 0:
                    book.levels[page, level, L_TOUCHED] = now


@jit(inline=True, borrows=True)
def change_depth(book, page, tick, side, size):
    """Add `size` (negative to take away) to a level, and keep the best prices up to date as far as additions go.

    `page` is the level's, see `find_page`. A best level that empties is only noted, for `settle_best`.
    """
    level = tick & (PAGE - 1)
    before = book.levels[page, level, side]
    after = before + size
    book.levels[page, level, side] = after
    if before == 0 and after > 0:
        book.occupied[page, side] += 1
        if side == BID_SIDE:
            if tick > book.ints[BEST_BID]:
                book.ints[BEST_BID] = tick
        elif tick < book.ints[BEST_ASK]:
            book.ints[BEST_ASK] = tick
    elif before > 0 and after == 0:
        book.occupied[page, side] -= 1
        if tick == book.ints[BEST_BID] or tick == book.ints[BEST_ASK]:
            book.ints[BEST_LEFT] = 1


@jit(inline=True, borrows=True)
def settle_best(book):
    """Move the best prices inwards past levels that have emptied. ``NO_BID`` and ``NO_ASK`` stand for an empty side."""
    if book.ints[BEST_LEFT] == 0:
        return
    book.ints[BEST_LEFT] = 0
    tick = book.ints[BEST_BID]
    if tick != NO_BID:
        page = find_page(book, tick >> PAGE_BITS)
        if page < 0 or book.levels[page, tick & (PAGE - 1), BID_SIDE] == 0:
            book.ints[BEST_BID] = _next_bid(book, tick)
    tick = book.ints[BEST_ASK]
    if tick != NO_ASK:
        page = find_page(book, tick >> PAGE_BITS)
        if page < 0 or book.levels[page, tick & (PAGE - 1), ASK_SIDE] == 0:
            book.ints[BEST_ASK] = _next_ask(book, tick)


@jit(borrows=True)
def _next_bid(book, tick):
    n_pages = book.ints[N_PAGES]
    position = page_position(book.pages, n_pages, (tick >> PAGE_BITS) + 1) - 1
    while position >= 0:
        page = book.pages[position, 1]
        if book.occupied[page, BID_SIDE] > 0:
            base = book.pages[position, 0] << PAGE_BITS
            level = min(PAGE - 1, tick - base)
            while level >= 0:
                if book.levels[page, level, BID_SIDE] > 0:
                    return base + level
                level -= 1
        position -= 1
    return np.int64(NO_BID)


@jit(borrows=True)
def _next_ask(book, tick):
    n_pages = book.ints[N_PAGES]
    position = page_position(book.pages, n_pages, tick >> PAGE_BITS)
    while position < n_pages:
        page = book.pages[position, 1]
        if book.occupied[page, ASK_SIDE] > 0:
            base = book.pages[position, 0] << PAGE_BITS
            level = max(0, tick - base)
            while level < PAGE:
                if book.levels[page, level, ASK_SIDE] > 0:
                    return base + level
                level += 1
        position += 1
    return np.int64(NO_ASK)


@jit(inline=True, borrows=True)
def level_depth(book, tick, side):
    """Return the contracts that rest at a level on one side."""
    page = find_page(book, tick >> PAGE_BITS)
    if page < 0:
        return np.int64(0)
    return book.levels[page, tick & (PAGE - 1), side]


@jit(borrows=True)
def clear_book(book):
    """Drop every order. Depth goes to zero; accumulators and flows stay as they are."""
    book.rows[:] = -1
    n_pages = book.ints[N_PAGES]
    book.levels[:n_pages, :, :2] = 0
    book.occupied[:n_pages] = 0
    for row in range(book.free.shape[0]):
        book.free[row] = row
    book.ints[N_ORDERS] = 0
    book.ints[BEST_BID] = NO_BID
    book.ints[BEST_ASK] = NO_ASK


@jit(inline=True, borrows=True)
def insert_order(book, order_id, slot, tick, size, side):
    """Put a new order into the empty `slot` and return its row. Depth stays unchanged."""
    n_orders = book.ints[N_ORDERS]
    row = book.free[n_orders]
    book.ints[N_ORDERS] = n_orders + 1
    book.keys[slot] = order_id
    book.rows[slot] = row
    book.pool[row, O_TICK] = tick
    book.pool[row, O_SIZE] = size
    book.pool[row, O_SIDE] = side
    book.pool[row, O_FILL] = 0
    return np.int64(row)


@jit(inline=True, borrows=True)
def remove_order(book, slot):
    """Take the order of a slot out of the table and give its row back. Depth stays unchanged."""
    row = book.rows[slot]
    n_orders = book.ints[N_ORDERS] - 1
    book.ints[N_ORDERS] = n_orders
    book.free[n_orders] = row
    remove_slot(book.keys, book.rows, slot)


@jit(borrows=True)
def set_snapshot_order(book, order_id, tick, size, side):
    """Insert or replace an order of a snapshot: depth changes, flow stays."""
    slot = find_slot(book.keys, book.rows, order_id)
    if slot >= 0:
        row = book.rows[slot]
        old = book.pool[row, O_TICK]
        change_depth(book, find_page(book, old >> PAGE_BITS), old, book.pool[row, O_SIDE], -book.pool[row, O_SIZE])
        remove_order(book, slot)
        slot = find_slot(book.keys, book.rows, order_id)
    insert_order(book, order_id, -1 - slot, tick, size, side)
    change_depth(book, find_page(book, tick >> PAGE_BITS), tick, side, size)
