"""The engine's main loop: records in, bins out.

One call consumes records until they are used up, the output block is full, an array must grow, or a record cannot be
applied; it returns where it stopped and why. Whatever it returns, the record it stopped at has changed nothing.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from vpcore.kernels.book import (
    ASK_SIDE,
    BEST_ASK,
    BEST_BID,
    BID_SIDE,
    C_BAD_SIDE,
    C_UNDEF_PRICE,
    CROSSED,
    N_ORDERS,
    NO_ASK,
    NO_BID,
    ONE_SIDED,
    PAGE_BITS,
    V_BUY,
    V_CROSS,
    V_SELL,
    V_TRADES,
    apply_event,
    clear_book,
    level_depth,
    make_page,
    set_snapshot_order,
    settle_best,
)
from vpcore.kernels.frame import make_frame
from vpcore.kernels.jit import jit
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

# Why `run` returned.
(
    USED_UP,
    BLOCK_FULL,
    GROW_ORDERS,
    GROW_PAGES,
    GROW_FILLS,
    GROW_EVENT,
    DONE,
    SNAPSHOT_BEGINS,
    SNAPSHOT_ENDED,
    OFF_TICK,
    TOP_OF_BOOK,
    OTHER_PUBLISHER,
) = range(12)

# Scalars of the stream.
(
    CLOCK,
    START,
    WIDTH,
    MAX_BINS,
    TICK_INT,
    SEQ,
    NEXT_END,
    STARTED,
    VALID,
    IN_SNAPSHOT,
    SEEN,
    COLD,
    BUILD_COLD,
    BAD_BOOK,
    PUBLISHER,
    COMPARE,
    EVENT_RECORDS,
    EVENT_START,
    EVENT_HELD,
    EVENT_TRADES,
    EVENT_FILLS,
    BIN_EVENTS,
    BID_HIGH,
    BID_LOW,
    ASK_HIGH,
    ASK_LOW,
    MID2_HIGH,
    MID2_LOW,
    HAS_EXTREMES,
    LAST_BID,
    LAST_ASK,
    HAS_LAST,
    OUT_ROWS,
) = range(33)
N_SCALARS = 33

NOT_COMPARING, ARMED, CARRIED = 0, 1, 2
NO_PUBLISHER = -1

# Counters of the stream; records by action first.
(
    K_ADD,
    K_CANCEL,
    K_MODIFY,
    K_CLEAR,
    K_TRADE,
    K_FILL,
    K_NONE,
    K_OTHER,
    K_SNAPSHOT,
    K_EVENTS,
    K_DROPPED,
    K_CLAMPS,
    K_BAD_TS,
    K_BAD_BOOK,
    K_INVALID_BINS,
    K_STARTED_COLD,
    K_SNAPSHOTS,
) = range(17)
N_COUNTERS = 17

# Columns of the integer bin table; `vpcore.schema.BIN_COLUMNS` in order, with the mid in half-ticks and prices in ticks.
(
    B_SEQ,
    B_TS,
    B_START,
    B_END,
    B_VALID,
    B_MID2,
    B_BID,
    B_ASK,
    B_BID_SIZE,
    B_ASK_SIZE,
    B_SPREAD,
    B_EVENT_ID,
    B_EVENTS,
    B_BID_HIGH,
    B_BID_LOW,
    B_ASK_HIGH,
    B_ASK_LOW,
    B_MID2_HIGH,
    B_MID2_LOW,
    B_BUY,
    B_SELL,
    B_CROSS,
    B_TRADES,
    B_BID_MOVE,
    B_ASK_MOVE,
    B_MICROSTATE,
    B_ABOVE,
    B_BELOW,
) = range(28)
N_BIN = 28

INT32_MAX = 2**31 - 1

# State above and below the mid by 3 (s_ask + 1) + (s_bid + 1); 2 is a vacuum, 1 a pressure, the sign is bull or bear.
ABOVE = np.array([-1, -1, 0, 0, 0, 0, 0, 2, 2], np.int64)
BELOW = np.array([-2, 0, 0, -2, 0, 1, 0, 0, 1], np.int64)


class Stream(NamedTuple):
    """State of the stream beside the book; changed in place."""

    scalars: Any  # int64[N_SCALARS]
    counts: Any  # int64[N_COUNTERS]
    held: Any  # int64[n, 7] records of an event that began in an earlier chunk
    held_view: Any  # the same memory, read only: one compiled version of the event's code


@jit
def _settle(stream, book):
    """After a completed event: best prices, validity, extremes of the bin."""
    st = stream.scalars
    settle_best(book)
    bid = book.scalars[BEST_BID]
    ask = book.scalars[BEST_ASK]
    both = bid != NO_BID and ask != NO_ASK
    if not both:
        book.scalars[ONE_SIDED] += 1
    elif bid >= ask:
        book.scalars[CROSSED] += 1
    valid = both and bid < ask and st[BAD_BOOK] == 0 and (st[COLD] == 0 or st[BUILD_COLD] == 1)
    st[VALID] = 1 if valid else 0
    if valid:
        _extend(st, bid, ask)


@jit
def _extend(st, bid, ask):
    if st[HAS_EXTREMES] == 0:
        st[HAS_EXTREMES] = 1
        st[BID_HIGH] = bid
        st[BID_LOW] = bid
        st[ASK_HIGH] = ask
        st[ASK_LOW] = ask
        st[MID2_HIGH] = bid + ask
        st[MID2_LOW] = bid + ask
        return
    st[BID_HIGH] = max(st[BID_HIGH], bid)
    st[BID_LOW] = min(st[BID_LOW], bid)
    st[ASK_HIGH] = max(st[ASK_HIGH], ask)
    st[ASK_LOW] = min(st[ASK_LOW], ask)
    st[MID2_HIGH] = max(st[MID2_HIGH], bid + ask)
    st[MID2_LOW] = min(st[MID2_LOW], bid + ask)


@jit
def _open_bin(stream, book):
    """Start a bin from the state carried in."""
    st = stream.scalars
    st[BIN_EVENTS] = 0
    book.volume[:] = 0
    st[HAS_EXTREMES] = 0
    if st[VALID] == 1:
        _extend(st, book.scalars[BEST_BID], book.scalars[BEST_ASK])


@jit
def _write_bin(stream, book, flow, par, out, bins, row):
    st = stream.scalars
    end = st[NEXT_END]
    for i in range(N_BIN):
        bins[row, i] = 0
    bins[row, B_SEQ] = st[SEQ]
    bins[row, B_TS] = end
    bins[row, B_START] = end - st[WIDTH]
    bins[row, B_END] = end
    bins[row, B_EVENT_ID] = stream.counts[K_EVENTS]
    bins[row, B_EVENTS] = min(st[BIN_EVENTS], INT32_MAX)
    bins[row, B_BUY] = min(book.volume[V_BUY], INT32_MAX)
    bins[row, B_SELL] = min(book.volume[V_SELL], INT32_MAX)
    bins[row, B_CROSS] = min(book.volume[V_CROSS], INT32_MAX)
    bins[row, B_TRADES] = min(book.volume[V_TRADES], INT32_MAX)
    bins[row, B_MICROSTATE] = 4
    if st[VALID] == 0:
        stream.counts[K_INVALID_BINS] += 1
        out[:, row, :] = np.float32(0.0)
        return
    bid = book.scalars[BEST_BID]
    ask = book.scalars[BEST_ASK]
    bins[row, B_VALID] = 1
    bins[row, B_MID2] = bid + ask
    bins[row, B_BID] = bid
    bins[row, B_ASK] = ask
    bins[row, B_BID_SIZE] = min(level_depth(book, bid, BID_SIDE), INT32_MAX)
    bins[row, B_ASK_SIZE] = min(level_depth(book, ask, ASK_SIDE), INT32_MAX)
    bins[row, B_SPREAD] = ask - bid
    bins[row, B_BID_HIGH] = st[BID_HIGH]
    bins[row, B_BID_LOW] = st[BID_LOW]
    bins[row, B_ASK_HIGH] = st[ASK_HIGH]
    bins[row, B_ASK_LOW] = st[ASK_LOW]
    bins[row, B_MID2_HIGH] = st[MID2_HIGH]
    bins[row, B_MID2_LOW] = st[MID2_LOW]
    if st[HAS_LAST] == 1:
        bid_move = bid - st[LAST_BID]
        ask_move = ask - st[LAST_ASK]
        bins[row, B_BID_MOVE] = bid_move
        bins[row, B_ASK_MOVE] = ask_move
        state = 3 * (np.int64(np.sign(ask_move)) + 1) + np.int64(np.sign(bid_move)) + 1
        bins[row, B_MICROSTATE] = state
        bins[row, B_ABOVE] = ABOVE[state]
        bins[row, B_BELOW] = BELOW[state]
    st[HAS_LAST] = 1
    st[LAST_BID] = bid
    st[LAST_ASK] = ask
    make_frame(book, flow, par, bid, ask, end, st[SEQ], out, row)


@jit
def emit_due(stream, book, flow, par, now, out, bins):
    """Write every bin that ends at or before `now`. Return `USED_UP`, or `BLOCK_FULL` if some are left."""
    st = stream.scalars
    while st[NEXT_END] <= now and (st[STARTED] == 0 or st[SEQ] < st[MAX_BINS]):
        if st[STARTED] == 1:
            if st[OUT_ROWS] == bins.shape[0]:
                return BLOCK_FULL
            _write_bin(stream, book, flow, par, out, bins, st[OUT_ROWS])
            st[OUT_ROWS] += 1
            st[SEQ] += 1
        st[STARTED] = 1
        st[NEXT_END] += st[WIDTH]
        _open_bin(stream, book)
    return USED_UP


@jit
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


@jit
def _hold(stream, words, start, stop, instrument):
    """Copy an unfinished event's records. Return False if there is no room."""
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


@jit
def _complete_event(stream, book, words, stop, instrument):
    st = stream.scalars
    trades = st[EVENT_TRADES] == 1
    if st[EVENT_HELD] == 0:
        apply_event(book, words, st[EVENT_START], stop, instrument, st[TICK_INT], trades, st[CLOCK])
    else:
        apply_event(book, stream.held_view, 0, st[EVENT_HELD], instrument, st[TICK_INT], trades, st[CLOCK])
    _forget_event(st)
    stream.counts[K_EVENTS] += 1
    st[BIN_EVENTS] += 1
    _settle(stream, book)


@jit
def _forget_event(st):
    st[EVENT_RECORDS] = 0
    st[EVENT_HELD] = 0
    st[EVENT_TRADES] = 0
    st[EVENT_FILLS] = 0


@jit
def _begin_snapshot(stream, book, in_snapshot):
    """A clear, or the first record of a snapshot: the book is dropped, and with it an event in progress."""
    st = stream.scalars
    if st[EVENT_RECORDS] > 0:
        stream.counts[K_DROPPED] += 1
        _forget_event(st)
    clear_book(book)
    st[VALID] = 0
    st[COLD] = 0
    st[BAD_BOOK] = 0
    if in_snapshot:
        stream.counts[K_SNAPSHOTS] += 1


@jit
def run(stream, book, flow, par, words, start, instrument, out, bins):
    """Consume records of one chunk.

    Parameters
    ----------
    stream : Stream
    book : Book
    flow : Flow
    par : FrameParams
    words : int64[n_records, 7], read only
        Records as eight-byte words.
    start : int
        First record to consume; 0, or what the last call on this chunk returned.
    instrument : int
        Instrument id; records of others are passed over and do not move the clock.
    out : float32[n_columns, n_rows, n_cells], written
    bins : int64[n_rows, N_BIN], written

    Returns
    -------
    at : int
        The first record that was not consumed.
    code : int
        Why the call returned.
    """
    st = stream.scalars
    counts = stream.counts
    n_records = words.shape[0]
    for i in range(start, n_records):
        head = words[i, 0]
        if ((head >> 32) & 0xFFFFFFFF) != instrument:
            continue
        packed = words[i, 4]
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
        if stamped and words[i, 5] > clock:
            now = words[i, 5]
        if now >= st[NEXT_END] and st[SEQ] < st[MAX_BINS]:
            if emit_due(stream, book, flow, par, now, out, bins) == BLOCK_FULL:
                return i, BLOCK_FULL
        if st[SEQ] >= st[MAX_BINS]:
            return i, DONE
        places = (action == ADD or action == MODIFY) and words[i, 3] != UNDEF_PRICE
        if places:
            tick = words[i, 3] // st[TICK_INT]
            if tick * st[TICK_INT] != words[i, 3]:
                return i, OFF_TICK
            if not make_page(book, tick >> PAGE_BITS):
                return i, GROW_PAGES
            if book.scalars[N_ORDERS] + st[EVENT_RECORDS] + 1 >= book.pool.shape[0]:
                return i, GROW_ORDERS
        elif action == FILL and st[EVENT_FILLS] >= book.fills.shape[0]:
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

        if stamped and words[i, 5] < clock:
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
                if side == BID or side == ASK:
                    place = BID_SIDE if side == BID else ASK_SIDE
                    set_snapshot_order(book, words[i, 2], tick, packed & 0xFFFFFFFF, place)
                else:
                    book.counts[C_BAD_SIDE] += 1
            elif action == ADD or action == MODIFY:
                book.counts[C_UNDEF_PRICE] += 1
            if last:
                _settle(stream, book)
            continue
        if flags & F_MAYBE_BAD_BOOK:
            if st[BAD_BOOK] == 0:
                counts[K_BAD_BOOK] += 1
            st[BAD_BOOK] = 1
            st[VALID] = 0
        if st[EVENT_RECORDS] == 0:
            st[EVENT_START] = i
        st[EVENT_RECORDS] += 1
        if action == TRADE or action == FILL:
            st[EVENT_TRADES] = 1
            if action == FILL:
                st[EVENT_FILLS] += 1
        if last:
            _complete_event(stream, book, words, i + 1, instrument)
    if st[EVENT_RECORDS] > 0:
        if not _hold(stream, words, st[EVENT_START], n_records, instrument):
            return n_records, GROW_EVENT
        st[EVENT_START] = 0
    return n_records, USED_UP
