"""The probability of backtest overfitting: is the best row of one part of the time good in the other part?"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from vpcore.statistics.multiple_testing import Matrix

_Floats = npt.NDArray[np.float64]
_Integers = npt.NDArray[np.int64]

MOST_GROUPS = 16
FEWEST_GROUPS = 4
_CHUNK_ROWS = 4096
_ROWS_AT_ONCE = 32_768
"""Rows that are compared at once: their sums take 6 MB."""

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
    of them. Rows are taken in parts: first to find the choice of each half, then to rank it.
    """
    n_rows = totals.shape[1]
    chosen = np.zeros(len(halves), dtype=np.int64)
    most = np.full(len(halves), -np.inf)
    own, below, up_to = np.zeros((3, len(halves)))
    starts = range(0, n_rows, _ROWS_AT_ONCE)
    with np.errstate(invalid="ignore", divide="ignore"):
        for first in starts:
            part = _Part(totals[:, first : first + _ROWS_AT_ONCE], squares[:, first : first + _ROWS_AT_ONCE])
            for h in part.over(halves):
                score = part.inside()
                best = int(np.argmax(score))
                if score[best] > most[h]:
                    outside = part.outside()
                    chosen[h], most[h], own[h] = first + best, score[best], outside[best]
                    if len(starts) == 1:
                        below[h], up_to[h] = _ranks(outside, own[h])
        for first in starts if len(starts) > 1 else ():
            part = _Part(totals[:, first : first + _ROWS_AT_ONCE], squares[:, first : first + _ROWS_AT_ONCE])
            for h in part.over(halves):
                ranks = _ranks(part.outside(), own[h])
                below[h], up_to[h] = below[h] + ranks[0], up_to[h] + ranks[1]
    return chosen, (below + (up_to - below + 1) / 2.0) / (n_rows + 1)


def _ranks(values: _Floats, own: float) -> tuple[int, int]:
    """Return how many values are below one of them, and how many are so or equal to it."""
    return int(np.count_nonzero(values < own - 1e-12)), int(np.count_nonzero(values <= own + 1e-12))


class _Part:
    """Some rows, on one half of the groups after the other."""

    def __init__(self, totals: _Floats, squares: _Floats) -> None:
        self._groups = totals, squares
        self._all = totals[0].copy(), squares[0].copy()
        for whole, groups in zip(self._all, self._groups, strict=True):
            for group in groups[1:]:
                whole += group
        # What rounding leaves of a difference of equal sums is nothing.
        self._nothing = 1e-9 * self._all[1]
        self._score, self._rest, self._outside = np.empty((3, totals.shape[1]))

    def over(self, halves: npt.NDArray[np.int64]) -> Iterator[int]:
        """Go from half to half, by their numbers."""
        depth = halves.shape[1]
        # Sums over the first groups of a half; neighbours in the order begin alike, and add what differs only.
        sums, sums_of_squares = np.zeros((2, depth + 1, len(self._score)))
        self._sum, self._squares = sums[depth], sums_of_squares[depth]
        before = np.full(depth, -1)
        for h, half in enumerate(halves):
            for i in range(int(np.argmax(half != before)), depth):
                np.add(sums[i], self._groups[0][half[i]], out=sums[i + 1])
                np.add(sums_of_squares[i], self._groups[1][half[i]], out=sums_of_squares[i + 1])
            before = half
            yield h

    def inside(self) -> _Floats:
        """Return the worth of each row on the half."""
        np.divide(self._sum, np.sqrt(self._squares, out=self._score), out=self._score)
        self._score[self._squares <= 0.0] = 0.0
        return self._score

    def outside(self) -> _Floats:
        """Return the worth of each row on the other half."""
        rest, outside = self._rest, self._outside
        np.subtract(self._all[1], self._squares, out=rest)
        np.subtract(self._all[0], self._sum, out=outside)
        empty = rest <= self._nothing
        np.divide(outside, np.sqrt(rest, out=rest), out=outside)
        outside[empty] = 0.0
        return outside
