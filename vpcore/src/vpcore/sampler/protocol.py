"""The base class of samplers."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

Indices = tuple[int, ...]
"""A combination: for every axis the place of its value among the values of the axis."""


class Sampler(ABC):
    """Chooses combinations of one signal's axes, round by round.

    An experiment makes a new sampler for every round, tells it the combinations of the rounds before in the order in
    which they were chosen, and asks for the next round. So a round is a function of the arguments of `__init__` and of
    the calls of `tell`: it stays the same after an interruption or in another process. `vpcore.testing.sampler_checks`
    checks an implementation.

    Parameters
    ----------
    axes : sequence of sequences
        The values of each axis, as JSON holds them.
    seed : sequence
        JSON values; another seed chooses other combinations.

    Raises
    ------
    VpError
        If a library that the sampler needs is missing.
    """

    version: str = ""
    """Version of the library that chooses, kept beside each round."""

    def __init__(self, axes: Sequence[Sequence[Any]], seed: Sequence[Any]) -> None:
        self.axes = axes
        self.seed = seed
        self.known: dict[Indices, float] = {}

    @property
    def n_points(self) -> int:
        """Number of combinations, known ones included."""
        return math.prod(len(values) for values in self.axes)

    def tell(self, point: Indices, figure: float) -> None:
        """Take the figure of a combination; more is better, -inf if every row has too few trades."""
        self.known[point] = figure

    @abstractmethod
    def ask(self, size: int) -> list[Indices]:
        """Return the next `size` combinations: all different, all new.

        `size` is at most the number of unknown combinations.
        """
