"""An evening written by hand, with the traps of a real one, so that they are tested where the shared samples are not.

A snapshot without a clear and without an end; a pre-open whose book is crossed for minutes; an opening cross with
order id 0, no side, and fills of orders that the book never held; then continuous trading with an iceberg, an
aggressor's own fill, and an event over the edge of a bin. Final flags are 130, as CME sends them.
"""

from __future__ import annotations

import numpy as np
from markets import START_NS, Tape

from vpcore.kernels.records import (
    ADD,
    ASK,
    BID,
    CANCEL,
    F_BAD_TS_RECV,
    F_LAST,
    F_SNAPSHOT,
    FILL,
    MODIFY,
    NO_SIDE,
    TRADE,
)

MS = 10**6
BIN = 100 * MS
LAST = F_LAST | 2
MID = 19_200
OPEN_NS = START_NS + 106 * MS
END_NS = START_NS + 3 * 10**9


def evening() -> np.ndarray:
    tape = Tape(START_NS - 20 * 3600 * 10**9)
    for i in range(40):  # ten levels a side, two orders each
        side = BID if i % 2 else ASK
        tick = MID - i // 4 if side == BID else MID + 1 + i // 4
        tape.add(ADD, 1000 + i, tick, 2 + i % 3, side, F_SNAPSHOT | F_BAD_TS_RECV)
    _pre_open(tape)
    _opening_cross(tape)
    _continuous(tape)
    return tape.records()


def _pre_open(tape: Tape) -> None:
    """Six bids far above the best ask rest for minutes, crossed at the end of every event."""
    tape.clock = START_NS - 600 * 10**9
    for i in range(6):
        tape.clock += 30 * 10**9
        tape.add(ADD, 2000 + i, MID + 5 + i, 4, BID, LAST)


def _opening_cross(tape: Tape) -> None:
    tape.clock = OPEN_NS
    tape.add(TRADE, 0, MID + 3, 24, NO_SIDE)
    for i in range(6):
        tape.add(FILL, 2000 + i, MID + 5 + i, 4, BID)
    tape.add(FILL, 999_001, MID + 3, 14, ASK)  # orders that the book never held
    for i in range(6):
        tape.add(CANCEL, 2000 + i, MID + 5 + i, 4, BID, LAST if i == 5 else 0)


def _continuous(tape: Tape) -> None:
    tape.clock = START_NS + 250 * MS
    tape.add(ADD, 3000, MID, 5, BID, LAST)
    tape.clock = START_NS + 2 * BIN + 399 * MS  # an iceberg of 5 shown: 9 are filled, 4 come back
    tape.add(TRADE, 999_002, MID, 9, ASK)
    tape.add(FILL, 3000, MID, 9, BID)
    tape.add(CANCEL, 3000, MID, 5, BID)
    tape.add(ADD, 3000, MID, 4, BID, LAST)
    tape.clock = START_NS + 8 * BIN + 10 * MS  # an order that rests becomes an aggressor; its own fill is no flow
    tape.add(ADD, 3001, MID - 1, 6, BID, LAST)
    tape.clock += 20 * MS
    tape.add(TRADE, 3001, MID + 1, 2, BID)
    tape.add(FILL, 1000, MID + 1, 2, ASK)
    tape.add(FILL, 3001, MID + 1, 2, BID)
    tape.add(CANCEL, 1000, MID + 1, 2, ASK)
    tape.add(MODIFY, 3001, MID - 1, 4, BID, LAST)
    tape.clock = START_NS + 12 * BIN - MS  # the bid goes before the edge, the event ends after it
    tape.add(CANCEL, 3000, MID, 4, BID)
    tape.clock += 2 * MS
    tape.add(CANCEL, 1001, MID, 3, BID, LAST)
    for i in range(12):  # a quiet walk to the end
        tape.clock += BIN + 7 * MS
        tape.add(ADD, 4000 + i, MID - 2 + i % 3 - (i % 3 > 1), 1 + i, BID, LAST)
        tape.add(CANCEL, 4000 + i, MID - 2 + i % 3 - (i % 3 > 1), 1, BID, LAST)
    tape.clock = END_NS
    tape.add(ADD, 5000, MID - 4, 1, BID, LAST)
