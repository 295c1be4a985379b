"""The probability of backtest overfitting: is the best row of one part of the time good in the other part?"""

from __future__ import annotations

import itertools
import math

import numpy as np
import numpy.typing as npt

from vpcore.statistics.multiple_testing import Matrix

_Floats = npt.NDArray[np.float64]
_Integers = npt.NDArray[np.int64]

MOST_GROUPS = 16
FEWEST_GROUPS = 4
_CHUNK_ROWS = 4096
_WORK = 300_000_000
"""Limit of additions; very many rows get fewer groups of time."""


def overfit_probability(blocks: Matrix) -> float | None:
    """Return how often the best row of one half of the time is in the lower half of all rows in the other half.

    Combinatorially symmetric cross-validation: the time is cut into an even number of groups of neighbouring blocks,
    and every half of the groups serves once for the choice. A row's worth is the sum of its blocks over the root of
    the sum of their squares, which orders as its Sharpe ratio does.

    Parameters
    ----------
    blocks : float64[n_rows, n_blocks]
        Net PnL per block of time. Rows are trials, columns are time. (The paper's matrix is the transpose of this.)
        Read in parts, once: a large matrix may lie on disk.

    Returns
    -------
    float or None
        0: the choice holds. About 0.5: the choice is worthless. None for fewer than two rows or four blocks.

    Notes
    -----
    Source: Bailey, Borwein, Lopez de Prado and Zhu (2017), "The probability of backtest overfitting".
    """
    if len(blocks.shape) != 2:
        raise ValueError(f"blocks must be of shape (n_rows, n_blocks), was {blocks.shape}.")
    n_rows, n_blocks = blocks.shape
    n_groups = min(MOST_GROUPS, n_blocks - n_blocks % 2)
    while n_groups > FEWEST_GROUPS and math.comb(n_groups, n_groups // 2) * n_groups * n_rows > _WORK:
        n_groups -= 2
    if n_rows < 2 or n_groups < FEWEST_GROUPS:
        return None
    starts = np.array([part[0] for part in np.array_split(np.arange(n_blocks), n_groups)])
    totals, squares = np.empty((2, n_groups, n_rows))
    for first in range(0, n_rows, _CHUNK_ROWS):
        rows = slice(first, first + _CHUNK_ROWS)
        by_time = np.ascontiguousarray(blocks[rows].T, dtype=np.float64)
        np.add.reduceat(by_time, starts, axis=0, out=totals[:, rows])
        np.add.reduceat(by_time * by_time, starts, axis=0, out=squares[:, rows])
    halves = np.array(list(itertools.combinations(range(n_groups), n_groups // 2)), dtype=np.int64)
    _, share = cross_validate(totals, squares, halves)
    return float(np.mean(share <= 0.5))


def cross_validate(totals: _Floats, squares: _Floats, halves: npt.NDArray[np.int64]) -> tuple[_Integers, _Floats]:
    """Choose on one half of the groups and rank the choice on the other, for many halves.

    Parameters
    ----------
    totals, squares : float64[n_groups, n_rows]
        Sums of PnL and of its squares over the blocks of each group.
    halves : int64[n_halves, n_groups // 2]
        The groups on which to choose, in lexicographic order.

    Returns
    -------
    chosen : int64[n_halves]
        The row that was best there, by sum over root of squares; the first of equals.
    share : float64[n_halves]
        Its rank on the other groups over ``n_rows + 1``: near 1 the best, near 0 the worst; equals share a rank.

    Notes
    -----
    Plain numpy: these passes over cached vectors are as fast as compiled code, and importing numba takes as long as all
    of them.
    """
    depth, n_rows = halves.shape[1], totals.shape[1]
    all_totals, all_squares = totals[0].copy(), squares[0].copy()
    for g in range(1, totals.shape[0]):
        all_totals += totals[g]
        all_squares += squares[g]
    # What rounding leaves of a difference of equal sums is nothing.
    nothing = 1e-9 * all_squares
    # Sums over the first groups of a half; neighbours in the order begin alike, and add what differs only.
    sums, sums_of_squares = np.empty((2, depth + 1, n_rows))
    sums[0] = sums_of_squares[0] = 0.0
    score, rest, outside = np.empty((3, n_rows))
    chosen = np.empty(len(halves), dtype=np.int64)
    share = np.empty(len(halves))
    before = np.full(depth, -1)
    with np.errstate(invalid="ignore", divide="ignore"):
        for h, half in enumerate(halves):
            changed = int(np.argmax(half != before))
            for i in range(changed, depth):
                np.add(sums[i], totals[half[i]], out=sums[i + 1])
                np.add(sums_of_squares[i], squares[half[i]], out=sums_of_squares[i + 1])
            before = half
            inside, inside_squares = sums[depth], sums_of_squares[depth]
            np.divide(inside, np.sqrt(inside_squares, out=score), out=score)
            score[inside_squares <= 0.0] = 0.0
            best = chosen[h] = int(np.argmax(score))
            np.subtract(all_squares, inside_squares, out=rest)
            np.subtract(all_totals, inside, out=outside)
            empty = rest <= nothing
            np.divide(outside, np.sqrt(rest, out=rest), out=outside)
            outside[empty] = 0.0
            own = outside[best]
            below = np.count_nonzero(outside < own - 1e-12)
            up_to = np.count_nonzero(outside <= own + 1e-12)
            share[h] = (below + (up_to - below + 1) / 2.0) / (n_rows + 1)
    return chosen, share
