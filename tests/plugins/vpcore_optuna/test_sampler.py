"""The proposals themselves: which combinations, in which order, and how often is asked for them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import optuna
import pytest
from hypothesis import given, settings, strategies as st

from vpcore.sampler import Indices
from vpcore.testing import sampler_checks
from vpcore_optuna.sampler import ASKS_PER_POINT, OptunaSampler


@sampler_checks(OptunaSampler)
def test_conforms(check: Callable[[], None]) -> None:
    check()


def propose(axes: list[list[Any]], known: dict[Indices, float], size: int, seed: list[Any]) -> list[Indices]:
    sampler = OptunaSampler(axes, seed)
    for point, figure in known.items():
        sampler.tell(point, figure)
    return sampler.ask(size)


AXIS = st.sampled_from([[1, 2, 3], [3, 1, 2], ["a", "b"], [True, False], [5], [[1, 2], [3]], [0.5, 1, None]])


@settings(max_examples=25)
@given(axes=st.lists(AXIS, min_size=1, max_size=4), data=st.data())
def test_proposals_are_new_and_follow_from_the_arguments(axes: list[list[Any]], data: st.DataObject) -> None:
    every = list(itertools.product(*(range(len(values)) for values in axes)))
    places = data.draw(st.lists(st.sampled_from(every), unique=True, max_size=len(every) - 1))
    figure = st.one_of(st.just(-math.inf), st.floats(-5, 5))
    known = {point: data.draw(figure) for point in places}
    size = data.draw(st.integers(1, min(len(every) - len(known), 6)))
    found = propose(axes, known, size, [0, "ads", 1])
    assert len(found) == len(set(found)) == size
    assert set(found) <= set(every) - set(known)
    assert found == propose(axes, dict(known), size, [0, "ads", 1])


def test_what_is_known_is_not_asked_for_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """All but one combination are known: that one is proposed after a bounded number of questions."""
    axes = [list(range(20)), list(range(20))]
    known: dict[Indices, float] = {(i, j): -abs(i - 3.0) - abs(j - 4.0) for i in range(20) for j in range(20)}
    known.pop((19, 19))
    asked = 0
    ask = optuna.study.Study.ask

    def counted(self: Any, *arguments: Any) -> Any:
        nonlocal asked
        asked += 1
        return ask(self, *arguments)

    monkeypatch.setattr(optuna.study.Study, "ask", counted)
    assert propose(axes, known, 1, [0]) == [(19, 19)]
    assert 1 <= asked <= ASKS_PER_POINT


def test_numbers_are_searched_in_their_order_however_they_are_written() -> None:
    def figure(value: float, text: str) -> float:
        return -abs(value - 30) - 5 * (text == "b")

    values, mixed, words = list(range(0, 100, 5)), [(7 * i % 20) * 5 for i in range(20)], ["a", "b"]
    tried = [(value, text) for value in values[::3] for text in words]
    found = []
    for axis in (values, mixed):
        known = {(axis.index(value), words.index(text)): figure(value, text) for value, text in tried}
        found.append([(axis[i], words[j]) for i, j in propose([axis, words], known, 6, [1])])
    assert found[0] == found[1]
    assert sum(abs(value - 30) <= 20 for value, _ in found[0]) >= 4


def test_where_nothing_came_of_it_little_more_is_tried() -> None:
    axis = list(range(100))
    half: dict[Indices, float] = {(i,): -math.inf if i >= 50 else i / 100 for i in range(0, 100, 3)}
    found = propose([axis], half, 10, [0])
    assert sum(i >= 60 for (i,) in found) <= 2
    none: dict[Indices, float] = {(i,): -math.inf for i in range(20)}
    assert len(propose([axis], none, 10, [0])) == 10


def test_another_seed_proposes_others() -> None:
    axes = [list(range(50)), list(range(50))]
    assert propose(axes, {}, 8, [0, "ads", 0]) != propose(axes, {}, 8, [1, "ads", 0])
    assert propose(axes, {}, 8, [0, "ads", 0]) != propose(axes, {}, 8, [0, "erd", 0])


def test_nothing_is_said(capfd: pytest.CaptureFixture[str]) -> None:
    before = optuna.logging.get_verbosity()
    propose([[1, 2, 3]], {(0,): 1.0}, 2, [0])
    assert capfd.readouterr() == ("", "")
    assert optuna.logging.get_verbosity() == before
