"""Identity of a row by its trades: two rows with the same trades on one market are one trial, whatever made them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

DIGITS = 16
"""Hex digits of a digest."""


def trades_digests(trades: Sequence[npt.NDArray[Any]], bounds: npt.NDArray[np.int64]) -> list[str]:
    """Return a digest of the trades of each row; all rows of 0 trades have one digest.

    Parameters
    ----------
    trades : 4 integer arrays [n_trades]
        End of the entry bin and side (+1 long, -1 short), end of the exit bin, net half-ticks before fees; ends in ns
        since the epoch. The trades of all rows, one row after the other.
    bounds : int64[n_rows + 1]
        Where each row begins in `trades`.

    Returns
    -------
    list of str
        The first 16 hex digits of the sha256, one per row.
    """
    table = np.empty((len(trades[0]), len(trades)), dtype="<i8")
    for i, column in enumerate(trades):
        table[:, i] = column
    data, size = table.tobytes(), 8 * len(trades)
    return [
        hashlib.sha256(data[first * size : last * size]).hexdigest()[:DIGITS]
        for first, last in pairwise(bounds.tolist())
    ]
