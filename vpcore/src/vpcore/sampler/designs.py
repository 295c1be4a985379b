"""Which points of a grid are tried when not all of them are."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from typing import Literal

from vpcore.canonical import digest
from vpcore.errors import ConfigError

Indices = tuple[int, ...]
"""A point of a grid: the index of a value for every axis."""

_LARGEST = 2**60


def sample_points(
    sizes: Sequence[int], method: Literal["random", "lhs"], n: int, seed: int, stream: str
) -> list[Indices]:
    """Return `n` different points of a grid, sorted; all of them if there are no more.

    Parameters
    ----------
    sizes : sequence of int
        Number of values of each axis.
    method : {"random", "lhs"}
        ``random``: every set of `n` points is as likely. ``lhs``: a Latin hypercube (`scipy.stats.qmc`), in which the
        values of every axis come equally often, as far as `n` allows; a point that it names twice is replaced by one
        drawn at random.
    n : int
        At least 1.
    seed : int
        The same seed chooses the same points on any machine.
    stream : str
        Another text makes another sample: signals of one experiment do not share theirs.

    Raises
    ------
    ConfigError
        If scipy, which a Latin hypercube needs, is not installed, or the grid has more than 2**60 points.
    """
    total = check_size(sizes, stream)
    if n >= total:
        return [_point(number, sizes) for number in range(total)]
    number = int(digest([seed, stream])[:16], 16)
    draw = random.Random(number)
    if method == "random":
        return sorted(_point(i, sizes) for i in draw.sample(range(total), n))
    chosen = set(_hypercube(sizes, n, number))
    while len(chosen) < n:
        chosen.add(_point(draw.randrange(total), sizes))
    return sorted(chosen)


def check_size(sizes: Sequence[int], name: str) -> int:
    """Return the number of points of a grid; `name` is of its signal.

    Raises
    ------
    ConfigError
        If they are more than 2**60.
    """
    total = math.prod(sizes)
    if total > _LARGEST:
        raise ConfigError(f"The axes of '{name}' have more than 2^60 combinations. Take axes or values out.")
    return total


def _point(number: int, sizes: Sequence[int]) -> Indices:
    found = []
    for size in reversed(sizes):
        number, index = divmod(number, size)
        found.append(index)
    return tuple(reversed(found))


def _hypercube(sizes: Sequence[int], n: int, seed: int) -> list[Indices]:
    try:
        from scipy.stats import qmc
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"sweep.sample.method: lhs needs {error.name}, which is not installed. "
            "Run: pip install 'vpcore[sampling]', or write method: random."
        ) from None
    import numpy as np

    unit = qmc.LatinHypercube(d=len(sizes), rng=np.random.default_rng(seed)).random(n)
    indices = np.minimum((unit * np.array(sizes)).astype(np.int64), np.array(sizes) - 1)
    return [tuple(int(i) for i in row) for row in indices]
