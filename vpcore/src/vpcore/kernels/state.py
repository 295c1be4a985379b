"""State of the order book: its arrays, where things lie in them, and how they grow.

Live orders lie in a pool of rows; a table maps an order id to its row (`vpcore.kernels.hashing`). A second table maps
64 neighbouring ticks to a page, which leads to their levels (`vpcore.kernels.levels`). Callers grow the arrays:
`vpcore.kernels.stream` stops before a record that needs more room.

There are few arrays, because a call from compiled code copies the description of each.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from vpcore.kernels.decay import N_ACC
from vpcore.kernels.hashing import rehash

PAGE_BITS = 6
PAGE = 1 << PAGE_BITS
GROUP_BITS = 2
GROUP = 1 << GROUP_BITS
GROUPS = PAGE // GROUP
WHOLE_PAGES = 1024

BID_SIDE = 0
ASK_SIDE = 1

# Columns of a pool row: id, tick times two plus side, contracts, bin in which the order took its place in the queue.
O_ID, O_PLACE, O_SIZE, O_STAMP = 0, 1, 2, 3
# Columns of a page, two of them per side: its number, ``tick >> PAGE_BITS``; levels with depth; 1 if it is in the queue
# of the side.
P_NUMBER, P_OCCUPIED, P_QUEUED = 0, 1, 3
N_PAGE = 5
# Columns of a fill row: the order, its place before the event, passive size not yet matched with a reduction.
F_ID, F_PLACE, F_LEFT = 0, 1, 2
# Impulse trains, in the order of `vpcore.schema.QUANTITIES`.
Q_ADD, Q_PULL, Q_FILL, Q_DEPTH = 0, 1, 2, 3

# Columns of a level: resting contracts per side, time of the last impulse (ns; 0 without one, or before the stream's
# first usable time), and contracts added, pulled and filled since the stream began.
L_BID, L_ASK, L_TOUCHED, L_FLOW = 0, 1, 2, 3
N_LEVEL = 6

# Integers of the book. Counters are contracts or occurrences since the stream began; volumes are those of the bin.
# STAMP is the number of the bin.
(
    C_ADD,
    C_PULL,
    C_FILL,
    C_AGGRESSOR,
    C_HIDDEN,
    C_UNATTRIBUTED,
    C_UNKNOWN_CANCEL,
    C_UNKNOWN_MODIFY,
    C_DUPLICATE_ADD,
    C_CLIPPED_CANCEL,
    C_UNDEF_PRICE,
    C_BAD_SIDE,
    C_TRADE_EVENTS,
    C_UNBALANCED,
    N_ORDERS,
    MOST_ORDERS,
    N_PAGES,
    N_LEVELS,
    N_QUEUED_BID,
    N_QUEUED_ASK,
    BEST_BID,
    BEST_ASK,
    BEST_LEFT,
    CROSSED,
    ONE_SIDED,
    N_FILLS,
    LAST_NUMBER,
    LAST_PAGE,
    V_BUY,
    V_SELL,
    V_CROSS,
    V_TRADES,
    STAMP,
) = range(33)
N_INTS = 33

NO_BID = -(2**62)
NO_ASK = 2**62
"""Best prices of an empty side, in ticks."""


class Book(NamedTuple):
    """Arrays of the book; every one of them is changed in place."""

    table: Any  # int64[capacity, 2] order ids and rows of the pool
    pool: Any  # int64[pool, 4]
    free: Any  # int32[pool] stack of free rows
    page_table: Any  # int64[2 * pages, 2] numbers and rows of pages
    pages: Any  # int64[pages, N_PAGE]
    page_levels: Any  # int32[pages, 16] level of the first tick of each group + 1, 0 for an untouched group
    queues: Any  # int64[2, pages] heaps of pages, the best prices first; every page with depth is in the side's
    levels: Any  # int64[levels, N_LEVEL]
    acc: Any  # float64[levels, N_ACC] accumulators of the mechanics
    fills: Any  # int64[fills, 3]
    fill_table: Any  # int64[2 * fills, 2] order ids and rows of the event's fills
    trade_table: Any  # int64[2 * fills, 2] order ids of the event's trades, if several
    taus: Any  # float64[4] time constants in ns: v, a, j, rest
    ints: Any  # int64[N_INTS]


def make_book(capacity: int, pages: int, taus_ns: np.ndarray[Any, np.dtype[np.float64]]) -> Book:
    """Return an empty book with room for ``capacity // 2`` orders, `pages` pages and eight levels in each.

    `capacity` and `pages` are powers of two.
    """
    ints = np.zeros(N_INTS, np.int64)
    ints[LAST_NUMBER] = NO_BID
    ints[BEST_BID] = NO_BID
    ints[BEST_ASK] = NO_ASK
    return Book(
        table=np.zeros((capacity, 2), np.int64),
        pool=np.zeros((capacity // 2, 4), np.int64),
        free=np.arange(capacity // 2, dtype=np.int32),
        page_table=np.zeros((2 * pages, 2), np.int64),
        pages=np.zeros((pages, N_PAGE), np.int64),
        page_levels=np.zeros((pages, GROUPS), np.int32),
        queues=np.zeros((2, pages), np.int64),
        levels=np.zeros((8 * pages, N_LEVEL), np.int64),
        acc=np.zeros((8 * pages, N_ACC), np.float64),
        fills=np.zeros((256, 3), np.int64),
        fill_table=np.zeros((512, 2), np.int64),
        trade_table=np.zeros((512, 2), np.int64),
        taus=taus_ns,
        ints=ints,
    )


def _grown(array: np.ndarray[Any, Any], length: int) -> np.ndarray[Any, Any]:
    larger = np.zeros((length, *array.shape[1:]), array.dtype)
    larger[: array.shape[0]] = array
    return larger


def _rehashed(table: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    larger = np.zeros((2 * table.shape[0], 2), np.int64)
    rehash(table, larger)
    return larger


def grow_orders(book: Book) -> Book:
    """Return the book with twice the room for orders. Live orders keep their rows."""
    capacity = book.table.shape[0] * 2
    free = np.arange(capacity // 2, dtype=np.int32)
    free[: book.free.shape[0]] = book.free
    return book._replace(table=_rehashed(book.table), pool=_grown(book.pool, capacity // 2), free=free)


def grow_levels(book: Book) -> Book:
    """Return the book with twice the room for levels, for pages, or for both: for whichever is used up."""
    if book.ints[N_LEVELS] + PAGE > len(book.levels):
        n = 2 * len(book.levels)
        book = book._replace(levels=_grown(book.levels, n), acc=_grown(book.acc, n))
    n = 2 * len(book.pages)
    if book.ints[N_PAGES] >= len(book.pages):
        queues = np.zeros((2, n), np.int64)
        queues[:, : n // 2] = book.queues
        pages, page_levels = _grown(book.pages, n), _grown(book.page_levels, n)
        table = _rehashed(book.page_table)
        book = book._replace(page_table=table, queues=queues, pages=pages, page_levels=page_levels)
    return book


def grow_fills(book: Book) -> Book:
    """Return the book with twice the room for the trades and fills of one event; it is between two events."""
    n = book.fills.shape[0] * 2
    tables = {name: np.zeros((2 * n, 2), np.int64) for name in ("fill_table", "trade_table")}
    return book._replace(fills=_grown(book.fills, n), **tables)
