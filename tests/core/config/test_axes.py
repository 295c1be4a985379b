"""Axes written as ranges, and samples of their product."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from vpcore import ConfigError, PluginError, Workspace
from vpcore.axes import MOST_VALUES, axis_values
from vpcore.config.resolved import Grid, Search

Write = Callable[[str, str], Path]


@pytest.mark.parametrize(
    ("axis", "values"),
    [
        ({"from": 60, "to": 480, "step": 60}, [60, 120, 180, 240, 300, 360, 420, 480]),
        ({"from": 0.1, "to": 0.3, "step": 0.1}, [0.1, 0.2, 0.3]),  # in binary the last would be 0.30000000000000004
        ({"from": 1, "to": 2, "step": 0.4}, [1, 1.4, 1.8]),
        ({"from": -1, "to": 1, "step": 1}, [-1, 0, 1]),
        ({"from": 5, "to": 5, "step": 1}, [5]),
        ({"log": [1e-3, 1], "num": 7}, [0.001, 0.00316228, 0.01, 0.0316228, 0.1, 0.316228, 1]),
        ({"log": [10, 1000], "num": 3}, [10, 100, 1000]),
        ({"log": [1, 10], "num": 5, "whole": True}, [1, 2, 3, 6, 10]),
        ({"log": [1, 3], "num": 9, "whole": True}, [1, 2, 3]),
        ([1, 2], [1, 2]),
        (7, 7),
    ],
)
def test_values(axis: Any, values: Any) -> None:
    found = axis_values(axis)
    assert found == values
    assert [type(v) for v in found] == [type(v) for v in values] if isinstance(found, list) else True


@pytest.mark.parametrize(
    ("axis", "message"),
    [
        ({"from": 60, "to": 480, "stp": 60}, "must be an axis, 'stp' is no part of one. Did you mean 'step'?"),
        ({"from": 60, "to": 480}, "must be an axis, 'step' is missing. Write a list, {from: 60, to: 480, step: 60} or"),
        ({"log": [1, 2], "step": 60}, "must be an axis, 'step' is no part of one."),
        ({"from": 60, "to": 480, "step": 0}, "must have a step greater than 0, was 0."),
        ({"from": 480, "to": 60, "step": 60}, "must go upwards, was 480..60. Exchange the two."),
        ({"from": "60", "to": 480, "step": 60}, "must have a number as from, was '60'."),
        ({"from": True, "to": 480, "step": 60}, "must have a number as from, was True."),
        ({"from": 0, "to": math.inf, "step": 60}, "must have a number as to, was inf."),
        ({"from": 0, "to": 1, "step": 1e-9}, "must have at most 10000 values, has 1000000001. Take a larger step."),
        ({"log": [0, 1], "num": 3}, "must have bounds in log greater than 0 and upwards, was 0 to 1."),
        ({"log": [2, 1], "num": 3}, "must have bounds in log greater than 0 and upwards, was 2 to 1."),
        ({"log": 1, "num": 3}, "must have two bounds in log, was 1."),
        ({"log": [1, 2], "num": 1}, "must have a whole num of at least 2, was 1."),
        ({"log": [1, 2], "num": 10_001}, "must have at most 10000 values, has 10001. Take a smaller num."),
        ({"log": [1, 2], "num": 3, "whole": 1}, "must have whole true or false, was 1."),
        ({"log": [1, 1.00001], "num": 9}, "must have values that differ in six digits, 9 between 1 and 1.00001 do not."),
    ],
)  # fmt: skip
def test_what_is_no_axis(axis: Any, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        axis_values(axis)


@settings(max_examples=50, deadline=None)
@given(st.integers(-500, 500), st.integers(1, 50), st.integers(0, 60), st.sampled_from([1, 10, 1000]))
def test_steps_are_those_of_whole_numbers(start: int, step: int, count: int, scale: int) -> None:
    stop = start + step * count
    found = axis_values({"from": start / scale, "to": stop / scale, "step": step / scale})
    assert found == [number / scale for number in range(start, stop + 1, step)]
    assert len(found) <= MOST_VALUES


def test_ranges_in_an_experiment(workspace: Workspace, write: Write) -> None:
    write(
        "experiments/ranges",
        "name: ranges\nserving: base\nsignals: [scored, plain]\n"
        "eval: {tp_ticks: {from: 2, to: 8, step: 2}, cooldown_bins: {log: [5, 20], num: 3},\n"
        "       thresholds: {from: 0.1, to: 0.3, step: 0.1}, sl_ticks: 4}\n"
        "sweep:\n  scoring: {zscore_window_bins: {from: 100, to: 300, step: 100}}\n"
        "  per_signal: {plain: {gain: {log: [0.1, 10], num: 3}}}\n",
    )
    config = workspace.experiment("ranges").to_harness_config()
    assert config.eval.tp_ticks == (2, 4, 6, 8)
    assert config.eval.cooldown_bins == (5, 10, 20)
    assert config.eval.thresholds == (0.1, 0.2, 0.3)
    assert [scoring.zscore_window_bins for scoring in config.scorings] == [100, 200, 300]
    assert [params["gain"] for params in config.signals[1].params] == [0.1, 1.0, 10.0]
    assert config.n_runs == 3 + 3


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("[2.0, 3.0]", "{from: 2, to: 3, stp: 1}",
         "sweep.scoring.tanh_scale must be an axis, 'stp' is no part of one (configs/experiments/sweep.yaml:6). Did you mean 'step'?"),
        ("[10, 20]", "{from: 400, to: 600, step: 100}",
         "sweep.per_signal.plain.window must be at most 500, was 600 (configs/experiments/sweep.yaml:8). Bins. Allowed: 2 to 500."),
        ("[10, 20]", "{log: [10, 100], num: 4}",
         "sweep.per_signal.plain.window must be a whole number, was 21.5443 (configs/experiments/sweep.yaml:8)."),
        ("tp_ticks: [4, 8]", "tp_ticks: {from: 8, to: 4, step: 1}",
         "eval.tp_ticks must go upwards, was 8..4 (configs/experiments/sweep.yaml:4). Exchange the two."),
        ("tp_ticks: [4, 8]", "tp_ticks: {from: 0, to: 4, step: 1}",
         "eval.tp_ticks[0] must be at least 1, was 0 (configs/experiments/sweep.yaml:4)."),
        ("sweep:\n", "sweep:\n  sample: {method: lhs, n: 0}\n",
         "sweep.sample.n must be at least 1, was 0 (configs/experiments/sweep.yaml:6)."),
        ("sweep:\n", "sweep:\n  sample: {method: lhs}\n",
         "sweep.sample.method must be grid unless the number of combinations is said, method was lhs (configs/experiments/sweep.yaml:6). Add n: 50."),
        ("sweep:\n", "sweep:\n  sample: {method: guided}\n",
         "sweep.sample.method must be grid unless the number of combinations is said, method was guided (configs/experiments/sweep.yaml:6). Add n: 50."),
        ("sweep:\n", "sweep:\n  sample: {method: guided, n: 2, round: 0}\n",
         "sweep.sample.round must be at least 1, was 0 (configs/experiments/sweep.yaml:6)."),
        ("sweep:\n", "sweep:\n  sample: {method: lhs, n: 2, round: 8}\n",
         "sweep.sample.round must be left out with method lhs, which proposes nothing, was 8 (configs/experiments/sweep.yaml:6)."),
        ("sweep:\n  scoring: {tanh_scale: [2.0, 3.0]}\n", "sweep:\n  sample: {method: guided, n: 1}\n  scoring: {tanh_scale: [2.0, -3.0]}\n",
         "sweep.scoring.tanh_scale must be greater than 0, was -3 (configs/experiments/sweep.yaml:7)."),
        ("sweep:\n", "sweep:\n  sample: {n: 5}\n",
         "sweep.sample.n must be left out with method grid, which tries everything, n was 5 (configs/experiments/sweep.yaml:6). Or write method: lhs."),
    ],
)  # fmt: skip
def test_what_is_wrong_with_an_axis(workspace: Workspace, old: str, new: str, message: str) -> None:
    path = workspace.configs / "experiments" / "sweep.yaml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    with pytest.raises(ConfigError, match=re.escape(message)):
        workspace.experiment("sweep").to_harness_config()


def test_a_sampler_that_is_not_installed(workspace: Workspace) -> None:
    path = workspace.configs / "experiments" / "sweep.yaml"
    path.write_text(path.read_text().replace("sweep:\n", "sweep:\n  sample: {method: lsh, n: 5}\n"))
    expected = (
        "No sampler is called 'lsh' (configs/experiments/sweep.yaml:6, sweep.sample.method). Did you mean 'lhs'? "
        "Installed: grid, guided, lhs, random."
    )
    with pytest.raises(PluginError, match=re.escape(expected)):
        workspace.experiment("sweep").to_harness_config()


@pytest.mark.parametrize("method", ["random", "lhs"])
def test_a_sampled_experiment(workspace: Workspace, write: Write, method: str) -> None:
    text = (
        "name: {}\nserving: base\nsignals: [scored, plain]\nsweep:\n"
        "  scoring: {{tanh_scale: {{from: 1, to: 10, step: 1}}}}\n"
        "  per_signal:\n    scored: {{window: {{from: 10, to: 400, step: 10}}}}\n"
        "    plain: {{window: {{from: 10, to: 400, step: 10}}, gain: {{log: [0.1, 10], num: 9}}}}\n"
    )
    write("experiments/grid", text.format("grid"))
    write("experiments/some", text.format("some") + f"  sample: {{method: {method}, n: 25, seed: 4}}\n")
    whole = workspace.experiment("grid").to_harness_config()
    some = workspace.experiment("some").to_harness_config()
    assert (whole.n_runs, some.n_runs) == (10 * 40 + 40 * 9, 25 + 25)
    for all_of, few in zip(whole.signals, some.signals, strict=True):
        every = {repr(point) for point in whole.points_of(all_of)}
        points = [repr(point) for point in some.points_of(few)]
        assert len(set(points)) == 25
        assert set(points) < every
    # What no run needs is not there.
    used = {i for i, _ in some.signals[0].sampled or ()}
    assert used == set(range(len(some.scorings)))
    assert some == workspace.experiment("some").to_harness_config()
    assert all(scoring is None for _, scoring in some.points_of(some.signals[1]))


@pytest.mark.parametrize("method", ["random", "guided"])
def test_a_sample_as_large_as_the_grid_is_the_grid(workspace: Workspace, method: str) -> None:
    whole = workspace.experiment("sweep").to_harness_config()
    path = workspace.configs / "experiments" / "sweep.yaml"
    path.write_text(path.read_text().replace("sweep:\n", f"sweep:\n  sample: {{method: {method}, n: 4}}\n"))
    some = workspace.experiment("sweep").to_harness_config()
    for a, b in zip(whole.signals, some.signals, strict=True):
        assert sorted(map(repr, whole.points_of(a))) == sorted(map(repr, some.points_of(b)))


def test_what_a_sampler_proposes_is_a_combination_of_the_grid(workspace: Workspace, write: Write) -> None:
    """Signals with more combinations than are tried have none yet; what they hold makes those of the grid."""
    path = workspace.configs / "experiments" / "sweep.yaml"
    whole = workspace.experiment("sweep").to_harness_config()
    path.write_text(path.read_text().replace("sweep:\n", "sweep:\n  sample: {method: guided, n: 3, seed: 8}\n"))
    some = workspace.experiment("sweep").to_harness_config()
    scored, plain = some.signals
    assert scored.search is None  # two scorings
    assert sorted(map(repr, some.points_of(scored))) == sorted(map(repr, whole.points_of(whole.signals[0])))
    assert plain.search is not None
    assert (plain.search.n, plain.search.n_points, plain.search.seed, plain.search.round) == (3, 4, 8, 16)
    assert plain.search.axes == ((10, 20), (1, 2.5))
    every = [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert [plain.search.has(point) for point in (*every, (2, 0), (0, -1), (0,), (0, True))] == [True] * 4 + [False] * 4
    full = some.with_proposed({"plain": every})
    defaults = {"window": 30, "gain": 1.0}
    made = [(defaults | params, scoring) for params, scoring in full.points_of(full.signals[1])]
    assert made == [(defaults | params, scoring) for params, scoring in whole.points_of(whole.signals[1])]
    assert (some.n_runs, full.n_runs) == (2, 6)


def test_a_value_that_lacks_another_is_refused_before_anything_is_proposed(workspace: Workspace, write: Write) -> None:
    """Every value of a grid of millions is looked at, not every combination."""
    axes = "{window: {from: 2, to: 501, step: 1}, gain: {from: 0.001, to: 9.999, step: 0.001}}"
    write("experiments/huge", f"name: huge\nserving: base\nsignals: [plain]\nsweep:\n  per_signal: {{plain: {axes}}}\n"
          "  sample: {method: guided, n: 3}\n")  # fmt: skip
    with pytest.raises(ConfigError, match=r"sweep\.per_signal\.plain\.window must be at most 500, was 501"):
        workspace.experiment("huge").to_harness_config()


def test_a_search_with_optuna_keeps_the_hash_that_it_had_before_there_were_other_samplers() -> None:
    grids = {name: Grid(base={}, axes={}) for name in ("scoring", "params")}
    search = Search(n=3, seed=0, round=16, **grids)
    assert "sampler" not in search.model_dump(mode="json")
    assert Search(sampler="other", n=3, seed=0, round=16, **grids).model_dump()["sampler"] == "other"
    assert Search.model_validate(search.model_dump()) == search
