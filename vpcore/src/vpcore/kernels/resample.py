"""Resampling of dependent series: block length, stationary bootstrap."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from vpcore.kernels.jit import jit
from vpcore.kernels.random import below, uniform

_Array = npt.NDArray[Any]


@jit
def moments(x: _Array, out: _Array) -> None:
    """Write mean, standard deviation (n - 1), skewness and kurtosis (3 for a normal) of a series.

    Parameters
    ----------
    x : int64[n]
        The series.
    out : float64[4], written
        NaN where undefined: skewness and kurtosis of equal values, the deviation of fewer than two.
    """
    n = x.shape[0]
    for i in range(4):
        out[i] = np.nan
    if n == 0:
        return
    total = 0
    for i in range(n):
        total += x[i]
    mean = total / n
    second = 0.0
    third = 0.0
    fourth = 0.0
    for i in range(n):
        d = x[i] - mean
        second += d * d
        third += d * d * d
        fourth += d * d * d * d
    out[0] = mean
    if n > 1:
        out[1] = math.sqrt(second / (n - 1))
    if second > 0.0:
        variance = second / n
        out[2] = third / n / (variance * math.sqrt(variance))
        out[3] = fourth / n / (variance * variance)


@jit
def politis_white(x: _Array) -> float:
    """Return the mean block length of the stationary bootstrap that suits the mean of a series; at least 1.

    Politis and White (2004) with the correction of Patton, Politis and White (2009), in the form of ``arch``'s
    `optimal_block_length`: a flat-top window up to twice the lag after which five correlations in a row are small.

    Parameters
    ----------
    x : int64[n] or float64[n]
        The series in order. With fewer than 4 values, or equal ones, the answer is 1.
    """
    n = x.shape[0]
    if n < 4:
        return 1.0
    mean = 0.0
    for i in range(n):
        mean += x[i]
    mean /= n
    run = max(5, int(math.log10(n)))
    last = min(math.ceil(math.sqrt(n)) + run, n - 2)
    small = 2.0 * math.sqrt(math.log10(n) / n)
    covariance = np.zeros(last + 1, np.float64)
    total = 0.0
    for i in range(n):
        total += (x[i] - mean) * (x[i] - mean)
    if total <= 0.0:
        return 1.0
    found = -1
    quiet = 0
    for lag in range(last + 1):
        cross = 0.0
        left = 0.0
        right = 0.0
        for i in range(lag, n):
            a = x[i] - mean
            b = x[i - lag] - mean
            cross += a * b
            if i > lag:
                left += a * a
            if i < n - 1:
                right += b * b
        covariance[lag] = cross / n
        if lag >= run and quiet >= run and found < 0:
            found = lag - run
        scale = math.sqrt(left * right)
        quiet = quiet + 1 if scale <= 0.0 or abs(cross) < small * scale else 0
    m = last if found < 0 else min(2 * max(found, 1), last)
    slope = 0.0
    long_run = covariance[0]
    for k in range(1, m + 1):
        taper = 1.0 if 2 * k <= m else 2.0 * (1.0 - k / m)
        slope += 2.0 * taper * k * covariance[k]
        long_run += 2.0 * taper * covariance[k]
    most = math.ceil(min(3.0 * math.sqrt(n), n / 3.0))
    if long_run == 0.0:
        return most
    length = (slope * slope / (long_run * long_run)) ** (1.0 / 3.0) * n ** (1.0 / 3.0)
    return max(1.0, min(length, most))


@jit
def stationary_sums(x: _Array, mean_length: float, state: _Array, sums: _Array) -> None:
    """Write the sums of draws of the stationary bootstrap (Politis and Romano 1994).

    Blocks begin anywhere, have geometric lengths and wrap around.

    Parameters
    ----------
    x : int64[n]
        The series, n at least 1.
    mean_length : float
        Mean length of a block, at least 1.
    state : int64[4]
        Of `vpcore.kernels.random`; changed.
    sums : int64[n_draws], written
        Of n values each; exact.
    """
    n = x.shape[0]
    running = np.zeros(2 * n + 1, np.int64)
    for i in range(2 * n):
        running[i + 1] = running[i] + x[i % n]
    # Probability that a block is longer than i + 1. Walking along it beats a logarithm, whose bits are a library's.
    longer = np.empty(n, np.float64)
    chance = 1.0
    for i in range(n):
        chance *= 1.0 - 1.0 / mean_length
        longer[i] = chance
    for draw in range(sums.shape[0]):
        total = 0
        left = n
        while left > 0:
            start = below(state, n)
            length = 1
            if mean_length > 1.0:
                u = uniform(state)
                while length < left and u < longer[length - 1]:
                    length += 1
            total += running[start + length] - running[start]
            left -= length
        sums[draw] = total
