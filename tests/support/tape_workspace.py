"""A workspace whose pipelines read .npy files, by a source that a plugin registers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import yaml
from markets import START_NS, random_tape

from vpcore.plugins.component import Component
from vpcore.plugins.hookspecs import hookimpl
from vpcore.plugins.manager import Plugins
from vpcore.workspace import Workspace


@pytest.fixture
def heard() -> list[tuple[str, dict[str, Any]]]:
    return []


@pytest.fixture
def workspace(tmp_path: Path, heard: list[tuple[str, dict[str, Any]]]) -> Workspace:
    return make_workspace(tmp_path, heard)


def make_workspace(root: Path, heard: list[tuple[str, dict[str, Any]]]) -> Workspace:
    for name in ("configs/pipelines", "lake/raw"):
        (root / name).mkdir(parents=True, exist_ok=True)
    plugins = Plugins([])

    @hookimpl
    def vp_sources():
        return [Component("tape", "tape_source:TapeSource", "Records from .npy files.")]

    @hookimpl
    def vp_dataset_generated(workspace, dataset_id, manifest):
        heard.append((dataset_id, dict(manifest)))
        if heard[0][0] == "raise":
            raise RuntimeError("a hook that raises")
        assert workspace.datasets.exists(dataset_id)

    plugin = ModuleType("tapes")
    plugin.vp_sources, plugin.vp_dataset_generated = vp_sources, vp_dataset_generated  # type: ignore[attr-defined]
    plugins.register(plugin, "tapes", "tapes", "1")
    return Workspace(root, plugins=plugins)


@pytest.fixture
def put_tape(workspace: Workspace) -> Callable[..., Path]:
    def put(name: str = "a.npy", seed: int = 1, part: slice = slice(None), **more: Any) -> Path:
        path = workspace.raw / name
        np.save(path, random_tape(seed, **more)[part])
        return path

    return put


@pytest.fixture
def put_pipeline(workspace: Workspace) -> Callable[..., str]:
    def put(name: str = "p", end: str = "22:13:22", capture: dict[str, Any] | None = None, **engine: Any) -> str:
        assert START_NS == 1_700_000_000 * 10**9  # 2023-11-14 22:13:20 UTC
        spec = {
            "name": name,
            "capture": {
                "symbol": "ESZ3",
                "date": "2023-11-14",
                "start_time": "22:13:20",
                "end_time": end,
                "timezone": "UTC",
                "source": "tape",
                "options": {"covered": True},
                **(capture or {}),
            },
            "pipeline": {"grid_radius_ticks": 5, **engine},
        }
        (workspace.configs / "pipelines" / f"{name}.yaml").write_text(yaml.safe_dump(spec))
        return name

    return put
