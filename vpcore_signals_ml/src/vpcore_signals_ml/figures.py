"""Errors of figures over predictions that share outcomes: whole blocks of time are the independent units.

Predictions a few bins apart share their outcome, so the standard error of independent predictions is far too small.
Blocks are longer than a usual trade.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from vpcore_signals_ml.labels import Floats, Ints

Z95 = 1.96


class Estimate(NamedTuple):
    """A figure and its standard error; NaN where it is undefined."""

    value: float
    error: float

    @property
    def interval(self) -> tuple[float, float, float]:
        """The figure, at least 0, and the bounds of its 95 % interval, at least 0."""
        return self.value, max(0.0, self.value - Z95 * self.error), self.value + Z95 * self.error

    @property
    def share_interval(self) -> tuple[float, float, float]:
        """The figure, a share of 0 to 1, and its 95 % interval on the logit scale, which stays within 0 and 1.

        Source: Pepe (2003), "The Statistical Evaluation of Medical Tests", section 5.2.
        """
        value, error = self
        if not 0.0 < value < 1.0 or np.isnan(error):
            return value, np.nan, np.nan
        centre, step = np.log(value / (1.0 - value)), Z95 * error / (value * (1.0 - value))
        return value, float(1.0 / (1.0 + np.exp(step - centre))), float(1.0 / (1.0 + np.exp(-step - centre)))


def auc(scores: Floats, y: Floats) -> float:
    """Return the probability that an example of class 1 scores above one of class 0, ties counted half.

    NaN if either class is missing.
    """
    return auc_estimate(scores, y, np.zeros(len(y), dtype=np.int64)).value


def auc_estimate(scores: Floats, y: Floats, block: Ints) -> Estimate:
    """Return the AUC and its standard error by DeLong's placements, summed over blocks.

    Parameters
    ----------
    scores, y : float64[n]
        Predictions and outcomes (1 up, 0 down).
    block : int64[n]
        The block of time of each. One example per block gives the error of DeLong, DeLong and Clarke-Pearson (1988).

    References
    ----------
    N. A. Obuchowski, "Nonparametric analysis of clustered ROC curve data" (1997), Biometrics 53.
    """
    from scipy.stats import rankdata  # half a second, which a list of the signals does not pay

    up = y == 1.0
    m, n = int(up.sum()), int((~up).sum())
    if not m or not n:
        return Estimate(np.nan, np.nan)
    rank, (blocks, place) = rankdata(scores), np.unique(block, return_inverse=True)
    # The share of downs below each up, and of ups above each down.
    won, lost = (rank[up] - rankdata(scores[up])) / n, 1.0 - (rank[~up] - rankdata(scores[~up])) / m
    value, k = float(won.mean()), len(blocks)
    above, beneath = np.bincount(place[up], won - value, k), np.bincount(place[~up], lost - value, k)
    with_ups, with_downs = len(np.unique(place[up])), len(np.unique(place[~up]))
    if min(with_ups, with_downs, k) < 2:
        return Estimate(value, np.nan)
    variance = with_ups / (with_ups - 1) * (above @ above) / m**2
    variance += with_downs / (with_downs - 1) * (beneath @ beneath) / n**2
    variance += 2.0 * k / (k - 1) * (above @ beneath) / (m * n)
    return Estimate(value, float(np.sqrt(max(float(variance), 0.0))))


def mean_estimate(values: Floats, block: Ints) -> Estimate:
    """Return the mean of float64[n] and its standard error; `block` as in `auc_estimate`."""
    if not len(values):
        return Estimate(np.nan, np.nan)
    blocks, place = np.unique(block, return_inverse=True)
    mean, k = float(values.mean()), len(blocks)
    sums = np.bincount(place, values - mean)
    return Estimate(mean, float(np.sqrt(k / (k - 1) * (sums @ sums))) / len(values) if k > 1 else np.nan)
