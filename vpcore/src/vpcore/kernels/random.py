"""A small random generator for compiled code, with the same bits under any library version.

xoshiro128** of Blackman and Vigna (2018): four 32-bit words, held in int64 so that the same lines give the same bits
compiled and interpreted. Source: https://prng.di.unimi.it/xoshiro128starstar.c
"""

from __future__ import annotations

from typing import Any

import numpy as np

from vpcore.kernels.jit import jit

_MASK = 0xFFFFFFFF
_TO_UNIT = 2.0**-32


def seeded(seed: int, stream: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Return the state of an independent stream of random numbers.

    Parameters
    ----------
    seed, stream : int
        Any non-negative numbers; every pair gives its own stream.

    Returns
    -------
    int64[4]
        To be handed to the functions of this module, which change it.
    """
    state = (seed * 0x9E3779B97F4A7C15 + stream * 0xD1342543DE82EF95 + 0x2545F4914F6CDD1D) & (2**64 - 1)
    words = np.zeros(4, np.int64)
    for i in range(4):  # splitmix64, as the generator's authors recommend
        state = (state + 0x9E3779B97F4A7C15) & (2**64 - 1)
        z = state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & (2**64 - 1)
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & (2**64 - 1)
        words[i] = (z ^ (z >> 31)) >> 32
    return words


@jit(borrows=True)
def bits32(state: Any) -> int:
    """Return 32 random bits as a number; `state` is changed."""
    s1 = state[1]
    mixed = (s1 * 5) & _MASK
    mixed = ((mixed << 7) & _MASK) | (mixed >> 25)
    result = (mixed * 9) & _MASK
    t = (s1 << 9) & _MASK
    state[2] ^= state[0]
    state[3] ^= state[1]
    state[1] ^= state[2]
    state[0] ^= state[3]
    state[2] ^= t
    s3 = state[3]
    state[3] = ((s3 << 11) & _MASK) | (s3 >> 21)
    return result


@jit(borrows=True)
def uniform(state: Any) -> float:
    """Return a float64 in [0, 1), a multiple of 2^-32."""
    return bits32(state) * _TO_UNIT


@jit(borrows=True)
def below(state: Any, n: int) -> int:
    """Return a whole number in [0, n), for n up to 2^31; the bias is at most n / 2^32."""
    return (bits32(state) * n) >> 32
