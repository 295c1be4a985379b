"""Exponential mechanics of a price level: velocity, acceleration, jerk and mass of its impulse trains.

A level holds three decayed sums per quantity (time constants v, a, j) and one (rest) for add, pull and fill. They are
advanced only when an impulse arrives, by ``exp(-dt / tau)`` in one step; reading leaves them unchanged. So the bits
depend on events alone, whatever the bin width, chunks and reading times.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from vpcore.kernels.jit import jit

N_QUANTITIES = 5
ACC_V = 0
ACC_A = ACC_V + N_QUANTITIES
ACC_J = ACC_A + N_QUANTITIES
ACC_REST = ACC_J + N_QUANTITIES
N_MASSES = 3
N_ACC = ACC_REST + N_MASSES

TINY = 1e-30
"""Accumulators below this are set to zero when advanced: denormals cost time and carry nothing."""


@jit(inline=True, borrows=True)
def advance(acc, level, dt, taus):
    """Let the accumulators of a level decay.

    Parameters
    ----------
    acc : float64[levels, N_ACC], written
        Accumulators of every level.
    level : int
        The level.
    dt : float
        Time since they were last advanced, ns.
    taus : float64[4]
        Time constants v, a, j, rest in ns.
    """
    # np.int64(...): one compiled version, where numba makes one per literal.
    _decay(acc, level, np.int64(ACC_V), np.int64(ACC_A), math.exp(-dt / taus[0]))
    _decay(acc, level, np.int64(ACC_A), np.int64(ACC_J), math.exp(-dt / taus[1]))
    _decay(acc, level, np.int64(ACC_J), np.int64(ACC_REST), math.exp(-dt / taus[2]))
    _decay(acc, level, np.int64(ACC_REST), np.int64(N_ACC), math.exp(-dt / taus[3]))


@jit(inline=True, borrows=True)
def impulse(acc, level, quantity, size):
    """Add `size` contracts (float, signed) to a quantity of a level that has been advanced to the present."""
    acc[level, ACC_V + quantity] += size
    acc[level, ACC_A + quantity] += size
    acc[level, ACC_J + quantity] += size
    if quantity < N_MASSES:
        acc[level, ACC_REST + quantity] += size


@jit(inline=True, borrows=True)
def _decay(acc, level, start, stop, factor):
    for i in range(start, stop):
        value = acc[level, i] * factor
        acc[level, i] = 0.0 if abs(value) < TINY else value


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
