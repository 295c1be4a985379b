"""State of the order book: its arrays, where things lie in them, and how they grow.

Live orders lie in a pool of rows; an open-addressing table maps an order id to its row (`vpcore.kernels.hashing`).
Price levels lie in pages of 64 ticks behind a sorted directory (`vpcore.kernels.levels`). Callers grow the arrays:
`vpcore.kernels.stream` stops before a record that needs more room.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from vpcore.kernels.hashing import rehash
from vpcore.kernels.mechanics import N_ACC

PAGE_BITS = 6
PAGE = 1 << PAGE_BITS

BID_SIDE = 0
ASK_SIDE = 1

# Columns of a pool row.
O_TICK, O_SIZE, O_SIDE, O_FILL = 0, 1, 2, 3
# Columns of a fill row: the order, its level before the event, passive size not yet matched with a reduction.
F_ID, F_TICK, F_LEFT = 0, 1, 2
# Impulse trains, in the order of `vpcore.schema.QUANTITIES`.
Q_ADD, Q_PULL, Q_FILL, Q_DEPTH = 0, 1, 2, 3

# Columns of a level: resting contracts per side, time of the last impulse (ns; 0 without one, or before the stream's
# first usable time), and contracts added, pulled and filled since the stream began.
L_BID, L_ASK, L_TOUCHED, L_FLOW = 0, 1, 2, 3
N_LEVEL = 6

# Integers of the book. Counters are contracts or occurrences since the stream began; volumes are those of the bin.
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
    N_PAGES,
    BEST_BID,
    BEST_ASK,
    BEST_LEFT,
    CROSSED,
    ONE_SIDED,
    N_FILLS,
    LAST_PAGE,
    V_BUY,
    V_SELL,
    V_CROSS,
    V_TRADES,
) = range(27)
N_INTS = 27

NO_BID = -(2**62)
NO_ASK = 2**62
"""Best prices of an empty side, in ticks."""


class Book(NamedTuple):
    """Arrays of the book; every one of them is changed in place."""

    keys: Any  # int64[capacity] order ids
    rows: Any  # int32[capacity] row in the pool, -1 where the slot is empty
    pool: Any  # int64[pool, 4] tick, size, side, fill row + 1
    free: Any  # int32[pool] stack of free rows
    pages: Any  # int64[pages, 2] page number, ascending, and storage index
    occupied: Any  # int64[pages, 2] levels of the page with depth, per side
    levels: Any  # int64[pages, 64, N_LEVEL]
    acc: Any  # float64[pages, 64, N_ACC] accumulators of the mechanics
    fills: Any  # int64[fills, 3]
    fill_keys: Any  # int64[2 * fills] order ids of the event's fills, a hash table as that of the orders
    fill_rows: Any  # int32[2 * fills]
    trade_keys: Any  # int64[2 * fills] order ids of the event's trades, if several
    trade_rows: Any  # int32[2 * fills]
    taus: Any  # float64[4] time constants in ns: v, a, j, rest
    ints: Any  # int64[N_INTS]


def make_book(capacity: int, pages: int, taus_ns: np.ndarray[Any, np.dtype[np.float64]]) -> Book:
    """Return an empty book with room for ``capacity // 2`` orders (`capacity` a power of two) and `pages` pages."""
    ints = np.zeros(N_INTS, np.int64)
    ints[BEST_BID] = NO_BID
    ints[BEST_ASK] = NO_ASK
    return Book(
        keys=np.zeros(capacity, np.int64),
        rows=np.full(capacity, -1, np.int32),
        pool=np.zeros((capacity // 2, 4), np.int64),
        free=np.arange(capacity // 2, dtype=np.int32),
        pages=np.zeros((pages, 2), np.int64),
        occupied=np.zeros((pages, 2), np.int64),
        levels=np.zeros((pages, PAGE, N_LEVEL), np.int64),
        acc=np.zeros((pages, PAGE, N_ACC), np.float64),
        fills=np.zeros((256, 3), np.int64),
        fill_keys=np.zeros(512, np.int64),
        fill_rows=np.full(512, -1, np.int32),
        trade_keys=np.zeros(512, np.int64),
        trade_rows=np.full(512, -1, np.int32),
        taus=taus_ns,
        ints=ints,
    )


def _grown(array: np.ndarray[Any, Any], length: int) -> np.ndarray[Any, Any]:
    larger = np.zeros((length, *array.shape[1:]), array.dtype)
    larger[: array.shape[0]] = array
    return larger


def grow_orders(book: Book) -> Book:
    """Return the book with twice the room for orders. Live orders keep their rows."""
    capacity = book.keys.shape[0] * 2
    keys = np.zeros(capacity, np.int64)
    rows = np.full(capacity, -1, np.int32)
    rehash(book.keys, book.rows, keys, rows)
    free = np.arange(capacity // 2, dtype=np.int32)
    free[: book.free.shape[0]] = book.free
    return book._replace(keys=keys, rows=rows, pool=_grown(book.pool, capacity // 2), free=free)


def grow_pages(book: Book) -> Book:
    """Return the book with twice the room for pages."""
    length = book.pages.shape[0] * 2
    names = ("pages", "occupied", "levels", "acc")
    return book._replace(**{name: _grown(getattr(book, name), length) for name in names})


def grow_fills(book: Book) -> Book:
    """Return the book with twice the room for the trades and fills of one event; it is between two events."""
    n = book.fills.shape[0] * 2
    keys = {name: np.zeros(2 * n, np.int64) for name in ("fill_keys", "trade_keys")}
    rows = {name: np.full(2 * n, -1, np.int32) for name in ("fill_rows", "trade_rows")}
    return book._replace(fills=_grown(book.fills, n), **keys, **rows)
