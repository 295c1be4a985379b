"""``pca_ad``: a direction that speaks when the profile around the mid is unlike the recent profiles.

Unsupervised: a rolling window of profiles, and no labels. The direction is the lean of pressure minus vacuum 1 to 3
ticks from the mid. With z the standardised profile, V its first r principal components and l their variances::

    t = V'z        T2 = sum_j t_j^2 / l_j  (Mahalanobis distance within the components, Hotelling)
                   Q  = |z - V t|^2        (reconstruction error, the squared prediction error)
    a = max(T2 / limit of T2, Q / limit of Q)          value = direction (1 - 1/a) where a > 1, else 0

The limits are quantiles over the profiles of the fit. Source of T2 and Q: J. E. Jackson, "A User's Guide to Principal
Components" (1991), chapter 2.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from pydantic import Field

from vpcore.kernels.jit import jit
from vpcore_signals_ml.book_features import PROFILE
from vpcore_signals_ml.labels import Floats
from vpcore_signals_ml.learning import LearningSignal
from vpcore_signals_ml.models import moments, standardise
from vpcore_signals_ml.schedule import ScheduleParams
from vpcore_signals_ml.selection import Training
from vpcore_signals_ml.state import LearningState

CELLS = 2 * PROFILE
LEAST = 1e-9
"""Variance of a component that counts, and least limit."""


class PcaAd(LearningSignal):
    """Rolling principal components of the profile: unusual ones let the lean at the touch speak."""

    prediction_mode = "confidence"
    features = (*(f"{side}_{d}" for side in ("bid", "ask") for d in range(1, PROFILE + 1)), "spot_3")
    standardised = False
    rows_alone = True

    class Params(ScheduleParams):
        """Parameters of ``pca_ad``."""

        train_window_bins: int = Field(
            12_000,
            ge=0,
            le=10_000_000,
            examples=[200, 18_000],
            description="Length of the rolling window of a fit; 0 for the whole past, in bins.",
        )
        components: int = Field(5, ge=1, le=CELLS, description="Principal components at most.")
        quantile: float = Field(0.8, gt=0.0, lt=1.0, description="Of both distances: an unusual profile is above it.")

    params: Params

    def examples(self, state: LearningState, row: int) -> Training | None:
        """Return the profiles up to a row that are in the window, one out of every stride."""
        p, seq = self.params, state.seq[: row + 1]
        chosen = (seq - seq[0]) % p.stride_bins == 0
        if p.train_window_bins:
            chosen &= seq > seq[row] - p.train_window_bins
        x = np.ascontiguousarray(state.x[: row + 1][chosen])
        none = np.empty(0)
        return Training(x, np.zeros(len(x)), np.ones(len(x)), x[:0], none, none) if len(x) > 1 else None

    def fit(self, training: Training) -> Any:
        """Return the components of the profiles."""
        from sklearn.decomposition import PCA

        p, profiles = self.params, np.ascontiguousarray(training.x[:, :CELLS])
        mean, scale = moments(profiles, training.weight)
        with np.errstate(invalid="ignore"):  # its share of the variance of a profile that never moves is 0 / 0
            pca = PCA(min(p.components, *profiles.shape), svd_solver="covariance_eigh").fit(standardise(profiles, mean, scale, False))
        counted = int((pca.explained_variance_ > LEAST).sum())
        model = {
            "mean": mean,
            "scale": scale,
            "components": np.ascontiguousarray(pca.components_[:counted]),
            "variances": pca.explained_variance_[:counted].copy(),
            "limits": np.ones(2),
        }
        limits = np.quantile(_distances(model, training.x), p.quantile, axis=0)
        return {**model, "limits": np.maximum(limits, LEAST)}

    def predict(self, model: Any, x: Floats) -> Floats:
        """Return gate times direction of every row."""
        unusual = np.maximum(_distances(model, x).max(axis=1), 1.0)
        value: Floats = x[:, CELLS] * (1.0 - 1.0 / unusual)
        return value


def _distances(model: Any, x: Floats) -> Floats:
    """Return T2 and Q of every profile over their limits, float64[n, 2]."""
    out = np.empty((len(x), 2))
    _measure(model["mean"], model["scale"], model["components"], model["variances"], model["limits"], x, out)
    return out


@jit
def _measure(
    mean: Floats, scale: Floats, components: Floats, variances: Floats, limits: Floats, x: Floats, out: Floats
) -> None:
    m = mean.shape[0]
    z = np.empty(m)
    for i in range(x.shape[0]):
        for j in range(m):
            z[j] = (x[i, j] - mean[j]) / scale[j]
        within = 0.0
        for c in range(variances.shape[0]):
            score = 0.0
            for j in range(m):
                score += components[c, j] * z[j]
            within += score * score / variances[c]
            for j in range(m):
                z[j] -= score * components[c, j]  # the components are orthogonal: the later scores stay
        left = 0.0
        for j in range(m):
            left += z[j] * z[j]
        out[i, 0] = within / limits[0]
        out[i, 1] = left / limits[1]
