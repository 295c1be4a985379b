"""The probability of backtest overfitting: does choosing the best row on one part of the time help on the other?"""

from __future__ import annotations

import itertools
import math

import numpy as np
import numpy.typing as npt

from vpcore.kernels import resample

MOST_GROUPS = 16
FEWEST_GROUPS = 4
_WORK = 300_000_000
"""Additions that are spent at most; with very many rows the time is cut into fewer groups."""


def overfit_probability(blocks: npt.NDArray[np.float64]) -> float | None:
    """Return how often the row that is best on one half of the time is in the lower half of all rows on the other.

    Combinatorially symmetric cross-validation: the time is cut into an even number of groups of neighbouring blocks,
    and every half of them is once the part on which to choose. A row's worth is the sum of its blocks over the root of
    the sum of their squares, which orders as its Sharpe ratio does.

    Parameters
    ----------
    blocks : float64[n_rows, n_blocks]
        Net PnL per block of time. Rows are trials, columns are time. (The paper's matrix is the transpose of this.)

    Returns
    -------
    float or None
        0: the choice holds. About 0.5: it is worth nothing. None with fewer than two rows or four blocks.

    Notes
    -----
    Source: Bailey, Borwein, Lopez de Prado and Zhu (2017), "The probability of backtest overfitting".
    """
    if blocks.ndim != 2:
        raise ValueError(f"blocks must be of shape (n_rows, n_blocks), was {blocks.shape}.")
    n_rows, n_blocks = blocks.shape
    n_groups = min(MOST_GROUPS, n_blocks - n_blocks % 2)
    while n_groups > FEWEST_GROUPS and math.comb(n_groups, n_groups // 2) * n_groups * n_rows > _WORK:
        n_groups -= 2
    if n_rows < 2 or n_groups < FEWEST_GROUPS:
        return None
    starts = np.array([part[0] for part in np.array_split(np.arange(n_blocks), n_groups)])
    by_time = np.ascontiguousarray(blocks.T, dtype=np.float64)
    halves = np.array(list(itertools.combinations(range(n_groups), n_groups // 2)), dtype=np.int64)
    chosen, share = np.empty(len(halves), dtype=np.int64), np.empty(len(halves), dtype=np.float64)
    totals = np.add.reduceat(by_time, starts, axis=0)
    squares = np.add.reduceat(by_time * by_time, starts, axis=0)
    resample.cross_validate(totals, squares, halves, chosen, share)
    return float(np.mean(share <= 0.5))
