"""P-values that know how many rows were looked at."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

MOST_DRAWS, FEWEST_DRAWS = 4999, 999
"""Sign flips, unless there are so few blocks that all can be tried; fewer where there are very many rows."""

_WORK = 50_000_000
_CHUNK_VALUES = 1 << 18  # 2 MB, which stay in the cache between product and maximum
_SERIAL_PRODUCT = 1 << 18  # multiplications
_FEW_ROWS = 8
_TOLERANCE = 1e-9

_Floats = npt.NDArray[np.float64]


def strengths(blocks: _Floats) -> _Floats:
    """Return the sum of each row over the root of its sum of squares: its t-statistic, on a scale that is bounded.

    With n blocks and ``t = u sqrt((n - 1) / (n - u^2))`` the two have the same order. It is 0 for a row of zeros.
    """
    scale = np.sqrt(np.einsum("ij,ij->i", blocks, blocks))
    total = blocks.sum(axis=1)
    shares: _Floats = np.divide(total, scale, out=np.zeros_like(total), where=scale > 0.0)
    return shares


def merged(blocks: _Floats, width: int) -> _Floats:
    """Return blocks added up in neighbours of `width`, the last ones perhaps fewer."""
    if width <= 1 or blocks.shape[1] == 0:
        return blocks
    groups: _Floats = np.add.reduceat(blocks, np.arange(0, blocks.shape[1], width), axis=1)
    return groups


def _product(rows: _Floats, signs: _Floats) -> _Floats:
    """Return ``rows @ signs``; with few blocks in pieces so small that OpenBLAS computes each on one thread.

    On a busy machine its threads wait for each other for longer than they compute such a product.
    """
    n_blocks, n_draws = signs.shape
    step = _SERIAL_PRODUCT // (n_blocks * n_draws)
    if step < _FEW_ROWS:
        product: _Floats = rows @ signs
        return product
    drawn = np.empty((rows.shape[0], n_draws))
    for first in range(0, rows.shape[0], step):
        np.matmul(rows[first : first + step], signs, out=drawn[first : first + step])
    return drawn


def _as_good(unit: _Floats, signs: _Floats, reach: _Floats) -> npt.NDArray[np.int64]:
    """Return for each row in how many draws it or a row before it reaches as far.

    A row that is reached in every draw has the p-value 1, and so have all before it, whatever their own count: those
    are not counted but told as all draws. Of the rows of noise that most of a large sweep are, hardly any is left.

    Parameters
    ----------
    unit : float64[n_rows, n_blocks]
        The worst row first.
    signs : float64[n_blocks, n_draws]
        1 or -1.
    reach : float64[n_rows]
        What a draw must come to, ascending.
    """
    n_rows, n_draws = unit.shape[0], signs.shape[1]
    size = max(1, _CHUNK_VALUES // n_draws)
    starts = range(0, n_rows, size)
    best = np.full(n_draws, -np.inf)
    bound = np.abs(unit).sum(axis=1) * (1.0 + 1e-12)  # what no flip of a row goes beyond
    before = np.empty((len(starts), n_draws))  # the largest of all rows before a chunk
    certain = 0
    for chunk, first in enumerate(starts):
        before[chunk] = best
        least = best.min()
        if first and least >= reach[first - 1]:
            certain = chunk
        rows = unit[first : first + size][bound[first : first + size] > least]  # the others change no maximum
        if rows.shape[0]:
            np.maximum(best, np.max(_product(rows, signs), axis=0), out=best)
    as_good = np.full(n_rows, n_draws, dtype=np.int64)
    for chunk in range(certain, len(starts)):
        part = slice(starts[chunk], starts[chunk] + size)
        drawn = _product(unit[part], signs)
        np.maximum(drawn[0], before[chunk], out=drawn[0])
        # Row by row: along the first axis numpy's own accumulation goes through memory column by column.
        for i in range(1, drawn.shape[0]):
            np.maximum(drawn[i], drawn[i - 1], out=drawn[i])
        as_good[part] = np.count_nonzero(drawn >= reach[part, None], axis=1)
    return as_good


def step_down(blocks: _Floats, *, seed: int, draws: int | None = None, width: int = 1) -> _Floats:
    """Return the p-value of each row adjusted for all rows, by step-down over the maximum.

    The null of a row is that it pays nothing or less. The null of all of them at once is drawn by turning the sign of
    whole blocks, the same ones in every row, so that rows keep their dependence; the p-value of the best row is the
    share of draws in which *any* row does as well, that of the next the share in which any other than the best does,
    and so on.

    Parameters
    ----------
    blocks : float64[n_rows, n_blocks]
        Net PnL per block of time. Rows are trials, columns are time.
    seed : int
        Of the draws. The answer does not depend on the order of the rows.
    draws : int, optional
        How many; by default up to `MOST_DRAWS`. If all ``2^n_blocks`` flips are no more, all of them are tried and the
        answer is exact.
    width : int
        Neighbouring blocks that share a sign: where trades live longer than a block, its neighbours are dependent.

    Returns
    -------
    float64[n_rows]
        1 at most. The smallest possible one is ``2^-n_blocks``: a session of few blocks proves little.

    Notes
    -----
    Source: Romano and Wolf (2005), "Exact and approximate stepdown methods for multiple hypothesis testing" (the
    step-down, with randomisation), in the form of Romano and Wolf (2016) for p-values.

    Sign flips and not a bootstrap of blocks: an hour has twelve blocks, and among hundreds of rows the largest
    bootstrapped mean of twelve values, standardised once, is far too small: such a test finds winners in noise. Flips
    are exact for symmetric blocks at any number of them, and need no second standardisation, which for rows with one
    trade divides by zero.
    """
    if blocks.ndim != 2:
        raise ValueError(f"blocks must be of shape (n_rows, n_blocks), was {blocks.shape}.")
    n_rows = blocks.shape[0]
    if n_rows == 0:
        return np.empty(0)
    blocks = merged(np.asarray(blocks, dtype=np.float64), width)
    blocks = blocks[:, np.any(blocks != 0.0, axis=0)]  # where nobody traded, a sign says nothing
    n_blocks = blocks.shape[1]
    if n_blocks == 0:
        return np.ones(n_rows)
    observed = strengths(blocks)
    order = np.argsort(observed, kind="stable")  # the worst first: the maximum then runs along the rows
    scale = np.sqrt(np.einsum("ij,ij->i", blocks, blocks))
    unit = np.divide(blocks, scale[:, None], out=np.zeros_like(blocks), where=scale[:, None] > 0.0)[order]
    if draws is None:
        draws = max(FEWEST_DRAWS, min(MOST_DRAWS, _WORK // n_rows))
    exact = n_blocks < 60 and 2**n_blocks <= draws + 1
    n_draws = 2**n_blocks if exact else draws
    reach = observed[order] - _TOLERANCE
    if exact:
        flips: npt.NDArray[Any] = (np.arange(n_draws)[:, None] >> np.arange(n_blocks)) & 1
    else:
        words = np.random.PCG64(seed).random_raw(n_draws * ((n_blocks + 63) // 64)).view(np.uint8)
        flips = np.unpackbits(words.reshape(n_draws, -1), axis=1, count=n_blocks)
    as_good = _as_good(unit, 1.0 - 2.0 * flips.T, reach)
    p = as_good / n_draws if exact else (as_good + 1) / (n_draws + 1)
    answer = np.empty(n_rows)
    answer[order] = np.maximum.accumulate(p[::-1])[::-1]  # no row's is below that of a better one
    return answer
