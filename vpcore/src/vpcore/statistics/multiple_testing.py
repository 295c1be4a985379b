"""P-values and q-values of many rows: step-down over the maximum, false discovery rate."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

_CHUNK_ROWS = 4096


def standardised(rotated: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """Return the PnL of each row, observed and after each rotation, in standard deviations from the row's mean.

    Parameters
    ----------
    rotated : int32[n_rows, 1 + n_draws]
        As stored: first the observed PnL of the row, then its PnL after each of the shared rotations.

    Returns
    -------
    float32[n_rows, 1 + n_draws]
        0 in a row with equal values. Mean and deviation include the first column: under the null it is one of the
        draws.
    """
    values = rotated.astype(np.float32)
    values -= rotated.mean(axis=1, keepdims=True, dtype=np.float64).astype(np.float32)
    scale = np.sqrt(np.einsum("ij,ij->i", values, values, dtype=np.float64) / max(values.shape[1], 1))
    values *= np.divide(1.0, scale, out=np.zeros_like(scale), where=scale > 0.0).astype(np.float32)[:, None]
    return values


class Matrix(Protocol):
    """An array of two axes, or what makes its rows when they are asked for."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of rows and of columns."""

    def __getitem__(self, rows: Any, /) -> npt.NDArray[Any]:
        """Return some rows, in memory of their own."""


def step_down(observed: npt.NDArray[Any], drawn: Matrix) -> npt.NDArray[np.float64]:
    """Return the p-value of each row adjusted for all rows, by step-down over the maximum.

    The p-value of the best row is the share of draws in which *any* row does as well. The p-value of the next row
    leaves out the best row, and so on.

    Parameters
    ----------
    observed : float[n_rows]
        The statistic of each row, the larger the better, on a scale that rows have in common.
    drawn : float[n_rows, n_draws]
        The same under the null. A column is one draw for all rows at once, so that they keep their dependence. Rows are
        read in parts, once each, by their numbers: a large matrix may lie on disk.

    Returns
    -------
    float64[n_rows]
        ``(1 + #{draws as good}) / (n_draws + 1)``, and at least the p-value of every better row. Any order of the
        rows gives the same values.

    Notes
    -----
    Source: Romano and Wolf (2005), "Exact and approximate stepdown methods for multiple hypothesis testing", in the
    form of Romano and Wolf (2016) for p-values; the count as in Phipson and Smyth (2010).
    """
    if observed.ndim != 1 or len(drawn.shape) != 2 or drawn.shape[0] != observed.shape[0]:
        raise ValueError(
            "observed must be of shape (n_rows,) and drawn of shape (n_rows, n_draws), were "
            f"{observed.shape} and {drawn.shape}."
        )
    n_rows, n_draws = drawn.shape
    if n_rows == 0:
        return np.empty(0)
    order = np.argsort(observed, kind="stable")  # the worst first: the maximum then runs along the rows
    as_good = np.zeros(n_rows, dtype=np.int64)
    best: Any = -np.inf
    for first in range(0, n_rows, _CHUNK_ROWS):
        rows = order[first : first + _CHUNK_ROWS]
        part = drawn[rows]
        # Row by row: along the first axis numpy's own accumulation goes through memory column by column.
        for row in part:
            np.maximum(row, best, out=row)
            best = row
        as_good[first : first + _CHUNK_ROWS] = np.count_nonzero(part >= observed[rows, None], axis=1)
    p = (as_good + 1) / (n_draws + 1)
    answer = np.empty(n_rows)
    answer[order] = np.maximum.accumulate(p[::-1])[::-1]  # no row's is below that of a better one
    return answer


def benjamini_hochberg(p: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the q-value of each p-value: the lowest false discovery rate that accepts it as a discovery.

    Parameters
    ----------
    p : float64[n]
        P-values; NaN is left out.

    Returns
    -------
    float64[n]
        Q-values; NaN for NaN.

    Notes
    -----
    Source: Benjamini and Hochberg (1995). It holds for independent and for positively dependent tests; rows of one
    experiment on one market mostly depend positively.
    """
    q = np.full(p.shape, np.nan)
    known = np.flatnonzero(~np.isnan(p))
    if known.size:
        order = known[np.argsort(p[known], kind="stable")]
        scaled = p[order] * known.size / np.arange(1, known.size + 1)
        q[order] = np.minimum(np.minimum.accumulate(scaled[::-1])[::-1], 1.0)
    return q
