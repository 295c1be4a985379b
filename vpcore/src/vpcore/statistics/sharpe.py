"""The deflated Sharpe ratio: how sure one may be of a Sharpe ratio that is the best of many that were tried."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

_NORMAL = NormalDist()
_EULER = 0.5772156649015329


def expected_best_sharpe(variance: float, n_trials: int) -> float:
    """Return the Sharpe ratio that the best of many worthless trials is expected to show (SR0).

    Parameters
    ----------
    variance : float
        Of the Sharpe ratios of the trials.
    n_trials : int
        How many there were; taken as independent, which makes the answer too high rather than too low.

    Notes
    -----
    Source: Bailey and Lopez de Prado (2014), equation 1. With one trial it is 0.
    """
    if n_trials < 2 or not variance > 0.0:
        return 0.0
    first = _NORMAL.inv_cdf(1.0 - 1.0 / n_trials)
    second = _NORMAL.inv_cdf(1.0 - 1.0 / (n_trials * math.e))
    return math.sqrt(variance) * ((1.0 - _EULER) * first + _EULER * second)


def deflated_sharpe(
    sharpe: float, n: float, skew: float, kurtosis: float, *, variance: float, n_trials: int
) -> float | None:
    """Return the probability that a Sharpe ratio is above what the best of worthless trials would show.

    Parameters
    ----------
    sharpe : float
        Mean over standard deviation of single observations, not annualised.
    n : float
        Number of observations; of overlapping trades, what they are worth as separate ones.
    skew, kurtosis : float
        Of the observations; kurtosis is 3 for a normal.
    variance : float
        Of the Sharpe ratios of all trials, in the same unit.
    n_trials : int
        Number of trials.

    Returns
    -------
    float or None
        0 to 1; None where it is not defined: fewer than two observations, equal ones, or a figure that is NaN.

    Notes
    -----
    Source: Bailey and Lopez de Prado (2014), equation 2. Golden: annual 2.5 over 250 days, n 1250, 100 trials of
    variance 1/2 annual, skew -3, kurtosis 10: SR0 is 0.1132 per day, the answer 0.9004.
    """
    (found,) = deflated_sharpes([sharpe], [n], [skew], [kurtosis], variance=variance, n_trials=n_trials)
    return found


def deflated_sharpes(
    sharpe: npt.ArrayLike,
    n: npt.ArrayLike,
    skew: npt.ArrayLike,
    kurtosis: npt.ArrayLike,
    *,
    variance: float,
    n_trials: int,
) -> list[float | None]:
    """Return `deflated_sharpe` of many rows; NaN stands for a figure that is missing."""
    s, n, skew, kurtosis = (np.asarray(values, dtype=np.float64) for values in (sharpe, n, skew, kurtosis))
    best = expected_best_sharpe(variance, n_trials)
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        spread = 1.0 - skew * s + (kurtosis - 1.0) / 4.0 * s * s
        defined = np.isfinite(s) & np.isfinite(skew) & np.isfinite(kurtosis) & (n > 1.0) & ~(spread <= 0.0)
        score = (s - best) * np.sqrt(n - 1.0) / np.sqrt(spread)
    return [_NORMAL.cdf(z) if known else None for z, known in zip(score.tolist(), defined.tolist(), strict=True)]
