"""Commands on an experiment on several sessions."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from session_workspace import sessions
from sweep_workspace import DATES, THREE

from vpcore import Workspace
from vpcore.experiment.run import harness_config, plan_experiment, run_experiment
from vpcore.experiment.runs import expand

__all__ = ["sessions"]

Edit = Callable[..., None]


@pytest.fixture
def ws(sessions: Workspace) -> Workspace:
    """The workspace of `call`."""
    return sessions


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
