"""A workspace with a small session in its lake and an experiment on a signal that learns."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from vpcore import Workspace
from vpcore.dataset import DatasetWriter
from vpcore.engine import FrameBlock
from vpcore.schema import GRID_VALUES
from vpcore.testing import synthetic_dataset

PIPELINE: dict[str, Any] = {
    "name": "open",
    "capture": {"symbol": "ESH4", "date": "2023-12-25", "start_time": "18:00", "end_time": "18:59"},
    "pipeline": {"grid_radius_ticks": 12},
}
SMALL = {"min_train_bins": 300, "retrain_interval_bins": 200, "stride_bins": 1}
SERVING: dict[str, Any] = {"name": "base", "pipeline": "open", "signal": {"name": "logit", "params": SMALL}}
EXPERIMENT: dict[str, Any] = {
    "name": "learn",
    "serving": "base",
    "eval": {
        "tp_ticks": [1, 2],
        "sl_ticks": [5],
        "max_hold_bins": 40,
        "warmup_bins": 400,
        "cooldown_bins": [5],
        "thresholds": [0.5],
    },
    "select": {"min_signals": 1},
    "parallel": {"executor": "serial"},
    "tracking": {"backend": "none"},
}


def make_learning_workspace(root: Path, **changed: Any) -> Workspace:
    """Make it; `changed` are keys of the experiment."""
    workspace, _ = Workspace.create(root)
    experiment = {**EXPERIMENT, **changed}
    for kind, spec in (("pipelines", PIPELINE), ("serving", SERVING), ("experiments", experiment)):
        (workspace.configs / kind / f"{spec['name']}.yaml").write_text(yaml.safe_dump(spec))
    made = synthetic_dataset(seed=3, n_bins=900, radius=12)
    block = FrameBlock(
        {name: made.bin(name) for name in made.bin_columns}, {name: made.grid(name) for name in GRID_VALUES}
    )
    with DatasetWriter(
        workspace.storage,
        workspace.pipeline("open").dataset_id(),
        n_cells=25,
        cell_width_ns=100_000_000,
        tick_int=250_000_000,
        columns=tuple(block.grid),
    ) as writer:
        writer.append(block)
        writer.commit({"sources": [{"path": "a.dbn", "sha256": "ab" * 32, "size": 1}]})
    return workspace
