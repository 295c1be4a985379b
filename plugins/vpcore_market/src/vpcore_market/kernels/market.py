"""The simulated market: order flow around an exogenous price walk, event by event.

Two streams of random numbers never meet. The *walk* decides when the touch moves and in which direction; the *flow*
decides everything else. Nothing of the flow reaches the walk but through `alpha`, so that at ``alpha = 0`` the mid is a
martingale whatever one knows of the book.

The bursty market is the same market on another clock: a third stream decides when its events come.
"""

from __future__ import annotations

import math
from typing import Any

from vpcore.kernels.jit import jit
from vpcore.kernels.random import below, uniform
from vpcore.kernels.records import CLEAR, F_BAD_TS_RECV, F_LAST, F_SNAPSHOT, MODIFY, NO_SIDE
from vpcore_market.kernels.draws import exponential, normal, pick
from vpcore_market.kernels.matching import (
    ACTION,
    ACTIVITY,
    ASK_SIDE,
    BEST_ASK,
    BEST_BID,
    BID_SIDE,
    DONE,
    EVENT_ROW,
    FLAGS,
    LAST_ID,
    LAST_RECV,
    LAST_SEQUENCE,
    MOOD,
    N_ROWS,
    N_STEPS,
    NEXT_EVENT,
    NEXT_FLOW,
    NEXT_MOOD,
    NEXT_WALK,
    OUT_OF_RANGE,
    PRESSURE_ASK,
    PRESSURE_BID,
    ROW_LEVEL,
    SEQUENCE,
    SIDE_CODE,
    STEP_PRODUCT,
    STEP_SQUARE,
    SUM_TIME,
    TS_EVENT,
    TS_RECV,
    VACUUM_ASK,
    VACUUM_BID,
    add_order,
    cancel_order,
    close_event,
    emit,
    match,
    move_order,
)
from vpcore_market.kernels.queues import COUNT, HEAD, HIDDEN, ID, LIVE, QUANTITY, SIZE, TAIL, nth, resize

_FULL_PRECISION = 1e9  # nanoseconds per second
_LN2 = math.log(2.0)
SPARE_ORDERS = 64
"""Free rows of `orders` that `simulate` needs to go on; no event takes as many."""
_EVENT_ROWS = 64  # beyond two per order of the touch


@jit(borrows=True)
def count_flow(m: Any, r: Any, side: int, level: int, size: int, drains: int) -> None:
    """Add ordinary flow near the touch to the pressure (`drains` 0) or the vacuum (1) of its side."""
    away = m.state[BEST_BID] - level if side == BID_SIDE else level - m.state[BEST_ASK]
    if 0 <= away < r.near:
        m.sums[PRESSURE_BID + 2 * side + drains] += size


@jit(borrows=True)
def decay_sums(m: Any, r: Any, t: int) -> None:
    """Bring pressure and vacuum to time `t`."""
    factor = math.exp(-(t - m.state[SUM_TIME]) / (_FULL_PRECISION * r.memory_s))
    for i in range(PRESSURE_BID, VACUUM_ASK + 1):
        m.sums[i] *= factor
    m.state[SUM_TIME] = t


@jit(borrows=True)
def imbalance(m: Any, r: Any) -> float:
    """Return the imbalance of pressure and vacuum near the touch, in [-1, 1]; positive: the bid builds, the ask drains.

    Of the exponentially decayed contracts that ordinary flow added (`P`) and withdrew or filled (`V`) near the touch:
    ``gain * ((P_bid - V_bid) - (P_ask - V_ask)) / (P_bid + V_bid + P_ask + V_ask + 1)``, clipped. Most of what comes
    goes again within the memory, so that without a gain the ratio would stay near 0.
    """
    s = m.sums
    gross = s[PRESSURE_BID] + s[VACUUM_BID] + s[PRESSURE_ASK] + s[VACUUM_ASK] + 1.0
    net = (s[PRESSURE_BID] - s[VACUUM_BID]) - (s[PRESSURE_ASK] - s[VACUUM_ASK])
    return min(max(r.gain * net / gross, -1.0), 1.0)


@jit(borrows=True)
def ordinary_trade(m: Any, r: Any, buys: int) -> None:
    """Let a buyer's (1) or a seller's (0) order arrive that trades at the touch and never goes through to the next."""
    state = m.state
    passive = ASK_SIDE if buys == 1 else BID_SIDE
    level = state[BEST_ASK] if buys == 1 else state[BEST_BID]
    wanted = m.sizes[pick(m.flow, m.trade_chance)]
    own_row = -1
    if uniform(m.flow) < r.own_share:
        own = state[BEST_BID] if buys == 1 else state[BEST_ASK]
        row = m.levels[own, TAIL]
        fits = m.orders[row, HIDDEN] == 0 and m.orders[row, SIZE] <= m.levels[level, QUANTITY]
        if fits and m.levels[own, COUNT] > 1:
            own_row = row
            wanted = m.orders[row, SIZE]
            count_flow(m, r, 1 - passive, own, wanted, 1)
    if own_row >= 0:
        order_id = m.orders[own_row, ID]
    else:
        state[LAST_ID] += 1
        order_id = state[LAST_ID]
    size = match(m, passive, level, wanted, order_id, own_row)
    count_flow(m, r, passive, level, size, 1)


@jit(borrows=True)
def modify_order(m: Any, r: Any, side: int, level: int) -> None:
    """Let the owner of one of a level's orders change its size or its price; the level has more than one."""
    orders = m.orders
    row = nth(orders, m.levels, level, below(m.flow, m.levels[level, COUNT]))
    size = orders[row, SIZE]
    u = uniform(m.flow)
    if u < 0.3 and size > 1:  # smaller: keeps its place
        smaller = 1 + below(m.flow, size - 1)
        resize(orders, m.levels, row, smaller)
        emit(m, MODIFY, side, level, smaller, orders[row, ID])
        count_flow(m, r, side, level, size - smaller, 1)
        return
    target = level
    if u > 0.5:
        away = pick(m.flow, m.distance)
        target = m.state[BEST_BID] - away if side == BID_SIDE else m.state[BEST_ASK] + away
    if target == level:  # larger: loses it
        larger = size + 1 + below(m.flow, 3)
        move_order(m, row, side, level, larger)
        count_flow(m, r, side, level, larger - size, 0)
    else:
        move_order(m, row, side, target, size)
        count_flow(m, r, side, level, size, 1)
        count_flow(m, r, side, target, size, 0)


@jit(borrows=True)
def ordinary_event(m: Any, r: Any) -> None:
    """One event of the ordinary flow, which leaves the touch where it is."""
    state, levels = m.state, m.levels
    if uniform(m.flow) < r.trade_share:
        ordinary_trade(m, r, 1 if uniform(m.flow) < 0.5 * (1.0 + 0.4 * m.sums[MOOD]) else 0)
    else:
        side = below(m.flow, 2)
        away = pick(m.flow, m.distance)
        level = state[BEST_BID] - away if side == BID_SIDE else state[BEST_ASK] + away
        count = levels[level, COUNT]
        chance = 0.5 + r.restoring * (1.0 - levels[level, QUANTITY] / m.target[away])
        if away < r.near:
            chance += r.mood_gain * m.sums[MOOD] * (1.0 if side == BID_SIDE else -1.0)
        if count > 1 and uniform(m.flow) < r.modify_share:
            modify_order(m, r, side, level)
        elif count < 2 or uniform(m.flow) < min(max(chance, 0.03), 0.97):  # owners never take a level's last order away
            count_flow(m, r, side, level, add_order(m, r, side, level), 0)
        else:
            row = nth(m.orders, levels, level, below(m.flow, count))
            size = m.orders[row, SIZE]
            if size > 1 and below(m.flow, 8) == 0:
                size = 1 + below(m.flow, size - 1)
            count_flow(m, r, side, level, size, 1)
            cancel_order(m, row, side, size)
    for side in range(2):  # no ordinary event leaves a touch empty
        level = state[BEST_BID] if side == BID_SIDE else state[BEST_ASK]
        if levels[level, COUNT] == 0:
            for _ in range(1 + below(m.flow, 2)):
                count_flow(m, r, side, level, add_order(m, r, side, level), 0)


@jit(borrows=True)
def clear_touch(m: Any, side: int, level: int, behind: int) -> None:
    """Take every order off a touch that the walk has passed: by one large trade, or by their owners."""
    if uniform(m.flow) < 0.6:
        m.state[LAST_ID] += 1
        match(m, side, level, 1 << 40, m.state[LAST_ID], -1)
        return
    while m.levels[level, COUNT] > 0:
        row = m.levels[level, HEAD]
        if below(m.flow, 2) == 0:
            move_order(m, row, side, behind, m.orders[row, SIZE])
        else:
            cancel_order(m, row, side, m.orders[row, SIZE])


@jit(borrows=True)
def make_touch(m: Any, r: Any, side: int, level: int, behind: int) -> None:
    """Let makers come to a new touch: with new orders, or with some from the level behind it."""
    for _ in range(2 + below(m.flow, 3)):
        if m.levels[behind, COUNT] > 1 and below(m.flow, 2) == 0:
            row = m.levels[behind, TAIL]
            move_order(m, row, side, level, m.orders[row, SIZE])
        else:
            add_order(m, r, side, level)


@jit(borrows=True)
def walk_step(m: Any, r: Any) -> None:
    """Move the touch by one step of the walk, in one event."""
    state = m.state
    tilt = imbalance(m, r)
    narrow = state[BEST_ASK] - state[BEST_BID] == 1
    up = uniform(m.walk) < 0.5 * (1.0 + r.alpha * tilt)
    full = uniform(m.walk) < r.full_share
    direction = 1 if up else -1
    # The side that gives way is the one towards which the price goes.
    yielding = ASK_SIDE if up else BID_SIDE
    if narrow:
        level = state[BEST_ASK] if up else state[BEST_BID]
        clear_touch(m, yielding, level, level + direction)
        state[BEST_ASK if up else BEST_BID] += direction
        if m.levels[level + direction, COUNT] == 0:
            add_order(m, r, yielding, level + direction)
    if full or not narrow:
        state[BEST_BID if up else BEST_ASK] += direction
        level = state[BEST_BID] if up else state[BEST_ASK]
        make_touch(m, r, 1 - yielding, level, level - direction)
    state[N_STEPS] += 1
    m.sums[STEP_PRODUCT] += direction * tilt
    m.sums[STEP_SQUARE] += tilt * tilt


@jit(borrows=True)
def after(stream: Any, t: int, rate: float) -> int:
    """Return the time of the next event of a Poisson process."""
    return t + 1 + int(exponential(stream) / rate * _FULL_PRECISION)


@jit(borrows=True)
def open_book(m: Any, r: Any, start_ns: int, depth_levels: int) -> None:
    """Write the snapshot with which a file begins, and fill the queues with it; the caller has sized both for it."""
    state, rows = m.state, m.rows
    rows[0, ACTION] = CLEAR
    rows[0, SIDE_CODE] = NO_SIDE
    rows[0, ROW_LEVEL] = -1
    state[N_ROWS] = 1
    last = m.target.shape[0] - 1
    for away in range(depth_levels):
        for side in range(2):
            level = state[BEST_BID] - away if side == BID_SIDE else state[BEST_ASK] + away
            wanted = m.target[min(away, last)] * (0.6 + 0.8 * uniform(m.flow))
            add_order(m, r, side, level)
            while m.levels[level, QUANTITY] < wanted:
                add_order(m, r, side, level)
    n = state[N_ROWS]
    gap = 3_600_000_000_000 // n
    for i in range(n):
        rows[i, FLAGS] = F_SNAPSHOT | F_BAD_TS_RECV
        rows[i, TS_EVENT] = start_ns - gap * (n - i)
        rows[i, TS_RECV] = start_ns
        rows[i, SEQUENCE] = 0 if i == 0 else state[LAST_SEQUENCE] + i
    rows[n - 1, FLAGS] |= F_LAST
    state[LAST_SEQUENCE] += n
    state[LAST_RECV] = start_ns
    state[EVENT_ROW] = n
    state[SUM_TIME] = start_ns
    m.sums[MOOD] = 2.0 * uniform(m.flow) - 1.0
    if r.bursts.wait > 0.0:
        m.sums[ACTIVITY] = r.bursts.swing * normal(m.clock)
        state[NEXT_EVENT] = start_ns
        wait(m, r.bursts)
    state[NEXT_FLOW] = after(m.flow, start_ns, r.flow)
    state[NEXT_MOOD] = after(m.flow, start_ns, 1.0 / r.mood_s)
    state[NEXT_WALK] = after(m.walk, start_ns, r.step_narrow)


@jit(borrows=True)
def wait(m: Any, b: Any) -> None:
    """Decide when the next event of the bursty market comes: at once, in the same burst, or after a pause.

    What happens and when it happens are independent: the market lives in a time of its own, and this is its clock. Only
    the pauses depend on the activity, the exponential of an Ornstein-Uhlenbeck process.
    """
    if uniform(m.clock) < b.share:
        seconds = exponential(m.clock) * b.gap
    else:
        seconds = exponential(m.clock) * b.wait * math.exp(-m.sums[ACTIVITY])
        kept = math.exp(-seconds / b.half_life * _LN2)
        m.sums[ACTIVITY] = kept * m.sums[ACTIVITY] + b.swing * math.sqrt(1.0 - kept * kept) * normal(m.clock)
    m.state[NEXT_EVENT] += 1 + int(seconds * _FULL_PRECISION)


@jit(borrows=True)
def rows_of_event(queue: int) -> int:
    """Return more records than an event can have that meets `queue` orders at a touch."""
    return 2 * queue + _EVENT_ROWS


@jit(borrows=True)
def simulate(m: Any, r: Any) -> None:
    """Go on until `rows` or `orders` is nearly full, or the market ends.

    The end is `DONE`, or `OUT_OF_RANGE` if the price has left the levels.
    """
    state, levels = m.state, m.levels
    reach = m.distance.shape[0] + 2
    while True:
        t = min(state[NEXT_FLOW], state[NEXT_WALK], state[NEXT_MOOD])
        bursty = r.bursts.wait > 0.0
        at = state[NEXT_EVENT] if bursty else t
        if at >= r.end_ns:
            state[DONE] = 1
            return
        if state[BEST_BID] - reach < 0 or state[BEST_ASK] + reach >= levels.shape[0]:
            state[OUT_OF_RANGE] = 1
            return
        if state[LIVE] + SPARE_ORDERS > m.orders.shape[0]:
            return
        queue = max(levels[state[BEST_BID], COUNT], levels[state[BEST_ASK], COUNT])
        if state[N_ROWS] + rows_of_event(queue) > m.rows.shape[0]:
            return
        decay_sums(m, r, t)
        if t == state[NEXT_MOOD]:
            size = 0.4 + 0.6 * uniform(m.flow)
            m.sums[MOOD] = size if below(m.flow, 2) == 0 else -size
            state[NEXT_MOOD] = after(m.flow, t, 1.0 / r.mood_s)
        elif t == state[NEXT_WALK]:
            walk_step(m, r)
            wide = state[BEST_ASK] - state[BEST_BID] > 1
            state[NEXT_WALK] = after(m.walk, t, r.step_wide if wide else r.step_narrow)
            close_event(m, at)
            if bursty:
                wait(m, r.bursts)
        else:
            ordinary_event(m, r)
            state[NEXT_FLOW] = after(m.flow, t, r.flow)
            close_event(m, at)
            if bursty:
                wait(m, r.bursts)
