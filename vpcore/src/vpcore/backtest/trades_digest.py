"""Identity of a row by its trades: two rows with the same trades on one market are one trial, whatever made them."""

from __future__ import annotations

import hashlib
from itertools import pairwise

import numpy as np
import numpy.typing as npt

DIGITS = 16
"""Hex digits of a digest."""


def trades_digests(trades: npt.NDArray[np.int64], bounds: npt.NDArray[np.int64]) -> list[str]:
    """Return a digest of the trades of each row; all rows of 0 trades have one digest.

    Parameters
    ----------
    trades : int64[n_trades, 4]
        End of the entry bin and side (+1 long, -1 short), end of the exit bin, net half-ticks before fees; ends in ns
        since the epoch. The trades of all rows, one row after the other.
    bounds : int64[n_rows + 1]
        Where each row begins in `trades`.

    Returns
    -------
    list of str
        The first 16 hex digits of the sha256, one per row.
    """
    data, width = trades.astype("<i8", copy=False).ravel().data, trades.shape[1]
    return [
        hashlib.sha256(data[first * width : last * width]).hexdigest()[:DIGITS]
        for first, last in pairwise(bounds.tolist())
    ]
