"""The data-quality block: applied records and their oddities."""

from __future__ import annotations

from typing import Any

from vpcore.kernels import bins as s, state as b
from vpcore.kernels.bins import Stream
from vpcore.kernels.state import Book

_STREAM = {
    "snapshot_records": s.K_SNAPSHOT,
    "snapshots": s.K_SNAPSHOTS,
    "events": s.K_EVENTS,
    "dropped_events": s.K_DROPPED,
    "clock_clamps": s.K_CLAMPS,
    "bad_ts_recv_records": s.K_BAD_TS,
    "bad_book_spans": s.K_BAD_BOOK,
    "invalid_bins": s.K_INVALID_BINS,
}

_BOOK = {
    "add_contracts": b.C_ADD,
    "pull_contracts": b.C_PULL,
    "fill_contracts": b.C_FILL,
    "aggressor_fill_contracts": b.C_AGGRESSOR,
    "hidden_contracts": b.C_HIDDEN,
    "unattributed_fill_contracts": b.C_UNATTRIBUTED,
    "unknown_cancels": b.C_UNKNOWN_CANCEL,
    "unknown_modifies": b.C_UNKNOWN_MODIFY,
    "duplicate_adds": b.C_DUPLICATE_ADD,
    "clipped_cancels": b.C_CLIPPED_CANCEL,
    "undefined_prices": b.C_UNDEF_PRICE,
    "records_without_side": b.C_BAD_SIDE,
    "trade_events": b.C_TRADE_EVENTS,
    "unbalanced_trade_events": b.C_UNBALANCED,
}

_ACTIONS = {
    "A": s.K_ADD,
    "C": s.K_CANCEL,
    "M": s.K_MODIFY,
    "R": s.K_CLEAR,
    "T": s.K_TRADE,
    "F": s.K_FILL,
    "N": s.K_NONE,
    "other": s.K_OTHER,
}


def quality_block(stream: Stream, book: Book, carried: dict[str, int]) -> dict[str, Any]:
    """Return the counters since the stream began, as plain integers.

    Parameters
    ----------
    stream, book : Stream, Book
        State of the engine.
    carried : dict of str to int
        Differences between carried books and the snapshots of later files.
    """
    actions = {name: int(stream.counts[i]) for name, i in _ACTIONS.items()}
    block: dict[str, Any] = {"records": sum(actions.values()), "records_by_action": actions}
    block |= {name: int(stream.counts[i]) for name, i in _STREAM.items()}
    block["events_left_open"] = int(stream.scalars[s.EVENT_RECORDS] > 0)
    block["crossed_events"] = int(book.ints[b.CROSSED])
    block["one_sided_events"] = int(book.ints[b.ONE_SIDED])
    block |= {name: int(book.ints[i]) for name, i in _BOOK.items()}
    unknown = block["unknown_cancels"] + block["unknown_modifies"]
    changes = actions["C"] + actions["M"]
    block["unknown_order_rate"] = unknown / changes if changes else 0.0
    started_cold = bool(stream.counts[s.K_STARTED_COLD])
    block["cold_start"] = started_cold and bool(stream.scalars[s.BUILD_COLD])
    block["began_without_book"] = started_cold
    return block | carried
