"""The decay of accumulators: right to the last bit, with the same bits on every processor."""

from __future__ import annotations

import hashlib
import math
import os
import subprocess
import sys
from decimal import Decimal, localcontext

import numpy as np
import pytest
from hypothesis import given, strategies as st

from vpcore.kernels.decay import FAR, N_ACC, N_QUANTITIES, N_TAUS, TINY, decayed
from vpcore.kernels.jit import jit

TAUS = np.array([2e9, 5e9, 1e10, 3e10])
BITS = "f0d78a4b210120be"


@jit
def decay_rows(acc, dt, taus, out):
    for i in range(len(dt)):
        decayed(acc, i, dt[i], taus, out, i)


def factors(dt: list[float] | np.ndarray, taus: np.ndarray) -> np.ndarray:
    """Return the factors of every time: float64[n, N_TAUS]."""
    out = np.full((len(dt), N_ACC), np.nan)
    decay_rows(np.ones_like(out), np.array(dt, np.float64), taus, out)
    assert (out.reshape(-1, N_QUANTITIES, N_TAUS) == out[:, None, :N_TAUS]).all()
    return out[:, :N_TAUS]


@given(
    st.lists(st.integers(0, 60 * 10**9), min_size=1, max_size=20),
    st.lists(st.integers(10**9, 10**12), min_size=N_TAUS, max_size=N_TAUS),
)
def test_a_factor_is_the_exponential_to_half_a_last_bit(dt: list[int], taus: list[int]) -> None:
    for i, some in enumerate(factors(dt, np.array(taus, np.float64))):
        for found, tau in zip(some, taus, strict=True):
            with localcontext() as exact:
                exact.prec = 50
                right = (-Decimal(float(dt[i]) / float(tau))).exp()
                assert abs(Decimal(float(found)) - right) <= Decimal("0.52") * Decimal(math.ulp(found))


def test_accumulators_fall_and_small_ones_become_zero() -> None:
    acc = np.zeros((3, N_ACC))
    acc[1] = np.arange(N_ACC) - 7.0
    acc[1, :3] = 2 * TINY, -2 * TINY, -0.0
    before = acc.copy()
    decay_rows(acc, np.array([5e9, 1e10, 5e9]), TAUS, acc)
    by = [math.exp(-1e10 / tau) for tau in TAUS] * N_QUANTITIES
    assert acc[1, 3:] == pytest.approx((before[1] * by)[3:], rel=1e-15)
    assert acc[1, :3].tobytes() == np.zeros(3).tobytes()  # 2e-30 falls below the bound, and no zero is negative
    assert not acc[[0, 2]].any()


def test_no_time_changes_nothing_and_an_age_leaves_nothing() -> None:
    acc = np.random.default_rng(1).normal(size=(4, N_ACC)) * 1e12
    out = np.full_like(acc, np.nan)
    decay_rows(acc, np.array([0.0, FAR * 3e10, 1e15, 2.0**63]), TAUS, out)
    assert out[0].tobytes() == acc[0].tobytes()
    assert out[1:].tobytes() == np.zeros((3, N_ACC)).tobytes()


def bits() -> str:
    """Return a digest of 16,000 factors."""
    mixed = np.arange(4000, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15) >> np.uint64(26)
    found = factors(mixed >> np.arange(4000, dtype=np.uint64) % 38, TAUS)
    return hashlib.sha256(found.astype("<f8").tobytes()).hexdigest()[:16]


@pytest.mark.compiled
def test_the_bits_are_those_of_every_machine() -> None:
    assert bits() == BITS


@pytest.mark.compiled
def test_a_processor_without_fused_instructions_gives_the_same_bits() -> None:
    plain = {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": ""}
    code = f"import runpy; print(runpy.run_path({__file__!r}, run_name='__main__')['bits']())"  # which caches no code
    done = subprocess.run([sys.executable, "-c", code], env=os.environ | plain, capture_output=True, text=True)
    assert done.stdout.strip() == BITS, done.stderr
