"""Experiments on several sessions: run and ranked as one."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from session_workspace import sessions
from sweep_workspace import THREE, add_dataset

from vpcore import Workspace
from vpcore.experiment.progress import SweepProgress
from vpcore.experiment.run import harness_config, plan_experiment, run_experiment
from vpcore.experiment.runs import experiment_block
from vpcore.experiment.session_members import members, pooled_rows

__all__ = ["sessions"]

Edit = Callable[..., None]


@pytest.mark.slow
def test_runs_are_those_of_the_single_sessions(sessions: Workspace, edit: Edit) -> None:
    edit(name="sweep")
    alone = run_experiment(sessions, "sweep")
    before = sessions.results.canonical_bytes()
    seen: list[SweepProgress] = []
    report = run_experiment(sessions, "three", on_progress=seen.append)
    assert (report.n_trials, report.n_reused, report.n_computed, report.n_failed) == (120, 40, 80, 0)
    assert report.run_ids[:5] == alone.run_ids
    assert report.dataset_ids == list(harness_config(sessions, "three").dataset_ids)
    assert (report.dataset_id, report.summary()["dataset_id"], alone.dataset_id) == (None, None, report.dataset_ids[0])
    assert (run_experiment(sessions, "three").n_computed, run_experiment(sessions, "sweep").n_computed) == (0, 0)
    lone = sessions.results.query_runs(run_id=alone.run_ids)
    assert lone.height == 40
    assert before.split(b"\0")[0].splitlines()[0] in sessions.results.canonical_bytes()
    assert set(sessions.results.query_runs()["dataset_id"]) == set(report.dataset_ids)


def test_an_experiment_on_one_session_keeps_its_hash(sessions: Workspace, edit: Edit) -> None:
    edit(name="sweep")
    config = harness_config(sessions, "sweep")
    assert list(experiment_block(config)) == ["name", "dataset_id", "scorings", "signals", "eval", "select"]
    several = experiment_block(harness_config(sessions, "three"))
    assert "dataset_id" not in several
    assert len(several["dataset_ids"]) == 3


@pytest.mark.slow
def test_any_number_of_workers_stores_the_same(sessions: Workspace, make_proven: Callable[[str], Workspace]) -> None:
    run_experiment(sessions, "three")
    serial = sessions.results.canonical_bytes()
    other = make_proven("other")
    (other.configs / "experiments" / "three.yaml").write_text(
        (sessions.configs / "experiments" / "three.yaml").read_text()
    )
    for seed, (name, n_bins) in enumerate(
        zip(harness_config(other, "three").dataset_ids[1:], (4000, 1000), strict=True), 11
    ):
        add_dataset(other, name, seed, n_bins)
    run_experiment(other, "three", executor="local", max_workers=2)
    assert other.results.canonical_bytes() == serial


@pytest.mark.slow
def test_quantiles_are_one_combination_whatever_number_they_are(sessions: Workspace, edit: Edit) -> None:
    edit(THREE, ("eval: {", "eval: {threshold_quantiles: [0.5, 0.9], calibration_bins: 500, "), name="three")
    run_experiment(sessions, "three")
    config = harness_config(sessions, "three")
    plan = plan_experiment(sessions, config)
    assert plan is not None
    table = members(config, plan.runs).frame
    assert table["threshold_quantile"].unique().sort().to_list() == [0.5, 0.9]
    assert table.group_by("combination").len()["len"].unique().to_list() == [3]
    assert table.group_by("combination").n_unique()["threshold"].max() == 3
    rows, n_incomplete = pooled_rows(sessions, config, plan.runs)
    assert (rows.height, n_incomplete) == (40, 0)
    assert rows["threshold_quantile"].null_count() == 0
    numbers = {run.run_id: run.thresholds for run in plan.runs}
    for row in rows.to_dicts():
        position = (0.5, 0.9).index(row["threshold_quantile"])
        assert row["threshold"] == numbers[row["run_id"]][position]


def test_trackers_hear_of_the_sessions(sessions: Workspace, edit: Edit) -> None:
    edit(THREE, ("parallel:", "tracking: {backend: jsonl}\nparallel:"), name="three")
    run_experiment(sessions, "three")
    lines = [
        json.loads(line)
        for path in sorted((sessions.harness_dir / "tracking").glob("*.jsonl"))
        for line in path.read_text().splitlines()
    ]
    assert len(lines) == 15
    assert {line["settings"]["dataset_id"] for line in lines} == set(harness_config(sessions, "three").dataset_ids)
