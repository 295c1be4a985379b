"""Causality on the evaluated data: what a synthetic session cannot show."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from vpcore.api import generate
from vpcore.errors import CausalityError
from vpcore.experiment.run import run_experiment
from vpcore.signal.conformance.files import only_declared_files
from vpcore.workspace import Workspace

Edit = Callable[..., None]


def failures(workspace: Workspace, edit: Edit, signal: str) -> set[str]:
    edit(
        ("signals: [plain, scored]", f"signals: [{signal}]"),
        ("  scoring: {tanh_scale: [2.0, 3.0]}\n", ""),
        ("per_signal: {plain: {gain: [1, 2, 3]}}", f"per_signal: {{{signal}: {{gain: [1, 2]}}}}"),
    )
    report = run_experiment(workspace, "sweep", executor="serial")
    assert (report.n_computed, report.n_failed) == (16, 16)
    assert workspace.results.query_runs().is_empty()
    return {error for _, _, error in report.failures}


@pytest.mark.parametrize(
    ("signal", "said"),
    [
        ("lateahead", "Signal 'lateahead' looks ahead on the evaluated dataset: bin"),
        ("answers", r"Signal 'answers' opens .*answers\.npy while it computes. Name what it needs in data_files"),
        ("quietanswers", r"Signal 'quietanswers' opens .*answers\.npy while it computes."),
        (
            "lake",
            r"Signal 'lake' fails \(IndexError: .*\) when the session moves by whole bins: it knows when or at which",
        ),
        ("private", "AttributeError|KeyError|looks ahead|streams other values"),
        ("rounded", "Signal 'rounded' rounds differently .* It does not look ahead, but the bytes must be equal"),
    ],
)
def test_a_run_refuses(
    workspace: Workspace, edit: Edit, signal: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = tmp_path / "answers.npy"
    np.save(answers, np.random.default_rng(1).normal(size=100_000))
    monkeypatch.setenv("VP_ANSWERS", str(answers))
    generate(workspace, workspace.experiment("sweep").to_harness_config().pipeline)
    (bins,) = workspace.datasets_dir.glob("*/bins.parquet")
    monkeypatch.setenv("VP_BINS", str(bins))
    found = failures(workspace, edit, signal)
    for error in found:
        assert re.search(said, error), error


def test_a_signal_code_streams_a_dataset_once(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    from vpcore.experiment import worker

    streamed: list[str] = []
    original = worker.require_streamed
    monkeypatch.setattr(
        worker, "require_streamed", lambda *args, name: streamed.append(name) or original(*args, name=name)
    )
    run_experiment(workspace, "sweep", executor="serial")
    assert sorted(streamed) == ["plain", "scored"]
    run_experiment(workspace, "sweep", executor="serial", force=True)
    assert len(streamed) == 2


def test_what_a_signal_may_open(tmp_path: Path) -> None:
    import vp_sweep_signals

    from vpcore.signal import Signal

    class Declares(vp_sweep_signals.Plain):  # type: ignore[misc]
        data_files = ("vp_sweep_signals.py",)

    signal: Signal = Declares()
    Declares.__module__ = "vp_sweep_signals"
    own = Path(vp_sweep_signals.__file__)
    secret = tmp_path / "secret.csv"
    secret.write_text("1")
    with only_declared_files(signal, "declares"):
        own.read_text()
        Path(np.__file__).read_text()
    secret.read_text()
    with pytest.raises(CausalityError, match=r"opens .*secret\.csv"), only_declared_files(signal, "declares"):
        secret.read_text()
    with pytest.raises(CausalityError, match=r"a connection or a process"), only_declared_files(signal, "declares"):
        __import__("subprocess").run(["true"])
    with only_declared_files(signal, "declares"), (tmp_path / "other.csv").parent.joinpath("x.py").open("w") as file:
        file.write("")
