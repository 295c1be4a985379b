"""Experiments on several sessions: run and ranked as one."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from sweep_workspace import DATES, THREE, add_dataset

from vpcore import Workspace
from vpcore.experiment.progress import SweepProgress
from vpcore.experiment.run import harness_config, plan_experiment, run_experiment
from vpcore.experiment.runs import expand, experiment_block
from vpcore.experiment.session_members import members, pooled_rows
from vpcore_cli import app as cli

Edit = Callable[..., None]


@pytest.fixture
def sessions(make_proven: Callable[[str], Workspace], edit: Edit) -> Workspace:
    """Three days with a dataset each, of which the first is that of the other tests."""
    workspace = make_proven("ws")
    edit(THREE, name="three")
    for seed, (name, n_bins) in enumerate(
        zip(harness_config(workspace, "three").dataset_ids[1:], (4000, 1000), strict=True), 11
    ):
        add_dataset(workspace, name, seed, n_bins)
    return workspace


@pytest.fixture
def call(
    sessions: Workspace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[str, str]]:
    monkeypatch.setattr(cli, "Plugins", lambda: sessions.plugins)
    monkeypatch.setenv("VP_ROOT", str(sessions.root))

    def run(*arguments: str, code: int = 0) -> tuple[str, str]:
        capsys.readouterr()
        assert cli.run(list(arguments)) == code
        out, err = capsys.readouterr()
        return out, err

    return run


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
def test_the_leaderboard_is_of_combinations(sessions: Workspace, call: Callable[..., tuple[str, str]]) -> None:
    run_experiment(sessions, "three")
    answer = json.loads(call("compare", "three", "--min-signals", "0", "--limit", "1000", "--json")[0])
    singles = json.loads(
        call("compare", "three", "--min-signals", "0", "--limit", "1000", "--json", "--per-session")[0]
    )
    assert (len(answer["rows"]), answer["n_incomplete"], len(singles["rows"])) == (40, 0, 120)
    by_id = {row["row"]: row for row in singles["rows"]}
    for row in answer["rows"]:
        parts = [by_id[name] for name in row["session_rows"]]
        assert [part["dataset_id"] for part in parts] == list(harness_config(sessions, "three").dataset_ids)
        assert (
            len({(part["signal"], json.dumps(part["signal_params"]), json.dumps(part["scoring"])) for part in parts})
            == 1
        )
        assert (
            len({(part["threshold"], part["cooldown_bins"], part["tp_ticks"], part["sl_ticks"]) for part in parts}) == 1
        )
        assert row["trades"] == sum(part["trades"] for part in parts)
        if row["trades"]:
            paid = sum((part["net_pnl_ticks"] or 0.0) * part["trades"] for part in parts)
            assert row["net_pnl_ticks"] == pytest.approx(paid / row["trades"])
        assert row["n_trials"] == 40
    assert len(answer["evidence"]) == 1
    assert len(singles["evidence"]) == 3
    assert "; it pays in " in answer["verdicts"][0]["verdict"]
    out, err = call("compare", "three")
    assert "paid" in out.splitlines()[0]
    assert " of 3 " in out
    assert "A row is a combination over all sessions" in err
    out, err = call("compare", "three", "--per-session")
    assert "paid" not in out.splitlines()[0]
    assert "combination over all sessions" not in err


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


@pytest.mark.slow
def test_a_session_that_failed_is_not_passed_over(
    sessions: Workspace, edit: Edit, call: Callable[..., tuple[str, str]]
) -> None:
    edit(THREE, name="three")
    run_experiment(sessions, "three")
    config = harness_config(sessions, "three")
    edit(THREE, ("cooldown_bins: [5, 20]", "cooldown_bins: [5, 20, 33]"), name="three")
    more = harness_config(sessions, "three")
    last = config.sessions[-1]
    dataset = sessions.datasets.open(last.dataset_id())
    edit(
        ("serving: base\n", f"serving: base\ndates: [{DATES[2]}]\n"),
        ("cooldown_bins: [5, 20]", "cooldown_bins: [33]"),
        name="last",
    )
    run_experiment(sessions, "last")
    assert expand(more, sessions.plugins, dataset.source_digests, dataset, session=last)
    answer = json.loads(call("compare", "three", "--min-signals", "0", "--json")[0])
    assert (answer["n_rows"], answer["n_incomplete"]) == (40, 20)
    _, err = call("compare", "three", "--min-signals", "0")
    assert "20 combinations are not ranked: a session is missing or failed." in err


def test_what_is_not_generated_yet(sessions: Workspace, edit: Edit, call: Callable[..., tuple[str, str]]) -> None:
    edit(("serving: base\n", "serving: base\ndates: [2023-12-25, 2023-12-29]\n"), name="two")
    config = harness_config(sessions, "two")
    plan = plan_experiment(sessions, "two")
    assert plan is not None
    assert plan.absent == config.dataset_ids[1:]
    assert plan.n_trials == 40
    answer = json.loads(call("run", "two", "--dry-run", "--json", code=2)[0])
    (lacking,) = answer["without_data"]
    assert lacking.startswith("ESH4 2023-12-29_1800_1859 (configs/experiments/two.yaml:3, dates[1]): There is no .dbn")
    assert (answer["n_trials"], answer["n_to_compute"], answer["dataset_exists"]) == (80, 80, False)
    assert answer["absent"] == list(config.dataset_ids[1:])
    _, err = call("run", "two", "--dry-run", code=2)
    assert f"Error: {lacking}" in err
    assert f"Dataset {config.dataset_ids[0]} is there." in err
    assert f"Dataset {config.dataset_ids[1]} would be generated first." in err
    edit(("serving: base\n", "serving: base\ndates: [2023-12-30, 2023-12-31]\n"), name="two")
    assert plan_experiment(sessions, "two") is None
    _, err = call("run", "two", code=2)
    assert err.startswith("Error: 2 of the 2 sessions of experiment 'two' cannot be made, and nothing was computed.")
    assert [line.partition(" (")[0] for line in err.splitlines()[1:]] == [
        "  ESH4 2023-12-30_1800_1859",
        "  ESH4 2023-12-31_1800_1859",
    ]


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
