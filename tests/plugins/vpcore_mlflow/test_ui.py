"""``vp mlflow-ui``: MLflow's own pages on the lake's store."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable

import pytest

from vpcore import Workspace
from vpcore.errors import ResultsError
from vpcore_mlflow.ui import JOBS_VARIABLE, ui_command

pytestmark = pytest.mark.slow


def test_mlflow_ui(
    make_proven: Callable[[str], Workspace], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from vpcore_cli import app as cli

    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    workspace = make_proven("ws")
    folder = workspace.harness_dir
    with pytest.raises(ResultsError, match="There is no MLflow store in this lake yet .* vp track EXPERIMENT"):
        ui_command(folder, 5000, "python")
    folder.mkdir(parents=True, exist_ok=True)
    sqlite3.connect(folder / "mlflow.sqlite").close()
    (folder / "mlflow.sqlite").touch()
    monkeypatch.setenv("VP_ROOT", str(workspace.root))
    assert cli.run(["mlflow-ui", "--port", "5123", "--dry-run"]) == 0
    out, err = capsys.readouterr()
    assert out == "http://127.0.0.1:5123\n"
    assert f"--backend-store-uri sqlite:///{folder}/mlflow.sqlite --host 127.0.0.1 --port 5123" in err
    started: list[dict[str, str]] = []
    monkeypatch.setattr(os, "execve", lambda program, command, environment: started.append(environment))
    monkeypatch.delenv(JOBS_VARIABLE, raising=False)
    assert cli.run(["mlflow-ui"]) == 0
    monkeypatch.setenv(JOBS_VARIABLE, "true")
    assert cli.run(["mlflow-ui"]) == 0
    assert [environment[JOBS_VARIABLE] for environment in started] == ["false", "true"]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://tracking:5000")
    with pytest.raises(
        ResultsError, match=r"the server that MLFLOW_TRACKING_URI names\. Open it: http://tracking:5000"
    ):
        ui_command(folder, 5000, "python")
