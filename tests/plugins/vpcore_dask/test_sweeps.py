"""Sweeps on Dask: a real scheduler with real workers, one of which is killed, and a cluster of our own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import far_storage
import pytest
from far_storage import FarStorage
from sweep_workspace import PLUGIN

import vpcore.experiment.workers as pool_module
from vpcore import Workspace
from vpcore.config import ExperimentConfig
from vpcore.errors import ConfigError, DatasetError, PluginError
from vpcore.experiment.progress import SweepProgress
from vpcore.experiment.run import harness_config, run_experiment

PARTS = ["--host", "127.0.0.1", "--no-dashboard"]


def on_dask(workspace: Workspace, options: dict[str, Any]) -> ExperimentConfig:
    return harness_config(workspace, "sweep").with_executor("dask", options=options)


class Cluster:
    """A scheduler and its workers, each a process of its own."""

    def __init__(self, folder: Path, path: list[str]) -> None:
        self.env = {**os.environ, "PYTHONPATH": os.pathsep.join(path)}
        self.processes: list[subprocess.Popen[bytes]] = []
        file = folder / "scheduler.json"
        self.start("scheduler", "--port", "0", "--scheduler-file", str(file))
        while not file.exists() or not file.read_text():
            time.sleep(0.02)
        self.address = json.loads(file.read_text())["address"]

    def start(self, kind: str, *arguments: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", f"distributed.cli.dask_{kind}", *arguments, *PARTS]
        process = subprocess.Popen(command, env=self.env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.processes.append(process)
        return process

    def worker(self, *arguments: str) -> subprocess.Popen[bytes]:
        return self.start("worker", self.address, "--nthreads", "1", "--no-nanny", *arguments)

    def needs_worker(self) -> None:
        """Start a worker unless one of another test is there."""
        if not any(process.poll() is None for process in self.processes[1:]):
            self.worker()

    def close(self) -> None:
        for process in reversed(self.processes):
            process.kill()
            process.wait()
        self.processes.clear()


@pytest.fixture(scope="module", autouse=True)
def _patience() -> Iterator[None]:
    """A busy machine takes longer to start a worker than `vp run` waits."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("vpcore_dask.executor.PATIENCE_S", 120.0)
        yield


PATHS = [str(PLUGIN), str(Path(far_storage.__file__).parent)]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A scheduler that all tests share, with the workers that they started."""
    made = Cluster(tmp_path_factory.mktemp("cluster"), PATHS)
    yield made
    made.close()


@pytest.fixture
def own_cluster(tmp_path: Path) -> Iterator[Cluster]:
    """A scheduler that a test may kill."""
    made = Cluster(tmp_path, PATHS)
    yield made
    made.close()


@pytest.mark.slow
def test_a_worker_killed_in_mid_sweep_loses_nothing(
    make_proven: Callable[[str], Workspace], edit: Callable[..., None], cluster: Cluster
) -> None:
    ws, undisturbed = make_proven("ws"), make_proven("undisturbed")
    run_experiment(undisturbed, "sweep")
    workers = [cluster.worker() for _ in range(2)]
    edit(("executor: serial", f"executor: dask, options: {{address: '{cluster.address}'}}"))
    done: list[int] = []

    def kill_one(now: SweepProgress) -> None:
        if now.stage == "run" and now.done > 0 and not done:
            done.append(int(now.done))
            workers[0].kill()

    report = run_experiment(ws, "sweep", on_progress=kill_one)
    assert 0 < done[0] < 40
    assert workers[0].wait() == -signal.SIGKILL
    assert (report.n_computed, report.n_failed) == (40, 0)
    assert ws.results.canonical_bytes() == undisturbed.results.canonical_bytes()
    # The cluster is not ours: it goes on, with the worker that is left.
    again = run_experiment(ws, "sweep", force=True)
    assert (again.n_computed, again.n_failed) == (40, 0)
    assert ws.results.canonical_bytes() == undisturbed.results.canonical_bytes()


@pytest.mark.slow
def test_a_run_that_kills_its_workers_is_the_only_one_that_fails(
    make_proven: Callable[[str], Workspace], edit: Callable[..., None]
) -> None:
    workspace = make_proven("ws")
    edit(
        ("signals: [plain, scored]", "signals: [plain, dies]"),
        ("  scoring: {tanh_scale: [2.0, 3.0]}\n", ""),
        ("per_signal: {plain: {gain: [1, 2, 3]}}", "per_signal: {dies: {gain: [0.5, 2, 0.6]}}"),
    )
    report = run_experiment(workspace, "sweep", executor="dask", max_workers=1)
    assert (report.n_computed, report.n_failed) == (32, 8)
    ((run_id, name, error),) = report.failures
    assert (name, "every worker process that was given it died" in error) == ("dies", True)
    assert workspace.results.find_run(run_id)["signal_params_json"] == '{"gain":2}'


@pytest.mark.slow
def test_a_scheduler_without_workers_or_that_is_lost_is_no_failure_of_runs(
    make_proven: Callable[[str], Workspace], own_cluster: Cluster
) -> None:
    workspace = make_proven("ws")
    config = on_dask(workspace, {"address": own_cluster.address})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("vpcore_dask.executor.PATIENCE_S", 0.5)
        with pytest.raises(PluginError, match=r"The Dask scheduler at tcp://.* has no workers\. Start one with: dask"):
            run_experiment(workspace, config)
    assert workspace.results.query_runs(status=None).height == 0
    own_cluster.worker()

    def kill_all(now: SweepProgress) -> None:
        if now.stage == "run" and now.done > 0:
            own_cluster.close()

    with pytest.raises(PluginError, match=r"The executor is gone: .* was lost\. What was finished is stored; running"):
        run_experiment(workspace, config, on_progress=kill_all)
    kept = workspace.results.query_runs(status=None)
    assert 0 < kept.height < 40
    assert set(kept["status"]) == {"ok"}
    assert run_experiment(workspace, "sweep").n_reused == kept.height


@pytest.mark.slow
def test_workers_that_do_not_see_the_lake_or_run_other_code_are_refused(
    make_proven: Callable[[str], Workspace], cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = make_proven("ws")
    options = {"address": cluster.address}
    cluster.needs_worker()
    real = pool_module.surroundings

    def elsewhere(*what: Any) -> dict[str, str]:
        return {**real(*what), **changed}

    monkeypatch.setattr(pool_module, "surroundings", elsewhere)
    monkeypatch.setattr(
        "vpcore_dask.executor.DaskExecutor.on_every_worker", lambda self, function, *a: {"tcp://w": real(*a)}
    )
    changed = {"numba": "0.1"}
    with pytest.raises(PluginError, match=r"Worker tcp://w would compute other bytes: numba differs \(.*, here 0\.1\)"):
        run_experiment(workspace, on_dask(workspace, options))
    changed = {workspace.datasets.ids()[0]: "00"}
    with pytest.raises(
        DatasetError, match=r"Worker tcp://w does not see the dataset in .*: mount it there under the same"
    ):
        run_experiment(workspace, on_dask(workspace, options))
    assert workspace.results.query_runs(status=None).height == 0


@pytest.mark.slow
def test_a_dataset_that_vanishes_stops_the_sweep(
    make_proven: Callable[[str], Workspace], monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = make_proven("ws")
    monkeypatch.setattr(
        "vpcore.experiment.run.pass_gate",
        lambda *a, **k: workspace.datasets.path(workspace.datasets.ids()[0]).rename(workspace.root / "gone") and {},
    )
    with pytest.raises(DatasetError, match=r"A worker on .* cannot open the dataset\. There is no dataset in"):
        run_experiment(workspace, "sweep", executor="local", max_workers=1)
    assert workspace.results.query_runs(status=None).height == 0


@pytest.mark.slow
def test_datasets_of_a_storage_without_local_files_are_copied_and_checked(
    make_proven: Callable[[str], Workspace], cluster: Cluster, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    near, far = make_proven("near"), make_proven("far")
    run_experiment(near, "sweep", executor="serial")
    far.storage = FarStorage(far.lake)
    cluster.needs_worker()
    run_experiment(far, on_dask(far, {"address": cluster.address}))
    assert far.results.canonical_bytes() == near.results.canonical_bytes()
    (copy,) = (tmp_path / "cache" / "vpcore-lake").glob("*/files/research/vp_immutable/*")
    assert not (copy / "grid_clean.parquet").exists()  # columns were read by ranges
    assert far.datasets.path(copy.name) == copy
    # A copy of other bytes is made again, and one that does not arrive whole is not kept.
    (copy / "bins.parquet").write_text("{}")
    assert far.datasets.open(copy.name).n_bins == near.datasets.open(copy.name).n_bins
    (copy / "bins.parquet").write_text("{}")
    monkeypatch.setattr(FarStorage, "damage", b"x")
    with pytest.raises(DatasetError, match=r"did not arrive from FarStorage\(.*\) as it was written: bins.parquet"):
        far.datasets.open(copy.name)
    assert not (copy / "bins.parquet").exists()


@pytest.mark.slow
def test_options_reach_the_executor_and_wrong_ones_are_refused(
    make_proven: Callable[[str], Workspace], edit: Callable[..., None]
) -> None:
    workspace = make_proven("ws")
    with pytest.raises(
        ConfigError,
        match=r"The executor 'dask' has no option 'adress' \(parallel.options\)\. Did you mean 'address'\? Options: address\.",
    ):
        run_experiment(workspace, on_dask(workspace, {"adress": "tcp://a:1"}))
    edit(("executor: serial", "executor: serial, options: {address: 1}"))
    with pytest.raises(ConfigError, match=r"The executor 'serial' has no option 'address' .* Options: none\."):
        run_experiment(workspace, "sweep")
    # Another executor than the experiment's is not given the options of that one.
    assert run_experiment(workspace, "sweep", executor="local", max_workers=1).n_computed == 40
