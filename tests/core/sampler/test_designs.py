"""Designs: which combinations are tried without looking at results."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from climb_sampler import Climb
from hypothesis import given, settings, strategies as st

from vpcore.canonical import digest
from vpcore.errors import ConfigError
from vpcore.sampler import Indices, Sampler
from vpcore.sampler.conformance import check_new_combinations
from vpcore.sampler.designs import DESIGNS, check_size
from vpcore.testing import sampler_checks


def sample_points(sizes: Sequence[int], method: str, n: int, seed: int, stream: str) -> list[Indices]:
    return DESIGNS[method]([range(size) for size in sizes], [seed, stream]).ask(min(n, math.prod(sizes)))


@pytest.mark.parametrize("method", ["random", "lhs"])
@settings(max_examples=30, deadline=None)
@given(sizes=st.lists(st.integers(1, 7), max_size=4), n=st.integers(1, 60), seed=st.integers(0, 99))
def test_a_sample_is_so_many_different_points_of_the_grid(method: Any, sizes: list[int], n: int, seed: int) -> None:
    found = sample_points(sizes, method, n, seed, "ads")
    assert len(found) == len(set(found)) == min(n, math.prod(sizes))
    assert found == sorted(found) == sample_points(sizes, method, n, seed, "ads")
    assert all(len(point) == len(sizes) for point in found)
    assert all(0 <= index < size for point in found for index, size in zip(point, sizes, strict=True))


def test_another_seed_or_signal_is_another_sample() -> None:
    first = sample_points((50, 50), "random", 20, 1, "ads")
    assert first != sample_points((50, 50), "random", 20, 2, "ads")
    assert first != sample_points((50, 50), "random", 20, 1, "erd")


def test_a_latin_hypercube_covers_every_axis_evenly() -> None:
    # With as many points as an axis has values, each value comes once; random points miss a third of them.
    sizes, n = (40, 40, 40), 40
    for axis in range(3):
        assert set(Counter(point[axis] for point in sample_points(sizes, "lhs", n, 3, "ads")).values()) == {1}
        assert len({point[axis] for point in sample_points(sizes, "random", n, 3, "ads")}) < 32


def test_random_points_are_taken_from_everywhere() -> None:
    hits = Counter(point for seed in range(600) for point in sample_points((3, 2), "random", 2, seed, "ads"))
    assert len(hits) == 6
    assert all(140 < count < 260 for count in hits.values())  # 200 expected, sd 11.5


def test_a_sample_of_a_huge_grid_is_quick_and_one_that_is_too_huge_an_error() -> None:
    assert len(sample_points((10_000,) * 4, "random", 50, 0, "ads")) == 50
    with pytest.raises(ConfigError, match=r"The axes of 'ads' have more than 2\^60 combinations\."):
        check_size((10_000,) * 5, "ads")


@sampler_checks(DESIGNS["grid"])
def test_grid_conforms(check: Callable[[], None]) -> None:
    check()


@sampler_checks(DESIGNS["random"])
def test_random_conforms(check: Callable[[], None]) -> None:
    check()


@sampler_checks(DESIGNS["lhs"])
def test_lhs_conforms(check: Callable[[], None]) -> None:
    check()


@sampler_checks(Climb)
def test_the_sampler_of_other_tests_conforms(check: Callable[[], None]) -> None:
    check()


class _Stubborn(Sampler):
    def ask(self, size: int) -> list[Indices]:
        return [(0,) * len(self.axes)] * size


def test_the_checks_can_fail() -> None:
    with pytest.raises(AssertionError, match=r"ask\(3\) returned a combination twice"):
        check_new_combinations(_Stubborn)


def test_a_grid_is_tried_in_its_order() -> None:
    grid = DESIGNS["grid"]([[1, 2], "abc"], [0])
    grid.tell((0, 1), 0.5)
    assert grid.ask(4) == [(0, 0), (0, 2), (1, 0), (1, 1)]


@pytest.mark.parametrize(("sizes", "size", "seed"), [((40, 7, 3), 40, 3), ((9, 9), 5, 0), ((1000,), 17, 8)])
def test_the_hypercube_is_that_of_scipy(sizes: tuple[int, ...], size: int, seed: int) -> None:
    """Stored experiments were sampled with scipy's hypercube; ours has the same points."""
    np, qmc = pytest.importorskip("numpy"), pytest.importorskip("scipy.stats").qmc
    rng = np.random.default_rng(int(digest([seed, "ads"])[:16], 16))
    unit = qmc.LatinHypercube(d=len(sizes), rng=rng).random(size)
    expected = np.minimum((unit * np.array(sizes)).astype(np.int64), np.array(sizes) - 1)
    ours: Any = DESIGNS["lhs"]([range(n) for n in sizes], [seed, "ads"])
    assert ours._hypercube(size) == [tuple(point) for point in expected.tolist()]
