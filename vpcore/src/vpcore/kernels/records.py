"""Market-by-order records as arrays: the dtype of a record and the bits of its flags.

Source: Databento Binary Encoding, `MboMsg` (the same 56 bytes in DBN versions 1 to 3).
"""

from __future__ import annotations

import numpy as np

MBO_RTYPE = 160

MBO_DTYPE = np.dtype(
    [
        ("length", "u1"),
        ("rtype", "u1"),
        ("publisher_id", "<u2"),
        ("instrument_id", "<u4"),
        ("ts_event", "<u8"),
        ("order_id", "<u8"),
        ("price", "<i8"),
        ("size", "<u4"),
        ("flags", "u1"),
        ("channel_id", "u1"),
        ("action", "u1"),
        ("side", "u1"),
        ("ts_recv", "<u8"),
        ("ts_in_delta", "<i4"),
        ("sequence", "<u4"),
    ]
)
"""One record, 56 bytes. `action` and `side` are ASCII codes, `price` is fixed point 1e-9."""

UNDEF_PRICE = 2**63 - 1
UNDEF_TIMESTAMP = 2**64 - 1

F_LAST = 128
F_TOB = 64
F_SNAPSHOT = 32
F_MBP = 16
F_BAD_TS_RECV = 8
F_MAYBE_BAD_BOOK = 4
F_PUBLISHER_SPECIFIC = 2

ADD = ord("A")
CANCEL = ord("C")
MODIFY = ord("M")
CLEAR = ord("R")
TRADE = ord("T")
FILL = ord("F")
NONE = ord("N")

ASK = ord("A")
BID = ord("B")
NO_SIDE = ord("N")
