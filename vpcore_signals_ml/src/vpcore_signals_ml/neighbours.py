# mypy: disable-error-code="no-any-return"
"""Nearest neighbours: what became of the examples most like this one. One compiled loop over all of them.

Distances are Euclidean over standardised, clipped features. Of equally distant examples the later one is nearer, so
that a tie has one outcome. An example that is farther than the k-th nearest so far is left as soon as that is known.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from vpcore.kernels.jit import jit
from vpcore_signals_ml.labels import Floats
from vpcore_signals_ml.linear import CLIP, moments, standardise
from vpcore_signals_ml.selection import Training


class Neighbours(NamedTuple):
    """The examples of a fit, the latest first.

    Attributes
    ----------
    mean, scale : float64[n_features]
        ``z = clip((x - mean) / scale)``.
    z : float64[n, n_features]
    side : float64[n]
        +1 where the long paid, -1 where the short did, 0 where neither.
    weight : float64[n]
        Mean 1; up and down weigh the same.
    """

    mean: Floats
    scale: Floats
    z: Floats
    side: Floats
    weight: Floats


@jit
def predict_nearest(model: Neighbours, k: int, x: Floats, out: Floats) -> None:
    """Write P(up) - P(down) among the `k` nearest examples of every row of `x` float64[n, n_features] to `out`."""
    n, m = model.z.shape
    k = min(k, n)
    distance = np.empty(k)
    nearest = np.empty(k, dtype=np.int64)
    z = np.empty(m)
    for i in range(x.shape[0]):
        for j in range(m):
            z[j] = min(max((x[i, j] - model.mean[j]) / model.scale[j], -CLIP), CLIP)
        found = 0
        for e in range(n):
            limit = distance[k - 1] if found == k else np.inf
            d = 0.0
            for j in range(m):
                gap = model.z[e, j] - z[j]
                d += gap * gap
                if d >= limit:
                    break
            if d >= limit:
                continue
            place = found if found < k else k - 1
            found = min(found + 1, k)
            while place > 0 and distance[place - 1] > d:
                distance[place] = distance[place - 1]
                nearest[place] = nearest[place - 1]
                place -= 1
            distance[place] = d
            nearest[place] = e
        votes = 0.0
        total = 0.0
        for p in range(found):
            votes += model.weight[nearest[p]] * model.side[nearest[p]]
            total += model.weight[nearest[p]]
        out[i] = votes / total if total > 0.0 else 0.0  # all of them so old that their weight has decayed to 0


def fit_neighbours(training: Training) -> Neighbours:
    """Keep the examples, standardised."""
    m = training.x.shape[1]
    mean, scale = np.empty(m), np.empty(m)
    moments(training.x, training.weight, mean, scale)
    z = standardise(training.x, mean, scale)
    side = 2.0 * training.y - 1.0
    latest_first = [np.ascontiguousarray(array[::-1]) for array in (z, side, training.weight)]
    return Neighbours(mean, scale, *latest_first)
