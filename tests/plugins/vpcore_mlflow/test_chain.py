"""An experiment reported to a real MLflow server: everything, once, also when the server was away."""

from __future__ import annotations

import itertools
import json
import shutil
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml
from learning_world import EXPERIMENT, make_learning_workspace
from mlflow_server import MlflowServer

import vpcore.experiment.run as run_module
from vpcore import Workspace
from vpcore.canonical import digest
from vpcore.inference.ranking import COMPUTED
from vpcore.results import ROW_KEY
from vpcore.signal import read_diagnostics, refit_series
from vpcore_cli.app import run
from vpcore_mlflow.tracker import BY_THRESHOLD

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

TRACKED: dict[str, Any] = {
    "signals": ["logit", "ofi"],
    "sweep": {"per_signal": {"ofi": {"window_bins": [5, 10]}}},
    "tracking": {"backend": "mlflow", "tags": {"team": "quant"}},
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, new_store: Path) -> Iterator[MlflowServer]:
    folder = tmp_path_factory.mktemp("server")
    shutil.copy(new_store, folder / "store.sqlite")
    made = MlflowServer(folder)
    made.start()
    try:
        yield made
    finally:
        made.stop()


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return make_learning_workspace(tmp_path_factory.mktemp("ml") / "ws", **TRACKED)


@pytest.fixture(scope="module", autouse=True)
def _proven() -> Iterator[None]:
    """Causality has tests of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run_module, "pass_gate", lambda *_: {})
        yield


@pytest.fixture
def vp(server: MlflowServer, workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.url)
    monkeypatch.setenv("VP_ROOT", str(workspace.root))
    return lambda *words: run(list(words))


class Told:
    """What a client of its own sees of an experiment."""

    def __init__(self, server: MlflowServer, name: str) -> None:
        import mlflow  # here, so that tests are collected fast

        self.client = mlflow.MlflowClient(server.url)
        (experiment,) = self.client.search_experiments(filter_string=f"name = 'vp/{name}'")
        runs = self.client.search_runs([experiment.experiment_id])
        (self.parent,) = (run for run in runs if "vp.experiment_parent" in run.data.tags)
        children = [run for run in runs if run is not self.parent]
        assert {run.data.tags["mlflow.parentRunId"] for run in children} == {self.parent.info.run_id}
        self.children = {run.data.tags["vp.run_id"]: run for run in children}
        assert len(self.children) == len(children)

    def artifacts(self, run: Any, folder: str | None = None) -> dict[str, int]:
        found: dict[str, int] = {}
        for item in self.client.list_artifacts(run.info.run_id, folder):
            found |= self.artifacts(run, item.path) if item.is_dir else {item.path: item.file_size}
        return found

    def everything(self) -> Any:
        """Points of histories, every tag and artifact: what reporting again must leave as it is."""
        runs = [self.parent, *self.children.values()]
        return [
            (
                run.info.run_id, run.info.run_name, run.info.end_time, sorted(run.data.tags.items()),
                run.data.params, self.artifacts(run), len(run.inputs.dataset_inputs),
                {
                    name: [(point.step, point.value, point.timestamp) for point in self.history(run, name)]
                    for name in sorted(run.data.metrics)
                    if name.endswith(("net_pnl_ticks", "n_rows", "p_random"))
                },
            )
            for run in sorted(runs, key=lambda run: run.info.run_id)
        ]  # fmt: skip

    def history(self, run: Any, name: str) -> list[Any]:
        return list(self.client.get_metric_history(run.info.run_id, name))


def stored(workspace: Workspace, name: str) -> dict[str, list[dict[str, Any]]]:
    rows = workspace.results.query_runs(status=None).sort(ROW_KEY)
    ids = workspace.results.read(lambda: workspace.results.meta(pl.col("experiment_name") == name))["run_id"]
    return {run_id: rows.filter(pl.col("run_id") == run_id).to_dicts() for run_id in ids}


def test_an_experiment_is_one_run_with_its_runs_below(
    vp: Callable[..., int], server: MlflowServer, workspace: Workspace, tmp_path: Path
) -> None:
    assert vp("run", "learn", "--strict-tracking") == 0
    told, rows = Told(server, "learn"), stored(workspace, "learn")
    assert set(told.children) == set(rows)
    assert (told.parent.info.run_name, told.parent.data.tags["team"]) == ("learn", "quant")
    for run_id, child in told.children.items():
        best = max(rows[run_id], key=lambda row: (row["net_pnl_ticks"], row["row"]))
        assert child.data.tags["vp.best_row"] == best["row"]
        assert {name: child.data.metrics[name] for name in ("net_pnl_ticks", "tp_ticks", "threshold", "n_rows")} == {
            "net_pnl_ticks": best["net_pnl_ticks"], "tp_ticks": best["tp_ticks"], "threshold": 0.5,
            "n_rows": len(rows[run_id]),
        }  # fmt: skip
        (point,) = told.history(child, "by_threshold/net_pnl_ticks")
        assert (point.step, point.value) == (500, best["net_pnl_ticks"])
        parts = {name.partition("/")[0] for name in child.data.metrics if "/" in name}
        # What a model was fitted on and how well it predicts is a history per barrier, of a learning signal alone.
        assert parts == {"by_threshold"} | ({"tp1_sl5", "tp2_sl5"} if child.data.params["signal"] == "logit" else set())
        below = {name.partition("/")[2] for name in child.data.metrics if name.startswith("by_threshold/")}
        assert below <= set(BY_THRESHOLD)
        (given,) = child.inputs.dataset_inputs
        dataset_id = workspace.pipeline("open").dataset_id()
        assert (given.dataset.name, given.dataset.digest) == (dataset_id, digest([dataset_id, ["ab" * 32]])[:32])
    names = sorted(child.info.run_name.rpartition(" ")[0] for child in told.children.values())
    assert names == ["logit", "ofi window_bins=10", "ofi window_bins=5"]
    learned = next(child for child in told.children.values() if child.data.params["signal"] == "logit")
    assert learned.data.params["signal.min_train_bins"] == "300"
    for look in read_diagnostics(workspace.results_dir / "diagnostics" / learned.data.tags["vp.run_id"]):
        place = f"tp{look['tp_ticks']:g}_sl{look['sl_ticks']:g}"
        assert learned.data.metrics[f"{place}/auc"] == look["auc"][0]
        for name, series in refit_series(look).items():
            assert [(point.step, point.value) for point in told.history(learned, f"{place}/{name}")] == series
    assert set(told.artifacts(learned)) == {
        f"{kind}/tp{tp}_sl5{name}"
        for tp in (1, 2)
        for kind, name in (("models", "/model.skops"), ("models", "/model.json"), ("diagnostics", ".json"))
    }
    fetched = told.client.download_artifacts(learned.info.run_id, "models", str(tmp_path))
    kept = workspace.results_dir / "models" / learned.data.tags["vp.run_id"]
    for path in (path for path in kept.rglob("*") if path.is_file()):
        assert (Path(fetched) / path.relative_to(kept)).read_bytes() == path.read_bytes()
    specs, report = sorted(told.artifacts(told.parent), reverse=True)
    assert report == "report.html"
    page = Path(told.client.download_artifacts(told.parent.info.run_id, report, str(tmp_path))).read_text()
    assert "<h1>learn</h1>" in page
    asked = json.loads(Path(told.client.download_artifacts(told.parent.info.run_id, specs, str(tmp_path))).read_text())
    assert asked["experiment"]["name"] == "learn"

    # `vp track` adds the figures that depend on other rows, which `vp run` does not know while it reports a run.
    assert vp("track", "learn") == 0
    tracked = Told(server, "learn")
    for run_id, child in tracked.children.items():
        new = set(child.data.metrics) - set(told.children[run_id].data.metrics)
        assert {name.removeprefix("by_threshold/") for name in new} <= set(COMPUTED)
        assert "p_adj" in new
        assert child.data.params == told.children[run_id].data.params
    before = tracked.everything()
    assert vp("track", "learn") == 0
    assert Told(server, "learn").everything() == before


def test_more_rows_of_the_same_runs_add_only_what_changed(
    vp: Callable[..., int], server: MlflowServer, workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    assert vp("run", "learn") == 0  # there already, unless this test runs in a process of its own
    wider = {**EXPERIMENT, **TRACKED, "eval": {**EXPERIMENT["eval"], "tp_ticks": [1, 2, 3], "thresholds": [0.5, 0.6]}}
    (workspace.configs / "experiments" / "learn.yaml").write_text(yaml.safe_dump(wider))
    before = Told(server, "learn")
    report = before.client.list_artifacts(before.parent.info.run_id)[0]
    assert vp("run", "learn") == 0
    after, rows = Told(server, "learn"), stored(workspace, "learn")
    assert set(after.children) == set(before.children)
    for run_id, child in after.children.items():
        for name in (name for name in child.data.metrics if name.startswith("by_threshold/")):
            points = after.history(child, name)
            latest = {point.step: point.value for point in points}
            for step in latest:
                values = [point.value for point in points if point.step == step]
                # A point more where another row is the best now, and none that says what the last one said.
                assert all(now != then for then, now in itertools.pairwise(values))
            assert set(latest) <= {500, 600}
            if name == "by_threshold/net_pnl_ticks":
                assert latest[500] == max(row["net_pnl_ticks"] for row in rows[run_id] if row["threshold"] == 0.5)
        assert child.data.metrics["n_rows"] == 6.0
    (again,) = (item for item in after.client.list_artifacts(after.parent.info.run_id) if item.path == report.path)
    assert again.file_size != report.file_size
    assert vp("track", "learn") == 0
    everything = Told(server, "learn").everything()
    assert vp("track", "learn") == 0
    assert capsys.readouterr().out.endswith("3 of 3 runs of learn are reported to mlflow.\n")
    assert Told(server, "learn").everything() == everything


def test_a_server_that_is_away_is_told_later(
    vp: Callable[..., int],
    server: MlflowServer,
    workspace: Workspace,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    later = {**EXPERIMENT, **TRACKED, "name": "later", "eval": {**EXPERIMENT["eval"], "max_hold_bins": 30}}
    (workspace.configs / "experiments" / "later.yaml").write_text(yaml.safe_dump(later))
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # bound and not listening
        with monkeypatch.context() as away:
            away.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{nobody.getsockname()[1]}")
            assert vp("run", "later") == 0
            said, again = capsys.readouterr().err, vp("track", "later")
    assert "Warning: the tracker failed, 'mlflow' could not be opened: " in said
    assert "To report them when it answers: vp track later" in said
    assert len(stored(workspace, "later")) == 3
    assert again == 2
    assert "The results are stored; try again when it answers." in capsys.readouterr().err
    assert vp("track", "later") == 0
    told = Told(server, "later")
    assert set(told.children) == set(stored(workspace, "later"))
    assert "report.html" in told.artifacts(told.parent)
    assert sum(len(told.artifacts(child)) for child in told.children.values()) == 6
    for child in told.children.values():
        assert len(told.history(child, "net_pnl_ticks")) == 1
