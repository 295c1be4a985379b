"""``vp track``: stored results, reported later and twice."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from flaky_tracker import Flaky, flaky

from vpcore import Workspace, hookimpl
from vpcore.errors import ConfigError, PluginError, ResultsError
from vpcore.experiment.reporting import GIVE_UP_AFTER
from vpcore.experiment.run import run_experiment
from vpcore_cli.tracking import track_experiment

__all__ = ["flaky"]


def test_a_tracker_that_is_down_loses_nothing(flaky: Workspace) -> None:
    report = run_experiment(flaky, "sweep")
    assert (report.n_computed, report.n_failed) == (40, 0)
    assert len(report.tracker_failures) == GIVE_UP_AFTER + 1
    assert report.tracker_failures[0].endswith("ConnectionError: no answer")
    assert report.tracker_failures[-1] == "after 3 failures in a row nothing more was sent"
    assert Flaky.tries == GIVE_UP_AFTER < len(report.run_ids)

    down = track_experiment(flaky, "sweep")
    assert (down.n_runs, down.n_reported, len(down.failures)) == (5, 0, GIVE_UP_AFTER + 1)
    Flaky.up, Flaky.told = True, []
    for _ in range(2):
        up = track_experiment(flaky, "sweep")
        assert (up.n_runs, up.n_reported, up.failures) == (5, 5, ())
    assert Flaky.told[0] == ("sweep", ["experiment", "pipeline", "serving"])
    assert Flaky.told[1:6] == [(run, 8) for run in sorted(report.run_ids)]


class Taking(Flaky):
    """A tracker that takes files, and breaks when it is closed."""

    def log_files(self, experiment: str, run_id: str | None, files: Any) -> None:
        type(self).told.append((experiment, run_id, {name: path.read_bytes() for name, path in files.items()}))

    def close(self) -> None:
        raise ConnectionError("gone")


@pytest.fixture
def end(flaky: Workspace) -> Callable[[Callable[[Path], Any]], list[Any]]:
    """Let one plugin alone hear of the end of an experiment; say what it does there, and get what it was told."""
    told: list[Any] = []

    def listen(act: Callable[[Path], Any]) -> list[Any]:
        def finished(experiment: str, run_ids: Any, folder: Path | None) -> None:
            told.append((experiment, run_ids, folder is not None))
            if folder is not None:
                act(folder)

        plugins = flaky.plugins
        plugins.loaded = [p for p in plugins.loaded if p.name != "end"]
        if plugins.manager.has_plugin("end"):
            plugins.manager.unregister(name="end")
        plugins.loaded = [p._replace(hooks=tuple(set(p.hooks) - {"vp_experiment_finished"})) for p in plugins.loaded]
        plugin = ModuleType("track_test_end")
        plugin.vp_experiment_finished = hookimpl(finished)  # type: ignore[attr-defined]
        plugins.register(plugin, "end")
        return told

    return listen


def write(folder: Path) -> None:
    (folder / "deep").mkdir()
    (folder / "deep" / "page.html").write_text("a page")


def broken(folder: Path) -> None:
    raise OSError("no font")


def test_files_that_a_plugin_writes_at_the_end_go_to_a_tracker_that_takes_files(
    flaky: Workspace, edit: Any, monkeypatch: pytest.MonkeyPatch, end: Any
) -> None:
    monkeypatch.setattr(sys.modules["track_test_tracker"], "Flaky", Taking)
    Flaky.up = True
    heard = end(write)
    report = run_experiment(flaky, "sweep")
    assert report.tracker_failures == ["when it was closed: ConnectionError: gone"]
    assert Flaky.told[-1] == ("sweep", None, {"deep/page.html": b"a page"})
    assert heard == [("sweep", tuple(report.run_ids), True)]
    run_id = report.run_ids[0]
    for name in ("models/{}/tp2_sl6/w.bin", "diagnostics/{}/tp2_sl6.json", "models/{}/.tp2_sl6-1/w.bin"):
        path = flaky.results_dir / name.format(run_id)
        path.parent.mkdir(parents=True)
        path.write_bytes(content := b'{"tp_ticks": 2, "sl_ticks": 6}')
    kinds = {"models": {"models/tp2_sl6/w.bin": content}, "diagnostics": {"diagnostics/tp2_sl6.json": content}}
    for wanted in (["models", "diagnostics"], ["models"], ["diagnostics"], []):
        edit(("parallel:", f"tracking: {{backend: flaky, files: {json.dumps(wanted)}}}\nparallel:"))
        flaky.__dict__.pop("specs", None)
        Flaky.told = []
        told = track_experiment(flaky, "sweep")
        assert told.failures == ("when it was closed: ConnectionError: gone",)
        files = {name: data for kind in wanted for name, data in kinds[kind].items()}
        assert [entry for entry in Flaky.told if len(entry) == 3] == ([("sweep", run_id, files)] if wanted else [])
        assert heard[-1] == ("sweep", tuple(sorted(report.run_ids)), False)


def test_a_plugin_that_fails_at_the_end_is_a_failure_and_nothing_to_write_is_not(
    flaky: Workspace, monkeypatch: pytest.MonkeyPatch, end: Any
) -> None:
    heard = end(broken)
    run_experiment(flaky, "sweep")
    run_experiment(flaky, "sweep")
    assert [files for _, _, files in heard] == [False, False]  # the tracker was down, then there was nothing to report
    monkeypatch.setattr(Taking, "close", lambda self: None)
    Flaky.up = True
    assert track_experiment(flaky, "sweep").failures == ()  # Flaky takes no files, so none are made
    monkeypatch.setattr(sys.modules["track_test_tracker"], "Flaky", Taking)
    told = track_experiment(flaky, "sweep")
    expected = ("vp_experiment_finished of plugin 'end': OSError: no font",)
    assert (told.n_reported, told.failures) == (5, expected)
    Flaky.told = []
    end(lambda folder: None)
    assert track_experiment(flaky, "sweep").failures == ()
    assert not any(len(entry) == 3 for entry in Flaky.told)


def test_a_tracker_must_derive_from_the_base_class(flaky: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules["track_test_tracker"], "Flaky", object)
    expected = (
        r"Tracker 'flaky' of plugin 'trackers' .* must be a class that derives from vpcore\.tracker\.Tracker, was"
    )
    with pytest.raises(PluginError, match=expected):
        run_experiment(flaky, "sweep")


def test_stored_runs_become_lines(make_proven: Callable[[str], Workspace]) -> None:
    workspace = make_proven("ws")
    with pytest.raises(ResultsError, match="Nothing of experiment 'sweep' is stored, so there is nothing to report"):
        track_experiment(workspace, "sweep", tracker="jsonl")
    report = run_experiment(workspace, "sweep")
    with pytest.raises(
        ConfigError, match=r"Experiment 'sweep' names no tracker\. Set tracking\.backend in its spec, or"
    ):
        track_experiment(workspace, "sweep")
    with pytest.raises(PluginError, match=r"No tracker is called 'jsnl'.*Did you mean 'jsonl'\?"):
        track_experiment(workspace, "sweep", tracker="jsnl")
    for _ in range(2):
        assert track_experiment(workspace, "sweep", tracker="jsonl").n_reported == 5
    lines = (workspace.harness_dir / "tracking" / "vp_sweep.jsonl").read_text().splitlines()
    assert [json.loads(line)["run_id"] for line in lines] == sorted(report.run_ids)
    assert all(json.loads(line)["n_rows"] == 8 for line in lines)


def test_a_tracker_that_cannot_be_opened(flaky: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    run_experiment(flaky, "sweep")

    def refuse(self: Any, **settings: Any) -> None:
        raise ConnectionError("no server")

    monkeypatch.setattr(Flaky, "__init__", refuse)
    with pytest.raises(PluginError, match=r"Tracker 'flaky' could not be opened: ConnectionError: no server\. The res"):
        track_experiment(flaky, "sweep")
