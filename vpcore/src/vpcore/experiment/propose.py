"""Proposing combinations with Optuna's tree-structured Parzen estimator. The only module that imports it."""

from __future__ import annotations

import math
import random
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from vpcore.canonical import digest
from vpcore.errors import ConfigError
from vpcore.sampler.designs import Indices

if TYPE_CHECKING:
    from types import ModuleType

ASKS_PER_POINT = 10
"""How often is asked, on average, for a combination that was not proposed before."""

Values = Sequence[Any]
"""Of one axis."""


def require_optuna() -> ModuleType:
    """Return the module.

    Raises
    ------
    ConfigError
        If it, or something that it needs, is not installed.
    """
    try:
        import optuna
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"sweep.sample.method: optuna needs {error.name}, which is not installed. "
            "Run: pip install 'vpcore[optuna]', or write method: lhs."
        ) from None
    return optuna


def propose(axes: Sequence[Values], known: Mapping[Indices, float], size: int, seed: Sequence[Any]) -> list[Indices]:
    """Return the next combinations to try: so many, all different, none of them known.

    A pure function of its arguments and the version of Optuna: nothing is kept between two calls.

    Parameters
    ----------
    axes : sequence of sequences
        The values of each axis. Those of one that are all numbers are searched in order of size, by their place in that
        order; others have none.
    known : mapping of combination to float
        What was tried before, in the order in which it was proposed, with its figure, of which more is better; -inf
        where there is none.
    size : int
        How many, at most as many as are not known.
    seed : sequence
        JSON values. Another seed proposes others.

    Returns
    -------
    list of tuples of int
        Per axis the place of the value among `axes`.

    Raises
    ------
    ConfigError
        If Optuna is not installed.

    Notes
    -----
    Of a combination that is known its figure is told, one that was proposed a moment ago is left open, and another one
    is asked for. After `ASKS_PER_POINT` times `size` such questions what lacks is drawn at random.

    Source: Bergstra et al. (2011), "Algorithms for hyper-parameter optimization", section 4; multivariate: Falkner et
    al. (2018), "BOHB", section 3.2.
    """
    optuna = require_optuna()
    number = int(digest(list(seed))[:8], 16)
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
        # What is proposed and not answered yet counts as bad (constant liar), so that a round is not all of one place.
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
                trial.params[str(i)] if order is None else order[trial.params[str(i)]] for i, order in enumerate(orders)
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
