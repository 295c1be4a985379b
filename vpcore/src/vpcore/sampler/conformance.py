"""Conformance checks for samplers; `vpcore.testing.sampler_checks` runs them. A check raises `AssertionError`."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

from vpcore.sampler.protocol import Indices, Sampler

AXES: tuple[tuple[Any, ...], ...] = ((3, 1, 2, 40), ("a", "b"), (True, False, None), (0.5, 1), (((1, 2)), ((3,))))
"""Axes as specs have them: numbers in any order, text, truth values, nothing, and lists."""

Make = Callable[[Sequence[Sequence[Any]], Sequence[Any]], Sampler]


def _points() -> list[Indices]:
    return list(itertools.product(*(range(len(values)) for values in AXES)))


def _told(make: Make, n_known: int) -> Sampler:
    sampler = make(AXES, [7, "ads", 1])
    for number, point in enumerate(_points()[::-1][:n_known]):
        sampler.tell(point, -math.inf if number % 3 == 0 else float(number))
    return sampler


def check_base_class(make: Make) -> None:
    """It derives from `Sampler`."""
    sampler = make(AXES, [0])
    assert isinstance(sampler, Sampler), f"{type(sampler).__name__} must derive from vpcore.sampler.Sampler"


def check_new_combinations(make: Make) -> None:
    """`ask` returns the requested number of combinations: all different, all new, each within the axes."""
    every = set(_points())
    for n_known in (0, 1, 40, len(every) - 3):
        sampler = _told(make, n_known)
        for size in (1, 3):
            found = _told(make, n_known).ask(size)
            assert len(found) == size, f"ask({size}) returned {len(found)} combinations, {n_known} are known"
            assert len(set(found)) == size, f"ask({size}) returned a combination twice: {found}"
            assert set(found) <= every, f"ask({size}) returned what is no combination of the axes: {found}"
            assert not set(found) & set(sampler.known), f"ask({size}) returned a known combination: {found}"
            assert all(type(place) is int for point in found for place in point), f"places must be int, were {found}"


def check_the_last_combinations(make: Make) -> None:
    """When every combination but a few is known, `ask` returns these few."""
    every = _points()
    found = _told(make, len(every) - 2).ask(2)
    assert sorted(found) == every[:2], f"two combinations were unknown, {every[:2]}, and ask(2) returned {found}"


def check_repeatable(make: Make) -> None:
    """The same arguments and the same calls of `tell` give the same answer."""
    for n_known in (0, 25):
        first, second = _told(make, n_known).ask(5), _told(make, n_known).ask(5)
        assert first == second, f"two samplers that were told the same chose {first} and {second}"


SAMPLER_CHECKS: tuple[Callable[[Make], None], ...] = (
    check_base_class,
    check_new_combinations,
    check_the_last_combinations,
    check_repeatable,
)
