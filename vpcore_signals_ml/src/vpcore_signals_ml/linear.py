# mypy: disable-error-code="no-any-return"
"""Linear models: Newton fits and predictions in compiled loops of fixed order.

The fits are small (tens of features, thousands of examples), and a general library would hand their sums to a BLAS
whose last bits depend on the machine and on how memory is aligned. These do not, so that streaming, batch and every
number of workers end with the same bytes. They minimise, with standardised features z and weights of mean 1::

    logistic        C/n sum_i w_i log(1 + exp(-s_i f_i)) + |b|^2 / 2        f_i = b0 + b.z_i,  s_i = +-1
    squared hinge   C/n sum_i w_i max(0, 1 - s_i f_i)^2  + |b|^2 / 2        b0 is not penalised
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from vpcore.kernels.jit import jit
from vpcore_signals_ml.labels import Floats
from vpcore_signals_ml.selection import Training

LOGISTIC, SQUARED_HINGE = 0, 1
MAX_STEPS = 50
TOLERANCE = 1e-10
CLIP = 8.0
"""Standardised features beyond this count as this: one wild bin must not turn the sign of a prediction."""

LEAST_SLOPE = 0.01
"""Of Platt's sigmoid: with it a margin of 1, a good one, is a probability of 0.5025."""


class Linear(NamedTuple):
    """A fitted linear model: ``P(up) = sigmoid(slope * (b0 + b.z) + shift)``.

    Attributes
    ----------
    mean, scale, weights : float64[n_features]
        ``z = clip((x - mean) / scale)``.
    rest : float64[3]
        b0, slope, shift.
    """

    mean: Floats
    scale: Floats
    weights: Floats
    rest: Floats


@jit
def sigmoid(u: float) -> float:
    """Return ``1 / (1 + exp(-u))``, without overflow."""
    if u >= 0.0:
        return 1.0 / (1.0 + math.exp(-min(u, 700.0)))
    e = math.exp(max(u, -700.0))
    return e / (1.0 + e)


@jit
def _margin(model: Linear, x: Floats) -> float:
    total = model.rest[0]
    for f in range(x.shape[0]):
        z = (x[f] - model.mean[f]) / model.scale[f]
        total += model.weights[f] * min(max(z, -CLIP), CLIP)
    return total


@jit
def predict_linear(model: Linear, x: Floats, out: Floats) -> None:
    """Write P(up) of every row of `x` float64[n, n_features] to `out` float64[n], row by row."""
    for i in range(x.shape[0]):
        out[i] = sigmoid(model.rest[1] * _margin(model, x[i]) + model.rest[2])


@jit
def _solve(a: Floats, b: Floats) -> None:
    """Overwrite `b` with the solution of ``a b = b`` for a symmetric positive definite `a`, which is overwritten."""
    n = b.shape[0]
    for j in range(n):
        pivot = a[j, j]
        for k in range(j):
            pivot -= a[j, k] * a[j, k]
        pivot = math.sqrt(max(pivot, 1e-12))
        a[j, j] = pivot
        for i in range(j + 1, n):
            value = a[i, j]
            for k in range(j):
                value -= a[i, k] * a[j, k]
            a[i, j] = value / pivot
    for i in range(n):
        for k in range(i):
            b[i] -= a[i, k] * b[k]
        b[i] /= a[i, i]
    for i in range(n - 1, -1, -1):
        for k in range(i + 1, n):
            b[i] -= a[k, i] * b[k]
        b[i] /= a[i, i]


@jit
def _loss(loss: int, sf: float) -> float:
    if loss == LOGISTIC:
        return math.log1p(math.exp(-sf)) if sf > 0.0 else math.log1p(math.exp(sf)) - sf
    gap = max(0.0, 1.0 - sf)
    return gap * gap


@jit
def _objective(loss: int, z: Floats, s: Floats, w: Floats, c: float, beta: Floats) -> float:
    n, m = z.shape
    total = 0.0
    for i in range(n):
        f = beta[m]
        for j in range(m):
            f += beta[j] * z[i, j]
        total += w[i] * _loss(loss, s[i] * f)
    total *= c / n
    for j in range(m):
        total += beta[j] * beta[j] / 2.0
    return total


@jit
def newton(loss: int, z: Floats, s: Floats, w: Floats, c: float) -> Floats:
    """Return float64[m + 1], weights and then b0, at the minimum.

    Parameters
    ----------
    loss : int
        `LOGISTIC` or `SQUARED_HINGE`.
    z : float64[n, m]
        Standardised features.
    s : float64[n]
        +1 or -1.
    w : float64[n]
        Weights.
    c : float
        Weight of the data against the penalty.
    """
    n, m = z.shape
    beta = np.zeros(m + 1)
    value = _objective(loss, z, s, w, c, beta)
    hessian = np.empty((m + 1, m + 1))
    step = np.empty(m + 1)
    for _ in range(MAX_STEPS):
        for j in range(m + 1):
            step[j] = beta[j] if j < m else 0.0
            for k in range(m + 1):
                hessian[j, k] = 0.0
            hessian[j, j] = 1.0 if j < m else 1e-9
        for i in range(n):
            f = beta[m]
            for j in range(m):
                f += beta[j] * z[i, j]
            sf = s[i] * f
            if loss == LOGISTIC:
                p = sigmoid(-sf)
                slope = -p * s[i]
                curve = p * (1.0 - p)
            elif sf < 1.0:
                slope = -2.0 * (1.0 - sf) * s[i]
                curve = 2.0
            else:
                continue
            slope *= w[i] * c / n
            curve *= w[i] * c / n
            for j in range(m):
                step[j] += slope * z[i, j]
                part = curve * z[i, j]
                for k in range(j + 1):
                    hessian[j, k] += part * z[i, k]
                hessian[m, j] += part
            step[m] += slope
            hessian[m, m] += curve
        _solve(hessian, step)
        size = 1.0
        better = False
        for _ in range(30):
            trial = beta - size * step
            found = _objective(loss, z, s, w, c, trial)
            if found < value:
                better = True
                break
            size /= 2.0
        if not better:
            break
        gain = value - found
        beta = trial
        value = found
        if gain <= TOLERANCE * max(1.0, abs(value)):
            break
    return beta


@jit
def moments(x: Floats, w: Floats, mean: Floats, scale: Floats) -> None:
    """Write the weighted mean and deviation of every column; a column that does not vary has the scale 1."""
    n, m = x.shape
    total = 0.0
    for i in range(n):
        total += w[i]
    for j in range(m):
        first = 0.0
        for i in range(n):
            first += w[i] * x[i, j]
        mean[j] = first / total
        second = 0.0
        for i in range(n):
            second += w[i] * (x[i, j] - mean[j]) ** 2
        deviation = math.sqrt(second / total)
        scale[j] = deviation if deviation > 1e-12 * max(1.0, abs(mean[j])) else 1.0


@jit
def standardise(x: Floats, mean: Floats, scale: Floats) -> Floats:
    """Return the clipped z of every value, float64[n, n_features]."""
    out = np.empty_like(x)
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            out[i, j] = min(max((x[i, j] - mean[j]) / scale[j], -CLIP), CLIP)
    return out


def fit_linear(training: Training, loss: int, c: float) -> Linear:
    """Fit a linear model; scaler and weights see the training part only.

    A squared-hinge margin becomes a probability by Platt's sigmoid on the validation part. Where that part does not
    confirm the direction the slope is `LEAST_SLOPE`: the model keeps its order, and says next to nothing.
    """
    m = training.x.shape[1]
    mean, scale = np.empty(m), np.empty(m)
    moments(training.x, training.weight, mean, scale)
    signs = np.where(training.y == 1.0, 1.0, -1.0)
    beta = newton(loss, standardise(training.x, mean, scale), signs, training.weight, c)
    model = Linear(mean, scale, np.ascontiguousarray(beta[:m]), np.array([beta[m], 1.0, 0.0]))
    if loss == SQUARED_HINGE and len(training.y_valid):
        calibrate(model, training)
    return model


def calibrate(model: Linear, training: Training) -> None:
    """Write Platt's sigmoid, fitted on the validation part, into a model; see `fit_linear`."""
    margins = np.empty(len(training.y_valid))
    z = standardise(training.x_valid, model.mean, model.scale)
    margin_of(z, model.weights, model.rest[0], margins)
    signs = np.where(training.y_valid == 1.0, 1.0, -1.0)
    fitted = newton(LOGISTIC, margins.reshape(-1, 1), signs, training.weight_valid, float(len(margins)))
    confirmed = fitted[0] > LEAST_SLOPE
    model.rest[1] = float(fitted[0]) if confirmed else LEAST_SLOPE
    model.rest[2] = float(fitted[1]) if confirmed else 0.0


@jit
def margin_of(z: Floats, weights: Floats, intercept: float, out: Floats) -> None:
    """Write ``intercept + z.weights`` of every row."""
    for i in range(z.shape[0]):
        total = intercept
        for j in range(z.shape[1]):
            total += weights[j] * z[i, j]
        out[i] = total
