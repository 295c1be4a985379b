"""Intervals of a proportion."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Z_95 = 1.959963984540054
"""The 97.5 % quantile of the standard normal distribution."""


def wilson(hits: npt.ArrayLike, trades: npt.ArrayLike) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return the Wilson 95 % interval of a proportion.

    Parameters
    ----------
    hits, trades : int array or int
        Successes and attempts.

    Returns
    -------
    lo, hi : float64 arrays
        Bounds; NaN for 0 attempts. 60 of 100 give 0.50200 and 0.69060.

    Notes
    -----
    The formula assumes independent attempts; overlapping trades are dependent, so read it beside `n_eff`. Source:
    Wilson (1927), as in statsmodels ``proportion_confint(method="wilson")``.
    """
    k = np.asarray(hits, dtype=np.float64)
    n = np.asarray(trades, dtype=np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        share = k / n
        width = 1.0 + Z_95 * Z_95 / n
        centre = (share + Z_95 * Z_95 / (2.0 * n)) / width
        half = Z_95 * np.sqrt(share * (1.0 - share) / n + Z_95 * Z_95 / (4.0 * n * n)) / width
    # The bounds of 0 and of n hits are 0 and 1 exactly; the formula misses them by rounding.
    lo = np.where(k == 0, 0.0, centre - half)
    hi = np.where(k == n, 1.0, centre + half)
    none = n == 0
    return np.where(none, np.nan, lo), np.where(none, np.nan, hi)
