"""Hypothesis for every test: runs that repeat exactly by default, and the profile of `make fuzz`."""

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
