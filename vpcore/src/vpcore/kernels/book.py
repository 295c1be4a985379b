"""Effect of one completed event on the book: orders, depth, and the flow of every touched level.

Fills are matched with the reductions of the same order, by order id alone.
"""

from __future__ import annotations

import numpy as np

from vpcore.kernels.decay import decayed
from vpcore.kernels.hashing import KEY, ROW, find_slot, remove_slot
from vpcore.kernels.jit import jit
from vpcore.kernels.levels import change_depth, find_page, insert_order, level_of, remove_order
from vpcore.kernels.mechanics import impulse
from vpcore.kernels.records import ADD, ASK, BID, CANCEL, FILL, MODIFY, TRADE, UNDEF_PRICE
from vpcore.kernels.state import (
    ASK_SIDE,
    BID_SIDE,
    C_AGGRESSOR,
    C_BAD_SIDE,
    C_CLIPPED_CANCEL,
    C_DUPLICATE_ADD,
    C_HIDDEN,
    C_TRADE_EVENTS,
    C_UNATTRIBUTED,
    C_UNBALANCED,
    C_UNDEF_PRICE,
    C_UNKNOWN_CANCEL,
    C_UNKNOWN_MODIFY,
    F_ID,
    F_LEFT,
    F_PLACE,
    L_FLOW,
    L_TOUCHED,
    N_FILLS,
    O_ID,
    O_PLACE,
    O_SIZE,
    O_STAMP,
    PAGE_BITS,
    Q_ADD,
    Q_DEPTH,
    Q_FILL,
    Q_PULL,
    STAMP,
    V_BUY,
    V_CROSS,
    V_SELL,
    V_TRADES,
)

# numba compiles one version of a function per literal argument: np.int64(...) around a constant keeps it at one.
GIVE, TAKE, HIDE = 1, -1, 0


@jit(inline=True, borrows=True)
def tick_of(price, tick_int):
    """Return ``price // tick_int``; a whole number of ticks, as prices are, takes a third of an integer division."""
    tick = np.int64(np.rint(float(price) / float(tick_int)))
    return tick if tick * tick_int == price else price // tick_int


@jit(inline=True, borrows=True)
def _touch(book, level, now):
    """Advance the accumulators of a level to `now`."""
    before = book.levels[level, L_TOUCHED]
    if before != 0 and now > before:
        decayed(book.acc, level, float(now - before), book.taus, book.acc, level)
    book.levels[level, L_TOUCHED] = now


@jit(inline=True, borrows=True)
def _flow(book, page, level, place, quantity, size, sign):
    """Record contracts of one quantity at a level just touched, and the depth they add (+1), take (-1) or leave (0)."""
    book.levels[level, L_FLOW + quantity] += size
    book.ints[quantity] += size
    impulse(book.acc, level, quantity, float(size))
    if sign != 0:
        impulse(book.acc, level, Q_DEPTH + (place & 1), float(sign * size))
        change_depth(book, page, level, place >> 1, place & 1, sign * size)


@jit(borrows=True)
def _take_fills(fills, table, order_id, size):
    """Match a reduction with the event's fills of the same order; return the contracts that are fills."""
    slot = find_slot(table, order_id)
    if slot < 0:
        return np.int64(0)
    fill = table[slot, ROW] - 1
    filled = min(fills[fill, F_LEFT], size)
    fills[fill, F_LEFT] -= filled
    return filled


@jit(inline=True, borrows=True)
def _reduce(book, row, size, now):
    """Take `size` off an order: the part covered by the event's fills is a fill, its owner pulled the rest."""
    place = book.pool[row, O_PLACE]
    filled = np.int64(0)
    if book.ints[N_FILLS] > 0:
        filled = _take_fills(book.fills, book.fill_table, book.pool[row, O_ID], size)
    page = find_page(book, place >> (PAGE_BITS + 1))
    level = level_of(book, page, place >> 1)
    _touch(book, level, now)
    if filled > 0:
        _flow(book, page, level, place, np.int64(Q_FILL), filled, np.int64(TAKE))
    if size > filled:
        _flow(book, page, level, place, np.int64(Q_PULL), size - filled, np.int64(TAKE))
    book.pool[row, O_SIZE] -= size


@jit(inline=True, borrows=True)
def _arrive(book, place, size, now):
    """Record contracts that join a level."""
    page = find_page(book, place >> (PAGE_BITS + 1))
    level = level_of(book, page, place >> 1)
    _touch(book, level, now)
    _flow(book, page, level, place, np.int64(Q_ADD), size, np.int64(GIVE))


@jit(borrows=True)
def _withdraw(book, slot, order_id, now):
    """Take out the order of a slot, whose id comes a second time. Return the empty slot where the id goes."""
    book.ints[C_DUPLICATE_ADD] += 1
    row = book.table[slot, ROW] - 1
    if book.pool[row, O_SIZE] > 0:
        _reduce(book, row, book.pool[row, O_SIZE], now)
    remove_order(book, slot)
    return find_slot(book.table, order_id)


@jit(borrows=True)
def _mark_trades(book, words, start, stop, instrument, mark):
    """Put the order ids of an event's trades into their table, or take them out again."""
    for i in range(start, stop):
        if ((words[i, 0] >> 32) & 0xFFFFFFFF) != instrument or ((words[i, 4] >> 48) & 0xFF) != TRADE:
            continue
        slot = find_slot(book.trade_table, words[i, 2])
        if mark and slot < 0:
            book.trade_table[-1 - slot, KEY] = words[i, 2]
            book.trade_table[-1 - slot, ROW] = 1
        elif not mark and slot >= 0:
            remove_slot(book.trade_table, slot)


@jit(borrows=True)
def collect_fills(book, words, start, stop, instrument):
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
        book.ints[V_TRADES] += 1
        book.ints[V_BUY if side == BID else (V_SELL if side == ASK else V_CROSS)] += size
        if words[i, 2] != 0 and words[i, 2] != aggressor:
            several = several or aggressor != 0
            aggressor = words[i, 2]
    if several:
        _mark_trades(book, words, start, stop, instrument, np.bool_(True))
    for i in range(start, stop):
        if ((words[i, 0] >> 32) & 0xFFFFFFFF) != instrument or ((words[i, 4] >> 48) & 0xFF) != FILL:
            continue
        order_id = words[i, 2]
        size = words[i, 4] & 0xFFFFFFFF
        own = order_id != 0 and order_id == aggressor
        if several and not own and order_id != 0:
            own = find_slot(book.trade_table, order_id) >= 0
        if own:
            book.ints[C_AGGRESSOR] += size
            continue
        passive += size
        known = find_slot(book.fill_table, order_id)
        if known >= 0:
            book.fills[book.fill_table[known, ROW] - 1, F_LEFT] += size
            continue
        slot = find_slot(book.table, order_id)
        if slot < 0:
            book.ints[C_UNATTRIBUTED] += size
            continue
        book.fills[n_fills, F_ID] = order_id
        book.fills[n_fills, F_PLACE] = book.pool[book.table[slot, ROW] - 1, O_PLACE]
        book.fills[n_fills, F_LEFT] = size
        n_fills += 1
        book.fill_table[-1 - known, KEY] = order_id
        book.fill_table[-1 - known, ROW] = n_fills
    if several:
        _mark_trades(book, words, start, stop, instrument, np.bool_(False))
    book.ints[N_FILLS] = n_fills
    if traded > 0 or passive > 0:
        book.ints[C_TRADE_EVENTS] += 1
        if traded != passive:
            book.ints[C_UNBALANCED] += 1


@jit(borrows=True)
def _settle_fills(book, now):
    """Last pass: passive size beyond an order's reductions was hidden; it arrived and traded at the same moment."""
    for i in range(book.ints[N_FILLS]):
        left = book.fills[i, F_LEFT]
        if left > 0:
            place = book.fills[i, F_PLACE]
            book.ints[C_HIDDEN] += left
            page = find_page(book, place >> (PAGE_BITS + 1))
            level = level_of(book, page, place >> 1)
            _touch(book, level, now)
            _flow(book, page, level, place, np.int64(Q_ADD), left, np.int64(HIDE))
            _flow(book, page, level, place, np.int64(Q_FILL), left, np.int64(HIDE))
            slot = find_slot(book.table, book.fills[i, F_ID])
            if slot >= 0:  # the order was loaded anew, at the end of the queue
                book.pool[book.table[slot, ROW] - 1, O_STAMP] = book.ints[STAMP]
        remove_slot(book.fill_table, find_slot(book.fill_table, book.fills[i, F_ID]))
    book.ints[N_FILLS] = 0


@jit(inline=True, borrows=True)
def apply_event(book, words, start, stop, instrument, tick_int, has_trades, now):
    """Apply one completed event at the time of its last record.

    Parameters
    ----------
    book : Book
        Changed in place. There is room for every order and level of the event.
    words : int64[n_records, 7]
        Records as eight-byte words; records of other instruments are skipped.
    start, stop : int
        The event's records.
    instrument, tick_int : int
        Instrument id; tick size in 1e-9.
    has_trades : bool
        True if the event holds a trade or a fill; `collect_fills` has been called.
    now : int
        Time of the event, ns.
    """
    for i in range(start, stop):
        record = words[i]
        if ((record[0] >> 32) & 0xFFFFFFFF) != instrument:
            continue
        packed = record[4]
        action = (packed >> 48) & 0xFF
        if action not in (ADD, CANCEL, MODIFY):
            continue
        size = packed & 0xFFFFFFFF
        place = np.int64(0)
        if action != CANCEL:
            code = (packed >> 56) & 0xFF
            if record[3] == UNDEF_PRICE:
                book.ints[C_UNDEF_PRICE] += 1
                continue
            if code != BID and code != ASK:
                book.ints[C_BAD_SIDE] += 1
                continue
            place = tick_of(record[3], tick_int) * 2 + (BID_SIDE if code == BID else ASK_SIDE)
        slot = find_slot(book.table, record[2])
        if slot >= 0 and action == ADD:
            slot = _withdraw(book, slot, record[2], now)
        if slot < 0:
            if action == CANCEL:
                book.ints[C_UNKNOWN_CANCEL] += 1
                continue
            stamp = book.ints[STAMP]
            if action == MODIFY:
                book.ints[C_UNKNOWN_MODIFY] += 1
                stamp = np.int64(0)  # it may have stood before every virtual order
            insert_order(book, record[2], -1 - slot, place, size, stamp)
            joins, remains = size, True
        else:
            row = book.table[slot, ROW] - 1
            held = book.pool[row, O_SIZE]
            if action == CANCEL:
                if size > held:
                    book.ints[C_CLIPPED_CANCEL] += 1
                leaves, joins = min(size, held), np.int64(0)
            elif place == book.pool[row, O_PLACE]:
                leaves, joins = max(held - size, 0), max(size - held, 0)
            else:
                leaves, joins = held, size
            if leaves > 0:
                _reduce(book, row, leaves, now)
            if action == MODIFY:
                if joins > 0 or place != book.pool[row, O_PLACE]:
                    book.pool[row, O_STAMP] = book.ints[STAMP]
                book.pool[row, O_PLACE] = place
                book.pool[row, O_SIZE] = size
            remains = book.pool[row, O_SIZE] > 0
        if joins > 0:
            _arrive(book, place, joins, now)
        if not remains:
            remove_order(book, slot)
    if has_trades:
        _settle_fills(book, now)
