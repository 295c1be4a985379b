"""Virtual orders: one contract per bin and side that joins the best price at the end of the bin, and its fill.

A virtual order stands behind every order then in the queue (FIFO) and changes nothing. Every order of the book carries
the bin in which it took its place, so it stands behind the virtual orders of all earlier bins. Those of one price are
filled in the order in which they joined, so a level needs a list with its first and last one, and a side a heap of the
ticks with such a list.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from vpcore.kernels.hashing import ROW, find_slot
from vpcore.kernels.jit import jit
from vpcore.kernels.levels import find_page, level_of
from vpcore.kernels.records import TRADE
from vpcore.kernels.state import (
    ASK_SIDE,
    BID_SIDE,
    F_ID,
    F_LEFT,
    F_PLACE,
    N_FILLS,
    NO_ASK,
    NO_BID,
    O_SIZE,
    O_STAMP,
    PAGE_BITS,
)

# Columns of a virtual order: bin at whose end it joined, tick, next order of its level (slot + 1), bin in which it was
# filled or one of the states below, time of the fill in ns, and reason.
V_BIN, V_TICK, V_NEXT, V_FILLED, V_TIME, V_REASON = range(6)
N_VIRTUAL = 6

WAITING, NOT_PLACED, GONE = -1, -2, -3
"""States instead of a fill: in the queue; no valid book at the end of its bin; dropped by a clear of the book."""

BEHIND, WORSE_PRICE, RESTS = 1, 2, 3
"""Reasons of a fill: an order behind it was filled; a trade at a worse price; an opposite order rests at its price."""

# Columns of a line, per level and side: first and last order (slot + 1), and 1 if the tick is in the heap.
FIRST, LAST, IN_HEAP = 0, 1, 2

_EVERY = np.int64(2**62)


class VirtualOrders(NamedTuple):
    """Arrays of the virtual orders; every one of them is changed in place. Without room for orders there are none."""

    orders: Any  # int64[2, capacity, N_VIRTUAL] by side and bin modulo the capacity
    lines: Any  # int32[levels, 2, 3]
    heaps: Any  # int64[2, levels] ranks, the lowest first: the tick of an ask, minus the tick of a bid
    in_heap: Any  # int64[2] ticks in each heap


def make_virtual_orders(capacity: int, n_levels: int) -> VirtualOrders:
    """Return room for the virtual orders of the last `capacity` bins; an older one that still waits is dropped."""
    orders = np.zeros((2, capacity, N_VIRTUAL), np.int64)
    orders[:, :, V_FILLED] = NOT_PLACED
    n_levels = n_levels if capacity else 0
    return VirtualOrders(
        orders, np.zeros((n_levels, 2, 3), np.int32), np.zeros((2, n_levels), np.int64), np.zeros(2, np.int64)
    )


def grow_virtual_orders(virtual: VirtualOrders, n_levels: int) -> VirtualOrders:
    """Return the virtual orders with room for more levels."""
    if not virtual.orders.shape[1]:
        return virtual
    n = virtual.lines.shape[0]
    lines, heaps = np.zeros((n_levels, 2, 3), np.int32), np.zeros((2, n_levels), np.int64)
    lines[:n], heaps[:, :n] = virtual.lines, virtual.heaps
    return virtual._replace(lines=lines, heaps=heaps)


@jit(inline=True, borrows=True)
def _level(book, tick):
    return level_of(book, find_page(book, tick >> PAGE_BITS), tick)


@jit(borrows=True)
def place_orders(virtual, book, seq, valid, bid, ask):
    """Let an order join each side at the end of a bin; the order that had its slot is dropped."""
    slot = seq % virtual.orders.shape[1]
    for side in range(2):
        if virtual.orders[side, slot, V_FILLED] == WAITING:  # the oldest of its level: the first of its line
            level = _level(book, virtual.orders[side, slot, V_TICK])
            after = virtual.orders[side, slot, V_NEXT]
            virtual.lines[level, side, FIRST] = after
            if after == 0:
                virtual.lines[level, side, LAST] = 0
        tick = bid if side == BID_SIDE else ask
        virtual.orders[side, slot, V_BIN] = seq
        virtual.orders[side, slot, V_TICK] = tick if valid else 0
        virtual.orders[side, slot, V_NEXT] = 0
        virtual.orders[side, slot, V_FILLED] = WAITING if valid else NOT_PLACED
        virtual.orders[side, slot, V_TIME] = 0
        virtual.orders[side, slot, V_REASON] = 0
        if valid:
            level = _level(book, tick)
            last = virtual.lines[level, side, LAST]
            if last == 0:
                virtual.lines[level, side, FIRST] = slot + 1
            else:
                virtual.orders[side, last - 1, V_NEXT] = slot + 1
            virtual.lines[level, side, LAST] = slot + 1
            if virtual.lines[level, side, IN_HEAP] == 0:
                virtual.lines[level, side, IN_HEAP] = 1
                _push(virtual.heaps, virtual.in_heap, side, tick if side == ASK_SIDE else -tick)


@jit(borrows=True)
def _push(heaps, in_heap, side, rank):
    at = in_heap[side]
    in_heap[side] = at + 1
    while at > 0 and heaps[side, (at - 1) >> 1] > rank:
        heaps[side, at] = heaps[side, (at - 1) >> 1]
        at = (at - 1) >> 1
    heaps[side, at] = rank


@jit(borrows=True)
def _pop(heaps, in_heap, side):
    n = in_heap[side] - 1
    in_heap[side] = n
    rank = heaps[side, n]
    at = 0
    while 2 * at + 1 < n:
        child = 2 * at + 1
        if child + 1 < n and heaps[side, child + 1] < heaps[side, child]:
            child += 1
        if heaps[side, child] >= rank:
            break
        heaps[side, at] = heaps[side, child]
        at = child
    heaps[side, at] = rank


@jit(borrows=True)
def _fill_line(virtual, level, side, before, filled, now, reason):
    """Fill the orders of a level that joined in bins earlier than `before`."""
    at = np.int64(virtual.lines[level, side, FIRST])
    while at > 0 and virtual.orders[side, at - 1, V_BIN] < before:
        virtual.orders[side, at - 1, V_FILLED] = filled
        virtual.orders[side, at - 1, V_TIME] = now
        virtual.orders[side, at - 1, V_REASON] = reason
        at = virtual.orders[side, at - 1, V_NEXT]
    virtual.lines[level, side, FIRST] = at
    if at == 0:
        virtual.lines[level, side, LAST] = 0


@jit(borrows=True)
def _fill_ranks(virtual, book, side, bound, filled, now, reason):
    """Fill every order of a side whose rank is at most `bound`."""
    while virtual.in_heap[side] > 0 and virtual.heaps[side, 0] <= bound:
        rank = virtual.heaps[side, 0]
        _pop(virtual.heaps, virtual.in_heap, side)
        level = _level(book, rank if side == ASK_SIDE else -rank)
        virtual.lines[level, side, IN_HEAP] = 0
        _fill_line(virtual, level, side, _EVERY, filled, now, reason)


@jit(borrows=True)
def match_trades(virtual, book, words, start, stop, instrument, tick_int, seq, now):
    """Fill what the trades of an event fill; its fills are collected, and the book is as before the event."""
    bound = (np.int64(NO_BID), np.int64(NO_BID))
    for i in range(start, stop):
        if ((words[i, 0] >> 32) & 0xFFFFFFFF) != instrument or ((words[i, 4] >> 48) & 0xFF) != TRADE:
            continue
        price = words[i, 3]
        if NO_BID < price < NO_ASK:
            bound = (max(bound[0], -(price // tick_int) - 1), max(bound[1], -(-price // tick_int) - 1))
    for i in range(book.ints[N_FILLS]):
        place = book.fills[i, F_PLACE]
        tick = place >> 1
        row = book.table[find_slot(book.table, book.fills[i, F_ID]), ROW] - 1
        before = book.pool[row, O_STAMP]
        if book.fills[i, F_LEFT] > book.pool[row, O_SIZE]:  # the rest was hidden: it came to the end of the queue
            before = _EVERY
        if place & 1 == BID_SIDE:
            bound = (max(bound[0], -tick - 1), bound[1])
        else:
            bound = (bound[0], max(bound[1], tick - 1))
        _fill_line(virtual, _level(book, tick), place & 1, before, seq, now, np.int64(BEHIND))
    for side in range(2):
        _fill_ranks(virtual, book, side, bound[side], seq, now, np.int64(WORSE_PRICE))


@jit(inline=True, borrows=True)
def match_resting(virtual, book, bid, ask, seq, now):
    """Fill what the best opposite prices reach, at the end of an event that leaves a valid book."""
    bought = virtual.in_heap[BID_SIDE] > 0 and virtual.heaps[BID_SIDE, 0] <= -ask
    sold = virtual.in_heap[ASK_SIDE] > 0 and virtual.heaps[ASK_SIDE, 0] <= bid
    if bought or sold:
        _fill_resting(virtual, book, bid, ask, seq, now)


@jit(borrows=True)
def _fill_resting(virtual, book, bid, ask, seq, now):
    for side in range(2):
        _fill_ranks(virtual, book, side, -ask if side == BID_SIDE else bid, seq, now, np.int64(RESTS))


@jit(borrows=True)
def drop_orders(virtual, book):
    """Drop every order that waits: the venue cleared its book."""
    for side in range(2):
        for i in range(virtual.in_heap[side]):
            rank = virtual.heaps[side, i]
            level = _level(book, rank if side == ASK_SIDE else -rank)
            at = np.int64(virtual.lines[level, side, FIRST])
            while at > 0:
                virtual.orders[side, at - 1, V_FILLED] = GONE
                at = virtual.orders[side, at - 1, V_NEXT]
            virtual.lines[level, side] = 0
        virtual.in_heap[side] = 0
