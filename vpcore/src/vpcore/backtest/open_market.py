"""Open bins: the book is valid, and the instrument's last event is recent.

In a halt the last book stands there, valid and frozen. An entry there never trades, and a null distribution with such
entries calls noise significant.
"""

from __future__ import annotations

from typing import Any

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
