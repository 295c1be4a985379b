"""A fitted model: scaling, estimator, calibration, and predictions equal for one row and for many.

Features are standardised by mean and deviation of the training part and clipped at `CLIP` deviations. A linear model
scores by one compiled dot product, row by row. Trees and boosted trees predict many rows at once, and the first and the
last row once more alone; any other estimator predicts row by row. A matrix product would give a row other last bits in
other company.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from vpcore import SignalError
from vpcore.kernels.jit import jit
from vpcore_signals_ml.labels import Floats
from vpcore_signals_ml.selection import Training

CLIP = 8.0
"""Largest standardised feature: one wild bin must not turn the sign of a prediction."""

LEAST_SLOPE = 0.01
"""Of a sigmoid that the validation part does not confirm: a margin of 1 is then a probability of 0.5025."""

_IN_BATCH = ("sklearn.tree", "sklearn.ensemble", "lightgbm")


class Fitted(NamedTuple):
    """A fitted model."""

    estimator: Any  # returned by `LearningSignal.fit`
    mean: Floats  # float64[n_features]: z = clip((x - mean) / scale)
    scale: Floats
    linear: Floats  # float64[n_features + 1], weights of z and the intercept of a linear model, or empty
    sigmoid: Floats  # slope and shift: value = 1 / (1 + exp(-(slope * score + shift))); NaN: the value is the score


@contextmanager
def one_thread() -> Iterator[None]:
    """Limit BLAS and OpenMP to one thread, as sums depend on their number; scikit-learn checks nothing twice."""
    import sklearn

    with (
        _pools("lightgbm" in sys.modules).limit(limits=1),
        sklearn.config_context(assume_finite=True, skip_parameter_validation=True),
    ):
        yield


@cache
def _pools(boosted: bool) -> Any:
    import sklearn.linear_model  # noqa: F401  # loads the libraries that are limited
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


def fit_weighted(model: Any, training: Training, seed: int = 1) -> Any:
    """Return an estimator after its fit on the training part, weighted where the estimator takes weights.

    Seeds that are None become `seed`, and numbers of jobs 1.
    """
    from sklearn import config_context
    from sklearn.utils.validation import has_fit_parameter

    params = model.get_params(deep=True)
    fixed = {name: seed for name in params if name.split("__")[-1] == "random_state" and params[name] is None}
    # LightGBM takes every core for None; scikit-learn takes one, and warns of a number where it has no effect.
    jobs = [name for name in params if name.split("__")[-1] == "n_jobs"]
    last = _core(model)
    boosted = type(last).__module__.startswith("lightgbm")
    model.set_params(**fixed, **{name: 1 for name in jobs if boosted or params[name] is not None})
    prefix = "" if last is model else f"{model.steps[-1][0]}__"
    weights = {f"{prefix}sample_weight": training.weight} if has_fit_parameter(last, "sample_weight") else {}
    with config_context(skip_parameter_validation=False):  # the parameters are the signal's own
        model.fit(training.x, training.y, **weights)
    # A booster alone is kept as text, without its wrapper.
    return getattr(model, "booster_", model)


def probability(estimator: Any, z: Floats) -> Floats:
    """Return P(up) of every row; a regressor's prediction counts as a probability."""
    if hasattr(estimator, "model_to_string"):
        found: Floats = estimator.predict(z, num_threads=1)
        return found
    if hasattr(estimator, "predict_proba"):
        return np.ascontiguousarray(estimator.predict_proba(z)[:, 1])
    if hasattr(estimator, "decision_function"):
        raise SignalError(
            f"A {type(estimator).__name__} gives no probabilities.",
            fix="Set calibrate = True, and let Params derive from ValidatedParams.",
        )
    return np.clip(np.asarray(estimator.predict(z), dtype=np.float64), 0.0, 1.0)


def score(estimator: Any, z: Floats) -> Floats:
    """Return the uncalibrated score of every row: the decision function, else the probability."""
    if hasattr(estimator, "decision_function"):
        return np.asarray(estimator.decision_function(z), dtype=np.float64)
    return probability(estimator, z)


def coefficients(estimator: Any) -> Floats:
    """Return the weights and then the intercept of a fitted linear classifier, empty of any other estimator."""
    if not hasattr(estimator, "coef_") or not hasattr(estimator, "decision_function"):
        return np.empty(0)
    return np.append(np.ravel(estimator.coef_), np.ravel(estimator.intercept_)).astype(np.float64)


def importance(estimator: Any, n: int) -> dict[str, Floats]:
    """Return the model's own importance of its features, by its name: weights, or gains of splits."""
    weights = coefficients(estimator)
    if len(weights) == n + 1:
        return {"weight": weights[:n]}
    if hasattr(estimator, "model_to_string"):
        return {"gain": estimator.feature_importance("gain").astype(np.float64)}
    gains = getattr(estimator, "feature_importances_", ())
    return {"gain": np.asarray(gains, dtype=np.float64)} if len(gains) == n else {}


def _core(estimator: Any) -> Any:
    return estimator[-1] if hasattr(estimator, "steps") else estimator


def predict_rows(predict: Callable[[Floats], Floats], z: Floats, estimator: Any, rows_alone: bool) -> Floats:
    """Return the prediction of every row with the bytes of a row alone.

    Rows are predicted at once by trees and where `rows_alone`, unless the first or the last gets other bytes alone.
    """

    def alone(i: int) -> Floats:
        return np.asarray(predict(z[i : i + 1]), dtype=np.float64)

    n = len(z)
    if n > 1 and (rows_alone or type(_core(estimator)).__module__.startswith(_IN_BATCH)):
        found = np.asarray(predict(z), dtype=np.float64)
        if all(alone(i).tobytes() == found[i : i + 1].tobytes() for i in (0, n - 1)):
            return found
    return np.concatenate([np.empty(0), *(alone(i) for i in range(n))])


def platt(scores: Floats, y: Floats, weight: Floats) -> Floats:
    """Return slope and shift of Platt's sigmoid: a logistic regression of the outcome on the score.

    A direction that the examples do not confirm says next to nothing.
    """
    if min((y == 1.0).sum(), (y == 0.0).sum()) >= 2:
        from sklearn.linear_model import LogisticRegression

        # Platt's outcomes lie between 0 and 1: an example counts in part as an up, in part as a down.
        ups, downs = weight[y == 1.0].sum(), weight[y == 0.0].sum()
        share = np.where(y == 1.0, (ups + 1.0) / (ups + 2.0), 1.0 / (downs + 2.0))
        both = np.concatenate([weight * share, weight * (1.0 - share)])
        mean, deviation = moments(scores.reshape(-1, 1), weight)
        z = np.tile((scores - mean) / deviation, 2).reshape(-1, 1)
        # The seed leaves numpy's global generator alone; it decides nothing.
        model = LogisticRegression(C=1000.0, solver="liblinear", tol=1e-3, random_state=0)
        model.fit(z, np.repeat([1.0, 0.0], len(y)), both)
        slope, shift = coefficients(model) / (deviation[0], 1.0)
        if slope > LEAST_SLOPE:
            return np.array([slope, shift - slope * mean[0]])
    return np.array([LEAST_SLOPE, 0.0])


@jit
def moments(x: Floats, weight: Floats) -> tuple[Floats, Floats]:
    """Return mean and deviation of every column, float64[n_features] each; the deviation of a constant is 1."""
    n, m = x.shape
    total = 0.0
    mean, scale = np.zeros(m), np.zeros(m)
    for i in range(n):
        total += weight[i]
        for j in range(m):
            mean[j] += weight[i] * x[i, j]
    for j in range(m):
        mean[j] /= total
    for i in range(n):
        for j in range(m):
            scale[j] += weight[i] * (x[i, j] - mean[j]) * (x[i, j] - mean[j])
    for j in range(m):
        deviation = math.sqrt(scale[j] / total)
        scale[j] = deviation if deviation > 1e-12 * max(1.0, abs(mean[j])) else 1.0
    return mean, scale


@jit
def standardise(x: Floats, mean: Floats, scale: Floats, clip: bool) -> Floats:
    """Return the standardised value of every feature, float64[n, n_features]; NaN where it is missing."""
    out = np.empty((x.shape[0], x.shape[1]))
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            z = (x[i, j] - mean[j]) / scale[j]
            out[i, j] = min(max(z, -CLIP), CLIP) if clip and not math.isnan(z) else z
    return out


@jit
def linear_scores(linear: Floats, z: Floats) -> Floats:
    """Return the score of every row by a linear model; NaN without every feature."""
    m = z.shape[1]
    out = np.empty(z.shape[0])
    for i in range(z.shape[0]):
        out[i] = linear[m]
        for j in range(m):
            out[i] += linear[j] * z[i, j]
    return out
