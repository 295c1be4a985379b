"""A sampler that climbs: three quarters of a round are neighbours of the best combinations, the rest is drawn."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator

from vpcore.sampler import Indices, Sampler


class Climb(Sampler):
    """For tests of what surrounds a sampler."""

    version = "1"

    def ask(self, size: int) -> list[Indices]:
        draw = random.Random(repr((list(self.seed), sorted(self.known.items()))))
        good = sorted((-figure, point) for point, figure in self.known.items() if figure > -math.inf)
        near = [point for _, top in good for point in self._near(top) if point not in self.known]
        found: list[Indices] = []
        for point in (*near[: size * 3 // 4], *self._drawn(draw)):
            if point not in found and point not in self.known:
                found.append(point)
            if len(found) == size:
                break
        return found

    def _near(self, point: Indices) -> Iterator[Indices]:
        for axis, values in enumerate(self.axes):
            for place in (point[axis] - 1, point[axis] + 1):
                if 0 <= place < len(values):
                    yield (*point[:axis], place, *point[axis + 1 :])

    def _drawn(self, draw: random.Random) -> Iterator[Indices]:
        numbers = list(range(self.n_points))
        draw.shuffle(numbers)
        for number in numbers:
            point = []
            for values in self.axes:
                number, place = divmod(number, len(values))
                point.append(place)
            yield tuple(point)
