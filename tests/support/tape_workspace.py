"""A source that reads records from .npy files, registered as a plugin, and a workspace that uses it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import yaml
from markets import INSTRUMENT, START_NS, random_tape

from vpcore.errors import SourceError
from vpcore.plugins.component import Component
from vpcore.plugins.hookspecs import hookimpl
from vpcore.plugins.manager import Plugins
from vpcore.source.protocol import FileInfo, RecordChunk, Source
from vpcore.workspace import Workspace

CHUNK = 97


class TapeStream:
    def __init__(self, paths: list[Path], covered: int | None) -> None:
        self.paths = paths
        self.covered_end_ns = covered
        self.warnings: list[str] = []
        self.bytes_total = sum(path.stat().st_size for path in paths)
        self.bytes_done = 0
        self.files = [
            FileInfo(
                path, hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_size, "T", "mbo", 1, (), 0, None, 77
            )
            for path in paths
        ]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        return None

    def __iter__(self):
        buffer = None
        for index, path in enumerate(self.paths):
            records = np.load(path)
            for first in range(0, len(records), CHUNK):
                part = records[first : first + CHUNK]
                if buffer is None:
                    buffer = part.copy()
                buffer[: len(part)] = part  # used again, as the contract of sources allows
                yield RecordChunk(buffer[: len(part)], INSTRUMENT, index, first)
            self.bytes_done += path.stat().st_size
        if self.covered_end_ns is None:
            self.warnings.append("the tape does not say where it ends")


class TapeSource(Source):
    def open(self, request):
        paths = sorted(request.files or request.raw.path.glob("*.npy"))
        missing = [path for path in paths if not path.exists()]
        if missing or not paths:
            raise SourceError(f"There is no tape {missing}.")
        return TapeStream(paths, request.end_ns if request.options.get("covered") else None)


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
        return [Component("tape", f"{TapeSource.__module__}:TapeSource", "Records from .npy files.")]

    @hookimpl
    def vp_dataset_generated(workspace, dataset_id, manifest):
        heard.append((dataset_id, dict(manifest)))
        if heard[0][0] == "raise":
            raise RuntimeError("a hook that raises")
        assert workspace.datasets.exists(dataset_id)

    plugin = ModuleType("tapes")
    plugin.vp_sources, plugin.vp_dataset_generated = vp_sources, vp_dataset_generated  # type: ignore[attr-defined]
    plugins.register(plugin, "tapes", "tapes", "1")
    plugins.load = _loading(plugins.load)  # type: ignore[method-assign]
    return Workspace(root, plugins=plugins)


def _loading(load: Callable[..., Any]) -> Callable[..., Any]:
    return lambda kind, name, where="": TapeSource if (kind, name) == ("source", "tape") else load(kind, name, where)


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
