"""``vp track``."""

from __future__ import annotations

import json

import pytest
from flaky_tracker import Flaky, flaky

from vpcore import Workspace
from vpcore_cli import app as cli

__all__ = ["flaky"]


def test_the_command(flaky: Workspace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(cli, "Plugins", lambda: flaky.plugins)
    monkeypatch.setenv("VP_ROOT", str(flaky.root))
    assert cli.run(["run", "sweep"]) == 0
    assert "To report them when it answers: vp track sweep" in capsys.readouterr().err
    assert cli.run(["track", "sweep"]) == 1
    assert "Nothing is lost. To try again: vp track sweep" in capsys.readouterr().err
    Flaky.up = True
    assert cli.run(["track", "sweep"]) == 0
    assert capsys.readouterr().out == "5 of 5 runs of sweep are reported to flaky.\n"
    assert cli.run(["track", "sweep", "--tracker", "jsonl", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["n_reported"] == 5
