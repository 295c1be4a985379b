"""The order book: live orders by id, depth per price level, and what one completed event did to each level.

Orders live in a pool of rows; an open-addressing table of integers maps an order id to its row (linear probing,
backward-shift deletion, so there are no tombstones and cost does not grow with the orders that have come and gone).
Price levels live in pages of 64 ticks; the page directory is sorted by page number, so that any price range costs only
what is touched, and the next best level is found without stepping over empty ticks one by one.

Nothing here grows an array: `vpcore.kernels.stream` stops before a record that would need room, and its caller grows.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from vpcore.kernels.jit import jit
from vpcore.kernels.mechanics import N_ACC, impulse
from vpcore.kernels.records import (
    ADD,
    ASK,
    BID,
    CANCEL,
    CLEAR,
    FILL,
    MODIFY,
    TRADE,
    UNDEF_PRICE,
)

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

# Scalars of the book.
N_ORDERS, N_PAGES, BEST_BID, BEST_ASK, CROSSED, ONE_SIDED, N_FILLS, LAST_PAGE = range(8)
N_BOOK_SCALARS = 8

# Counters, contracts or occurrences since the stream began.
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
) = range(14)
N_BOOK_COUNTERS = 14

# Volumes of the current bin.
V_BUY, V_SELL, V_CROSS, V_TRADES = 0, 1, 2, 3


class Book(NamedTuple):
    """Arrays of the book; every one of them is changed in place."""

    keys: Any  # int64[capacity] order ids
    rows: Any  # int32[capacity] row in the pool, -1 where the slot is empty
    pool: Any  # int64[pool, 4] tick, size, side, fill row + 1
    free: Any  # int32[pool] stack of free rows
    page_no: Any  # int64[pages] page numbers, ascending
    page_at: Any  # int32[pages] storage index of each page
    depth: Any  # int64[pages, 64, 2] contracts resting on each side
    occupied: Any  # int64[pages, 2] levels of the page with depth, per side
    acc: Any  # float64[pages, 64, N_ACC] accumulators of the mechanics
    touched: Any  # int64[pages, 64] time of the last impulse, ns; 0 where there was none
    flow: Any  # int64[pages, 64, 3] contracts added, pulled and filled since the stream began
    fills: Any  # int64[fills, 3]
    taus: Any  # float64[4] time constants in ns: v, a, j, rest
    scalars: Any  # int64[N_BOOK_SCALARS]
    counts: Any  # int64[N_BOOK_COUNTERS]
    volume: Any  # int64[4]


@jit
def find_slot(book, order_id):
    """Return the slot that holds `order_id`, or ``-1 - slot`` of the empty slot where it would go."""
    mask = book.keys.shape[0] - 1
    slot = _hash(order_id) & mask
    while book.rows[slot] >= 0:
        if book.keys[slot] == order_id:
            return slot
        slot = (slot + 1) & mask
    return -1 - slot


@jit(inline=True)
def _hash(order_id):
    # Two 32-bit halves times 32-bit odd constants: full mixing without an overflowing product, so that the interpreted
    # run of the tests warns of nothing. The identity keeps neighbours together and is faster until a venue numbers its
    # orders in strides of a power of two.
    low = np.uint64(order_id & 0xFFFFFFFF) * np.uint64(0x9E3779B1)
    high = np.uint64((order_id >> 32) & 0xFFFFFFFF) * np.uint64(0x85EBCA77)
    mixed = low ^ high
    return np.int64((mixed ^ (mixed >> np.uint64(29))) & np.uint64(0x7FFFFFFF))


@jit
def _remove_slot(book, slot):
    mask = book.keys.shape[0] - 1
    hole = slot
    probe = slot
    while True:
        probe = (probe + 1) & mask
        if book.rows[probe] < 0:
            break
        home = _hash(book.keys[probe]) & mask
        if ((probe - home) & mask) >= ((probe - hole) & mask):
            book.keys[hole] = book.keys[probe]
            book.rows[hole] = book.rows[probe]
            hole = probe
    book.rows[hole] = -1


@jit
def rehash(keys, rows, new_keys, new_rows):
    """Insert every live slot of a table into a larger, empty one."""
    mask = new_keys.shape[0] - 1
    for old in range(keys.shape[0]):
        if rows[old] >= 0:
            slot = _hash(keys[old]) & mask
            while new_rows[slot] >= 0:
                slot = (slot + 1) & mask
            new_keys[slot] = keys[old]
            new_rows[slot] = rows[old]


@jit
def page_position(page_no, n_pages, number):
    """Return the position of the first page whose number is at least `number`."""
    low = 0
    high = n_pages
    while low < high:
        middle = (low + high) >> 1
        if page_no[middle] < number:
            low = middle + 1
        else:
            high = middle
    return low


@jit
def find_page(book, number):
    """Return the storage index of a page, -1 if it was never touched."""
    n_pages = book.scalars[N_PAGES]
    near = book.scalars[LAST_PAGE]
    if near < n_pages and book.page_no[near] == number:
        return np.int64(book.page_at[near])
    position = page_position(book.page_no, n_pages, number)
    if position < n_pages and book.page_no[position] == number:
        book.scalars[LAST_PAGE] = position
        return np.int64(book.page_at[position])
    return np.int64(-1)


@jit
def make_page(book, number):
    """Make sure that a page exists. Return False if there is no room for it."""
    if find_page(book, number) >= 0:
        return True
    n_pages = book.scalars[N_PAGES]
    if n_pages >= book.page_no.shape[0]:
        return False
    position = page_position(book.page_no, n_pages, number)
    for i in range(n_pages, position, -1):
        book.page_no[i] = book.page_no[i - 1]
        book.page_at[i] = book.page_at[i - 1]
    book.page_no[position] = number
    book.page_at[position] = n_pages  # pages are never given back, so storage is used in order of arrival
    book.scalars[N_PAGES] = n_pages + 1
    return True


@jit
def change_depth(book, tick, side, size):
    """Add `size` (negative to take away) to a level, and keep the best prices up to date as far as additions go."""
    page = find_page(book, tick >> PAGE_BITS)
    level = tick & (PAGE - 1)
    before = book.depth[page, level, side]
    after = before + size
    book.depth[page, level, side] = after
    if before == 0 and after > 0:
        book.occupied[page, side] += 1
        if side == BID_SIDE:
            if tick > book.scalars[BEST_BID]:
                book.scalars[BEST_BID] = tick
        elif tick < book.scalars[BEST_ASK]:
            book.scalars[BEST_ASK] = tick
    elif before > 0 and after == 0:
        book.occupied[page, side] -= 1


NO_BID = -(2**62)
NO_ASK = 2**62


@jit
def settle_best(book):
    """Move the best prices inwards past levels that have emptied. ``NO_BID`` and ``NO_ASK`` stand for an empty side."""
    tick = book.scalars[BEST_BID]
    if tick != NO_BID:
        page = find_page(book, tick >> PAGE_BITS)
        if page < 0 or book.depth[page, tick & (PAGE - 1), BID_SIDE] == 0:
            book.scalars[BEST_BID] = _next_bid(book, tick)
    tick = book.scalars[BEST_ASK]
    if tick != NO_ASK:
        page = find_page(book, tick >> PAGE_BITS)
        if page < 0 or book.depth[page, tick & (PAGE - 1), ASK_SIDE] == 0:
            book.scalars[BEST_ASK] = _next_ask(book, tick)


@jit
def _next_bid(book, tick):
    n_pages = book.scalars[N_PAGES]
    position = page_position(book.page_no, n_pages, (tick >> PAGE_BITS) + 1) - 1
    while position >= 0:
        page = book.page_at[position]
        if book.occupied[page, BID_SIDE] > 0:
            base = book.page_no[position] << PAGE_BITS
            level = min(PAGE - 1, tick - base)
            while level >= 0:
                if book.depth[page, level, BID_SIDE] > 0:
                    return base + level
                level -= 1
        position -= 1
    return np.int64(NO_BID)


@jit
def _next_ask(book, tick):
    n_pages = book.scalars[N_PAGES]
    position = page_position(book.page_no, n_pages, tick >> PAGE_BITS)
    while position < n_pages:
        page = book.page_at[position]
        if book.occupied[page, ASK_SIDE] > 0:
            base = book.page_no[position] << PAGE_BITS
            level = max(0, tick - base)
            while level < PAGE:
                if book.depth[page, level, ASK_SIDE] > 0:
                    return base + level
                level += 1
        position += 1
    return np.int64(NO_ASK)


@jit
def level_depth(book, tick, side):
    """Return the contracts that rest at a level on one side."""
    page = find_page(book, tick >> PAGE_BITS)
    if page < 0:
        return np.int64(0)
    return book.depth[page, tick & (PAGE - 1), side]


@jit
def clear_book(book):
    """Drop every order. Depth goes to zero; accumulators and flows stay as they are."""
    book.rows[:] = -1
    n_pages = book.scalars[N_PAGES]
    book.depth[:n_pages] = 0
    book.occupied[:n_pages] = 0
    for row in range(book.free.shape[0]):
        book.free[row] = row
    book.scalars[N_ORDERS] = 0
    book.scalars[BEST_BID] = NO_BID
    book.scalars[BEST_ASK] = NO_ASK


@jit
def insert_order(book, order_id, slot, tick, size, side):
    """Put a new order into the empty `slot` and return its row. Depth is not touched."""
    n_orders = book.scalars[N_ORDERS]
    row = book.free[n_orders]
    book.scalars[N_ORDERS] = n_orders + 1
    book.keys[slot] = order_id
    book.rows[slot] = row
    book.pool[row, O_TICK] = tick
    book.pool[row, O_SIZE] = size
    book.pool[row, O_SIDE] = side
    book.pool[row, O_FILL] = 0
    return np.int64(row)


@jit
def remove_order(book, slot):
    """Take the order of a slot out of the table and give its row back. Depth is not touched."""
    row = book.rows[slot]
    n_orders = book.scalars[N_ORDERS] - 1
    book.scalars[N_ORDERS] = n_orders
    book.free[n_orders] = row
    _remove_slot(book, slot)


@jit
def set_snapshot_order(book, order_id, tick, size, side):
    """Insert or replace an order of a snapshot: depth changes, flow does not."""
    slot = find_slot(book, order_id)
    if slot >= 0:
        row = book.rows[slot]
        change_depth(book, book.pool[row, O_TICK], book.pool[row, O_SIDE], -book.pool[row, O_SIZE])
        remove_order(book, slot)
        slot = find_slot(book, order_id)
    insert_order(book, order_id, -1 - slot, tick, size, side)
    change_depth(book, tick, side, size)


@jit
def _flow(book, tick, side, quantity, size, sign, now):
    """Record `size` contracts of one quantity at a level, with the depth they add (+1), take (-1) or leave alone (0)."""
    if size == 0:
        return
    page = find_page(book, tick >> PAGE_BITS)
    level = tick & (PAGE - 1)
    book.flow[page, level, quantity] += size
    book.counts[quantity] += size
    depth_quantity = Q_DEPTH + side if sign != 0 else -1
    impulse(book.acc, book.touched, page, level, now, book.taus, quantity, size, depth_quantity, sign * size)
    if sign != 0:
        change_depth(book, tick, side, sign * size)


@jit
def _reduce(book, row, size, now):
    """Take `size` off an order: what the event's fills cover is a fill, the rest was pulled by its owner."""
    tick = book.pool[row, O_TICK]
    side = book.pool[row, O_SIDE]
    filled = np.int64(0)
    link = book.pool[row, O_FILL]
    if link > 0:
        filled = min(book.fills[link - 1, F_LEFT], size)
        book.fills[link - 1, F_LEFT] -= filled
    _flow(book, tick, side, Q_FILL, filled, -1, now)
    _flow(book, tick, side, Q_PULL, size - filled, -1, now)
    book.pool[row, O_SIZE] -= size


@jit
def _place(book, order_id, tick, size, side, now):
    """Insert an order that arrives; an order that lives under the id already is withdrawn first."""
    slot = find_slot(book, order_id)
    if slot >= 0:
        book.counts[C_DUPLICATE_ADD] += 1
        row = book.rows[slot]
        _reduce(book, row, book.pool[row, O_SIZE], now)
        remove_order(book, slot)
        slot = find_slot(book, order_id)
    row = insert_order(book, order_id, -1 - slot, tick, size, side)
    for i in range(book.scalars[N_FILLS]):  # a filled order that left and comes back within the event
        if book.fills[i, F_ID] == order_id:
            book.pool[row, O_FILL] = i + 1
            break
    _flow(book, tick, side, Q_ADD, size, 1, now)


@jit
def _collect_fills(book, words, start, stop, instrument):
    """First pass over an event with trades: volumes, and passive fills by order id."""
    n_fills = 0
    traded = np.int64(0)
    passive = np.int64(0)
    aggressor = np.int64(0)
    several = False
    for i in range(start, stop):
        if ((words[i, 0] >> 32) & 0xFFFFFFFF) != instrument or ((words[i, 4] >> 48) & 0xFF) != TRADE:
            continue
        size = words[i, 4] & 0xFFFFFFFF
        side = (words[i, 4] >> 56) & 0xFF
        traded += size
        book.volume[V_TRADES] += 1
        book.volume[V_BUY if side == BID else (V_SELL if side == ASK else V_CROSS)] += size
        if words[i, 2] != 0 and words[i, 2] != aggressor:
            several = several or aggressor != 0
            aggressor = words[i, 2]
    for i in range(start, stop):
        if ((words[i, 0] >> 32) & 0xFFFFFFFF) != instrument or ((words[i, 4] >> 48) & 0xFF) != FILL:
            continue
        order_id = words[i, 2]
        size = words[i, 4] & 0xFFFFFFFF
        own = order_id != 0 and order_id == aggressor
        if several and not own and order_id != 0:
            for j in range(start, stop):
                if (
                    words[j, 2] == order_id
                    and ((words[j, 4] >> 48) & 0xFF) == TRADE
                    and ((words[j, 0] >> 32) & 0xFFFFFFFF) == instrument
                ):
                    own = True
                    break
        if own:
            book.counts[C_AGGRESSOR] += size
            continue
        passive += size
        slot = find_slot(book, order_id)
        if slot < 0:
            book.counts[C_UNATTRIBUTED] += size
            continue
        row = book.rows[slot]
        link = book.pool[row, O_FILL]
        if link == 0:
            book.fills[n_fills, F_ID] = order_id
            book.fills[n_fills, F_TICK] = book.pool[row, O_TICK] * 2 + book.pool[row, O_SIDE]
            book.fills[n_fills, F_LEFT] = 0
            n_fills += 1
            link = n_fills
            book.pool[row, O_FILL] = link
        book.fills[link - 1, F_LEFT] += size
    book.scalars[N_FILLS] = n_fills
    if traded > 0 or passive > 0:
        book.counts[C_TRADE_EVENTS] += 1
        if traded != passive:
            book.counts[C_UNBALANCED] += 1


@jit
def _settle_fills(book, now):
    """Last pass: passive size beyond an order's reductions was hidden; it arrived and traded at the same moment."""
    for i in range(book.scalars[N_FILLS]):
        left = book.fills[i, F_LEFT]
        if left > 0:
            tick = book.fills[i, F_TICK] >> 1
            side = book.fills[i, F_TICK] & 1
            book.counts[C_HIDDEN] += left
            _flow(book, tick, side, Q_ADD, left, 0, now)
            _flow(book, tick, side, Q_FILL, left, 0, now)
        slot = find_slot(book, book.fills[i, F_ID])
        if slot >= 0:
            book.pool[book.rows[slot], O_FILL] = 0
    book.scalars[N_FILLS] = 0


@jit
def apply_event(book, words, start, stop, instrument, tick_int, has_trades, now):
    """Apply one completed event at the time of its last record.

    Parameters
    ----------
    book : Book
        Changed in place. There is room for every order and page of the event.
    words : int64[n_records, 7]
        Records as eight-byte words; those of other instruments are passed over.
    start, stop : int
        The event's records.
    instrument, tick_int : int
        Instrument id; tick size in 1e-9.
    has_trades : bool
        Whether the event holds a trade or a fill.
    now : int
        Time of the event, ns.
    """
    if has_trades:
        _collect_fills(book, words, start, stop, instrument)
    for i in range(start, stop):
        if ((words[i, 0] >> 32) & 0xFFFFFFFF) != instrument:
            continue
        packed = words[i, 4]
        action = (packed >> 48) & 0xFF
        if action == CANCEL:
            slot = find_slot(book, words[i, 2])
            if slot < 0:
                book.counts[C_UNKNOWN_CANCEL] += 1
                continue
            row = book.rows[slot]
            size = packed & 0xFFFFFFFF
            if size > book.pool[row, O_SIZE]:
                book.counts[C_CLIPPED_CANCEL] += 1
                size = book.pool[row, O_SIZE]
            _reduce(book, row, size, now)
            if book.pool[row, O_SIZE] == 0:
                remove_order(book, slot)
        elif action == ADD or action == MODIFY:
            price = words[i, 3]
            if price == UNDEF_PRICE:
                book.counts[C_UNDEF_PRICE] += 1
                continue
            code = (packed >> 56) & 0xFF
            if code != BID and code != ASK:
                book.counts[C_BAD_SIDE] += 1
                continue
            side = BID_SIDE if code == BID else ASK_SIDE
            size = packed & 0xFFFFFFFF
            tick = price // tick_int
            if action == ADD:
                _place(book, words[i, 2], tick, size, side, now)
            else:
                _modify(book, words[i, 2], tick, size, side, now)
    if has_trades:
        _settle_fills(book, now)


@jit
def _modify(book, order_id, tick, size, side, now):
    slot = find_slot(book, order_id)
    if slot < 0:
        book.counts[C_UNKNOWN_MODIFY] += 1
        _place(book, order_id, tick, size, side, now)
        return
    row = book.rows[slot]
    held = book.pool[row, O_SIZE]
    if tick == book.pool[row, O_TICK] and side == book.pool[row, O_SIDE]:
        if size < held:
            _reduce(book, row, held - size, now)
        else:
            _flow(book, tick, side, Q_ADD, size - held, 1, now)
            book.pool[row, O_SIZE] = size
    else:
        _reduce(book, row, held, now)
        book.pool[row, O_TICK] = tick
        book.pool[row, O_SIDE] = side
        book.pool[row, O_SIZE] = size
        _flow(book, tick, side, Q_ADD, size, 1, now)
    if size == 0:
        remove_order(book, slot)


def make_book(capacity: int, pages: int, taus_ns: np.ndarray[Any, np.dtype[np.float64]]) -> Book:
    """Return an empty book with room for ``capacity // 2`` orders (`capacity` a power of two) and `pages` pages."""
    pool = capacity // 2
    scalars = np.zeros(N_BOOK_SCALARS, np.int64)
    scalars[BEST_BID] = NO_BID
    scalars[BEST_ASK] = NO_ASK
    return Book(
        keys=np.zeros(capacity, np.int64),
        rows=np.full(capacity, -1, np.int32),
        pool=np.zeros((pool, 4), np.int64),
        free=np.arange(pool, dtype=np.int32),
        page_no=np.zeros(pages, np.int64),
        page_at=np.zeros(pages, np.int32),
        depth=np.zeros((pages, PAGE, 2), np.int64),
        occupied=np.zeros((pages, 2), np.int64),
        acc=np.zeros((pages, PAGE, N_ACC), np.float64),
        touched=np.zeros((pages, PAGE), np.int64),
        flow=np.zeros((pages, PAGE, 3), np.int64),
        fills=np.zeros((256, 3), np.int64),
        taus=taus_ns,
        scalars=scalars,
        counts=np.zeros(N_BOOK_COUNTERS, np.int64),
        volume=np.zeros(4, np.int64),
    )


def _grown(array: np.ndarray[Any, Any], length: int, fill: int = 0) -> np.ndarray[Any, Any]:
    larger = np.full((length, *array.shape[1:]), fill, array.dtype)
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
    length = book.page_no.shape[0] * 2
    names = ("page_no", "page_at", "depth", "occupied", "acc", "touched", "flow")
    return book._replace(**{name: _grown(getattr(book, name), length) for name in names})


def grow_fills(book: Book) -> Book:
    """Return the book with twice the room for the filled orders of one event."""
    return book._replace(fills=_grown(book.fills, book.fills.shape[0] * 2))
