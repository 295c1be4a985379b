"""The frame of one bin: mechanics, pressure, vacuum and flow of the levels around the mid.

Accumulators are read at the bin's end without being changed. Everything is float64 until the one rounding to float32,
when a value is written to the frame.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from vpcore.kernels.flow import track
from vpcore.kernels.jit import jit
from vpcore.kernels.levels import find_page
from vpcore.kernels.mechanics import ACC_A, ACC_J, ACC_REST, ACC_V, N_ACC, N_QUANTITIES, TINY
from vpcore.kernels.state import L_TOUCHED, PAGE, PAGE_BITS

# Rows of the work array behind the accumulators, in the order of `vpcore.schema.GRID_VALUES`.
W_MASS = N_ACC
W_DEPTH = W_MASS + 3
W_V = W_DEPTH + 2
W_A = W_V + N_QUANTITIES
W_J = W_A + N_QUANTITIES
W_PRESSURE = W_J + N_QUANTITIES
W_VACUUM = W_PRESSURE + 1
W_COMPOSITE = W_VACUUM + 1
W_ROLLED = W_COMPOSITE + 1
N_WORK = W_ROLLED + 4
N_GRID = 26
"""Grid columns: masses, depths, v, a, j, pressure, vacuum, and four of the rolled composite."""

ADD, PULL, FILL, BID, ASK = range(5)


class FrameParams(NamedTuple):
    """What the frame kernel needs besides the book."""

    chain: Any  # float64[6] partial-fraction coefficients
    weights: Any  # float64[8] c1..c7 and the floor of composite
    radius: Any  # int
    margin: Any  # int
    per_second: Any  # float, bins per second
    slots: Any  # int64[N_GRID] place of each grid column in the output, -1 where it is not written
    work: Any  # float64[N_WORK, band] scratch


@jit(borrows=True)
def make_frame(book, flow, par, bid, ask, now, seq, out, row):
    """Write the frame of a valid bin and take its composites into the flow history.

    Parameters
    ----------
    book : Book
        Read only, but for the page that was looked up last.
    flow : Flow
        Changed in place.
    par : FrameParams
        `par.work` is overwritten.
    bid, ask : int
        Touch at the end of the bin, in ticks, ``bid < ask``.
    now : int
        End of the bin, ns; after every impulse.
    seq : int
        Number of the bin.
    out : float32[n_columns, n_rows, 2 * radius + 1], written
        Grid columns.
    row : int
        Row of `out` to write.
    """
    work = par.work
    mid2 = bid + ask
    band = par.radius + par.margin
    odd = mid2 & 1
    low = (mid2 + odd) // 2 - band
    n_levels = 2 * band + 1 - odd
    _read_levels(book, work, low, n_levels, now, par.margin, n_levels - par.margin)
    _derive(par, n_levels)
    track(flow, low, n_levels, work[W_COMPOSITE], seq, par.per_second)
    n_slots = flow.tick.shape[0]
    slot = low % n_slots
    for j in range(n_levels):
        for i in range(4):
            work[W_ROLLED + i, j] = flow.rolled[i, slot]
        slot += 1
        if slot == n_slots:
            slot = 0
    # Level j lies in cell j - margin below the mid, and one further above it when no level is the mid (odd spread).
    half = par.radius + 1 - odd
    for column in range(N_GRID):
        place = par.slots[column]
        if place < 0:
            continue
        source = W_MASS + column if column < N_GRID - 4 else W_ROLLED + column - (N_GRID - 4)
        for j in range(half):
            out[place, row, j] = np.float32(work[source, par.margin + j] + 0.0)  # + 0.0 makes -0.0 a 0.0
        if odd:
            out[place, row, half] = np.float32(0.0)
        for j in range(half, 2 * par.radius + 1 - odd):
            out[place, row, j + odd] = np.float32(work[source, par.margin + j] + 0.0)


@jit(borrows=True)
def _read_levels(book, work, low, n_levels, now, inner, outer):
    """Read accumulators at `now`: those of velocity and acceleration in the band, the rest inside the grid."""
    page = np.int64(-1)
    number = (low >> PAGE_BITS) - 1
    for j in range(n_levels):
        tick = low + j
        if (tick >> PAGE_BITS) != number:
            number = tick >> PAGE_BITS
            page = find_page(book, number)
        level = tick & (PAGE - 1)
        if page < 0:
            for i in range(W_DEPTH + 2):
                work[i, j] = 0.0
            continue
        work[W_DEPTH, j] = float(book.levels[page, level, 0])
        work[W_DEPTH + 1, j] = float(book.levels[page, level, 1])
        before = book.levels[page, level, L_TOUCHED]
        if before == 0:
            for i in range(N_ACC):
                work[i, j] = 0.0
            continue
        dt = float(now - before)
        _read(book.acc, work, page, level, j, ACC_V, ACC_A, math.exp(-dt / book.taus[0]))
        _read(book.acc, work, page, level, j, ACC_A, ACC_J, math.exp(-dt / book.taus[1]))
        if inner <= j < outer:
            _read(book.acc, work, page, level, j, ACC_J, ACC_REST, math.exp(-dt / book.taus[2]))
            _read(book.acc, work, page, level, j, ACC_REST, N_ACC, math.exp(-dt / book.taus[3]))


@jit(inline=True, borrows=True)
def _read(acc, work, page, level, j, start, stop, factor):
    for i in range(start, stop):
        value = acc[page, level, i] * factor
        work[i, j] = 0.0 if abs(value) < TINY else value


@jit(borrows=True)
def _derive(par, n_levels):
    work = par.work
    chain = par.chain
    for q in range(3):
        for j in range(n_levels):
            work[W_MASS + q, j] = work[ACC_REST + q, j]
    for q in range(N_QUANTITIES):
        for j in range(n_levels):
            work[W_V + q, j] = chain[0] * work[ACC_V + q, j]
            work[W_A + q, j] = chain[1] * work[ACC_V + q, j] + chain[2] * work[ACC_A + q, j]
            work[W_J + q, j] = (
                chain[3] * work[ACC_V + q, j] + chain[4] * work[ACC_A + q, j] + chain[5] * work[ACC_J + q, j]
            )
    c = par.weights
    for j in range(n_levels):
        rest = work[W_V + BID, j] + work[W_V + ASK, j]
        pressure = c[0] * work[W_V + ADD, j] + c[1] * max(rest, 0.0) + c[2] * max(work[W_A + ADD, j], 0.0)
        vacuum = (
            c[3] * work[W_V + PULL, j]
            + c[4] * work[W_V + FILL, j]
            + c[5] * max(-rest, 0.0)
            + c[6] * max(work[W_A + PULL, j], 0.0)
        )
        work[W_PRESSURE, j] = pressure
        work[W_VACUUM, j] = vacuum
        work[W_COMPOSITE, j] = (pressure - vacuum) / (pressure + vacuum + c[7])
