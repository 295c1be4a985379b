"""The deflated Sharpe ratio: the significance of the best Sharpe ratio among many trials."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

_NORMAL = NormalDist()
_EULER = 0.5772156649015329


def expected_best_sharpe(variance: float, n_trials: int) -> float:
    """Return the expected Sharpe ratio of the best of many worthless trials (SR0).

    Parameters
    ----------
    variance : float
        Variance of the Sharpe ratios of the trials.
    n_trials : int
        Number of trials. They count as independent, so SR0 is an upper estimate.

    Notes
    -----
    Source: Bailey and Lopez de Prado (2014), equation 1. With one trial it is 0.
    """
    if n_trials < 2 or not variance > 0.0:
        return 0.0
    first = _NORMAL.inv_cdf(1.0 - 1.0 / n_trials)
    second = _NORMAL.inv_cdf(1.0 - 1.0 / (n_trials * math.e))
    return math.sqrt(variance) * ((1.0 - _EULER) * first + _EULER * second)


def deflated_sharpes(
    sharpe: npt.ArrayLike,
    n: npt.ArrayLike,
    skew: npt.ArrayLike,
    kurtosis: npt.ArrayLike,
    *,
    variance: float,
    n_trials: int,
) -> npt.NDArray[np.float64]:
    """Return the probability of each Sharpe ratio being above the best of worthless trials.

    Parameters
    ----------
    sharpe : float[n_rows]
        Mean over standard deviation of single observations, before annualisation.
    n : float[n_rows]
        Number of observations; for overlapping trades, their effective number.
    skew, kurtosis : float[n_rows]
        Skewness and kurtosis of the observations; a normal has kurtosis 3.
    variance : float
        Variance of the Sharpe ratios of all trials, in the same unit.
    n_trials : int
        Number of trials.

    Returns
    -------
    float64[n_rows]
        0 to 1; NaN for fewer than two observations, equal observations, or a NaN figure.

    Notes
    -----
    Source: Bailey and Lopez de Prado (2014), equation 2. Golden: annual 2.5 over 250 days, n 1250, 100 trials of
    variance 1/2 annual, skew -3, kurtosis 10: SR0 is 0.1132 per day, the probability 0.9004.
    """
    s, n, skew, kurtosis = (np.asarray(values, dtype=np.float64) for values in (sharpe, n, skew, kurtosis))
    best = expected_best_sharpe(variance, n_trials)
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        spread = 1.0 - skew * s + (kurtosis - 1.0) / 4.0 * s * s
        defined = np.isfinite(s) & np.isfinite(skew) & np.isfinite(kurtosis) & (n > 1.0) & ~(spread <= 0.0)
        score = (s - best) * np.sqrt(n - 1.0) / np.sqrt(spread)
    answer = np.full(s.shape, np.nan)
    answer[defined] = np.fromiter(map(_NORMAL.cdf, score[defined]), np.float64)
    return answer
