# mypy: disable-error-code="no-any-return"
"""A linear support vector machine that learns example by example: stochastic gradient descent on the hinge loss.

With standardised features z, weights v of mean 1 and s = +-1 it goes down the slope of::

    alpha/2 |b|^2 + mean_i v_i max(0, 1 - s_i f_i)        f_i = b0 + b.z_i,  b0 is not penalised

one example at a time, its step the t-th with the rate ``eta / (1 + alpha eta t)``::

    b  <- (1 - rate alpha) b,   and where s f < 1:   b <- b + rate v s z,   b0 <- b0 + rate v s

A full fit passes `epochs` times over the training part, each time in another order. What predicts is the average of
the weights over the last pass (Polyak and Juditsky 1992); later examples move it with the weight that each of the last
pass had. One loop in a fixed order: the bits depend on neither a library nor how examples are cut into calls.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from vpcore.kernels.jit import jit
from vpcore.kernels.random import bits32, seeded
from vpcore_signals_ml.labels import Floats, Ints
from vpcore_signals_ml.linear import Linear, calibrate, moments, standardise
from vpcore_signals_ml.selection import Training

STEPS, AVERAGED, HORIZON, DOWN_WEIGHT, UP_WEIGHT = range(5)
"""Places in `Incremental.counters`."""

SHUFFLE_STREAM = 1


class Incremental(NamedTuple):
    """A linear model that can go on learning.

    Attributes
    ----------
    linear : Linear
        What predicts: the averaged weights, scaler and Platt's sigmoid.
    iterate : float64[n_features + 1]
        The weights of the last step, then b0.
    counters : float64[5]
        Steps so far; steps in the average; at most how many count; what an example of either class weighs.
    """

    linear: Linear
    iterate: Floats
    counters: Floats


class Path(NamedTuple):
    """Where a descent has come to; every array is written.

    Attributes
    ----------
    iterate, average : float64[m + 1]
        Weights and b0; `average` only where the horizon is above 0.
    counters : float64[5]
        See `Incremental.counters`.
    """

    iterate: Floats
    average: Floats
    counters: Floats


@jit
def descend(z: Floats, s: Floats, v: Floats, order: Ints, alpha: float, eta: float, path: Path) -> None:
    """Take one step per example; see the module.

    Parameters
    ----------
    z : float64[n, m]
        Standardised features.
    s, v : float64[n]
        +1 or -1, and the weight.
    order : int64[k]
        Which examples, in which order.
    alpha, eta : float
        Penalty, and rate of the first step.
    path : Path, written
        Where it starts and ends.
    """
    m = z.shape[1]
    iterate, average, c = path.iterate, path.average, path.counters
    for o in range(order.shape[0]):
        i = order[o]
        rate = eta / (1.0 + alpha * eta * c[STEPS])
        f = iterate[m]
        for j in range(m):
            f += iterate[j] * z[i, j]
        keep = 1.0 - rate * alpha
        push = rate * v[i] * s[i] if s[i] * f < 1.0 else 0.0
        for j in range(m):
            iterate[j] = keep * iterate[j] + push * z[i, j]
        iterate[m] += push
        c[STEPS] += 1.0
        if c[HORIZON] > 0.0:
            c[AVERAGED] = min(c[AVERAGED] + 1.0, c[HORIZON])
            for j in range(m + 1):
                average[j] += (iterate[j] - average[j]) / c[AVERAGED]


@jit
def shuffle(order: Ints, random: Ints) -> None:
    """Bring a vector into a random order (Fisher and Yates)."""
    for i in range(order.shape[0] - 1, 0, -1):
        j = (bits32(random) * (i + 1)) >> 32
        held = order[i]
        order[i] = order[j]
        order[j] = held


def fit_incremental(training: Training, *, alpha: float, eta: float, epochs: int, seed: int) -> Incremental:
    """Fit a model from nothing on the training part, calibrate it on the validation part, then learn that part too.

    Parameters
    ----------
    training : Training
        Examples. Scaler and class weights see the training part only.
    alpha, eta : float
        See the module.
    epochs : int
        Passes.
    seed : int
        Of their orders.
    """
    n, m = training.x.shape
    mean, scale = np.empty(m), np.empty(m)
    moments(training.x, training.weight, mean, scale)
    z = standardise(training.x, mean, scale)
    signs = np.where(training.y == 1.0, 1.0, -1.0)
    iterate, average, counters = np.zeros(m + 1), np.zeros(m + 1), np.zeros(5)
    order, random = np.arange(n), seeded(seed, SHUFFLE_STREAM)
    for epoch in range(epochs):
        counters[HORIZON] = n if epoch == epochs - 1 else 0
        shuffle(order, random)
        descend(z, signs, training.weight, order, alpha, eta, Path(iterate, average, counters))
    counters[DOWN_WEIGHT] = training.weight[training.y == 0.0].mean()
    counters[UP_WEIGHT] = training.weight[training.y == 1.0].mean()
    linear = Linear(mean, scale, np.ascontiguousarray(average[:m]), np.array([average[m], 1.0, 0.0]))
    if training.n_valid:
        calibrate(linear, training)
    model = Incremental(linear, iterate, counters)
    return learn(model, training.x_valid, training.y_valid, alpha=alpha, eta=eta)


def learn(model: Incremental, x: Floats, y: Floats, *, alpha: float, eta: float) -> Incremental:
    """Return the model after one step per example, in their order; the given one stays as it is.

    Scaler, Platt's sigmoid and class weights remain those of the last full fit.

    Parameters
    ----------
    model : Incremental
        Where to go on.
    x : float64[n, n_features]
        New examples.
    y : float64[n]
        1 where the long paid, 0 where the short did.
    alpha, eta : float
        See the module.
    """
    linear = model.linear
    m = len(linear.weights)
    average = np.append(linear.weights, linear.rest[0])
    iterate, counters = model.iterate.copy(), model.counters.copy()
    weight = np.where(y == 1.0, counters[UP_WEIGHT], counters[DOWN_WEIGHT])
    z = standardise(np.ascontiguousarray(x), linear.mean, linear.scale)
    signs, path = np.where(y == 1.0, 1.0, -1.0), Path(iterate, average, counters)
    descend(z, signs, weight, np.arange(len(y)), alpha, eta, path)
    rest = np.array([average[m], linear.rest[1], linear.rest[2]])
    return Incremental(linear._replace(weights=np.ascontiguousarray(average[:m]), rest=rest), iterate, counters)
