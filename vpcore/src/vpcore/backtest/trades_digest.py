"""Identity of a row by its trades: two rows with the same trades on one market are one trial, whatever made them."""

from __future__ import annotations

import hashlib

import numpy as np
import numpy.typing as npt

from vpcore.backtest.triple_barrier import Market, OutcomeTable

DIGITS = 16
"""Hex digits of a digest."""


def trades_digests(
    market: Market,
    table: OutcomeTable,
    bins: npt.NDArray[np.int64],
    sides: npt.NDArray[np.int8],
    offsets: npt.NDArray[np.int64],
    latency_bins: int,
) -> list[str]:
    """Return a digest of the trades of each row.

    A trade is its side, the ends of its entry and exit bins in ns since the epoch, and its net half-ticks before fees.
    Signals without a trade are left out; all rows of 0 trades have one digest.

    Parameters
    ----------
    market : Market
        The bins.
    table : OutcomeTable
        Outcomes of the rows.
    bins, sides : int64[n_signals], int8[n_signals]
        Decision bins and sides (+1 long, -1 short) of all rows, one row after the other.
    offsets : int64[n_rows + 1]
        Where each row begins in `bins`.
    latency_bins : int
        Bins from decision to entry.

    Returns
    -------
    list of str
        The first 16 hex digits of the sha256, one per row.
    """
    traded, entries, rows = table.entered(bins, sides, latency_bins)
    end_ns = market.bin_start_ns + market.cell_width_ns
    records = np.empty((len(entries), 4), dtype="<i8")
    records[:, 0] = end_ns[entries]
    records[:, 1] = sides[traded]
    records[:, 2] = end_ns[table.exit_bin[rows, entries]]
    records[:, 3] = table.net[rows, entries]
    counted = np.searchsorted(traded, offsets)
    data, size = records.tobytes(), records.itemsize * records.shape[1]
    return [
        hashlib.sha256(data[first * size : last * size]).hexdigest()[:DIGITS]
        for first, last in zip(counted[:-1].tolist(), counted[1:].tolist(), strict=True)
    ]
