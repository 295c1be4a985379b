"""The workspace of `sweep_workspace`, with this package's commands and hooks beside the core's."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from sweep_workspace import edit, finished, frames, importable, make_proven, make_workspace, proofs

import vpcore_report.plugin
from vpcore import Workspace
from vpcore_cli import app as cli

__all__ = ["edit", "finished", "frames", "importable", "make_proven", "make_workspace", "proofs"]


@pytest.fixture
def proven(make_proven: Callable[[str], Workspace]) -> Workspace:
    made = make_proven("ws")
    made.plugins.register(vpcore_report.plugin, "report")
    return made


@pytest.fixture
def swept(proven: Workspace, finished: Path) -> Workspace:
    """The workspace, in which the experiment was run."""
    shutil.copytree(finished, proven.lake, dirs_exist_ok=True)
    return proven


@pytest.fixture
def call(
    proven: Workspace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[str, str]]:
    """Call a command in the workspace and return what it prints on stdout and stderr."""
    monkeypatch.setattr(cli, "Plugins", lambda: proven.plugins)
    monkeypatch.setenv("VP_ROOT", str(proven.root))

    def run(*arguments: str, code: int = 0) -> tuple[str, str]:
        capsys.readouterr()
        assert cli.run(list(arguments)) == code
        out, err = capsys.readouterr()
        return out, err

    return run
