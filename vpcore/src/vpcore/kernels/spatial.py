# mypy: disable-error-code="no-any-return"
"""Steps across the cells of one frame: band means, weighted sums of each side, entropy; and distance weights.

A row is float64[n_cells], the cell of distance ``k`` at index ``k + radius``. Sums of the bid side (k < 0) and of the
ask side (k > 0) run outwards from the touch in the same order, so that mirroring the row swaps them to the bit.

NaN policy: a NaN among the summands makes the result NaN.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from vpcore.kernels.jit import jit

Floats = npt.NDArray[np.float64]
Rows = npt.NDArray[np.float32] | npt.NDArray[np.float64]


def inverse_distance_weights(radius: int, power: float = 1.0) -> npt.NDArray[np.float64]:
    """Return float64[radius + 1]: 0 at distance 0, ``|k| ** -power`` beyond."""
    weights = np.zeros(radius + 1)
    weights[1:] = np.arange(1, radius + 1, dtype=np.float64) ** -power
    return weights


def exponential_weights(radius: int, decay: float, exclude: int = 0) -> npt.NDArray[np.float64]:
    """Return float64[radius + 1]: ``exp(-decay * (|k| - 1))``, 0 at distance 0 and up to distance `exclude`."""
    weights = np.exp(-decay * (np.arange(radius + 1, dtype=np.float64) - 1.0))
    weights[: exclude + 1] = 0.0
    return weights


@jit
def widen(row: Rows, out: Floats) -> None:
    """Copy a row of any float type into float64[n_cells], so that batch loops see the values of a stream."""
    for i in range(row.shape[0]):
        out[i] = row[i]


@jit
def bid_mean(row: Rows, near: int, far: int) -> float:
    """Return the mean over the bid side's cells at distances `near` to `far`, both included; ``1 <= near <= far``."""
    radius = row.shape[0] >> 1
    total = 0.0
    for distance in range(near, far + 1):
        total += row[radius - distance]
    return total / (far - near + 1)


@jit
def ask_mean(row: Rows, near: int, far: int) -> float:
    """Return the mean over the ask side's cells at distances `near` to `far`, both included; ``1 <= near <= far``."""
    radius = row.shape[0] >> 1
    total = 0.0
    for distance in range(near, far + 1):
        total += row[radius + distance]
    return total / (far - near + 1)


@jit
def bid_weighted(row: Rows, weights: Floats) -> float:
    """Return ``sum(weights[|k|] * row)`` over the bid side; `weights` is indexed by distance, its entry 0 unused."""
    radius = row.shape[0] >> 1
    total = 0.0
    for distance in range(1, radius + 1):
        total += weights[distance] * row[radius - distance]
    return total


@jit
def ask_weighted(row: Rows, weights: Floats) -> float:
    """Return ``sum(weights[|k|] * row)`` over the ask side; `weights` is indexed by distance, its entry 0 unused."""
    radius = row.shape[0] >> 1
    total = 0.0
    for distance in range(1, radius + 1):
        total += weights[distance] * row[radius + distance]
    return total


@jit
def entropy_of_counts(first: int, second: int, third: int) -> float:
    """Return the Shannon entropy of three counts, divided by its maximum, in [0, 1]; 0 if all are 0.

    The terms are added in the order of the counts' sizes, so that swapping two counts keeps every bit.
    """
    total = first + second + third
    if total == 0:
        return 0.0
    low = min(first, second, third)
    high = max(first, second, third)
    middle = total - low - high
    entropy = 0.0
    if low > 0:
        entropy -= low / total * math.log(low / total)
    if middle > 0:
        entropy -= middle / total * math.log(middle / total)
    if 0 < high < total:
        entropy -= high / total * math.log(high / total)
    return entropy / math.log(3.0)


@jit
def entropy(weights: Floats) -> float:
    """Return the Shannon entropy, in nats, of non-negative weights float64[n]; 0 if they sum to 0."""
    total = 0.0
    for i in range(weights.shape[0]):
        total += weights[i]
    if not total > 0.0:
        return 0.0
    value = 0.0
    for i in range(weights.shape[0]):
        if weights[i] > 0.0:
            share = weights[i] / total
            value -= share * math.log(share)
    return value + 0.0
