"""Workers: the same bytes for any number of them, deaths, and kills of the whole."""

from __future__ import annotations

import importlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sweep_workspace import build, importable_signals

import vpcore.experiment.plan
from vpcore import Component, Workspace
from vpcore.engine import FrameBlock
from vpcore.errors import SignalError
from vpcore.experiment import recorder
from vpcore.experiment.run import run_experiment
from vpcore.experiment.worker import load_class
from vpcore.signal import code_digest

Edit = Callable[..., None]

_RUN = """
import sys
sys.path[:0] = sys.argv[3:]
from sweep_workspace import make_plugins
from vpcore import Workspace
from vpcore.experiment import recorder
from vpcore.experiment.run import run_experiment
recorder.STORE_SECONDS = 0.0
if __name__ == "__main__":
    workspace = Workspace(sys.argv[1], plugins=make_plugins())
    workers = int(sys.argv[2])
    def told(now):
        if now.stage == "run" and now.done:
            print("rows are stored", flush=True)
    print("ready", flush=True)
    sys.stdin.readline()
    executor = "local" if workers else "serial"
    run_experiment(workspace, "sweep", executor=executor, max_workers=workers or None, on_progress=told)
"""


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, frames: FrameBlock, proofs: Path) -> bytes:
    """The results of the experiment, made in this process."""
    with importable_signals():
        workspace = build(tmp_path_factory.mktemp("undisturbed") / "ws", frames)
        shutil.copytree(proofs, workspace.results_dir / "proofs")
        run_experiment(workspace, "sweep")
    return workspace.results.canonical_bytes()


def start(workspace: Workspace, workers: int, plugin: Any, stdin: int = subprocess.DEVNULL) -> subprocess.Popen[bytes]:
    """Start the experiment in a process with another hash seed, once it reads a line or the end of its input."""
    command = [sys.executable, "-c", _RUN, str(workspace.root), str(workers), str(plugin), str(plugin.parent)]
    environment = {**os.environ, "PYTHONHASHSEED": "2"}
    process = subprocess.Popen(command, env=environment, stdin=stdin, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    return process


def finish(process: subprocess.Popen[bytes]) -> int:
    process.communicate()
    return process.returncode


@pytest.mark.slow
def test_serial_and_two_workers_give_the_same_bytes(
    make_proven: Callable[[str], Workspace], undisturbed: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert len(undisturbed) > 10_000
    workspace = make_proven("two")
    monkeypatch.setattr(recorder, "STORE_SECONDS", 0.0)  # many parts, in any order
    monkeypatch.setenv("PYTHONHASHSEED", "2")  # of the workers
    run_experiment(workspace, "sweep", executor="local", max_workers=2)
    assert workspace.results.canonical_bytes() == undisturbed


@pytest.mark.slow
def test_a_worker_that_dies_is_reported_and_the_rest_go_on(
    make_proven: Callable[[str], Workspace], edit: Edit, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = make_proven("ws")
    monkeypatch.setattr(vpcore.experiment.plan, "TASKS_PER_WORKER", 1)  # so that one task holds all four runs
    edit(
        ("signals: [plain, scored]", "signals: [plain, dies]"),
        ("  scoring: {tanh_scale: [2.0, 3.0]}\n", ""),
        ("per_signal: {plain: {gain: [1, 2, 3]}}", "per_signal: {dies: {gain: [0.5, 2, 0.6]}}"),
    )
    report = run_experiment(workspace, "sweep", executor="local", max_workers=1)
    assert (report.n_computed, report.n_failed) == (32, 8)
    assert [(name, "was killed (SIGKILL)" in error) for _, name, error in report.failures] == [("dies", True)]
    assert workspace.results.find_run(report.failures[0][0])["signal_params_json"] == '{"gain":2}'


@pytest.mark.slow
def test_a_kill_loses_only_what_was_in_flight(
    make_proven: Callable[[str], Workspace], undisturbed: bytes, paths: dict[str, Any]
) -> None:
    """`make faults` kills at many other moments."""
    killed = make_proven("killed")
    process = start(killed, 2, paths["plugin"])
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal.SIGKILL)
    finish(process)
    stored = killed.results.query_runs().height
    report = run_experiment(killed, "sweep")
    assert (report.n_reused, report.n_reused + report.n_computed) == (stored, 40)
    assert stored > 0
    assert killed.results.canonical_bytes() == undisturbed


@pytest.mark.slow
def test_ctrl_c_stops_workers_and_keeps_what_was_finished(
    make_proven: Callable[[str], Workspace], paths: dict[str, Any]
) -> None:
    workspace = make_proven("ws")
    process = start(workspace, 1, paths["plugin"])
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=300)
    stored = workspace.results.query_runs(status=None).height
    assert process.returncode != 0 or stored == 40
    report = run_experiment(workspace, "sweep")
    assert (report.n_reused, report.n_reused + report.n_computed) == (stored, 40)
    assert stored > 0


@pytest.mark.slow
def test_two_experiments_at_once_share_a_lake(
    make_proven: Callable[[str], Workspace],
    undisturbed: bytes,
    paths: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    workspace = make_proven("ws")
    monkeypatch.setattr(recorder, "STORE_SECONDS", 0.0)
    other = start(workspace, 0, paths["plugin"], stdin=subprocess.PIPE)
    assert other.stdin is not None
    other.stdin.write(b"\n")  # now: it and this process begin at once
    other.stdin.flush()
    run_experiment(workspace, "sweep", executor="serial")
    assert finish(other) == 0
    assert workspace.results.query_runs().height == 40
    assert workspace.results.canonical_bytes() == undisturbed


def test_a_process_that_outlives_an_edit_of_a_signal_does_not_run_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, paths: dict[str, Any]
) -> None:
    file = tmp_path / "vp_edited_signal.py"
    file.write_text((paths["plugin"] / "vp_sweep_signals.py").read_text())
    monkeypatch.syspath_prepend(str(tmp_path))
    target = "vp_edited_signal:Plain"
    cls = Component("signal", target, "A signal.").load()
    assert load_class(target, code_digest(cls)) is cls
    file.write_text(file.read_text().replace("-self.params.gain", "self.params.gain"))
    with pytest.raises(
        SignalError, match=r"were changed since process \d+ on .* has loaded them\. Restart the workers"
    ):
        load_class(target, code_digest(cls))
    again = importlib.reload(sys.modules["vp_edited_signal"]).Plain
    assert load_class(target, code_digest(again)) is again
    sys.modules.pop("vp_edited_signal")
