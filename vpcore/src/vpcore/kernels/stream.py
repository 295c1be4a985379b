"""The engine's main loop: records in, bins out.

One call consumes records until they are used up, the output block is full, an array must grow, or a record is invalid;
it returns the place and the reason. The record at this place is still unapplied in every case.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from vpcore.kernels.bins import (
    ARMED,
    BAD_BOOK,
    BIN_EVENTS,
    BLOCK_FULL,
    CLOCK,
    COLD,
    COMPARE,
    DATED,
    EVENT_FILLS,
    EVENT_HELD,
    EVENT_RECORDS,
    EVENT_START,
    EVENT_TRADES,
    IN_SNAPSHOT,
    K_ADD,
    K_BAD_BOOK,
    K_BAD_TS,
    K_CANCEL,
    K_CLAMPS,
    K_CLEAR,
    K_DROPPED,
    K_EVENTS,
    K_FILL,
    K_MODIFY,
    K_NONE,
    K_OTHER,
    K_SNAPSHOT,
    K_SNAPSHOTS,
    K_STARTED_COLD,
    K_TRADE,
    MAX_BINS,
    NEXT_END,
    NO_PUBLISHER,
    NOT_COMPARING,
    PUBLISHER,
    SEEN,
    SEQ,
    TICK_INT,
    VALID,
    emit_due,
    settle,
)
from vpcore.kernels.book import apply_event, collect_fills, tick_of
from vpcore.kernels.jit import jit
from vpcore.kernels.levels import clear_book, make_level, set_snapshot_order
from vpcore.kernels.records import (
    ADD,
    ASK,
    BID,
    CANCEL,
    CLEAR,
    F_BAD_TS_RECV,
    F_LAST,
    F_MAYBE_BAD_BOOK,
    F_MBP,
    F_SNAPSHOT,
    F_TOB,
    FILL,
    MODIFY,
    NONE,
    TRADE,
    UNDEF_PRICE,
)
from vpcore.kernels.state import ASK_SIDE, BID_SIDE, C_BAD_SIDE, C_UNDEF_PRICE, N_ORDERS
from vpcore.kernels.virtual_orders import drop_orders, match_trades

RECORDS_ONLY = -(2**62)
"""In place of a time: `run` consumes records."""

# Why `run` returned, besides BLOCK_FULL.
USED_UP = 0
(
    GROW_ORDERS,
    GROW_LEVELS,
    GROW_FILLS,
    GROW_EVENT,
    DONE,
    SNAPSHOT_BEGINS,
    SNAPSHOT_ENDED,
    OFF_TICK,
    TOP_OF_BOOK,
    OTHER_PUBLISHER,
    FIRST_TIME,
) = range(2, 13)


@jit(inline=True, borrows=True)
def _count_action(counts, action):
    if action == ADD:
        counts[K_ADD] += 1
    elif action == CANCEL:
        counts[K_CANCEL] += 1
    elif action == MODIFY:
        counts[K_MODIFY] += 1
    elif action == FILL:
        counts[K_FILL] += 1
    elif action == TRADE:
        counts[K_TRADE] += 1
    elif action == CLEAR:
        counts[K_CLEAR] += 1
    elif action == NONE:
        counts[K_NONE] += 1
    else:
        counts[K_OTHER] += 1


@jit(borrows=True)
def _hold(stream, words, start, stop, instrument):
    """Copy an unfinished event's records. Return False if the buffer is full."""
    st = stream.scalars
    held = st[EVENT_HELD]
    for i in range(start, stop):
        if ((words[i, 0] >> 32) & 0xFFFFFFFF) != instrument:
            continue
        if held == stream.held.shape[0]:
            return False
        for j in range(7):
            stream.held[held, j] = words[i, j]
        held += 1
    st[EVENT_HELD] = held
    return True


@jit(inline=True, borrows=True)
def _forget_event(st):
    st[EVENT_RECORDS] = 0
    st[EVENT_HELD] = 0
    st[EVENT_TRADES] = 0
    st[EVENT_FILLS] = 0


@jit(borrows=True)
def _begin_snapshot(stream, book, in_snapshot):
    """A clear, or the first record of a snapshot: the book is dropped, and with it an event in progress."""
    st = stream.scalars
    if st[EVENT_RECORDS] > 0:
        stream.counts[K_DROPPED] += 1
        _forget_event(st)
    clear_book(book)
    if not in_snapshot and stream.virtual.orders.shape[1] > 0:
        drop_orders(stream.virtual, book)
    st[VALID] = 0
    st[COLD] = 0
    st[BAD_BOOK] = 0
    if in_snapshot:
        stream.counts[K_SNAPSHOTS] += 1


@jit(borrows=True)
def run(
    stream: Any, book: Any, flow: Any, par: Any,
    words: Any, start: int, instrument: int, until: int, out: Any, bins: Any,
) -> tuple[int, int]:  # fmt: skip
    """Consume records of one chunk, or let time pass.

    Parameters
    ----------
    stream : Stream
        Changed in place, like `book` and `flow`.
    book : Book
        Orders, levels and accumulators.
    flow : Flow
        Composite history.
    par : FrameParams
        See `make_frame`.
    words : int64[n_records, 7], read only
        Records as eight-byte words.
    start : int
        First record to consume; 0, or the return value of the last call on this chunk.
    instrument : int
        Instrument id; records of others are skipped and leave the clock unchanged.
    until : int
        Unless it is `RECORDS_ONLY`, no record is consumed: the bins that end by this time are written.
    out : float32[n_columns, n_rows, n_cells], written
        Grid columns of the block's bins.
    bins : int64[n_rows, N_BIN], written
        Bin columns of the block's bins.

    Returns
    -------
    at : int
        The first remaining record.
    code : int
        Why the call returned.
    """
    st = stream.scalars
    counts = stream.counts
    n_records = words.shape[0]
    if until != RECORDS_ONLY:  # no function of its own, which would compile for longer than it runs
        return start, emit_due(stream, book, flow, par, until, out, bins)
    if st[SEQ] >= st[MAX_BINS]:  # records after the window are not looked at, in this chunk or a later one
        return start, DONE
    for i in range(start, n_records):
        record = words[i]
        head = record[0]
        if ((head >> 32) & 0xFFFFFFFF) != instrument:
            continue
        packed = record[4]
        flags = (packed >> 32) & 0xFF
        action = (packed >> 48) & 0xFF
        snapshot = (flags & F_SNAPSHOT) != 0
        clear = action == CLEAR
        # Everything that can stop the call comes before anything that changes state.
        if flags & (F_TOB | F_MBP):
            return i, TOP_OF_BOOK
        publisher = (head >> 16) & 0xFFFF
        if st[PUBLISHER] != publisher:
            if st[PUBLISHER] != NO_PUBLISHER:
                return i, OTHER_PUBLISHER
            st[PUBLISHER] = publisher
        clock = st[CLOCK]
        stamped = snapshot or (flags & F_BAD_TS_RECV) == 0
        now = clock
        if stamped and record[5] > clock:
            now = record[5]
        if now >= st[NEXT_END] and st[SEQ] < st[MAX_BINS]:
            if emit_due(stream, book, flow, par, now, out, bins) == BLOCK_FULL:
                return i, BLOCK_FULL
        if st[SEQ] >= st[MAX_BINS]:
            return i, DONE
        if st[DATED] == 0 and stamped and record[5] > 0:
            return i, FIRST_TIME
        places = action in (ADD, MODIFY) and record[3] != UNDEF_PRICE
        if places:
            tick = tick_of(record[3], st[TICK_INT])
            if tick * st[TICK_INT] != record[3]:
                return i, OFF_TICK
            if not make_level(book, tick):
                return i, GROW_LEVELS
            if book.ints[N_ORDERS] + st[EVENT_RECORDS] + 1 >= book.pool.shape[0]:
                return i, GROW_ORDERS
        elif action in (TRADE, FILL) and st[EVENT_FILLS] >= book.fills.shape[0]:
            return i, GROW_FILLS
        last = (flags & F_LAST) != 0
        begins = clear or (snapshot and st[IN_SNAPSHOT] == 0)
        if begins and st[COMPARE] == ARMED:
            return i, SNAPSHOT_BEGINS
        if not snapshot and not clear and st[COMPARE] != NOT_COMPARING:
            return i, SNAPSHOT_ENDED
        if last and st[EVENT_HELD] > 0 and not begins and not snapshot:
            if not _hold(stream, words, st[EVENT_START], i + 1, instrument):
                return i, GROW_EVENT

        if stamped and record[5] < clock:
            counts[K_CLAMPS] += 1
        if flags & F_BAD_TS_RECV:
            counts[K_BAD_TS] += 1
        st[CLOCK] = now
        _count_action(counts, action)
        if st[SEEN] == 0:
            st[SEEN] = 1
            if not begins:
                st[COLD] = 1
                counts[K_STARTED_COLD] = 1
        if begins:
            _begin_snapshot(stream, book, snapshot)
        st[IN_SNAPSHOT] = 1 if snapshot else 0
        if snapshot or clear:
            counts[K_SNAPSHOT] += 1 if snapshot else 0
            if places:
                side = (packed >> 56) & 0xFF
                if side in (BID, ASK):
                    place = tick * 2 + (BID_SIDE if side == BID else ASK_SIDE)
                    set_snapshot_order(book, record[2], place, packed & 0xFFFFFFFF)
                else:
                    book.ints[C_BAD_SIDE] += 1
            elif action in (ADD, MODIFY):
                book.ints[C_UNDEF_PRICE] += 1
        else:
            if flags & F_MAYBE_BAD_BOOK:
                if st[BAD_BOOK] == 0:
                    counts[K_BAD_BOOK] += 1
                st[BAD_BOOK] = 1
                st[VALID] = 0
            if st[EVENT_RECORDS] == 0:
                st[EVENT_START] = i
            st[EVENT_RECORDS] += 1
            if action in (TRADE, FILL):
                st[EVENT_TRADES] = 1
                st[EVENT_FILLS] += 1
            if last:
                event, first, stop = words, st[EVENT_START], i + 1
                if st[EVENT_HELD] > 0:
                    event, first, stop = stream.held_view, np.int64(0), st[EVENT_HELD]
                traded = st[EVENT_TRADES] == 1
                if traded:
                    collect_fills(book, event, first, stop, instrument)
                    if stream.virtual.orders.shape[1] > 0:
                        match_trades(
                            stream.virtual, book, event, first, stop, instrument, st[TICK_INT], st[SEQ], st[CLOCK]
                        )
                apply_event(book, event, first, stop, instrument, st[TICK_INT], traded, st[CLOCK] * st[DATED])
                _forget_event(st)
                counts[K_EVENTS] += 1
                st[BIN_EVENTS] += 1
        if last:
            settle(stream, book)
    if st[EVENT_RECORDS] > 0:
        if not _hold(stream, words, st[EVENT_START], n_records, instrument):
            return n_records, GROW_EVENT
        st[EVENT_START] = 0
    return n_records, USED_UP
