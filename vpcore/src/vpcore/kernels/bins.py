"""State of the stream and its bins: end of a bin, output of a bin, start of the next bin."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from vpcore.kernels.frame import make_frame
from vpcore.kernels.jit import jit
from vpcore.kernels.levels import level_depth, settle_best
from vpcore.kernels.state import (
    ASK_SIDE,
    BEST_ASK,
    BEST_BID,
    BEST_LEFT,
    BID_SIDE,
    CROSSED,
    NO_ASK,
    NO_BID,
    ONE_SIDED,
    STAMP,
    V_BUY,
    V_TRADES,
)
from vpcore.kernels.virtual_orders import match_resting, place_orders

BINS_UP_TO_DATE, BLOCK_FULL = 0, 1

# Scalars of the stream. DATED is 1 once a record had a usable time; the records before it have that time.
(
    CLOCK,
    DATED,
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
) = range(34)
N_SCALARS = 34

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

# Columns of the integer bin table; `vpcore.schema.BIN_COLUMNS` in order; mid in half-ticks, prices in ticks.
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
    virtual: Any  # VirtualOrders


@jit(inline=True, borrows=True)
def settle(stream, book):
    """After a completed event: best prices, validity, extremes of the bin."""
    st = stream.scalars
    if book.ints[BEST_LEFT] != 0:
        settle_best(book)
    bid = book.ints[BEST_BID]
    ask = book.ints[BEST_ASK]
    both = bid != NO_BID and ask != NO_ASK
    if not both:
        book.ints[ONE_SIDED] += 1
    elif bid >= ask:
        book.ints[CROSSED] += 1
    valid = both and bid < ask and st[BAD_BOOK] == 0 and (st[COLD] == 0 or st[BUILD_COLD] == 1)
    st[VALID] = 1 if valid else 0
    if valid:
        _extend(st, bid, ask)
        if stream.virtual.orders.shape[1] > 0:
            match_resting(stream.virtual, book, bid, ask, st[SEQ], st[CLOCK])


@jit(inline=True, borrows=True)
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


@jit(inline=True, borrows=True)
def _write_touch(st, book, line, bid, ask):
    """Write what a valid bin has of the best prices: their last, extreme and moved."""
    line[B_VALID] = 1
    line[B_MID2] = bid + ask
    line[B_BID] = bid
    line[B_ASK] = ask
    line[B_BID_SIZE] = min(level_depth(book, bid, np.int64(BID_SIDE)), INT32_MAX)
    line[B_ASK_SIZE] = min(level_depth(book, ask, np.int64(ASK_SIDE)), INT32_MAX)
    line[B_SPREAD] = ask - bid
    for i in range(6):
        line[B_BID_HIGH + i] = st[BID_HIGH + i]
    if st[HAS_LAST] == 1:
        bid_move = bid - st[LAST_BID]
        ask_move = ask - st[LAST_ASK]
        line[B_BID_MOVE] = bid_move
        line[B_ASK_MOVE] = ask_move
        state = 3 * (np.int64(np.sign(ask_move)) + 1) + np.int64(np.sign(bid_move)) + 1
        line[B_MICROSTATE] = state
        line[B_ABOVE] = ABOVE[state]
        line[B_BELOW] = BELOW[state]
    st[HAS_LAST] = 1
    st[LAST_BID] = bid
    st[LAST_ASK] = ask


@jit(borrows=True)
def emit_due(stream, book, flow, par, now, out, bins):
    """Write every bin that ends at or before `now`. Return `BINS_UP_TO_DATE`, or `BLOCK_FULL` if some are left."""
    st = stream.scalars
    while st[NEXT_END] <= now and (st[STARTED] == 0 or st[SEQ] < st[MAX_BINS]):
        if st[STARTED] == 1:
            row = st[OUT_ROWS]
            if row == bins.shape[0]:
                return BLOCK_FULL
            end = st[NEXT_END]
            dated = st[DATED] == 1  # else every event so far is later than this bin
            valid = dated and st[VALID] == 1
            bid = book.ints[BEST_BID]
            ask = book.ints[BEST_ASK]
            line = bins[row]
            for i in range(N_BIN):
                line[i] = 0
            line[B_SEQ] = st[SEQ]
            line[B_TS] = end
            line[B_START] = end - st[WIDTH]
            line[B_END] = end
            line[B_MICROSTATE] = 4
            if dated:
                line[B_EVENT_ID] = stream.counts[K_EVENTS]
                line[B_EVENTS] = min(st[BIN_EVENTS], INT32_MAX)
                for i in range(4):
                    line[B_BUY + i] = min(book.ints[V_BUY + i], INT32_MAX)
            if valid:
                _write_touch(st, book, line, bid, ask)
                make_frame(book, flow, par, bid, ask, end, st[SEQ], out, row)
            else:
                stream.counts[K_INVALID_BINS] += 1
                out[:, row, :] = np.float32(0.0)
            if stream.virtual.orders.shape[1] > 0:
                place_orders(stream.virtual, book, st[SEQ], valid, bid, ask)
            st[OUT_ROWS] += 1
            st[SEQ] += 1
            book.ints[STAMP] = st[SEQ]
        st[STARTED] = 1
        st[NEXT_END] += st[WIDTH]
        if st[DATED] == 1:  # the next bin starts from the state carried in
            st[BIN_EVENTS] = 0
            book.ints[V_BUY : V_TRADES + 1] = 0
            st[HAS_EXTREMES] = 0
            if st[VALID] == 1:
                _extend(st, book.ints[BEST_BID], book.ints[BEST_ASK])
    return BINS_UP_TO_DATE
