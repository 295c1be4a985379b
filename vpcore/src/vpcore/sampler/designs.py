"""Designs: samplers that ignore results."""

from __future__ import annotations

import random
from collections.abc import Sequence

from vpcore.canonical import digest
from vpcore.errors import ConfigError
from vpcore.sampler.protocol import Indices, Sampler

_LARGEST = 2**60


class GridSampler(Sampler):
    """Chooses in the order of the grid, the last axis fastest."""

    def ask(self, size: int) -> list[Indices]:
        """Return the first unknown combinations."""
        found: list[Indices] = []
        for number in range(self.n_points):
            if len(found) == size:
                break
            if (point := _point(number, self.axes)) not in self.known:
                found.append(point)
        return found


class RandomSampler(Sampler):
    """Chooses at random: every set of combinations is as likely."""

    def ask(self, size: int) -> list[Indices]:
        """Return unknown combinations, sorted."""
        total = self.n_points
        drawn = _generator(self.seed).sample(range(total), min(total, size + len(self.known)))
        points = (_point(number, self.axes) for number in drawn)
        return sorted([point for point in points if point not in self.known][:size])


class LatinHypercubeSampler(Sampler):
    """Chooses a Latin hypercube: the values of every axis come equally often, as far as the size allows.

    A combination that the hypercube names twice, or that is known, is replaced by one drawn at random.

    Source: McKay, Beckman and Conover (1979), "A comparison of three methods for selecting values of input variables",
    Technometrics 21.
    """

    def ask(self, size: int) -> list[Indices]:
        """Return unknown combinations, sorted."""
        total = self.n_points
        draw = _generator(self.seed)
        if size >= total - len(self.known):
            every = (_point(number, self.axes) for number in range(total))
            return [point for point in every if point not in self.known]
        chosen = set(self._hypercube(size)) - set(self.known)
        while len(chosen) < size:
            if (point := _point(draw.randrange(total), self.axes)) not in self.known:
                chosen.add(point)
        return sorted(chosen)

    def _hypercube(self, size: int) -> list[Indices]:
        import numpy as np

        # Each axis is cut into `size` strata; a point lies at random within its stratum, and the strata of an axis are
        # dealt to the points at random. The order of the draws is a promise: it decides which rows an experiment has.
        (rng,) = np.random.default_rng(_number(self.seed)).spawn(1)
        within = rng.uniform(size=(size, len(self.axes)))
        strata = np.tile(np.arange(1, size + 1), (len(self.axes), 1))
        for axis in strata:
            rng.shuffle(axis)
        counts = np.array([len(values) for values in self.axes])
        indices = np.minimum(((strata.T - within) / size * counts).astype(np.int64), counts - 1)
        return [tuple(int(i) for i in row) for row in indices]


DESIGNS: dict[str, type[Sampler]] = {"grid": GridSampler, "random": RandomSampler, "lhs": LatinHypercubeSampler}
"""By name; an experiment knows every combination of a design before it runs."""


def check_size(sizes: Sequence[int], name: str) -> int:
    """Return the number of combinations of a signal's axes.

    Raises
    ------
    ConfigError
        If there are more than 2**60.
    """
    total = 1
    for size in sizes:
        total *= size
    if total > _LARGEST:
        raise ConfigError(f"The axes of '{name}' have more than 2^60 combinations. Take axes or values out.")
    return total


def _number(seed: Sequence[object]) -> int:
    return int(digest(list(seed))[:16], 16)


def _generator(seed: Sequence[object]) -> random.Random:
    return random.Random(_number(seed))


def _point(number: int, axes: Sequence[Sequence[object]]) -> Indices:
    found = []
    for values in reversed(axes):
        number, index = divmod(number, len(values))
        found.append(index)
    return tuple(reversed(found))
