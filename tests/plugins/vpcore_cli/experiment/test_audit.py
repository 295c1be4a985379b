"""``vp audit``."""

from __future__ import annotations

import json

import pytest

from vpcore import Workspace
from vpcore_cli import audit as command


def test_the_command(swept: Workspace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(command, "open_workspace", lambda root: swept)
    command.audit("sweep", row=None, root=None, json=True)
    assert json.loads(capsys.readouterr().out)["passed"] is True
    command.audit("sweep", row=None, root=None, json=False)
    out = capsys.readouterr().out
    assert "bin by bin" in out
    assert "DIFFERS" not in out
