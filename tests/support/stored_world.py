"""A workspace with a dataset, an experiment over two signals, and stored results with figures made up for the tests."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import yaml

from vpcore.dataset import DatasetWriter
from vpcore.engine import FrameBlock
from vpcore.experiment.runs import expand
from vpcore.plugins.component import Component
from vpcore.plugins.hookspecs import hookimpl
from vpcore.plugins.manager import Plugins
from vpcore.results import RUNS, TRIAL_KEY, VECTORS, runs_frame
from vpcore.schema import BIN_COLUMNS, GRID_VALUES
from vpcore.workspace import Workspace
from vpcore_dbn.plugin import vp_sources
from vpcore_serving import promote as promote_module
from vpcore_serving.registry import registry_of
from vpcore_serving.spec import PublishedServingSpec

PIPELINE = {
    "name": "p",
    "capture": {"symbol": "ESZ3", "date": "2023-11-14", "start_time": "10:00", "end_time": "11:00"},
    "pipeline": {"grid_radius_ticks": 2},
}
SERVING = {
    "name": "base",
    "description": "to practise",
    "pipeline": "p",
    "signal": {"name": "level"},
    "scoring": {"tanh_scale": 2.5},
}
EXPERIMENT = {
    "name": "sweep",
    "serving": "base",
    "signals": ["level", "scored"],
    "eval": {"tp_ticks": [4, 8], "cooldown_bins": [20, 30], "fee_ticks": 0.25},
    "select": {"metric": "net_pnl_ticks", "min_signals": 5},
    "sweep": {"scoring": {"zscore_window_bins": [100, 200]}, "per_signal": {"level": {"gain": [1.0, 2.0]}}},
    "tracking": {"backend": "none"},
}


class World:
    """The workspace and what tests change about it."""

    def __init__(self, root: Path) -> None:
        self.heard: list[tuple[str, str, PublishedServingSpec]] = []
        for name in ("pipelines", "serving", "experiments"):
            (root / "configs" / name).mkdir(parents=True)
        (root / "lake").mkdir()
        self.workspace = Workspace(root, plugins=self._plugins())
        for kind, spec in (("pipelines", PIPELINE), ("serving", SERVING), ("experiments", EXPERIMENT)):
            self.put(kind, spec)

    def _plugins(self) -> Plugins:
        @hookimpl
        def vp_signals():
            return [
                Component("level", "serving_signals:Level", "Pressure less vacuum."),
                Component("scored", "serving_signals:Scored", "The score."),
            ]

        @hookimpl
        def vp_promoted(workspace, serving_id, alias, spec):
            assert registry_of(workspace).aliases()[alias] == serving_id
            self.heard.append((serving_id, alias, spec))

        plugin = ModuleType("tests")
        plugin.vp_signals, plugin.vp_promoted, plugin.vp_sources = vp_signals, vp_promoted, vp_sources  # type: ignore[attr-defined]
        plugins = Plugins([])
        plugins.register(plugin, "tests", "tests", "1")
        return plugins

    def put(self, kind: str, spec: dict[str, Any], **changes: Any) -> None:
        path = self.workspace.configs / kind / f"{spec['name']}.yaml"
        path.write_text(yaml.safe_dump({**spec, **changes}))

    def require_proven(self) -> None:
        (self.workspace.configs / "workspace.yaml").write_text("promotion: {require: proven}\n")

    @property
    def config(self):
        return self.workspace.experiment("sweep").to_harness_config()

    def write_dataset(self, **manifest: Any) -> None:
        bins: dict[str, Any] = {name: np.zeros(50, kind) for name, kind in BIN_COLUMNS.items()}
        bins["bin_seq"] = np.arange(50)
        grid = {name: np.zeros((50, 5), np.float32) for name in GRID_VALUES}
        form = {"n_cells": 5, "cell_width_ns": 100_000_000, "tick_int": 250_000_000}
        with DatasetWriter(self.workspace.storage, self.config.dataset_id, **form) as writer:
            writer.append(FrameBlock(bins, grid))
            sources = [{"path": "a.dbn", "sha256": "ab" * 32, "size": 1}]
            quality = {"data_quality": {"unknown_order_rate": 0.031}}
            writer.commit({"symbol": "ESZ3", "sources": sources, **quality, **manifest})

    def runs(self):
        dataset = self.workspace.datasets.open(self.config.dataset_id)
        return expand(self.config, self.workspace.plugins, dataset.source_digests)

    def run(self, signal: str = "level", **params: Any):
        return next(run for run in self.runs() if run.signal_name == signal and params.items() <= run.params.items())

    def store(
        self, run, nets=None, *, n_signals=40, status="ok", figures=None, luck=0.0, rotated=True, **changes: Any
    ) -> None:
        """Store a run; `nets` is the net PnL of each of its trials, by default rising with the trial.

        The figures pass the gate unless `figures` says otherwise, or random entry pays up to `luck` times as much.
        """
        columns: dict[str, Any] = {
            name: np.array([trial[i] for trial in run.trials]) for i, name in enumerate(TRIAL_KEY)
        }
        nets = np.arange(len(run.trials)) / 8 if nets is None else np.array(nets, float)
        for name, kind in RUNS.items():
            if name not in (*columns, "run_id", "row", "batch_id", *VECTORS):
                columns[name] = np.zeros(len(run.trials), int if "Int" in str(kind) else float)
        columns["net_pnl_ticks"] = nets
        columns["n_signals"] = np.full(len(run.trials), n_signals)
        columns["n_eff"] = np.full(len(run.trials), 0.75 * n_signals)
        columns |= {"net_pnl_lo": nets - 0.1, "net_pnl_hi": nets + 0.1, "net_pnl_sd": np.ones(len(run.trials))}
        columns |= {"p_random": np.full(len(run.trials), 0.001), "net_pnl_kurtosis": np.full(len(run.trials), 3.0)}
        columns |= {name: np.full(len(run.trials), value) for name, value in (figures or {}).items()}
        columns["trades_digest"] = np.array([f"{run.run_id[:8]}{i}" for i in range(len(run.trials))])
        columns["block_pnl_ticks"] = np.outer(nets, np.ones(12))
        chance = luck * np.random.default_rng(int(run.run_id, 16)).random((len(run.trials), 499))
        paid = np.rint(1000 * (1 + nets)).astype(int)[:, None]
        if not rotated:
            chance, paid = chance[:, :0], paid[:, :0]
        columns["rotated_net"] = np.concatenate([paid, np.rint(paid * chance - (luck == 0)).astype(int)], axis=1)
        now = datetime(2024, 1, 1, tzinfo=UTC)
        meta = {
            **run.meta, "host": "h", "started_utc": now, "finished_utc": now, "elapsed_seconds": 1.0, "status": status,
            "error": None if status == "ok" else "it broke", "traceback": None, **changes,
        }  # fmt: skip
        self.workspace.results.write([meta], runs_frame(run.run_id, columns))


@pytest.fixture
def bare_world(tmp_path, monkeypatch) -> World:
    """Without a dataset. Causality is not proven here: that is another piece, and it takes seconds."""
    world = World(tmp_path)
    world.proved = []
    monkeypatch.setattr(promote_module, "prove", lambda signal, folder, name: world.proved.append((name, folder)))
    return world


@pytest.fixture
def world(bare_world) -> World:
    bare_world.write_dataset()
    return bare_world


@pytest.fixture
def specs() -> SimpleNamespace:
    return SimpleNamespace(pipeline=PIPELINE, serving=SERVING, experiment=EXPERIMENT)
