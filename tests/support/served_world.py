"""A workspace with a short simulated session as a file, and two published versions: one of `erd`, one of `ofi`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

import vpcore.experiment.run as run_module
import vpcore_serving.promote as promote_module
from vpcore import Workspace
from vpcore.api import generate
from vpcore.experiment.run import run_experiment
from vpcore_cli.app import run
from vpcore_serving.promote import promote

MINUTES = 2
RADIUS = 12
BARRIERS = {"tp_ticks": [1], "sl_ticks": [3], "max_hold_bins": 100, "warmup_bins": 60, "cooldown_bins": [5]}
SIGNALS: dict[str, dict[str, Any]] = {
    "erd": {
        "params": {"band_ticks": 12, "zscore_window": 60},
        "eval": {**BARRIERS, "thresholds": [0.02]},
    },
    "ofi": {
        "params": {"window_bins": 5},
        "eval": {**BARRIERS, "thresholds": [0.5]},
    },
}
"""By alias, which is the name of the signal."""
LEARNING: dict[str, dict[str, Any]] = {
    "logit": {
        "params": {"min_train_bins": 200, "retrain_interval_bins": 200, "stride_bins": 1},
        "eval": {**BARRIERS, "warmup_bins": 300, "thresholds": [0.6]},
    },
}
"""A signal that learns, for `publish`: the libraries of its models take seconds to import."""


def write(workspace: Workspace, kind: str, spec: dict[str, Any]) -> None:
    (workspace.configs / kind / f"{spec['name']}.yaml").write_text(yaml.safe_dump(spec))


def publish(workspace: Workspace, pipeline: str, signals: dict[str, dict[str, Any]] = SIGNALS) -> None:
    """Evaluate each signal on the dataset of a pipeline, and publish its best row. Causality has tests of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run_module, "pass_gate", lambda *_: {})
        patch.setattr(promote_module, "prove", lambda *_, **__: None)
        for name, settings in signals.items():
            signal = {"name": name, "params": settings["params"]}
            write(
                workspace,
                "serving",
                {
                    "name": name,
                    "pipeline": pipeline,
                    "signal": signal,
                    "scoring": {"zscore_window_bins": 60, "zscore_min_periods": 20},
                },
            )
            write(
                workspace,
                "experiments",
                {
                    "name": name,
                    "serving": name,
                    "eval": settings["eval"],
                    "select": {"min_signals": 0},
                    "parallel": {"executor": "serial"},
                    "tracking": {"backend": "none"},
                },
            )
            report = run_experiment(workspace, name)
            assert report.n_failed == 0
            promote(workspace, name, alias=name)


def make_served_workspace(root: Path) -> Workspace:
    """Make it, in a few seconds."""
    workspace, _ = Workspace.create(root)
    synth = [
        "synth",
        "--minutes",
        str(MINUTES),
        "--pipeline",
        "day",
        "--seed",
        "7",
        "--alpha",
        "0.6",
        "--events-per-second",
        "40",
    ]
    assert run([*synth, "--root", str(root)]) == 0
    path = workspace.configs / "pipelines" / "day.yaml"
    spec = yaml.safe_load(path.read_text())
    spec.setdefault("pipeline", {})["grid_radius_ticks"] = RADIUS
    path.write_text(yaml.safe_dump(spec))
    generate(workspace, workspace.pipeline("day"))
    publish(workspace, "day")
    return workspace
