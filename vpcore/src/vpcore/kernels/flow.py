"""Flow features: windowed means of composite per absolute price level, and their derivatives.

Composites are held as integers, multiples of 2^-44, so that a running sum is exact, costs one addition and one
subtraction per window, and is the same whenever the stream began.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from vpcore.kernels.jit import jit

COMPOSITE_ONE = 2.0**44
MAX_WINDOW_BINS = 512
"""Sums of up to 512 composites stay below 2^53 and convert to float64 exactly."""


class Flow(NamedTuple):
    """State of the composite history, one slot per level of the band (slot = level modulo `n_slots`)."""

    tick: Any  # int64[n_slots] the level that a slot holds
    seq: Any  # int64[n_slots] bin in which it was last tracked
    history: Any  # int64[max window, n_slots] composites of the last bins, row = bin modulo max window
    sums: Any  # int64[n_windows, n_slots] running sums
    rolled: Any  # float64[4, n_slots] rolled composite and its three derivatives
    windows: Any  # int64[n_windows]


def make_flow(n_slots: int, windows: tuple[int, ...]) -> Flow:
    """Return an empty history for a band of `n_slots` levels."""
    return Flow(
        tick=np.zeros(n_slots, np.int64),
        seq=np.full(n_slots, -2, np.int64),
        history=np.zeros((max(windows), n_slots), np.int64),
        sums=np.zeros((len(windows), n_slots), np.int64),
        rolled=np.zeros((4, n_slots), np.float64),
        windows=np.array(windows, np.int64),
    )


@jit(borrows=True)
def track(flow, low, n_levels, composite, seq, per_second):
    """Take one bin's composites into the history of a band of levels.

    Parameters
    ----------
    flow : Flow
        Changed in place.
    low, n_levels : int
        First level of the band in ticks, and how many there are.
    composite : float64[n_levels]
        Composite of each level, in [-1, 1].
    seq : int
        Number of the bin. A level that was not tracked in ``seq - 1`` starts anew: its history is filled with this
        composite and its derivatives are 0.
    per_second : float
        Bins per second.
    """
    n_slots = flow.tick.shape[0]
    length = flow.history.shape[0]
    n_windows = flow.windows.shape[0]
    row = seq % length
    slot = low % n_slots
    for j in range(n_levels):
        value = np.int64(np.rint(composite[j] * COMPOSITE_ONE))
        if flow.seq[slot] == seq - 1 and flow.tick[slot] == low + j:
            total = 0.0
            for i in range(n_windows):
                window = flow.windows[i]
                # The longest window's oldest value lies in the row that this bin is about to take.
                flow.sums[i, slot] += value - flow.history[(seq - window) % length, slot]
                total += float(flow.sums[i, slot]) / (COMPOSITE_ONE * window)
            rolled = total / n_windows
            d1 = (rolled - flow.rolled[0, slot]) * per_second
            d2 = (d1 - flow.rolled[1, slot]) * per_second
            d3 = (d2 - flow.rolled[2, slot]) * per_second
            flow.history[row, slot] = value
            flow.rolled[0, slot] = rolled
            flow.rolled[1, slot] = d1
            flow.rolled[2, slot] = d2
            flow.rolled[3, slot] = d3
        else:
            flow.tick[slot] = low + j
            total = 0.0
            for i in range(n_windows):
                flow.sums[i, slot] = value * flow.windows[i]
                total += float(flow.sums[i, slot]) / (COMPOSITE_ONE * flow.windows[i])
            for i in range(length):
                flow.history[i, slot] = value
            flow.rolled[0, slot] = total / n_windows
            flow.rolled[1, slot] = 0.0
            flow.rolled[2, slot] = 0.0
            flow.rolled[3, slot] = 0.0
        flow.seq[slot] = seq
        slot += 1
        if slot == n_slots:
            slot = 0
