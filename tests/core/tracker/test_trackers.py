"""Trackers: what MLflow is told, and what is said without it."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from vpcore.errors import PluginError
from vpcore.tracker import NoTracker
from vpcore.tracker.mlflow import MlflowTracker

META: dict[str, Any] = {
    "run_id": "00112233aabbccdd",
    "experiment_name": "sweep",
    "dataset_id": "ES_x",
    "code_digest": "c0",
    "signal_name": "ads",
    "signal_params_json": '{"slope_windows":[10,25],"mode":"a"}',
    "scoring_json": None,
    "eval_json": '{"price":"touch","fee_ticks":0}',
    "status": "ok",
    "error": None,
    "started_utc": datetime(2024, 1, 1, tzinfo=UTC),
    "finished_utc": datetime(2024, 1, 1, 0, 0, 5, tzinfo=UTC),
}
ROWS: list[dict[str, Any]] = [
    {
        "row": "aaaa",
        "threshold": 0.4,
        "net_pnl_ticks": -1.0,
        "tp_rate": 0.5,
        "n_signals": 9,
        "tp_ticks": 4,
        "status": "ok",
    },
    {"row": "bbbb", "threshold": 0.6, "net_pnl_ticks": 0.5, "tp_rate": 0.4, "n_signals": 7, "tp_ticks": 4},
    {"row": "cccc", "threshold": 0.8, "net_pnl_ticks": None, "tp_rate": None, "n_signals": 0, "tp_ticks": 4},
]


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return {"folder": tmp_path / "harness", "experiment_name": "vp/sweep", "tags": {"team": "quant"}}


def test_no_tracker_does_nothing(settings: dict[str, Any]) -> None:
    tracker = NoTracker(**settings)
    tracker.log_run(META, ROWS, "net_pnl_ticks")
    tracker.close()
    assert not settings["folder"].exists()


def test_without_mlflow_the_message_says_what_to_do(settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(
        PluginError,
        match=r"^Tracker 'mlflow' needs mlflow, which is not installed\. Run: pip install 'vpcore\[mlflow\]', "
        r"or set tracking\.backend: none\.$",
    ):
        MlflowTracker(**settings)


@pytest.mark.filterwarnings("ignore")
def test_one_mlflow_run_per_run(settings: dict[str, Any]) -> None:
    pytest.importorskip("mlflow")
    tracker = MlflowTracker(**settings)
    assert tracker.uri == f"sqlite:///{settings['folder']}/mlflow.sqlite"
    tracker.log_run(META, ROWS[:1], "net_pnl_ticks")
    failed = {**META, "run_id": "ff", "status": "failed", "error": "it broke"}
    tracker.log_run(failed, [{"row": "dddd", "net_pnl_ticks": None}], "net_pnl_ticks")
    again = MlflowTracker(**settings)
    later = datetime(2024, 1, 1, 0, 1, tzinfo=UTC)
    again.log_run({**META, "finished_utc": later}, ROWS, "net_pnl_ticks")
    runs = {run.data.tags["vp.run_id"]: run for run in again.client.search_runs([again.experiment_id])}
    assert set(runs) == {META["run_id"], "ff"}
    run = runs[META["run_id"]]
    assert run.info.status == "FINISHED"
    assert (run.info.start_time, run.info.end_time) == (1704067200000, 1704067260000)
    assert run.data.params == {
        "signal": "ads",
        "dataset_id": "ES_x",
        "signal.slope_windows": "[10, 25]",
        "signal.mode": "a",
        "eval.price": "touch",
        "eval.fee_ticks": "0",
    }
    assert run.data.metrics == {
        "threshold": 0.6,
        "net_pnl_ticks": 0.5,
        "tp_rate": 0.4,
        "n_signals": 7.0,
        "n_trials": 3.0,
    }
    assert run.data.tags["vp.best_row"] == "bbbb"
    assert run.data.tags["team"] == "quant"
    assert runs["ff"].info.status == "FAILED"
    assert runs["ff"].data.tags["vp.error"] == "it broke"
