"""The natural market: a queue market whose price moves when a queue at the touch runs empty, and for no other reason.

Arrivals excite arrivals: a Hawkes process (Hawkes 1971) with a kernel of two exponentials, simulated by thinning (Ogata
1981). Orders are cancelled in proportion to the size of the queues that they stand in (Cont, Stoikov and Talreja 2010;
queue-reactive: Huang, Lehalle and Rosenbaum 2015). Calm and busy times alternate. Nothing is planted: that the smaller
queue is likely to run empty first is all that predicts the price, and it does.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from vpcore.kernels.jit import jit
from vpcore.kernels.random import below, uniform
from vpcore_market.kernels.draws import exponential, pick
from vpcore_market.kernels.market import (
    SPARE_ORDERS,
    count_flow,
    decay_sums,
    imbalance,
    make_touch,
    modify_order,
    ordinary_trade,
    rows_of_event,
)
from vpcore_market.kernels.matching import (
    ASK_SIDE,
    BEST_ASK,
    BEST_BID,
    BID_SIDE,
    BUSY,
    DONE,
    EXCITED_FAST,
    EXCITED_SLOW,
    MOOD,
    N_KINDS,
    N_ROWS,
    N_STEPS,
    NEXT_REGIME,
    OUT_OF_RANGE,
    STEP_PRODUCT,
    STEP_SQUARE,
    SUM_TIME,
    add_order,
    cancel_order,
    close_event,
)
from vpcore_market.kernels.queues import COUNT, LIVE, QUANTITY, SIZE, nth

BUY, SELL, ADD_BID, ADD_ASK, CANCEL_BID, CANCEL_ASK = range(N_KINDS)
"""Kinds of events. A modify is one of the last four, and leaves or joins a queue as they do."""

WIDEST = 12
"""Ticks. A touch that would leave a wider spread is renewed in the event that emptied it."""

_NS = 1e9


class Nature(NamedTuple):
    """Numbers that stay as they are. Rates are per second, times in seconds.

    base : float64[N_KINDS], rates of events that no other event has caused, at ordinary times.
    usual : float64[N_KINDS], share of each kind among all events.
    fast_s, slow_s : memories of the two exponentials.  fast_share : of the fast one in the number of followers.
    branching : mean number of events that an event causes, below 1.
    same_share : share of these that are of its own kind; the others are of any, as usual.
    calm, busy : factors of `base`.  calm_s, busy_s : mean lengths.
    gap_share : share of orders that go inside a spread wider than a tick.
    lean_share : how far the imbalance of the queues at the touch decides who trades, 0 to 1.
    rates : float64[N_KINDS], written.
    """

    base: Any
    usual: Any
    fast_s: float
    slow_s: float
    fast_share: float
    branching: float
    same_share: float
    calm: float
    busy: float
    calm_s: float
    busy_s: float
    gap_share: float
    lean_share: float
    rates: Any


@jit(borrows=True)
def crowding(m: Any, side: int) -> float:
    """Return how large the queues of a side are beside their usual size, weighted by where orders arrive: 1 as usual.

    The weights make every queue lose orders at the rate at which it gets them when it has its usual size.
    """
    levels, state = m.levels, m.state
    total = 0.0
    before = 0.0
    for away in range(m.distance.shape[0]):
        level = state[BEST_BID] - away if side == BID_SIDE else state[BEST_ASK] + away
        total += (m.distance[away] - before) * levels[level, QUANTITY] / m.target[away]
        before = m.distance[away]
    return total


@jit(borrows=True)
def crowded_level(m: Any, side: int) -> int:
    """Return a level with an order, drawn by its part in `crowding`; the touch if rounding leaves none."""
    levels, state = m.levels, m.state
    total = 0.0
    before = 0.0
    for away in range(m.distance.shape[0]):
        level = state[BEST_BID] - away if side == BID_SIDE else state[BEST_ASK] + away
        total += (m.distance[away] - before) * levels[level, QUANTITY] / m.target[away]
        before = m.distance[away]
    left = uniform(m.flow) * total
    before = 0.0
    for away in range(m.distance.shape[0]):
        level = state[BEST_BID] - away if side == BID_SIDE else state[BEST_ASK] + away
        left -= (m.distance[away] - before) * levels[level, QUANTITY] / m.target[away]
        before = m.distance[away]
        if left < 0.0 and levels[level, COUNT] > 0:
            return level
    return state[BEST_BID] if side == BID_SIDE else state[BEST_ASK]


@jit(borrows=True)
def intensities(m: Any, n: Any) -> float:
    """Write the rate of every kind of event now to `n.rates` and return their sum, which falls until the next event.

    What the book decides is who of a pair acts, and not how much happens: so that whatever the book, an event causes
    fewer than one other.
    """
    s, rates = m.sums, n.rates
    fast_all = 0.0
    slow_all = 0.0
    for kind in range(N_KINDS):
        fast_all += s[EXCITED_FAST + kind]
        slow_all += s[EXCITED_SLOW + kind]
    factor = n.busy if m.state[BUSY] == 1 else n.calm
    total = 0.0
    for kind in range(N_KINDS):
        fast = n.same_share * s[EXCITED_FAST + kind] + (1.0 - n.same_share) * n.usual[kind] * fast_all
        slow = n.same_share * s[EXCITED_SLOW + kind] + (1.0 - n.same_share) * n.usual[kind] * slow_all
        followers = n.fast_share * fast / n.fast_s + (1.0 - n.fast_share) * slow / n.slow_s
        rates[kind] = factor * n.base[kind] + n.branching * followers
        total += rates[kind]
    return total


@jit(borrows=True)
def share_out(m: Any, n: Any, lean: float, crowd_bid: float, crowd_ask: float) -> None:
    """Let the book decide who of each pair of kinds acts: buyers or sellers, orders that come or orders that go.

    `lean` is the imbalance of the queues at the touch: buyers come where the ask is the smaller one. Orders go in
    proportion to what is there.
    """
    rates = n.rates
    buy = rates[BUY] * (1.0 + n.lean_share * lean)
    sell = rates[SELL] * (1.0 - n.lean_share * lean)
    both = rates[BUY] + rates[SELL]
    rates[BUY] = both * buy / (buy + sell) if buy + sell > 0.0 else 0.0
    rates[SELL] = both - rates[BUY]
    for side in range(2):
        come = ADD_BID + side
        go = CANCEL_BID + side
        leaving = rates[go] * (crowd_bid if side == BID_SIDE else crowd_ask)
        both = rates[come] + rates[go]
        rates[go] = both * leaving / (rates[come] + leaving) if leaving > 0.0 else 0.0
        rates[come] = both - rates[go]


@jit(borrows=True)
def let_pass(m: Any, r: Any, n: Any, t: int) -> None:
    """Bring everything that fades to time `t`."""
    seconds = (t - m.state[SUM_TIME]) / _NS
    fast = math.exp(-seconds / n.fast_s)
    slow = math.exp(-seconds / n.slow_s)
    for kind in range(N_KINDS):
        m.sums[EXCITED_FAST + kind] *= fast
        m.sums[EXCITED_SLOW + kind] *= slow
    decay_sums(m, r, t)


@jit(borrows=True)
def settle(m: Any, r: Any, side: int) -> None:
    """Find the best price of a side whose touch may be empty, or have a maker renew it."""
    state, levels = m.state, m.levels
    best = state[BEST_BID] if side == BID_SIDE else state[BEST_ASK]
    step = -1 if side == BID_SIDE else 1
    other = state[BEST_ASK] if side == BID_SIDE else state[BEST_BID]
    level = best
    while levels[level, COUNT] == 0:
        level += step
        if abs(level - other) > WIDEST:
            count_flow(m, r, side, best, add_order(m, r, side, best), 0)
            return
    state[BEST_BID if side == BID_SIDE else BEST_ASK] = level


@jit(borrows=True)
def arrive(m: Any, r: Any, n: Any, side: int) -> None:
    """Let an order come: inside a wide spread, to the touch or behind it, or as a modify of one that is there."""
    state = m.state
    best = state[BEST_BID] if side == BID_SIDE else state[BEST_ASK]
    if state[BEST_ASK] - state[BEST_BID] > 1 and uniform(m.flow) < n.gap_share:
        inside = best + 1 if side == BID_SIDE else best - 1
        state[BEST_BID if side == BID_SIDE else BEST_ASK] = inside
        make_touch(m, r, side, inside, best)
        return
    away = pick(m.flow, m.distance)
    level = best - away if side == BID_SIDE else best + away
    if m.levels[level, COUNT] > 1 and uniform(m.flow) < r.modify_share:
        modify_order(m, r, side, level)
    else:
        count_flow(m, r, side, level, add_order(m, r, side, level), 0)


@jit(borrows=True)
def withdraw(m: Any, r: Any, side: int) -> None:
    """Let the owner of an order take all or a part of it away, or change it."""
    level = crowded_level(m, side)
    count = m.levels[level, COUNT]
    if count > 1 and uniform(m.flow) < r.modify_share:
        modify_order(m, r, side, level)
        return
    row = nth(m.orders, m.levels, level, below(m.flow, count))
    size = m.orders[row, SIZE]
    if size > 1 and below(m.flow, 8) == 0:
        size = 1 + below(m.flow, size - 1)
    count_flow(m, r, side, level, size, 1)
    cancel_order(m, row, side, size)


@jit(borrows=True)
def happen(m: Any, r: Any, n: Any, kind: int) -> None:
    """One event of a kind, and what the touch becomes by it."""
    state = m.state
    bid, ask = state[BEST_BID], state[BEST_ASK]
    tilt = imbalance(m, r)
    if kind in (BUY, SELL):
        ordinary_trade(m, r, 1 if kind == BUY else 0)
    elif kind in (ADD_BID, ADD_ASK):
        arrive(m, r, n, BID_SIDE if kind == ADD_BID else ASK_SIDE)
    else:
        withdraw(m, r, BID_SIDE if kind == CANCEL_BID else ASK_SIDE)
    settle(m, r, BID_SIDE)
    settle(m, r, ASK_SIDE)
    moved = state[BEST_BID] + state[BEST_ASK] - bid - ask
    if moved != 0:
        state[N_STEPS] += 1
        m.sums[STEP_PRODUCT] += tilt if moved > 0 else -tilt
        m.sums[STEP_SQUARE] += tilt * tilt


@jit(borrows=True)
def begin(m: Any, n: Any, start_ns: int) -> None:
    """Go from the snapshot, which `vpcore_market.kernels.market.open_book` has made, to a calm time."""
    m.sums[MOOD] = 0.0
    m.state[BUSY] = 0
    m.state[NEXT_REGIME] = start_ns + 1 + int(exponential(m.walk) * n.calm_s * _NS)


@jit(borrows=True)
def simulate(m: Any, r: Any, n: Any) -> None:
    """Go on until `rows` or `orders` is nearly full, or the market ends. See `market.simulate`."""
    state, levels = m.state, m.levels
    reach = m.distance.shape[0] + 2 * WIDEST
    while True:
        if state[BEST_BID] - reach < 0 or state[BEST_ASK] + reach >= levels.shape[0]:
            state[OUT_OF_RANGE] = 1
            return
        if state[LIVE] + SPARE_ORDERS > m.orders.shape[0]:
            return
        queue = max(levels[state[BEST_BID], COUNT], levels[state[BEST_ASK], COUNT])
        if state[N_ROWS] + rows_of_event(queue) > m.rows.shape[0]:
            return
        crowd_bid = crowding(m, BID_SIDE)
        crowd_ask = crowding(m, ASK_SIDE)
        bid, ask = levels[state[BEST_BID], QUANTITY], levels[state[BEST_ASK], QUANTITY]
        lean = (bid - ask) / (bid + ask)
        happened = False
        while not happened:
            bound = intensities(m, n)
            t = state[SUM_TIME] + 1 + int(exponential(m.flow) / bound * _NS)
            if t >= state[NEXT_REGIME]:  # nothing until then; what comes later is drawn anew at the other rates
                if state[NEXT_REGIME] >= r.end_ns:
                    state[DONE] = 1
                    return
                let_pass(m, r, n, state[NEXT_REGIME])
                state[BUSY] = 1 - state[BUSY]
                mean = n.busy_s if state[BUSY] == 1 else n.calm_s
                state[NEXT_REGIME] += 1 + int(exponential(m.walk) * mean * _NS)
                continue
            if t >= r.end_ns:
                state[DONE] = 1
                return
            let_pass(m, r, n, t)
            left = uniform(m.flow) * bound
            if left >= intensities(m, n):
                continue
            share_out(m, n, lean, crowd_bid, crowd_ask)
            for kind in range(N_KINDS):
                left -= n.rates[kind]
                if left < 0.0 or kind == N_KINDS - 1:
                    happen(m, r, n, kind)
                    close_event(m, t)
                    m.sums[EXCITED_FAST + kind] += 1.0
                    m.sums[EXCITED_SLOW + kind] += 1.0
                    happened = True
                    break
