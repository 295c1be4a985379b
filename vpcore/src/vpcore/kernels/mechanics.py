"""Exponential mechanics of a price level: velocity, acceleration, jerk and mass of its impulse trains.

A level holds three decayed sums per quantity (time constants v, a, j) and one (rest) for add, pull and fill. They are
advanced only when an impulse arrives, by ``exp(-dt / tau)`` in one step; reading leaves them unchanged. So the bits
depend on events alone, whatever the bin width, chunks and reading times.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from vpcore.kernels.decay import N_TAUS
from vpcore.kernels.jit import jit

# Places of a quantity's accumulators. Bid and ask have no use for the last, which stays 0.
ACC_V, ACC_A, ACC_J, ACC_REST = range(N_TAUS)
N_MASSES = 3


@jit(inline=True, borrows=True)
def impulse(acc, level, quantity, size):
    """Add `size` contracts (float, signed) to a quantity of a level that has been advanced to the present."""
    first = N_TAUS * quantity
    acc[level, first + ACC_V] += size
    acc[level, first + ACC_A] += size
    acc[level, first + ACC_J] += size
    if quantity < N_MASSES:
        acc[level, first + ACC_REST] += size


def chain_coefficients(tau_v: float, tau_a: float, tau_j: float) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return the six partial-fraction coefficients of the chain velocity -> acceleration -> jerk.

    Parameters
    ----------
    tau_v, tau_a, tau_j : float
        Time constants in seconds, pairwise different.

    Returns
    -------
    float64[6]
        ``v = c0 S_v``, ``a = c1 S_v + c2 S_a``, ``j = c3 S_v + c4 S_a + c5 S_j`` in contracts per s, s^2 and s^3.
    """
    return np.array(
        [
            1.0 / tau_v,
            -1.0 / (tau_v * (tau_v - tau_a)),
            -1.0 / (tau_a * (tau_a - tau_v)),
            1.0 / (tau_v * (tau_v - tau_a) * (tau_v - tau_j)),
            1.0 / (tau_a * (tau_a - tau_v) * (tau_a - tau_j)),
            1.0 / (tau_j * (tau_j - tau_v) * (tau_j - tau_a)),
        ],
        np.float64,
    )
