"""The frame of one bin: mechanics, pressure, vacuum and flow of the levels around the mid.

Accumulators are only read at the bin's end. Everything is float64 until the one rounding to float32, when a value is
written to the frame.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from vpcore.kernels.decay import N_ACC, N_QUANTITIES, N_TAUS, decayed
from vpcore.kernels.flow import track
from vpcore.kernels.jit import jit
from vpcore.kernels.levels import find_page, level_of
from vpcore.kernels.mechanics import ACC_A, ACC_J, ACC_REST, ACC_V, N_MASSES
from vpcore.kernels.state import ASK_SIDE, BID_SIDE, GROUP, GROUP_BITS, L_TOUCHED, PAGE_BITS

# Grid columns, in the order of `vpcore.schema.GRID_VALUES`.
G_MASS = 0
G_DEPTH = G_MASS + N_MASSES
G_V = G_DEPTH + 2
G_A = G_V + N_QUANTITIES
G_J = G_A + N_QUANTITIES
G_PRESSURE = G_J + N_QUANTITIES
G_VACUUM = G_PRESSURE + 1
G_ROLLED = G_VACUUM + 1
N_GRID = G_ROLLED + 4

ADD, PULL, FILL, BID, ASK = range(5)


class FrameParams(NamedTuple):
    """Parameters and scratch arrays of the frame kernel."""

    chain: Any  # float64[6] partial-fraction coefficients
    weights: Any  # float64[8] c1..c7 and the floor of composite
    radius: Any  # int
    margin: Any  # int
    per_second: Any  # float, bins per second
    slots: Any  # int64[N_GRID] place of each grid column in the output, -1 where it is not written
    composite: Any  # float64[band] scratch: the composite of every level of the band
    sums: Any  # float64[radius + 1, N_ACC] scratch: the accumulators of levels at the bin's end
    cells: Any  # float32[N_GRID, 2 * radius + 1] scratch: the frame


def make_params(chain: Any, weights: Any, radius: int, margin: int, per_second: float, slots: list[int]) -> FrameParams:
    """Return the parameters of the frame kernel with its scratch arrays; see `FrameParams`."""
    return FrameParams(
        chain=chain,
        weights=weights,
        radius=radius,
        margin=margin,
        per_second=per_second,
        slots=np.array(slots, np.int64),
        composite=np.zeros(2 * (radius + margin) + 1, np.float64),
        sums=np.zeros((radius + 1, N_ACC), np.float64),
        cells=np.zeros((N_GRID, 2 * radius + 1), np.float32),
    )


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
        Its scratch arrays are overwritten.
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
    mid2 = bid + ask
    odd = mid2 & 1
    band = par.radius + par.margin
    low = (mid2 + odd) // 2 - band
    n_levels = 2 * band + 1 - odd
    cells = par.cells
    # Level j lies in cell j - margin below the mid, and one further above it when no level is the mid (odd spread).
    half = par.radius + 1 - odd
    inner, middle, outer = par.margin, par.margin + half, n_levels - par.margin
    _read_margin(book, par, low, np.int64(0), inner, now)
    _read_grid(book, par, low, inner, middle, now, np.int64(0))
    _read_grid(book, par, low, middle, outer, now, odd)
    _read_margin(book, par, low, outer, n_levels, now)
    track(flow, low, n_levels, par.composite, seq, par.per_second)
    n_slots = flow.rolled.shape[1]
    slot = (low + par.margin) % n_slots
    for j in range(outer - inner):
        cell = j if j < half else j + odd
        for i in range(4):
            cells[G_ROLLED + i, cell] = np.float32(flow.rolled[i, slot] + 0.0)
        slot += 1
        if slot == n_slots:
            slot = 0
    if odd:
        cells[:, half] = np.float32(0.0)
    for column in range(N_GRID):
        place = par.slots[column]
        if place >= 0:
            for cell in range(2 * par.radius + 1):
                out[place, row, cell] = cells[column, cell]


@jit(inline=True, borrows=True)
def _balance(chain, weights, sums, i):
    """Return pressure and vacuum of the level whose accumulators are in row `i`."""
    s_add, s_pull = sums[i, N_TAUS * ADD + ACC_V], sums[i, N_TAUS * PULL + ACC_V]
    a_add = chain[1] * s_add + chain[2] * sums[i, N_TAUS * ADD + ACC_A]
    a_pull = chain[1] * s_pull + chain[2] * sums[i, N_TAUS * PULL + ACC_A]
    v_fill = chain[0] * sums[i, N_TAUS * FILL + ACC_V]
    rest = chain[0] * sums[i, N_TAUS * BID + ACC_V] + chain[0] * sums[i, N_TAUS * ASK + ACC_V]
    pressure = weights[0] * (chain[0] * s_add) + weights[1] * max(rest, 0.0) + weights[2] * max(a_add, 0.0)
    vacuum = weights[3] * (chain[0] * s_pull) + weights[4] * v_fill
    return pressure, vacuum + weights[5] * max(-rest, 0.0) + weights[6] * max(a_pull, 0.0)


@jit(borrows=True)
def _read_margin(book, par, low, start, stop, now):
    """Note the composite of levels beyond the grid, their only output."""
    acc, chain, weights = book.acc, par.chain, par.weights
    first = np.int64(-1)
    group = (low >> GROUP_BITS) - 1
    for j in range(start, stop):
        tick = low + j
        if (tick >> GROUP_BITS) != group:
            group = tick >> GROUP_BITS
            first = level_of(book, find_page(book, tick >> PAGE_BITS), group << GROUP_BITS)
        level = first + (tick & (GROUP - 1))
        if first < 0 or book.levels[level, L_TOUCHED] == 0:
            par.composite[j] = 0.0
            continue
        decayed(acc, level, float(now - book.levels[level, L_TOUCHED]), book.taus, par.sums, np.int64(0))
        pressure, vacuum = _balance(chain, weights, par.sums, 0)
        par.composite[j] = (pressure - vacuum) / (pressure + vacuum + weights[7])


@jit(borrows=True)
def _read_grid(book, par, low, start, stop, now, shift):
    """Write every column but the rolled ones for levels of the grid: level j into cell ``j - margin + shift``."""
    acc, chain, weights, cells, sums = book.acc, par.chain, par.weights, par.cells, par.sums
    n, at = stop - start, start - par.margin + shift
    first = np.int64(-1)
    group = (low >> GROUP_BITS) - 1
    for i in range(n):
        tick = low + start + i
        if (tick >> GROUP_BITS) != group:
            group = tick >> GROUP_BITS
            first = level_of(book, find_page(book, tick >> PAGE_BITS), group << GROUP_BITS)
        level = first + (tick & (GROUP - 1))
        bids, asks, touched = np.int64(0), np.int64(0), np.int64(0)
        if first >= 0:
            bids, asks = book.levels[level, BID_SIDE], book.levels[level, ASK_SIDE]
            touched = book.levels[level, L_TOUCHED]
        cells[G_DEPTH, at + i] = np.float32(bids)
        cells[G_DEPTH + 1, at + i] = np.float32(asks)
        if touched == 0:
            sums[i, :] = 0.0
        else:
            decayed(acc, level, float(now - touched), book.taus, sums, i)
    c0, c1, c2, c3, c4, c5 = chain[0], chain[1], chain[2], chain[3], chain[4], chain[5]
    for q in range(N_QUANTITIES):  # + 0.0 makes -0.0 a 0.0
        s_v, s_a, s_j = N_TAUS * q + ACC_V, N_TAUS * q + ACC_A, N_TAUS * q + ACC_J
        for i in range(n):
            cells[G_V + q, at + i] = np.float32(c0 * sums[i, s_v] + 0.0)
            cells[G_A + q, at + i] = np.float32(c1 * sums[i, s_v] + c2 * sums[i, s_a] + 0.0)
            cells[G_J + q, at + i] = np.float32(c3 * sums[i, s_v] + c4 * sums[i, s_a] + c5 * sums[i, s_j] + 0.0)
    for q in range(N_MASSES):
        for i in range(n):
            cells[G_MASS + q, at + i] = np.float32(sums[i, N_TAUS * q + ACC_REST] + 0.0)
    for i in range(n):
        pressure, vacuum = _balance(chain, weights, sums, i)
        cells[G_PRESSURE, at + i] = np.float32(pressure + 0.0)
        cells[G_VACUUM, at + i] = np.float32(vacuum + 0.0)
        par.composite[start + i] = (pressure - vacuum) / (pressure + vacuum + weights[7])
