"""Commands on an experiment whose combinations a sampler proposes on the way."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import search_workspace
from search_workspace import ROWS, interrupted, without_samplers

from vpcore import Workspace
from vpcore.experiment.adaptive_search import unfinished
from vpcore.experiment.run import harness_config
from vpcore_cli import app as cli
from vpcore_cli.work import stand_ins

frames, make = search_workspace.frames, search_workspace.make


def vp(workspace: Workspace, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(cli, "Plugins", lambda: workspace.plugins)
    monkeypatch.setenv("VP_ROOT", str(workspace.root))
    return cli.run(list(arguments))


@pytest.mark.slow
def test_commands_before_midway_and_after(
    make: Callable[..., Workspace], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    workspace = make()

    def call(*arguments: str, code: int = 0) -> tuple[str, str]:
        capsys.readouterr()
        assert vp(workspace, monkeypatch, *arguments) == code
        return capsys.readouterr()

    def dry() -> list[int]:
        answer = json.loads(call("run", "wave", "--dry-run", "--json")[0])
        assert (answer["n_trials"], answer["n_runs"]) == (ROWS, 27)
        assert answer["n_stored"] + answer["n_to_compute"] == ROWS
        assert sum(row["stored"] for row in answer["signals"]) == answer["n_stored"]
        return [answer["n_stored"], *(row["undecided"] for row in answer["signals"])]

    with monkeypatch.context() as without:  # none of this needs it
        without_samplers(workspace, without)
        assert dry() == [0, 0, 12, 12]
        err = call("run", "wave", "--dry-run")[1]
        assert (
            "Of 448 combinations of wave climb proposes 12, 4 at a time, from the results of those before: 12 are"
            in err
        )
        assert "No stored row matches." in call("compare", "wave")[1]
        assert "nothing to report" in call("track", "wave", "--tracker", "jsonl", code=2)[1]
    interrupted(workspace, 40)
    stored = workspace.results.query_runs()
    with monkeypatch.context() as without:
        without_samplers(workspace, without)
        assert dry()[0] == stored.height
        assert dry()[1:] != [0, 0, 0]
        answer = json.loads(call("compare", "wave", "--json", "--min-signals", "0", "--limit", "1000")[0])
        assert {row["run_id"] for row in answer["rows"]} == set(stored["run_id"])
        assert f"{stored['run_id'].n_unique()} of" in call("track", "wave", "--tracker", "jsonl")[0]
        assert "p_adj counts all combinations on the axes, tried or not" in call("compare", "wave")[1]
    out, err = call("run", "wave")
    assert f"wave: {ROWS} rows of 27 runs; {stored.height} were stored already" in err
    assert out.splitlines()[0].split()[:2] == ["row", "signal"]
    assert dry() == [ROWS, 0, 0, 0]
    assert "all of them are known" in call("run", "wave", "--dry-run")[1]
    answer = json.loads(call("compare", "wave", "--json", "--min-signals", "0", "--limit", "1000")[0])
    assert len(answer["rows"]) == ROWS
    distinct = workspace.results.query_runs()["trades_digest"].n_unique()
    assert answer["rows"][0]["n_trials"] == distinct  # everything that was tried, and no more


def test_stand_ins_are_so_many_others(make: Callable[..., Workspace]) -> None:
    workspace = make()
    interrupted(workspace, 40)
    config = harness_config(workspace, "wave")
    others = stand_ins(config)
    for plan, other in zip(config.signals, others.signals, strict=True):
        if plan.search is not None:
            assert len(other.proposed) == 12 - len(plan.proposed)
            assert not set(other.proposed) & set(plan.proposed)
    assert unfinished(config)
