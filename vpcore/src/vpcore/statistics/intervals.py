"""Intervals and reference rates of a take-profit rate."""

from __future__ import annotations

from typing import Any

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
        NaN where there were no attempts. 60 of 100 give 0.50200 and 0.69060.

    Notes
    -----
    The attempts are taken as independent, which overlapping trades are not: read it beside `n_eff`. Source: Wilson
    (1927), as in statsmodels ``proportion_confint(method="wilson")``.
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


def breakeven_rate(tp_ticks: Any, sl_ticks: Any, fee_ticks: float) -> Any:
    """Return the take-profit rate, of the trades that reach a barrier, at which they pay nothing after fees.

    At touch prices the spread is inside the barriers already; at mid prices the fee is the only cost. A stop that fills
    at its adverse extreme loses more than `sl_ticks`, so the true one is a little higher.
    """
    return (sl_ticks + fee_ticks) / (tp_ticks + sl_ticks)


def driftless_rate(tp_ticks: Any, sl_ticks: Any, mean_spread_ticks: Any, price: str) -> Any:
    """Return the take-profit rate, of the trades that reach a barrier, on a market without drift.

    At touch prices the trade starts a spread nearer to its stop: ``(sl - spread) / (tp + sl)``, with the mean spread at
    entry. At mid prices ``sl / (tp + sl)``. Never 0.5 by itself.
    """
    if price == "mid":
        return mean_spread_ticks * 0.0 + sl_ticks / (tp_ticks + sl_ticks)
    return (sl_ticks - mean_spread_ticks) / (tp_ticks + sl_ticks)
