"""Plugins as a stranger installs them: a module, a distribution, an entry point."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from textwrap import dedent

import pytest

Install = Callable[..., list[metadata.EntryPoint]]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Install a module as a plugin of its own distribution and return all entry points installed so far."""
    monkeypatch.syspath_prepend(str(tmp_path))
    modules: list[str] = []
    names: list[str] = []

    def add(name: str, code: str, *, version: str = "1.2", entry: str | None = None) -> list[metadata.EntryPoint]:
        module = name.replace("-", "_") + "_module"
        modules.append(module)
        names.append(name)
        (tmp_path / f"{module}.py").write_text(dedent(code))
        info = tmp_path / f"{name.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        (info / "entry_points.txt").write_text(f"[vpcore]\n{entry or name} = {module}\n")
        importlib.invalidate_caches()
        return [point for point in metadata.entry_points(group="vpcore") if point.dist and point.dist.name in names]

    yield add
    for module in modules:
        sys.modules.pop(module, None)
