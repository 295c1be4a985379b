"""Trackers: what MLflow is told, and what is said without it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from vpcore.errors import PluginError, StorageError
from vpcore.tracker import NoTracker
from vpcore.tracker.jsonl import JsonlTracker
from vpcore.tracker.mlflow import MlflowTracker

META: dict[str, Any] = {
    "run_id": "00112233aabbccdd",
    "experiment_name": "sweep",
    "dataset_id": "ES_x",
    "code_digest": "c0",
    "sources_json": '["ab"]',
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
        "dataset_id": "ES_x",
        "signal.slope_windows": "[10, 25]",
        "signal.mode": "a",
        "eval.price": "touch",
        "eval.fee_ticks": "0",
    }
    own = {name: value for name, value in run.data.metrics.items() if "/" not in name}
    steps = again.client.get_metric_history(run.info.run_id, "by_threshold/net_pnl_ticks")
    assert sorted({(metric.step, metric.value) for metric in steps}) == [(400, -1.0), (600, 0.5)]
    (given,) = run.inputs.dataset_inputs
    assert (given.dataset.name, given.dataset.source_type) == ("ES_x", "vpcore")
    assert json.loads(given.dataset.source) == {"dataset_id": "ES_x", "sources_sha256": ["ab"]}
    assert own == {
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


# -- lines of JSON -----------------------------------------------------------------------------------------------------


def test_a_store_whose_making_was_interrupted_is_not_left_in_the_way(
    settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
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
        MlflowTracker(**settings)
    assert list(settings["folder"].iterdir()) == []
    monkeypatch.setattr(mlflow, "MlflowClient", real)
    MlflowTracker(**settings).log_run(META, ROWS, "net_pnl_ticks")


def test_one_line_per_run_and_one_more_when_more_is_known(settings: dict[str, Any]) -> None:
    tracker = JsonlTracker(**settings)
    assert tracker.path == settings["folder"] / "tracking" / "vp_sweep.jsonl"
    tracker.log_run(META, ROWS[:1], "net_pnl_ticks")
    tracker.log_run(META, ROWS[:1], "net_pnl_ticks")
    again = JsonlTracker(**settings)
    again.log_run(META, ROWS[:1], "net_pnl_ticks")
    again.log_run({**META, "run_id": "ff", "status": "failed", "error": "it broke"}, [], "net_pnl_ticks")
    again.log_run(META, ROWS, "net_pnl_ticks")
    first, failed, last = (json.loads(line) for line in tracker.path.read_text().splitlines())
    assert (first["n_trials"], first["best_row"], last["n_trials"], last["best_row"]) == (1, "aaaa", 3, "bbbb")
    assert last["by_threshold"] == [[0.4, -1], [0.6, 0.5]]
    assert last["settings"]["signal.slope_windows"] == [10, 25]
    assert last["best"] == {"net_pnl_ticks": 0.5, "tp_rate": 0.4, "n_signals": 7, "threshold": 0.6}
    assert (last["tags"], last["experiment"]) == ({"team": "quant"}, "sweep")
    assert (failed["status"], failed["error"], failed["best"]) == ("failed", "it broke", {})


def test_a_torn_line_and_foreign_ones_are_left_alone(settings: dict[str, Any]) -> None:
    tracker = JsonlTracker(**settings)
    tracker.path.parent.mkdir(parents=True)
    tracker.path.write_bytes(b'[1]\nnot json\n{"run_id": "00112233aa')
    tracker.log_run(META, ROWS, "net_pnl_ticks")
    JsonlTracker(**settings).log_run(META, ROWS, "net_pnl_ticks")
    lines = tracker.path.read_bytes().splitlines()
    assert lines[:3] == [b"[1]", b"not json", b'{"run_id": "00112233aa']
    assert [json.loads(line)["run_id"] for line in lines[3:]] == [META["run_id"]]


def test_a_line_that_is_not_written_whole_is_an_error(
    settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    tracker = JsonlTracker(**settings)
    write = os.write
    monkeypatch.setattr("vpcore.tracker.jsonl.os.write", lambda handle, line: write(handle, line[:10]))
    with pytest.raises(StorageError, match=r"took 10 of the \d+ bytes of a line\. Is the disk full\?"):
        tracker.log_run(META, ROWS, "net_pnl_ticks")
    monkeypatch.undo()
    tracker.log_run(META, ROWS, "net_pnl_ticks")
    assert json.loads(tracker.path.read_bytes().splitlines()[-1])["n_trials"] == 3


# -- a real MLflow server ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An MLflow server on loopback, ended by its process group."""
    pytest.importorskip("mlflow")
    folder = tmp_path_factory.mktemp("server")
    try:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
    except OSError as error:
        pytest.skip(f"no port of 127.0.0.1 can be bound: {error}")
    command = [
        sys.executable, "-m", "mlflow", "server", "--backend-store-uri", f"sqlite:///{folder / 'store.sqlite'}",
        "--artifacts-destination", str(folder / "artifacts"), "--host", "127.0.0.1", "--port", str(port), "--workers", "1",
    ]  # fmt: skip
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(240):
            if process.poll() is not None:
                pytest.fail(f"the server ended: {(folder / 'log').read_text()[-2000:]}")
            try:
                with urllib.request.urlopen(f"{url}/health", timeout=1):
                    break
            except OSError:
                time.sleep(0.25)
        else:
            pytest.fail(f"the server did not answer: {(folder / 'log').read_text()[-2000:]}")
        yield url
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(10)


@pytest.mark.filterwarnings("ignore")
def test_a_real_server(server: str, settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server)
    for _ in range(2):
        tracker = MlflowTracker(**settings)
        tracker.log_experiment("sweep", {"experiment": {"name": "sweep"}, "pipeline": {"symbol": "ESH4"}})
        tracker.log_run(META, ROWS, "net_pnl_ticks")
        tracker.log_run({**META, "run_id": "ee"}, ROWS[:2], "net_pnl_ticks")
        tracker.close()
    client = tracker.client
    (experiment,) = client.search_experiments(filter_string="name = 'vp/sweep'")
    runs = client.search_runs([experiment.experiment_id])
    (parent,) = client.search_runs([experiment.experiment_id], "tags.`vp.experiment_parent` = 'sweep'")
    children = client.search_runs(
        [experiment.experiment_id], f"tags.`mlflow.parentRunId` = '{parent.info.run_id}'", order_by=["metrics.n_trials"]
    )
    assert [run.data.tags["vp.run_id"] for run in children] == ["ee", META["run_id"]]
    assert len(runs) == 3
    history = client.get_metric_history(children[1].info.run_id, "by_threshold/tp_rate")
    assert [(metric.step, metric.value) for metric in history] == [(400, 0.5), (600, 0.4)]  # once, though sent twice
    assert len(client.get_metric_history(children[1].info.run_id, "net_pnl_ticks")) == 1
    assert [given.dataset.name for given in children[1].inputs.dataset_inputs] == ["ES_x"]
    (specs,) = client.list_artifacts(parent.info.run_id, "specs")
    path = Path(client.download_artifacts(parent.info.run_id, specs.path, str(settings["folder"].parent)))
    assert json.loads(path.read_text())["pipeline"] == {"symbol": "ESH4"}


@pytest.mark.filterwarnings("ignore")
def test_a_server_that_is_down_says_so_soon(settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("mlflow")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: connections are refused
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{taken.getsockname()[1]}")
        began = time.monotonic()
        with pytest.raises(Exception, match=r"(?i)connection|retries"):
            MlflowTracker(**settings)
        assert time.monotonic() - began < 20
