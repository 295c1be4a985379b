"""The simulated market's matching engine: what arrives, leaves and trades, and the records that say so."""

from __future__ import annotations

from typing import Any, NamedTuple

from vpcore.kernels.jit import jit
from vpcore.kernels.random import below, uniform
from vpcore.kernels.records import ADD, ASK, BID, CANCEL, F_LAST, F_PUBLISHER_SPECIFIC, FILL, MODIFY, TRADE
from vpcore_market.kernels.draws import pick
from vpcore_market.kernels.queues import (
    DISPLAY,
    HEAD,
    HIDDEN,
    ID,
    LEVEL,
    NEXT,
    SIZE,
    append,
    join,
    leave,
    remove,
    resize,
)

ACTION, SIDE_CODE, ROW_LEVEL, ROW_SIZE, FLAGS, ORDER, TS_EVENT, TS_RECV, SEQUENCE, DELTA = range(10)
"""Columns of `Market.rows`. A level of -1 stands for a price that is not defined."""
N_COLUMNS = 10

(BEST_BID, BEST_ASK, LAST_ID, LAST_SEQUENCE, LAST_RECV, NEXT_FLOW, NEXT_WALK, NEXT_MOOD, SUM_TIME,
 N_EVENTS, N_STEPS, N_TRADES, VOLUME, N_ROWS, EVENT_ROW, DONE, OUT_OF_RANGE,
 BUSY, NEXT_REGIME, NEXT_EVENT) = range(2, 22)  # fmt: skip
"""Places of `Market.state`, behind those of the queues."""
N_STATE = 22

N_KINDS = 6
"""Kinds of events of the natural market, see `vpcore_market.kernels.natural`."""

MOOD, PRESSURE_BID, VACUUM_BID, PRESSURE_ASK, VACUUM_ASK, STEP_PRODUCT, STEP_SQUARE, EXCITED_FAST = range(8)
EXCITED_SLOW = EXCITED_FAST + N_KINDS
ACTIVITY = EXCITED_SLOW + N_KINDS
"""Places of `Market.sums`; of the two before the last there is one for each kind of event."""
N_SUMS = ACTIVITY + 1

BID_SIDE, ASK_SIDE = 0, 1


class Market(NamedTuple):
    """Everything a simulation needs between two calls.

    orders, levels : see `vpcore_market.kernels.queues`.
    state : int64[N_STATE].  sums : float64[N_SUMS].  flow, walk, clock : int64[4], random streams.
    distance : float64[n_distances], running sum of the chances that an order arrives so far from the touch.
    target : float64[n_distances], displayed size that a level at that distance tends to.
    add_chance, trade_chance : float64[n_sizes], running sums.  sizes : int64[n_sizes].
    rows : int64[n_rows, N_COLUMNS], written.
    """

    orders: Any
    levels: Any
    state: Any
    sums: Any
    flow: Any
    walk: Any
    clock: Any
    distance: Any
    target: Any
    add_chance: Any
    trade_chance: Any
    sizes: Any
    rows: Any


class Bursts(NamedTuple):
    """The clock of the bursty market. Times in seconds.

    wait : mean time between two bursts at an activity of 1; 0 for a market without bursts.
    share : share of the events that follow another one within its burst.  gap : mean time between these.
    swing : standard deviation of the logarithm of the activity.  half_life : of this logarithm.
    """

    wait: float
    share: float
    gap: float
    swing: float
    half_life: float


class Rates(NamedTuple):
    """Numbers that stay as they are. Rates are per second, times in nanoseconds unless the name says otherwise."""

    end_ns: int
    flow: float
    step_narrow: float
    step_wide: float
    full_share: float
    alpha: float
    memory_s: float
    mood_s: float
    near: int
    trade_share: float
    modify_share: float
    iceberg_share: float
    own_share: float
    mood_gain: float
    restoring: float
    gain: float
    bursts: Bursts


@jit(borrows=True)
def emit(m: Any, action: int, side: int, level: int, size: int, order_id: int) -> None:
    """Write a record of the event in progress."""
    n = m.state[N_ROWS]
    m.rows[n, ACTION] = action
    m.rows[n, SIDE_CODE] = BID if side == BID_SIDE else ASK
    m.rows[n, ROW_LEVEL] = level
    m.rows[n, ROW_SIZE] = size
    m.rows[n, FLAGS] = 0
    m.rows[n, ORDER] = order_id
    m.state[N_ROWS] = n + 1


@jit(borrows=True)
def close_event(m: Any, t: int) -> None:
    """Give the records of an event their times, sequence numbers and the final flags.

    As on CME, the trade and fill messages of a match come in one packet, what they do to the book in the next.
    """
    state, rows = m.state, m.rows
    recv = max(state[LAST_RECV], t + 90_000 + below(m.flow, 60_000))
    sequence = state[LAST_SEQUENCE] + 1
    delta = 13_000 + below(m.flow, 4_000)
    first = state[EVENT_ROW]
    after_match = False
    for i in range(first, state[N_ROWS]):
        action = rows[i, ACTION]
        if i > first and not after_match and action != TRADE and action != FILL and rows[first, ACTION] == TRADE:
            after_match = True
            sequence += 1
            recv += 6_000 + below(m.flow, 70_000)
            if below(m.flow, 50) == 0:
                recv += below(m.flow, 800_000)
        rows[i, TS_EVENT] = t
        rows[i, TS_RECV] = recv
        rows[i, SEQUENCE] = sequence
        rows[i, DELTA] = delta
    rows[state[N_ROWS] - 1, FLAGS] = F_LAST | F_PUBLISHER_SPECIFIC
    state[LAST_RECV] = recv
    state[LAST_SEQUENCE] = sequence
    state[N_EVENTS] += 1
    state[EVENT_ROW] = state[N_ROWS]


@jit(borrows=True)
def add_order(m: Any, r: Any, side: int, level: int) -> int:
    """Let a new order arrive; return its displayed size."""
    state = m.state
    size = m.sizes[pick(m.flow, m.add_chance)]
    hidden = 0
    if uniform(m.flow) < r.iceberg_share:
        hidden = size * (1 + below(m.flow, 6))
    state[LAST_ID] += 1
    append(m.orders, m.levels, state, state[LAST_ID], level, side, size, hidden)
    emit(m, ADD, side, level, size, state[LAST_ID])
    return size


@jit(borrows=True)
def cancel_order(m: Any, row: int, side: int, size: int) -> None:
    """Withdraw `size` of an order's displayed size, all of it included."""
    level = m.orders[row, LEVEL]
    emit(m, CANCEL, side, level, size, m.orders[row, ID])
    if size >= m.orders[row, SIZE]:
        remove(m.orders, m.levels, m.state, row)
    else:
        resize(m.orders, m.levels, row, m.orders[row, SIZE] - size)


@jit(borrows=True)
def move_order(m: Any, row: int, side: int, level: int, size: int) -> None:
    """Set an order's price and size; it goes to the end of the queue."""
    leave(m.orders, m.levels, row)
    m.orders[row, SIZE] = size
    m.orders[row, DISPLAY] = size
    join(m.orders, m.levels, row, level)
    emit(m, MODIFY, side, level, size, m.orders[row, ID])


@jit(borrows=True)
def match(m: Any, passive: int, level: int, wanted: int, order_id: int, own_row: int) -> int:
    """Trade with the queue of a level; return how many contracts traded.

    Parameters
    ----------
    m : Market
        Changed.
    passive, level : int
        Side and place of the queue.
    wanted : int
        Contracts that the aggressor wants; fewer trade if the queue has fewer.
    order_id : int
        The aggressor's.
    own_row : int
        Row of the aggressor if it was a resting order (it leaves the book in this event), else -1.
    """
    orders, levels = m.orders, m.levels
    aggressor = 1 - passive
    available = 0
    row = levels[level, HEAD]
    while row >= 0 and available < wanted:
        available += orders[row, SIZE] + orders[row, HIDDEN]
        row = orders[row, NEXT]
    size = min(available, wanted)
    emit(m, TRADE, aggressor, level, size, order_id)
    if own_row >= 0:
        emit(m, FILL, aggressor, level, size, order_id)
    left = size
    row = levels[level, HEAD]
    while left > 0:
        take = min(left, orders[row, SIZE] + orders[row, HIDDEN])
        emit(m, FILL, passive, level, take, orders[row, ID])
        left -= take
        row = orders[row, NEXT]
    if own_row >= 0:
        cancel_order(m, own_row, aggressor, orders[own_row, SIZE])
    left = size
    while left > 0:
        row = levels[level, HEAD]
        total = orders[row, SIZE] + orders[row, HIDDEN]
        take = min(left, total)
        left -= take
        if take == total:
            cancel_order(m, row, passive, orders[row, SIZE])
        elif take >= orders[row, SIZE]:  # the displayed slice is gone: the next one, at the end of the queue
            display = min(orders[row, DISPLAY], total - take)
            leave(orders, levels, row)
            orders[row, SIZE] = display
            orders[row, HIDDEN] = total - take - display
            join(orders, levels, row, level)
            emit(m, MODIFY, passive, level, display, orders[row, ID])
        elif below(m.flow, 5) == 0:
            cancel_order(m, row, passive, take)
        else:
            resize(orders, levels, row, orders[row, SIZE] - take)
            emit(m, MODIFY, passive, level, orders[row, SIZE], orders[row, ID])
    m.state[N_TRADES] += 1
    m.state[VOLUME] += size
    return size
