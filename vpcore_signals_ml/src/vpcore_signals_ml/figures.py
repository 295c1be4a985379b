"""How right probabilities were: AUC, log loss, Brier score, each with a standard error over blocks of time.

Predictions a few bins apart share their outcome, so a standard error that takes them for independent is far too small.
Here whole blocks of time are left out one after the other (jackknife): blocks are longer than a usual trade.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from vpcore_signals_ml.labels import Floats, Ints

EPSILON = 1e-12
Z95 = 1.96


class Estimate(NamedTuple):
    """A figure and its standard error; NaN where it is not defined."""

    value: float
    error: float

    @property
    def interval(self) -> tuple[float, float, float]:
        """The figure, and the bounds of its 95 % interval."""
        return self.value, self.value - Z95 * self.error, self.value + Z95 * self.error

    @property
    def share_interval(self) -> tuple[float, float, float]:
        """The figure, a share of 0 to 1, and its 95 % interval on the logit scale, which stays within 0 and 1.

        Source: Pepe (2003), "The Statistical Evaluation of Medical Tests", section 5.2.
        """
        value, error = self
        if not 0.0 < value < 1.0 or np.isnan(error):
            return value, float("nan"), float("nan")
        centre, step = np.log(value / (1.0 - value)), Z95 * error / (value * (1.0 - value))
        return value, float(1.0 / (1.0 + np.exp(step - centre))), float(1.0 / (1.0 + np.exp(-step - centre)))


def auc(scores: Floats, y: Floats) -> float:
    """Return the probability that an example of class 1 scores above one of class 0, ties counted half.

    NaN if either class is missing.
    """
    return _auc(*_won(scores, y))


def auc_estimate(scores: Floats, y: Floats, block: Ints) -> Estimate:
    """Return the AUC with its standard error.

    Parameters
    ----------
    scores, y : float64[n]
        Predictions and what happened (1 up, 0 down).
    block : int64[n]
        The block of time of each.
    """
    _, place = np.unique(block, return_inverse=True)
    n = int(place.max()) + 1 if len(place) else 0
    up = y == 1.0
    ups, downs = np.sort(scores[up]), np.sort(scores[~up])
    # Pairs won in all: by the ups of each block, and against the downs of each block. The pairs inside one are in both.
    won_by = np.bincount(place[up], _below(downs, scores[up]), n)
    won_against = np.bincount(place[~up], len(ups) - _below(ups, scores[~up]), n)
    n_up, n_down = np.bincount(place[up], minlength=n), np.bincount(place[~up], minlength=n)
    inside = np.zeros(n)
    order = np.argsort(place, kind="stable")
    edges = np.concatenate([[0], np.cumsum(n_up + n_down)])
    for b in range(n):
        rows = order[edges[b] : edges[b + 1]]
        inside[b] = _won(scores[rows], y[rows])[0]
    won = won_by.sum() - won_by - won_against + inside
    pairs = (len(ups) - n_up).astype(np.float64) * (len(downs) - n_down)
    left_out = np.divide(won, pairs, out=np.full(n, np.nan), where=pairs > 0)
    return Estimate(_auc(float(won_by.sum()), float(len(ups)) * len(downs)), _jackknife(left_out))


def mean_estimate(values: Floats, block: Ints) -> Estimate:
    """Return the mean of float64[n] with its standard error; `block` as in `auc_estimate`."""
    if not len(values):
        return Estimate(float("nan"), float("nan"))
    _, place = np.unique(block, return_inverse=True)
    total, count = np.bincount(place, values), np.bincount(place)
    rest = len(values) - count
    left_out = np.divide(values.sum() - total, rest, out=np.full(len(total), np.nan), where=rest > 0)
    return Estimate(float(values.mean()), _jackknife(left_out))


def log_losses(p: Floats, y: Floats) -> Floats:
    """Return minus the log of the probability that was given to what happened, float64[n]."""
    right = np.where(y == 1.0, p, 1.0 - p)
    losses: Floats = -np.log(np.clip(right, EPSILON, 1.0))
    return losses


def brier_losses(p: Floats, y: Floats) -> Floats:
    """Return the squared difference between probability and what happened, float64[n]."""
    losses: Floats = (p - y) ** 2
    return losses


def auc_across(sessions: Sequence[tuple[Floats, Floats]]) -> Estimate:
    """Return the AUC over all pairs of an up of one session and a down of another.

    Inside one short session the AUC of a walk-forward without any effect lies below 1/2 on average: a session that rose
    has taught its models to say up, and what is left of it holds the fewer ups. Across independent sessions it is 1/2.

    Parameters
    ----------
    sessions : sequence of (float64[n], float64[n])
        Predictions and what happened (1 up, 0 down) of three independent sessions or more.

    Returns
    -------
    Estimate
        The AUC, and its standard error by the jackknife over sessions.
    """
    n = len(sessions)
    won, pairs = np.zeros((n, n)), np.zeros((n, n))
    for a, (p, y) in enumerate(sessions):
        ups = p[y == 1.0]
        for b, (q, z) in enumerate(sessions):
            if a != b:
                downs = np.sort(q[z == 0.0])
                won[a, b], pairs[a, b] = _below(downs, ups).sum(), len(ups) * len(downs)
    kept = [np.delete(np.arange(n), a) for a in range(n)]
    left_out = np.array([_auc(won[np.ix_(rows, rows)].sum(), pairs[np.ix_(rows, rows)].sum()) for rows in kept])
    return Estimate(_auc(won.sum(), pairs.sum()), _jackknife(left_out))


def _below(ascending: Floats, values: Floats) -> Floats:
    """Return how many of the first are below each of the second, equal ones counted half."""
    places: npt.NDArray[np.int64] = np.searchsorted(ascending, values, "left")
    return (places + np.searchsorted(ascending, values, "right")) / 2.0


def _won(scores: Floats, y: Floats) -> tuple[float, float]:
    """Return how many pairs of an up and a down the up wins, and how many there are."""
    ups, downs = scores[y == 1.0], np.sort(scores[y == 0.0])
    return float(_below(downs, ups).sum()), float(len(ups)) * len(downs)


def _auc(won: float, pairs: float) -> float:
    return float(won / pairs) if pairs else float("nan")


def _jackknife(left_out: Floats) -> float:
    """Return the standard error of a figure from its values without one block each; NaN if fewer than two are there."""
    left_out = left_out[np.isfinite(left_out)]
    n = len(left_out)
    return float(np.sqrt((n - 1) / n * ((left_out - left_out.mean()) ** 2).sum())) if n > 1 else float("nan")
