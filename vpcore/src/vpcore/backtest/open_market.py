"""Open bins: the book is valid, and the instrument's last event is recent.

In a halt the last book stands there, valid and frozen. An entry there never trades, and a null distribution with such
entries calls noise significant.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from vpcore.units import NS_PER_MS, NS_PER_S

NS_PER_HOUR = 3600 * NS_PER_S


def quiet_bins(event_counts: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """Return the number of bins since the last bin with an event, int64[n_bins]; before the first, since the start."""
    index = np.arange(len(event_counts), dtype=np.int64)
    last: npt.NDArray[np.int64] = np.maximum.accumulate(np.where(np.asarray(event_counts) > 0, index, -1))
    return index - last if len(index) else index


def open_bins(
    valid: npt.NDArray[np.bool_], event_counts: npt.NDArray[Any], width_ns: int, stale_after_ms: int
) -> npt.NDArray[np.bool_]:
    """Return a mask of the open bins.

    Parameters
    ----------
    valid : bool[n_bins]
        `book_valid`.
    event_counts : integers[n_bins]
        Events in each bin.
    width_ns : int
        Width of a bin.
    stale_after_ms : int
        Greatest age of the last event. The age is counted in whole bins, from the end of the bin of the event.
    """
    return valid & (quiet_bins(event_counts) <= stale_bins(width_ns, stale_after_ms))


def stale_bins(width_ns: int, stale_after_ms: int) -> int:
    """Return the number of bins without an event after which a bin is closed."""
    return stale_after_ms * NS_PER_MS // width_ns


def hours(opened: npt.NDArray[np.bool_], first_bin: int, width_ns: int) -> float:
    """Return the duration of the open bins from `first_bin` on, in hours."""
    return int(np.count_nonzero(opened[first_bin:])) * width_ns / NS_PER_HOUR


class Exits(NamedTuple):
    """Where a trade leaves that touches no barrier, by its entry bin.

    Attributes
    ----------
    until : int32[n_bins]
        Last bin in which its barriers are tested.
    bin : int32[n_bins]
        Bin at whose price it leaves.
    known : int32[n_bins]
        Bin at whose end this is known, beyond the last bin where the data end before.
    """

    until: npt.NDArray[np.int32]
    bin: npt.NDArray[np.int32]
    known: npt.NDArray[np.int32]


def exits(
    opened: npt.NDArray[np.bool_],
    stale: npt.NDArray[np.bool_],
    halt: npt.NDArray[np.bool_],
    last_valid: npt.NDArray[np.int64],
    hold: int,
) -> Exits:
    """Return where trades leave: after the hold, before a daily halt, or after any other closure.

    A halt is known beforehand: a position leaves at the last valid bin before it. Any other closure is known only
    afterwards. To leave before it would look ahead, so a position leaves at the first open bin after it.

    Parameters
    ----------
    opened, stale, halt : bool[n_bins]
        Open bins; bins without a recent event; bins in a daily halt.
    last_valid : int64[n_bins]
        Last valid bin up to and including each one.
    hold : int
        Bins after the entry until a timeout.
    """
    from vpcore.kernels.barrier import NEVER  # compiled code: a ranking does without

    n = len(opened)
    end = np.minimum(np.arange(n, dtype=np.int64) + hold, NEVER)
    closes, halts = (next_of(mask) for mask in (stale & ~halt, halt))
    before_halt = (halts <= end) & (halts < closes) & (halts < n)
    after_closure = (closes <= end) & (closes < halts) & (closes < n)
    reopens = np.append(_first_from(opened), n)[closes]
    last = max(n - 1, 0)
    at = np.where(after_closure, np.minimum(reopens, last), np.minimum(np.where(before_halt, halts - 1, end), last))
    known = np.where(before_halt, halts - 1, end)
    known[after_closure] = np.where(reopens < n, reopens, NEVER)[after_closure]
    until = np.minimum(end, np.minimum(closes, halts) - 1)
    leaves = np.append(last_valid, -1)[at] if n else at
    return Exits(*(np.ascontiguousarray(array, dtype=np.int32) for array in (until, leaves, known)))


def _first_from(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    """Return the first bin of a mask from each bin on, this one included; the number of bins where none follows."""
    n = len(mask)
    places = np.where(mask, np.arange(n), n)
    found: npt.NDArray[np.int64] = np.minimum.accumulate(places[::-1])[::-1]
    return found


def next_of(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    """Return the first bin of a mask after each bin; the number of bins where none follows."""
    return np.append(_first_from(mask)[1:], len(mask)) if len(mask) else np.empty(0, np.int64)
