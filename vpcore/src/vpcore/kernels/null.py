"""Random entry that keeps everything of a signal but its timing: its trades, rotated on the ring of evaluable bins."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from vpcore.kernels.jit import jit
from vpcore.kernels.random import bits32

_Array = npt.NDArray[Any]

TILE = 512
"""Offsets that are worked on together: their sums and the bins they touch stay in the nearest cache."""


@jit
def ring(enterable: _Array, net: _Array, first: int, hold: int, place: _Array, ring_net: _Array) -> int:
    """Write the ring of evaluable bins and return its size.

    Parameters
    ----------
    enterable : bool[n_bins]
        True where a trade can be entered at the end of the bin; the same for both sides.
    net : int32[2, n_bins]
        Net PnL of a long and of a short entered at the end of each bin, half-ticks.
    first : int
        The first bin of entry, after warm-up and latency.
    hold : int
        A bin is evaluable if at least `hold` bins follow it, so that every outcome lies within the data.
    place : int64[n_bins], written
        Place of each bin on the ring, -1 outside the ring.
    ring_net : int32[2, n_bins], written
        `net` by place; entries beyond the ring stay unchanged.
    """
    n_bins = enterable.shape[0]
    count = 0
    for e in range(n_bins):
        place[e] = -1
        if e >= first and e + hold < n_bins and enterable[e]:
            place[e] = count
            ring_net[0, count] = net[0, e]
            ring_net[1, count] = net[1, e]
            count += 1
    return count


@jit
def on_ring(entries: _Array, sides: _Array, place: _Array, places: _Array, rows: _Array) -> int:
    """Write the places of trades on the ring and their rows of the table, and return their number.

    Parameters
    ----------
    entries : int64[n_trades]
        Entry bins. Entries outside the ring or past its last bin are left out.
    sides : int8[n_trades]
        +1 long, -1 short.
    place : int64[n_bins]
        From `ring`.
    places, rows : int64[n_trades], written
        Places on the ring; 0 for a long, 1 for a short.
    """
    count = 0
    for s in range(entries.shape[0]):
        e = entries[s]
        if e < place.shape[0] and place[e] >= 0:
            places[count] = place[e]
            rows[count] = 0 if sides[s] > 0 else 1
            count += 1
    return count


@jit
def draw_words(state: _Array, words: _Array) -> None:
    """Fill `words` (int64) with uniform whole numbers in [0, 2^32). `state` belongs to `vpcore.kernels.random`."""
    for b in range(words.shape[0]):
        words[b] = bits32(state)


@jit
def rotate(places: _Array, rows: _Array, ring_net: _Array, size: int, offsets: _Array, sums: _Array) -> None:
    """Write the total net PnL of a sequence of trades after each of many rotations.

    Parameters
    ----------
    places, rows : int64[n_trades]
        From `on_ring`.
    ring_net : int32[2, >= size]
        From `ring`.
    size : int
        Number of bins on the ring.
    offsets : int64[n_offsets]
        Ascending, in [0, size): neighbours then read neighbouring bins, which is fast.
    sums : int64[n_offsets], written
        In the unit of `ring_net`; exact.
    """
    n_offsets = offsets.shape[0]
    for low in range(0, n_offsets, TILE):
        high = min(low + TILE, n_offsets)
        for b in range(low, high):
            sums[b] = 0
        for t in range(places.shape[0]):
            place = places[t]
            table = ring_net[rows[t]]
            # The offsets from here on carry this trade past the end of the ring.
            wrap = low + np.searchsorted(offsets[low:high], size - place)
            for b in range(low, wrap):
                sums[b] += table[place + offsets[b]]
            for b in range(wrap, high):
                sums[b] += table[place + offsets[b] - size]
