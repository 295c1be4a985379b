"""What a worker keeps: bounded in bytes, the least recently used out first, and gone with its session."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from vpcore import Workspace
from vpcore.backtest import cache
from vpcore.backtest.cache import Shared, size_of
from vpcore.backtest.session import Session
from vpcore.dataset import Dataset
from vpcore.scoring import ScoringConfig
from vpcore.signal.drivers import shared_of


def array(shared: Shared, kind: str, key: Any, n: int = 100) -> Any:
    return shared.get(kind, key, lambda: np.zeros(n), lambda value: value.nbytes)


def test_the_least_recently_used_goes_first_whatever_its_kind() -> None:
    shared = Shared(2000)
    first, second = array(shared, "a", 1), array(shared, "b", 1)
    assert array(shared, "a", 1) is first
    assert array(shared, "c", 1) is not None
    assert shared.nbytes == 1600
    assert array(shared, "a", 1) is first
    assert array(shared, "b", 1) is not second
    tally = shared.tallies["a"]
    assert (tally.asked, tally.made) == (3, 1)
    assert len(array(shared, "big", 1, 1000)) == 1000  # the very last is kept, and alone
    assert shared.nbytes == 8000


def test_the_time_of_what_something_is_made_of_is_not_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    shared = Shared()
    clock = SimpleNamespace(now=0.0, perf_counter=lambda: clock.now)
    monkeypatch.setattr(cache, "time", clock)

    def inner() -> Any:
        clock.now += 5.0
        return np.zeros(1)

    def outer() -> Any:
        clock.now += 1.0
        shared.get("inner", 1, inner, lambda value: value.nbytes)
        clock.now += 2.0
        return np.zeros(1)

    shared.get("outer", 1, outer, lambda value: value.nbytes)
    assert (shared.tallies["inner"].seconds, shared.tallies["outer"].seconds) == (5.0, 3.0)
    for _ in range(3):
        shared.get("inner", 1, outer, lambda value: value.nbytes)
    assert shared.tallies["inner"].saved == pytest.approx(3 * shared.tallies["inner"].seconds)


def test_a_view_is_a_mapping_that_is_bounded_with_the_rest() -> None:
    shared = Shared(2000)
    one, other = shared.view("features", 1), shared.view("features", 2)
    one["x"] = np.zeros(100)
    other["x"] = np.ones(100)
    assert (list(one), len(other), other["x"][0], "y" in one) == (["x"], 1, 1.0, False)
    array(shared, "z", 1)
    assert "x" not in one
    with pytest.raises(KeyError):
        one["x"]
    del other["x"]
    assert (len(other), shared.nbytes) == (0, 800)
    del shared
    one["x"] = 3
    assert dict(one) == {"x": 3}


def test_sizes() -> None:
    assert size_of(np.zeros(10)) == 80
    assert 80 < size_of([np.zeros(10)]) < size_of({"a": (np.zeros(10), "text")}) < 1000


def test_a_session_keeps_no_more_than_its_budget_and_nothing_outlives_it(
    make_proven: Callable[[str], Workspace],
) -> None:
    workspace = make_proven("ws")
    dataset = Dataset.open(workspace.datasets.path(workspace.datasets.ids()[0]))
    session = Session(dataset, keep_mb=1)  # a score takes 0.16 MB, three z-scores 0.43 MB
    for scale in (1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0):
        scored = session.scored(ScoringConfig(tanh_scale=scale, zscore_window_bins=60, zscore_min_periods=20))
        shared_of(scored)["features"] = np.zeros(1000)
        assert session.shared.nbytes <= 1 << 20
    tallies = session.shared.tallies
    assert (tallies["scores"].made, tallies["z-scores"].made) == (8, 3)
    watched = weakref.ref(scored)
    del session, scored, dataset
    gc.collect()
    assert watched() is None
