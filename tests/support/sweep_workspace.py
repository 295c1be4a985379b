"""A workspace with a small dataset in its lake, and signals that behave and misbehave."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from vpcore import Component, Workspace, hookimpl
from vpcore.dataset import DatasetWriter
from vpcore.engine import FrameBlock
from vpcore.experiment.run import run_experiment
from vpcore.plugins.manager import Plugins
from vpcore.testing import prove, synthetic_dataset

PLUGIN = Path(__file__).parent / "sweep_signals"

PIPELINE = """\
name: open
capture: {symbol: ESH4, date: 2023-12-25, start_time: "18:00", end_time: "18:59"}
pipeline: {grid_radius_ticks: 4}
"""
SERVING = """\
name: base
pipeline: open
scoring: {zscore_window_bins: 60, zscore_min_periods: 20}
signal: {name: plain}
"""
EXPERIMENT = """\
name: sweep
serving: base
signals: [plain, scored]
eval: {tp_ticks: [2, 4], sl_ticks: [6], max_hold_bins: 50, warmup_bins: 60, cooldown_bins: [5, 20], fee_ticks: 0}
sweep:
  scoring: {tanh_scale: [2.0, 3.0]}
  per_signal: {plain: {gain: [1, 2, 3]}}
parallel: {executor: serial}
"""
N_ROWS = 40
"""Rows of the experiment."""

NAMES = (
    "Plain", "Scored", "Breaks", "Greedy", "Dies", "Ahead", "Wave", "LateAhead", "Answers", "QuietAnswers", "Lake", "Private",
    "Rounded", "Endless", "Learns",
)  # fmt: skip


MACHINERY = ("dask", "dbn", "mlflow", "object-store", "optuna")

DATES = ("2023-12-25", "2023-12-26", "2023-12-27")
THREE = ("serving: base\n", f"serving: base\ndates: [{', '.join(DATES)}]\n")
"""Edit of the experiment: the same on three days."""


def add_dataset(workspace: Workspace, dataset_id: str, seed: int, n_bins: int) -> None:
    """Write another dataset of the same market into the lake."""
    made = synthetic_dataset(seed=seed, n_bins=n_bins, radius=4)
    names = [name for name in made.grid_columns if not name.endswith("rest_depth")]
    frames = FrameBlock({name: made.bin(name) for name in made.bin_columns}, {name: made.grid(name) for name in names})
    form: dict[str, Any] = {"n_cells": 9, "cell_width_ns": 100_000_000, "tick_int": 250_000_000}
    with DatasetWriter(workspace.storage, dataset_id, columns=tuple(frames.grid), **form) as writer:
        writer.append(frames)
        writer.commit({"sources": [{"path": f"{seed}.dbn", "sha256": f"{seed:02d}" * 32, "size": 1}]})


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.syspath_prepend(str(PLUGIN))
    yield
    sys.modules.pop("vp_sweep_signals", None)


def make_plugins() -> Plugins:
    plugin = ModuleType("sweep_test_plugin")
    plugin.vp_signals = hookimpl(  # type: ignore[attr-defined]
        lambda: [Component(name.lower(), f"vp_sweep_signals:{name}", "For tests.") for name in NAMES]
    )
    plugin.vp_samplers = hookimpl(lambda: [Component("climb", "climb_sampler:Climb", "For tests.")])  # type: ignore[attr-defined]
    # Of the installed plugins those that hold no signals.
    machinery = [entry for entry in metadata.entry_points(group="vpcore") if entry.name in MACHINERY]
    if "dbn" not in [entry.name for entry in machinery]:  # specs name it by default
        plugin.vp_sources = hookimpl(lambda: [Component("dbn", "tape_source:TapeSource", "For tests.")])  # type: ignore[attr-defined]
    found = Plugins(machinery, disable=[])
    found.register(plugin, "tests")
    return found


@pytest.fixture(scope="session")
def frames() -> FrameBlock:
    made = synthetic_dataset(seed=3, n_bins=2000, radius=4)
    names = [name for name in made.grid_columns if not name.endswith("rest_depth")]
    return FrameBlock({name: made.bin(name) for name in made.bin_columns}, {name: made.grid(name) for name in names})


def build(root: Path, frames: FrameBlock) -> Workspace:
    """Make a workspace with the experiment and its dataset."""
    workspace, _ = Workspace.create(root, plugins=make_plugins())
    for place, text in (("pipelines/open", PIPELINE), ("serving/base", SERVING), ("experiments/sweep", EXPERIMENT)):
        (workspace.configs / f"{place}.yaml").write_text(text)
    dataset_id = workspace.pipeline("open").dataset_id()
    form: dict[str, Any] = {"n_cells": 9, "cell_width_ns": 100_000_000, "tick_int": 250_000_000}
    with DatasetWriter(workspace.storage, dataset_id, columns=tuple(frames.grid), **form) as writer:
        writer.append(frames)
        writer.commit({"sources": [{"path": "a.dbn", "sha256": "ab" * 32, "size": 1}]})
    return workspace


@pytest.fixture
def make_workspace(tmp_path: Path, frames: FrameBlock) -> Callable[[str], Workspace]:
    return lambda name="ws": build(tmp_path / name, frames)


@contextmanager
def importable_signals() -> Iterator[None]:
    """Make the signals importable for fixtures that outlive a test."""
    sys.path.insert(0, str(PLUGIN))
    try:
        yield
    finally:
        sys.path.remove(str(PLUGIN))
        sys.modules.pop("vp_sweep_signals", None)


@pytest.fixture(scope="session")
def proofs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Proofs of the signals that behave, made once."""
    folder = tmp_path_factory.mktemp("proofs")
    with importable_signals():
        plugins = make_plugins()
        for name, gains in (("plain", (1, 2, 3)), ("scored", (1,)), ("dies", (0.5, 0.6, 2))):
            cls = plugins.load("signal", name)
            for gain in gains:
                prove(cls(gain=gain), folder, name=name)
    return folder


@pytest.fixture
def make_proven(
    make_workspace: Callable[[str], Workspace], proofs: Path, tmp_path: Path
) -> Iterator[Callable[[str], Workspace]]:
    """Make workspaces in which no signal has to be proven any more. Proofs of the test are kept for later ones."""
    made: list[Path] = []

    def make(name: str) -> Workspace:
        workspace = make_workspace(name)
        made.append(workspace.results_dir / "proofs")
        shutil.copytree(proofs, made[-1])
        return workspace

    yield make
    for folder in made:
        for path in folder.glob("*.json"):
            if not (proofs / path.name).exists():
                shutil.copy(path, proofs)


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, frames: FrameBlock, proofs: Path) -> Path:
    """The lake of a workspace in which the experiment was run, to be copied."""
    with importable_signals():
        made = build(tmp_path_factory.mktemp("finished") / "ws", frames)
        shutil.copytree(proofs, made.results_dir / "proofs")
        assert run_experiment(made, "sweep").n_computed == N_ROWS
    return made.lake


@pytest.fixture
def workspace(make_proven: Callable[[str], Workspace]) -> Workspace:
    return make_proven("ws")


def edited(root: Path, *pairs: tuple[str, str], name: str = "sweep") -> None:
    """Write the experiment with some text replaced."""
    text = EXPERIMENT.replace("name: sweep", f"name: {name}")
    for old, new in pairs:
        assert old in text
        text = text.replace(old, new)
    (root / "configs" / "experiments" / f"{name}.yaml").write_text(text)


@pytest.fixture
def edit(tmp_path: Path) -> Callable[..., None]:
    """Replace text in an experiment of the workspace called ws."""
    return partial(edited, tmp_path / "ws")


@pytest.fixture
def paths() -> dict[str, Any]:
    return {"plugin": PLUGIN}
