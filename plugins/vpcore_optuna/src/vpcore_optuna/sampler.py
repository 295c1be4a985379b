"""Proposing combinations with Optuna's tree-structured Parzen estimator. The only module that imports it."""

from __future__ import annotations

import math
import random
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from vpcore.canonical import digest
from vpcore.errors import ConfigError
from vpcore.sampler import Indices, Sampler

if TYPE_CHECKING:
    from types import ModuleType

ASKS_PER_POINT = 10
"""How often is asked, on average, for a combination that was not proposed before."""

Values = Sequence[Any]
"""Of one axis."""


class OptunaSampler(Sampler):
    """Proposes with Optuna's tree-structured Parzen estimator, by the arguments and the version of Optuna alone.

    Values of an axis that are all numbers are searched in order of size, by their place in that order; other values
    have no order. After `ASKS_PER_POINT` questions per combination, the rest of a round is drawn at random.

    Raises
    ------
    ConfigError
        If Optuna is not installed.

    Notes
    -----
    Each round starts a new study with the known combinations and their figures. When Optuna proposes a known
    combination again, the sampler tells the figure and asks once more. A combination of the same round stays open.

    Source: Bergstra et al. (2011), "Algorithms for hyper-parameter optimization", section 4; multivariate: Falkner et
    al. (2018), "BOHB", section 3.2.
    """

    def __init__(self, axes: Sequence[Values], seed: Sequence[Any]) -> None:
        super().__init__(axes, seed)
        try:
            import optuna
        except ModuleNotFoundError as error:
            raise ConfigError(
                f"sweep.sample.method: optuna needs {error.name}, which is not installed. "
                "Run: pip install vpcore-optuna, or write method: lhs."
            ) from None
        self.optuna = optuna
        self.version = optuna.__version__

    def ask(self, size: int) -> list[Indices]:
        """Return the next combinations, in the order of the proposals."""
        optuna, axes, known = self.optuna, self.axes, self.known
        number = int(digest(list(self.seed))[:8], 16)
        orders = [_order(values) for values in axes]
        ranks = [None if order is None else {place: rank for rank, place in enumerate(order)} for order in orders]
        space = {
            str(i): optuna.distributions.CategoricalDistribution(range(len(values)))
            if order is None
            else optuna.distributions.IntDistribution(0, len(values) - 1)
            for i, (values, order) in enumerate(zip(axes, orders, strict=True))
        }
        found: list[Indices] = []
        with _silent(optuna):
            # A combination without a figure counts as bad (constant liar), so that a round spreads out.
            sampler = optuna.samplers.TPESampler(seed=number, multivariate=True, constant_liar=True)
            study = optuna.create_study(direction="maximize", sampler=sampler)
            study.add_trials(
                [
                    optuna.trial.create_trial(
                        params={
                            str(i): place if rank is None else rank[place]
                            for i, (place, rank) in enumerate(zip(point, ranks, strict=True))
                        },
                        distributions=space,
                        value=value,
                    )
                    for point, value in known.items()
                ]
            )
            for _ in range(ASKS_PER_POINT * size):
                if len(found) == size:
                    break
                trial = study.ask(space)
                point = tuple(
                    trial.params[str(i)] if order is None else order[trial.params[str(i)]]
                    for i, order in enumerate(orders)
                )
                if point in known:
                    study.tell(trial, known[point])
                elif point not in found:
                    found.append(point)
        return [*found, *_drawn(axes, {*known, *found}, size - len(found), number)]


def _order(values: Values) -> list[int] | None:
    """Return the places of numbers in ascending order; None for values that are not all numbers."""
    if any(isinstance(value, bool) or not isinstance(value, (int, float)) for value in values):
        return None
    return sorted(range(len(values)), key=values.__getitem__)


def _drawn(axes: Sequence[Values], taken: set[Indices], size: int, seed: int) -> Iterator[Indices]:
    """Yield combinations that are not taken: each the next free one from a place drawn at random."""
    draw = random.Random(seed)
    taken = set(taken)
    for _ in range(size):
        number = draw.randrange(math.prod(len(values) for values in axes))
        while (point := _point(number, axes)) in taken:
            number += 1
        taken.add(point)
        yield point


def _point(number: int, axes: Sequence[Values]) -> Indices:
    """Return a combination by its number, the last axis fastest; after the last one the first follows."""
    found = []
    for values in reversed(axes):
        number, place = divmod(number, len(values))
        found.append(place)
    return tuple(reversed(found))


@contextmanager
def _silent(optuna: ModuleType) -> Iterator[None]:
    """Without what Optuna says to its own users: its log, and that parts of it may change."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            yield
    finally:
        optuna.logging.set_verbosity(before)
