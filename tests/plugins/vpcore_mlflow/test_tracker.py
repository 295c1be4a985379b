"""What MLflow is told, and what is said without it."""

from __future__ import annotations

import importlib
import json
import os
import shutil
import socket
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from vpcore.errors import PluginError
from vpcore.testing import tracker_checks
from vpcore.tracker.conformance import LOOK, META, ROWS
from vpcore_mlflow import tracker as tracker_module
from vpcore_mlflow.tracker import MlflowTracker

pytestmark = pytest.mark.slow


@pytest.fixture
def no_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Arguments of a tracker that has to make its store."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return {"folder": tmp_path / "harness", "experiment_name": "vp/sweep", "tags": {"team": "quant"}}


@pytest.fixture
def settings(no_store: dict[str, Any], new_store: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Arguments of a tracker that finds a new store, made once for all tests: mlflow takes a second for it."""

    def copy(target: Path, _: Any) -> None:
        if not target.exists():
            shutil.copy(new_store, target)

    monkeypatch.setattr(tracker_module, "_make_store", copy)
    return no_store


@pytest.mark.filterwarnings("ignore")
@pytest.mark.usefixtures("settings")
@tracker_checks(MlflowTracker)
def test_conforms(check: Callable[[], None]) -> None:
    check()


def test_without_mlflow_the_message_says_what_to_do(settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(
        PluginError,
        match=r"^Tracker 'mlflow' needs mlflow, which is not installed\. Run: pip install vpcore-mlflow, "
        r"or set tracking\.backend: none\.$",
    ):
        MlflowTracker(**settings)


@pytest.mark.filterwarnings("ignore")
def test_importance_and_drift_are_metrics_with_the_fit_as_step(settings: dict[str, Any]) -> None:
    tracker = MlflowTracker(**settings)
    tracker.log_run(META, ROWS, "net_pnl_ticks")
    for _ in range(2):
        tracker.log_diagnostics(META, [LOOK])
    (run,) = tracker.client.search_runs([tracker.experiment_id], "tags.`vp.run_id` != ''")
    history = {name: tracker.client.get_metric_history(run.info.run_id, name) for name in run.data.metrics}
    steps = {name: [(point.step, point.value) for point in points] for name, points in history.items()}
    assert steps["tp4_sl8/importance/touch"] == [(300, 0.7)]
    assert steps["tp4_sl8/drift/ads_a_1_"] == [(300, 0.1)]
    assert steps["tp4_sl8/examples"] == [(300, 100.0), (600, 200.0)]
    assert steps["tp4_sl8/auc_hi"] == [(0, 0.6)]
    assert run.data.tags["vp.importance.tp4_sl8"] == "spot_3 0.60"
    tracker.log_diagnostics(META, [{**LOOK, "auc": [0.7, 0.6, 0.8]}])
    points = tracker.client.get_metric_history(run.info.run_id, "tp4_sl8/auc")
    assert [point.value for point in points] == [0.5, 0.7]


@pytest.mark.filterwarnings("ignore")
def test_only_histories_that_changed_are_asked_for(settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    first = MlflowTracker(**settings)
    first.log_run(META, ROWS, "net_pnl_ticks")
    first.log_diagnostics(META, [LOOK])
    tracker = MlflowTracker(**settings)
    history, asked = tracker.client.get_metric_history, []
    monkeypatch.setattr(
        tracker.client, "get_metric_history", lambda run, name: asked.append(name) or history(run, name)
    )
    # Another best row, of the same threshold, and a figure that was not there.
    rows = [{**row, "p_adj": 0.5} for row in (*ROWS, {**ROWS[0], "row": "dddd", "net_pnl_ticks": 0.25})]
    tracker.log_run(META, rows, "net_pnl_ticks")
    assert sorted(asked) == ["by_threshold/net_pnl_ticks", "n_rows"]
    asked.clear()
    tracker.log_diagnostics(META, [LOOK, {**LOOK, "tp_ticks": 9}, {**LOOK, "tp_ticks": 10}])
    assert asked == []
    tracker.log_diagnostics(META, [LOOK, {**LOOK, "tp_ticks": 9, "auc": [0.7, 0.4, 0.6]}, {**LOOK, "tp_ticks": 10}])
    assert asked == ["tp9_sl8/auc"]
    (run,) = tracker.client.search_runs([tracker.experiment_id], "tags.`vp.run_id` != ''")
    points = {
        name: [(point.step, point.value) for point in history(run.info.run_id, name)]
        for name in ("by_threshold/net_pnl_ticks", "n_rows", "p_adj", "tp9_sl8/auc", "tp10_sl8/auc")
    }
    assert points == {
        "by_threshold/net_pnl_ticks": [(400, -1.0), (600, 0.5), (400, 0.25)],
        "n_rows": [(0, 3.0), (0, 4.0)],
        "p_adj": [(0, 0.5)],
        "tp9_sl8/auc": [(0, 0.5), (0, 0.7)],
        "tp10_sl8/auc": [(0, 0.5)],
    }


@pytest.mark.filterwarnings("ignore")
def test_one_mlflow_run_per_run(settings: dict[str, Any]) -> None:
    tracker = MlflowTracker(**settings)
    assert tracker.uri == f"sqlite:///{settings['folder']}/mlflow.sqlite"
    tracker.log_run(META, ROWS[:1], "net_pnl_ticks")
    failed = {**META, "run_id": "ff", "status": "failed", "error": "it broke"}
    tracker.log_run(failed, [{"row": "dddd", "net_pnl_ticks": None}], "net_pnl_ticks")
    again = MlflowTracker(**settings)
    later = datetime(2024, 1, 1, 0, 1, tzinfo=UTC)
    again.log_run({**META, "finished_utc": later}, ROWS, "net_pnl_ticks")
    again.log_run({**META, "finished_utc": later}, ROWS, "net_pnl_ticks")
    found = again.client.search_runs([again.experiment_id])
    (parent,) = (run for run in found if "vp.experiment_parent" in run.data.tags)
    runs = {run.data.tags["vp.run_id"]: run for run in found if run is not parent}
    assert (len(found), set(runs)) == (3, {META["run_id"], "ff"})
    assert {run.data.tags["mlflow.parentRunId"] for run in runs.values()} == {parent.info.run_id}
    assert (parent.info.run_name, parent.info.status) == ("sweep", "FINISHED")
    run = runs[META["run_id"]]
    assert run.info.status == "FINISHED"
    assert (run.info.start_time, run.info.end_time) == (1704067200000, 1704067260000)
    assert run.data.params == {
        "signal": "ads",
        "dataset_id": META["dataset_id"],
        "signal.slope_windows": "[10, 25]",
        "signal.mode": "a",
        "eval.price": "touch",
        "eval.fee_ticks": "0",
    }
    own = {name: value for name, value in run.data.metrics.items() if "/" not in name}
    steps = again.client.get_metric_history(run.info.run_id, "by_threshold/net_pnl_ticks")
    assert [(metric.step, metric.value) for metric in steps] == [(400, -1.0), (600, 0.5)]
    (given,) = run.inputs.dataset_inputs
    assert (given.dataset.name, given.dataset.source_type) == (META["dataset_id"], "vpcore")
    assert json.loads(given.dataset.source) == {"dataset_id": META["dataset_id"], "sources_sha256": ["ab"]}
    assert own == {
        "threshold": 0.6,
        "net_pnl_ticks": 0.5,
        "tp_rate": 0.4,
        "n_signals": 7.0,
        "tp_ticks": 4.0,
        "n_rows": 3.0,
    }
    assert run.data.tags["vp.best_row"] == "bbbb"
    assert run.data.tags["team"] == "quant"
    assert runs["ff"].info.status == "FAILED"
    assert runs["ff"].data.tags["vp.error"] == "it broke"


@pytest.mark.filterwarnings("ignore")
def test_thresholds_that_are_close_are_steps_of_their_own(settings: dict[str, Any]) -> None:
    tracker = MlflowTracker(**settings)
    rows = [{**ROWS[1], "row": f"{i}", "threshold": value} for i, value in enumerate((0.00012, 0.00034, 0.25))]
    tracker.log_run(META, rows, "net_pnl_ticks")
    (child,) = tracker.client.search_runs([tracker.experiment_id], "tags.`vp.run_id` != ''")
    history = tracker.client.get_metric_history(child.info.run_id, "by_threshold/threshold")
    assert [(point.step, point.value) for point in history] == [(120, 0.00012), (340, 0.00034), (250_000, 0.25)]
    assert "the threshold times 1000000." in child.data.tags["mlflow.note.content"]


@pytest.mark.filterwarnings("ignore")
def test_files_are_kept_once_and_again_when_they_change(settings: dict[str, Any], tmp_path: Path) -> None:
    tracker = MlflowTracker(**settings)
    tracker.log_run(META, ROWS, "net_pnl_ticks")
    (child,) = tracker.client.search_runs([tracker.experiment_id], "tags.`vp.run_id` != ''")
    kept = settings["folder"] / "mlflow_artifacts" / child.info.run_id / "artifacts" / "models" / "tp4" / "m.json"
    given = tmp_path / "m.json"
    for text in ("{}", "[]"):
        given.write_text(text)
        for tell in (tracker, MlflowTracker(**settings)):
            tell.log_files("sweep", META["run_id"], {"models/tp4/m.json": given})
            assert kept.read_text() == text
            os.utime(kept, (0, 0))
        # The second tracker has seen by its tag that nothing has changed, and has not written.
        tracker = MlflowTracker(**settings)
        tracker.log_files("sweep", META["run_id"], {"models/tp4/m.json": given})
        assert kept.stat().st_mtime == 0


@pytest.mark.filterwarnings("ignore")
def test_a_copied_workspace_keeps_its_artifacts_to_itself(settings: dict[str, Any], tmp_path: Path) -> None:
    """And a moved one finds those that it had."""
    tracking_utils = importlib.import_module("mlflow.tracking._tracking_service.utils")
    first = MlflowTracker(**settings)
    first.log_run(META, ROWS, "net_pnl_ticks")
    given = tmp_path / "m.json"
    given.write_text("{}")
    first.log_files("sweep", META["run_id"], {"m.json": given})
    before = {path: path.read_bytes() for path in settings["folder"].rglob("*") if path.is_file()}
    copy = tmp_path / "copy" / "harness"
    shutil.copytree(settings["folder"], copy)
    second = MlflowTracker(**{**settings, "folder": copy})
    tracking_utils._artifact_repos_cache.clear()  # of this process: the copy's runs have the ids of the original's
    given.write_text("[]")
    second.log_files("sweep", META["run_id"], {"m.json": given})
    second.log_run({**META, "run_id": "ee"}, ROWS, "net_pnl_ticks")
    second.log_files("sweep", "ee", {"m.json": given})
    assert {path: path.read_bytes() for path in settings["folder"].rglob("*") if path.is_file()} == before
    runs = second.client.search_runs([second.experiment_id], "tags.`vp.run_id` != ''")
    for run in runs:
        place = copy / "mlflow_artifacts" / run.info.run_id / "artifacts"
        assert run.info.artifact_uri == place.as_uri()
        assert (place / "m.json").read_text() == "[]"
    assert len(runs) == 2


@pytest.mark.filterwarnings("ignore")
def test_a_deleted_experiment_is_named_with_what_brings_it_back(settings: dict[str, Any]) -> None:
    tracker = MlflowTracker(**settings)
    tracker.log_run(META, ROWS, "net_pnl_ticks")
    tracker.client.delete_experiment(tracker.experiment_id)
    with pytest.raises(
        PluginError, match=r"The MLflow experiment 'vp/sweep' was deleted: .*\. Bring it back: "
    ) as caught:
        MlflowTracker(**settings)
    command = caught.value.fix.partition("Bring it back: ")[2].partition(". Or report")[0]
    assert command == (
        f"MLFLOW_TRACKING_URI=sqlite:///{settings['folder']}/mlflow.sqlite mlflow experiments restore "
        f"--experiment-id {tracker.experiment_id}"
    )
    tracker.client.restore_experiment(tracker.experiment_id)  # what the command does
    MlflowTracker(**settings).log_run(META, ROWS, "net_pnl_ticks")


@pytest.mark.parametrize("uri", ["file:///tmp/mlruns", "mlruns", "./mlruns"])
def test_the_file_store_is_refused(uri: str, settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    with pytest.raises(
        PluginError, match=r"MLFLOW_TRACKING_URI names a folder \(.*mlruns\): MLflow's file store, which"
    ):
        MlflowTracker(**settings)


@pytest.mark.filterwarnings("ignore")
def test_rows_with_too_few_trades_are_not_the_best(settings: dict[str, Any]) -> None:
    tracker = MlflowTracker(**settings)
    block = {"name": "sweep", "select": {"min_signals": 8}, "scorings": [], "signals": []}
    tracker.log_experiment("sweep", {"experiment": block})
    tracker.log_run(META, ROWS, "net_pnl_ticks")  # 7 trades pay most, 9 are enough
    (child,) = tracker.client.search_runs([tracker.experiment_id], "tags.`vp.run_id` != ''")
    assert (child.data.tags["vp.best_row"], child.data.metrics["net_pnl_ticks"]) == ("aaaa", -1.0)


def test_a_store_whose_making_was_interrupted_is_not_left_in_the_way(
    no_store: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    mlflow = pytest.importorskip("mlflow")
    real = mlflow.MlflowClient

    class Interrupted(real):  # type: ignore[misc,valid-type]
        def search_experiments(self, **_: Any) -> Any:
            uri = self.tracking_uri
            assert uri.startswith("sqlite:///")
            Path(uri.removeprefix("sqlite:///")).write_bytes(b"half a store")
            raise KeyboardInterrupt

    monkeypatch.setattr(mlflow, "MlflowClient", Interrupted)
    with pytest.raises(KeyboardInterrupt):
        MlflowTracker(**no_store)
    assert list(no_store["folder"].iterdir()) == []
    monkeypatch.setattr(mlflow, "MlflowClient", real)
    MlflowTracker(**no_store).log_run(META, ROWS, "net_pnl_ticks")


@pytest.mark.filterwarnings("ignore")
def test_a_server_that_is_down_says_so_soon(settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: connections are refused
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{taken.getsockname()[1]}")
        began = time.monotonic()
        with pytest.raises(Exception, match=r"(?i)connection|retries"):
            MlflowTracker(**settings)
        assert time.monotonic() - began < 20
