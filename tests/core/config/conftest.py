"""A workspace with one spec of each layer, and two signals of which one reads the score."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent
from types import ModuleType
from typing import Any

import pytest
from pydantic import Field

from vpcore import Component, SignalParams, StatisticalSignal, Workspace, hookimpl
from vpcore.plugins.manager import Plugins

PIPELINE = """\
name: open
capture:
  symbol: ESH4
  date: 2023-12-25
  start_time: "18:00"
  end_time: "18:59"
pipeline:
  cell_width_ms: 100
"""
SERVING = """\
name: base
pipeline: open
scoring: {zscore_window_bins: 200}
signal:
  name: scored
  params: {window: 50}
"""
EXPERIMENT = """\
name: sweep
serving: base
signals: [scored, plain]
eval: {tp_ticks: [4, 8], sl_ticks: [4]}
sweep:
  scoring: {tanh_scale: [2.0, 3.0]}
  per_signal:
    plain: {window: [10, 20], gain: [1, 2.5]}
"""

Write = Callable[[str, str], Path]


class _Params(SignalParams):
    window: int = Field(30, ge=2, le=500, description="Bins.")
    gain: float = Field(1.0, gt=0, description="Factor.")


class _Base(StatisticalSignal):
    Params = _Params

    def start(self, context: Any) -> Any:
        return None

    def step(self, state: Any, frame: Any) -> float:
        return 0.0


class Plain(_Base):
    columns = ("v_add",)


class Scored(_Base):
    columns = ("flow_score",)


@pytest.fixture
def plugins(monkeypatch: pytest.MonkeyPatch) -> Plugins:
    holder = ModuleType("config_test_signals")
    holder.Plain, holder.Scored = Plain, Scored  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, holder.__name__, holder)
    plugin = ModuleType("config_test_plugin")
    plugin.vp_signals = hookimpl(  # type: ignore[attr-defined]
        lambda: [
            Component("plain", "config_test_signals:Plain", "Does not read the score."),
            Component("scored", "config_test_signals:Scored", "Reads the score."),
        ]
    )
    # Specs name them, and nothing in these tests imports them.
    plugin.vp_samplers = hookimpl(lambda: [Component("guided", "nowhere:Sampler", "Looks at results.")])  # type: ignore[attr-defined]
    plugin.vp_sources = hookimpl(lambda: [Component(name, "nowhere:Source", "A source.") for name in ("dbn", "other")])  # type: ignore[attr-defined]
    found = Plugins([], disable=[])
    found.register(plugin, "tests")
    return found


@pytest.fixture
def workspace(tmp_path: Path, plugins: Plugins) -> Workspace:
    workspace, _ = Workspace.create(tmp_path / "ws", plugins=plugins)
    for place, text in (("pipelines/open", PIPELINE), ("serving/base", SERVING), ("experiments/sweep", EXPERIMENT)):
        (workspace.configs / f"{place}.yaml").write_text(text)
    return workspace


@pytest.fixture
def write(workspace: Workspace) -> Write:
    """Write a spec: ``write("pipelines/other", text)``."""

    def add(place: str, text: str) -> Path:
        path = workspace.configs / f"{place}.yaml"
        path.write_text(dedent(text))
        return path

    return add


@pytest.fixture
def texts() -> dict[str, str]:
    return {"pipeline": PIPELINE, "serving": SERVING, "experiment": EXPERIMENT}
