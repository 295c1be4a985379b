"""Runs that repeat exactly, Hypothesis's profiles for every test and for `make fuzz`, less garbage collection."""

from __future__ import annotations

import gc
import random

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.internal.conjecture import providers

# A slow machine fails no test. Examples of earlier runs are not kept: each run depends on the code and the seed alone.
settings.register_profile(
    "repeatable",
    derandomize=True,
    database=None,
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("fuzz", settings.get_profile("repeatable"), derandomize=False, database=None)
settings.load_profile("repeatable")  # --hypothesis-profile chooses another one

# Hypothesis mixes in constants of the modules imported so far: examples would depend on the tests that ran before.
providers._get_local_constants = lambda: providers._local_constants


@pytest.fixture(autouse=True)
def _one_seed() -> None:
    """Seed the generator that spreads the pauses before another try."""
    random.seed(0)


def pytest_collection() -> None:
    """Make the objects of the collection without looking for garbage among them."""
    gc.disable()


def pytest_collection_finish() -> None:
    """Look for garbage among the objects of tests only, and less often: a twentieth of their time."""
    gc.enable()
    gc.freeze()
    gc.set_threshold(50_000, 10, 10)
