"""Random draws of the simulated markets: exponential waiting times and choices by probability."""

from __future__ import annotations

from typing import Any

from vpcore.kernels.jit import jit
from vpcore.kernels.random import uniform


@jit(borrows=True)
def exponential(state: Any) -> float:
    """Return an exponential variate of mean 1, by von Neumann's comparisons, which avoid a library's logarithm and its
    last bit.
    """
    whole = 0.0
    while True:
        first = uniform(state)
        low = first
        run = 1
        while True:
            u = uniform(state)
            if u >= low:
                break
            low = u
            run += 1
        if run % 2 == 1:
            return whole + first
        whole += 1.0


@jit(borrows=True)
def normal(state: Any) -> float:
    """Return a variate of mean 0 and variance 1, nearly normal: the sum of twelve uniform ones."""
    total = -6.0
    for _ in range(12):
        total += uniform(state)
    return total


@jit(borrows=True)
def pick(state: Any, cumulative: Any) -> int:
    """Return a random index; `cumulative` (float64[n], the last is 1) holds the running sum of its probabilities."""
    u = uniform(state)
    low = 0
    high = cumulative.shape[0] - 1
    while low < high:
        middle = (low + high) // 2
        if u < cumulative[middle]:
            high = middle
        else:
            low = middle + 1
    return low
