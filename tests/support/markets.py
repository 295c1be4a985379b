"""Random market-by-order records for tests: every action, every flag, every oddity that the engine must survive.

Not a model of a market: prices hover within a few ticks so that levels are touched often and books cross.
"""

from __future__ import annotations

import numpy as np

from vpcore.kernels.records import (
    ADD,
    ASK,
    BID,
    CANCEL,
    CLEAR,
    F_BAD_TS_RECV,
    F_LAST,
    F_MAYBE_BAD_BOOK,
    F_SNAPSHOT,
    FILL,
    MBO_DTYPE,
    MODIFY,
    NO_SIDE,
    NONE,
    TRADE,
    UNDEF_PRICE,
)

TICK_INT = 250_000_000
START_NS = 1_700_000_000 * 10**9
INSTRUMENT = 77
OTHER = 78


class Tape:
    """Collects records."""

    def __init__(self, start_ns: int = START_NS) -> None:
        self.rows: list[tuple[int, ...]] = []
        self.clock = start_ns

    def add(
        self,
        action: int,
        order_id: int = 0,
        tick: int | None = None,
        size: int = 0,
        side: int = NO_SIDE,
        flags: int = 0,
        instrument: int = INSTRUMENT,
        ts: int | None = None,
    ) -> None:
        price = UNDEF_PRICE if tick is None else tick * TICK_INT
        now = self.clock if ts is None else ts
        self.rows.append(
            (14, 160, 1, instrument, max(now - 1000, 0), order_id, price, size, flags, 0, action, side, now, 0, 0)
        )

    def records(self) -> np.ndarray:
        return np.array(self.rows, MBO_DTYPE)


def random_tape(
    seed: int,
    n_events: int = 300,
    *,
    seconds: float = 3.0,
    centre: int = 19_000,
    oddities: bool = True,
    snapshot: bool = True,
) -> np.ndarray:
    """Return records of about `n_events` events spread over `seconds` from `START_NS` minus a second."""
    rng = np.random.default_rng(seed)
    tape = Tape(START_NS - 10**9)
    live: dict[int, tuple[int, int, int]] = {}
    next_id = 1000
    step = int((seconds + 1.0) * 1e9 / n_events)

    def new_order() -> tuple[int, int, int, int]:
        nonlocal next_id
        next_id += int(rng.integers(1, 4))
        side = BID if rng.random() < 0.5 else ASK
        away = int(rng.geometric(0.25))
        if rng.random() < 0.05:
            away = int(rng.integers(-3, 120))
        tick = centre - away if side == BID else centre + away
        return next_id, tick, int(rng.integers(1, 30)), side

    def write_snapshot() -> None:
        live.clear()
        if rng.random() < 0.5:
            tape.add(CLEAR, flags=F_SNAPSHOT | (F_BAD_TS_RECV if rng.random() < 0.5 else 0))
        orders = [new_order() for _ in range(40)]
        closing = rng.random() < 0.5
        for i, (order_id, tick, size, side) in enumerate(orders):
            live[order_id] = (tick, size, side)
            last = F_LAST if closing and i == len(orders) - 1 else 0
            tape.add(ADD, order_id, tick, size, side, F_SNAPSHOT | F_BAD_TS_RECV | last)

    if snapshot:
        write_snapshot()
    for _ in range(n_events):
        gap = int(rng.exponential(step))
        if rng.random() < 0.1:
            gap = 0
        tape.clock += gap
        if oddities and rng.random() < 0.01:
            write_snapshot()
            continue
        if rng.random() < 0.02:
            centre += int(rng.integers(-3, 4))
        records: list[tuple[int, int, int | None, int, int]] = []
        for _ in range(int(rng.geometric(0.6))):
            _one(rng, live, records, new_order, oddities)
        if rng.random() < 0.95:
            _uncross(live, records, centre)
        for i, (action, order_id, tick, size, side) in enumerate(records):
            if rng.random() < 0.1:
                tape.add(ADD, 5, centre, 3, BID, F_LAST, instrument=OTHER, ts=tape.clock + 50_000_000)
            flags = 2 | (F_LAST if i == len(records) - 1 and (not oddities or rng.random() < 0.97) else 0)
            ts = tape.clock
            if oddities:
                if rng.random() < 0.02:
                    flags |= F_BAD_TS_RECV
                    ts = 0
                elif rng.random() < 0.02:
                    ts -= int(rng.integers(0, 50_000_000))
                elif rng.random() < 0.002:
                    flags |= F_MAYBE_BAD_BOOK
            tape.add(action, order_id, tick, size, side, flags, ts=ts)
            tape.clock += int(rng.integers(0, 40_000)) if rng.random() < 0.3 else 0
    return tape.records()


def _uncross(live, records, centre) -> None:
    """Cancel, in the same event, whatever leaves the book crossed at its end."""
    while True:
        bids = [(tick, order_id) for order_id, (tick, size, side) in live.items() if side == BID and size]
        asks = [(tick, order_id) for order_id, (tick, size, side) in live.items() if side == ASK and size]
        if not bids or not asks or max(bids)[0] < min(asks)[0]:
            return
        best_bid, best_ask = max(bids), min(asks)
        tick, order_id = best_bid if best_bid[0] - centre >= centre - best_ask[0] else best_ask
        _, size, side = live.pop(order_id)
        records.append((CANCEL, order_id, tick, size, side))


def _one(rng, live, records, new_order, oddities) -> None:
    kind = rng.random()
    if kind < 0.4 or not live:
        order_id, tick, size, side = new_order()
        if oddities and live and rng.random() < 0.03:
            order_id = int(rng.choice(list(live)))
        if oddities and rng.random() < 0.02:
            records.append((ADD, order_id, None, size, side))
            return
        live[order_id] = (tick, size, side)
        records.append((ADD, order_id, tick, size, side))
    elif kind < 0.6:
        order_id = int(rng.choice(list(live)))
        tick, size, side = live[order_id]
        cut = int(rng.integers(1, size + 1)) if size > 0 else 0
        if oddities and rng.random() < 0.03:
            cut = size + 5
        if oddities and rng.random() < 0.03:
            records.append((CANCEL, 999_999_999, tick, cut, side))
            return
        records.append((CANCEL, order_id, tick, cut, side))
        if cut >= size:
            del live[order_id]
        else:
            live[order_id] = (tick, size - cut, side)
    elif kind < 0.8:
        order_id = int(rng.choice(list(live)))
        tick, size, side = live[order_id]
        if rng.random() < 0.5:
            tick += int(rng.integers(-2, 3))
        size = int(rng.integers(0 if oddities else 1, 30))
        if oddities and rng.random() < 0.03:
            side = ASK if side == BID else BID
        if oddities and rng.random() < 0.03:
            order_id = int(rng.integers(10**9, 10**9 + 5))
        records.append((MODIFY, order_id, tick, size, side))
        if size == 0 and order_id in live:
            del live[order_id]
        elif order_id in live or size > 0:
            live[order_id] = (tick, size, side)
    elif kind < 0.97:
        _trade(rng, live, records, oddities)
    else:
        records.append((NONE, 0, None, 0, NO_SIDE))


def _trade(rng, live, records, oddities) -> None:
    passive = [int(x) for x in rng.choice(list(live), size=min(len(live), int(rng.integers(1, 4))), replace=False)]
    aggressor = (
        int(rng.choice(list(live))) if oddities and rng.random() < 0.2 else (0 if rng.random() < 0.1 else 2**40 + 7)
    )
    fills, after = [], []
    total = 0
    for order_id in passive:
        tick, size, side = live[order_id]
        if order_id == aggressor or size == 0:
            continue
        filled = int(rng.integers(1, size + 1))
        hidden = int(rng.integers(1, 9)) if rng.random() < 0.1 else 0
        total += filled + hidden
        fills.append((FILL, order_id, tick, filled + hidden, side))
        if filled == size:
            after.append((CANCEL, order_id, tick, size, side))
            del live[order_id]
            if hidden and rng.random() < 0.5:
                after.append((ADD, order_id, tick, 4, side))
                live[order_id] = (tick, 4, side)
        else:
            action = (MODIFY, size - filled) if rng.random() < 0.5 else (CANCEL, filled)
            after.append((action[0], order_id, tick, action[1], side))
            live[order_id] = (tick, size - filled, side)
    if not total:
        return
    if oddities and rng.random() < 0.1:
        fills.append((FILL, 123_456_789, fills[0][2], 2, BID))
    side = NO_SIDE if rng.random() < 0.05 else (BID if rng.random() < 0.5 else ASK)
    records.append((TRADE, aggressor, fills[0][2], total, side))
    if aggressor in live:
        fills.append((FILL, aggressor, fills[0][2], total, side))
        tick, size, own = live[aggressor]
        left = max(size - total, 0)
        after.append((MODIFY, aggressor, tick + 1, left, own) if left else (CANCEL, aggressor, tick, size, own))
        if left:
            live[aggressor] = (tick + 1, left, own)
        else:
            del live[aggressor]
    records.extend(fills)
    if rng.random() < 0.1 and oddities:
        records.append((TRADE, 2**41 + 1, fills[0][2], 1, BID))
    records.extend(after)


def without_times(records: np.ndarray, n: int) -> np.ndarray:
    """Return the records with no usable time in the first `n` of them: marked bad, or 0 in a snapshot."""
    out = records.copy()
    out["ts_recv"][:n] = 0
    out["flags"][:n] |= F_BAD_TS_RECV
    return out


def flagged_alike(records: np.ndarray) -> np.ndarray:
    """Return records whose every live record has F_LAST; only ``sequence`` and ``ts_event`` tell the events apart."""
    result = records.copy()
    live = (records["flags"] & F_SNAPSHOT == 0) & (records["action"] != CLEAR)
    for instrument in np.unique(records["instrument_id"]):
        own = np.flatnonzero(records["instrument_id"] == instrument)
        ended = (records["flags"][own] & F_LAST != 0) | ~live[own]
        result["sequence"][own] = np.cumsum(ended) - ended
        result["ts_event"][own] = 10**9 + result["sequence"][own] // 2  # some events share a time
    result["flags"][live] |= F_LAST
    return result


def mirrored(records: np.ndarray, about_tick: int) -> np.ndarray:
    """Return the records with sides swapped and prices reflected about a tick."""
    out = records.copy()
    defined = records["price"] != UNDEF_PRICE
    out["price"][defined] = 2 * about_tick * TICK_INT - records["price"][defined]
    out["side"][records["side"] == BID] = ASK
    out["side"][records["side"] == ASK] = BID
    return out
