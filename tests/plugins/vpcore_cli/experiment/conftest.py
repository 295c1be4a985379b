"""The workspace of `sweep_workspace`, and its commands."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from sweep_workspace import edit, finished, frames, importable, make_proven, make_workspace, paths, proofs, workspace

from vpcore import Workspace
from vpcore_cli import app as cli
from vpcore_cli.common import COMMAND_PLUGINS

__all__ = ["edit", "finished", "frames", "importable", "make_proven", "make_workspace", "paths", "proofs", "workspace"]


@pytest.fixture
def ws(make_proven: Callable[[str], Workspace]) -> Workspace:
    """A workspace whose signals are proven."""
    return make_proven("ws")


@pytest.fixture
def swept(ws: Workspace, finished: Path) -> Workspace:
    """The workspace, in which the experiment was run."""
    shutil.copytree(finished, ws.lake, dirs_exist_ok=True)
    return ws


@pytest.fixture
def call(
    ws: Workspace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[str, str]]:
    """Run a command in `ws` and return its stdout and stderr."""
    monkeypatch.setattr(cli, "Plugins", lambda: ws.plugins)
    monkeypatch.setenv("VP_ROOT", str(ws.root))

    def run(*arguments: str, code: int = 0) -> tuple[str, str]:
        capsys.readouterr()
        assert cli.run(list(arguments)) == code
        out, err = capsys.readouterr()
        return out, err

    return run


@pytest.fixture
def vp(make_proven: Callable[[str], Workspace], monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """Call a command in the workspace ws with the tests' plugins."""
    workspace = make_proven("ws")
    token = COMMAND_PLUGINS.set(workspace.plugins)
    monkeypatch.setattr(cli, "Plugins", lambda: workspace.plugins)
    monkeypatch.setenv("VP_ROOT", str(workspace.root))

    def call(*arguments: str) -> int:
        return cli.run(list(arguments))

    yield call  # type: ignore[misc]
    COMMAND_PLUGINS.reset(token)
