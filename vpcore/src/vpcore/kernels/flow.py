"""Flow features: windowed means of composite per absolute price level, and their derivatives.

Composites are held as whole numbers, multiples of 2^-44, so that a running sum is exact, costs one addition and one
subtraction per window, and is the same whenever the stream began.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from vpcore.kernels.jit import jit

COMPOSITE_ONE = 2.0**44
MAX_WINDOW_BINS = 512
"""Sums of up to 512 composites stay below 2^53: in float64 they are exact."""

_SEQ, _LOW, _COUNT = 0, 1, 2


class Flow(NamedTuple):
    """State of the composite history, one slot per level of the band (slot = level modulo `n_slots`)."""

    band: Any  # int64[3] the bin tracked last, the first level of its band, and how many levels it had
    history: Any  # float64[max window, n_slots] composites of the last bins, row = bin modulo max window
    sums: Any  # float64[n_windows, n_slots] running sums
    rolled: Any  # float64[4, n_slots] rolled composite and its three derivatives
    windows: Any  # int64[n_windows]
    work: Any  # float64[2, n_slots] scratch


def make_flow(n_slots: int, windows: tuple[int, ...]) -> Flow:
    """Return an empty history for a band of `n_slots` levels."""
    return Flow(
        band=np.array([-2, 0, 0], np.int64),
        history=np.zeros((max(windows), n_slots), np.float64),
        sums=np.zeros((len(windows), n_slots), np.float64),
        rolled=np.zeros((4, n_slots), np.float64),
        windows=np.array(windows, np.int64),
        work=np.zeros((2, n_slots), np.float64),
    )


@jit(borrows=True)
def track(flow, low, n_levels, composite, seq, per_second):
    """Take one bin's composites into the history of a band of levels.

    Parameters
    ----------
    flow : Flow
        Changed in place.
    low, n_levels : int
        First level of the band in ticks, and number of levels; at most `n_slots`.
    composite : float64[n_levels]
        Composite of each level, in [-1, 1].
    seq : int
        Number of the bin. A level outside the band of ``seq - 1`` starts anew: its history is filled with this
        composite and its derivatives are 0.
    per_second : float
        Bins per second.
    """
    first, stop = low, low  # the levels that go on
    if flow.band[_SEQ] == seq - 1:
        first = min(max(low, flow.band[_LOW]), low + n_levels)
        stop = max(first, min(low + n_levels, flow.band[_LOW] + flow.band[_COUNT]))
    n_slots = flow.rolled.shape[1]
    n_windows = flow.windows.shape[0]
    length = flow.history.shape[0]
    for tick in range(low, low + n_levels):
        if first <= tick < stop:
            continue
        # A level begins with a constant history, which going on leaves as it is.
        slot = tick % n_slots
        start = np.rint(composite[tick - low] * COMPOSITE_ONE)
        mean = 0.0
        for i in range(n_windows):
            flow.sums[i, slot] = start * flow.windows[i]
            mean += flow.sums[i, slot] / (COMPOSITE_ONE * flow.windows[i])
        flow.history[:, slot] = start
        flow.rolled[0, slot] = mean / n_windows
        flow.rolled[1:, slot] = 0.0
    # The band goes round the ring of slots once at most. Loops over levels are innermost, for vectors.
    slot = low % n_slots
    at = 0
    while at < n_levels:
        n = min(n_levels - at, n_slots - slot)
        total = flow.work[0, :n]
        value = flow.work[1, :n]
        for j in range(n):
            value[j] = np.rint(composite[at + j] * COMPOSITE_ONE)
            total[j] = 0.0
        for i in range(n_windows):
            # The longest window's oldest value lies in the row that this bin is about to take.
            oldest = flow.history[(seq - flow.windows[i]) % length, slot : slot + n]
            sums = flow.sums[i, slot : slot + n]
            whole = COMPOSITE_ONE * flow.windows[i]
            for j in range(n):
                running = sums[j] + (value[j] - oldest[j])
                sums[j] = running
                total[j] += running / whole
        newest = flow.history[seq % length, slot : slot + n]
        level = flow.rolled[0, slot : slot + n]
        slope = flow.rolled[1, slot : slot + n]
        bend = flow.rolled[2, slot : slot + n]
        third = flow.rolled[3, slot : slot + n]
        for j in range(n):
            newest[j] = value[j]
            rolled = total[j] / n_windows
            d1 = (rolled - level[j]) * per_second
            d2 = (d1 - slope[j]) * per_second
            third[j] = (d2 - bend[j]) * per_second
            level[j] = rolled
            slope[j] = d1
            bend[j] = d2
        at += n
        slot = 0
    flow.band[_SEQ] = seq
    flow.band[_LOW] = low
    flow.band[_COUNT] = n_levels
