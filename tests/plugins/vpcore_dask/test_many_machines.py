"""A sweep on machines that share nothing but an S3 server: workers die, the scheduler dies, and the bytes are the same."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from s3_server import REGION, Faults, faulty_proxy, free_port, make_bucket, s3_server

from vpcore import Workspace
from vpcore.errors import PluginError
from vpcore.experiment.progress import SweepProgress
from vpcore.experiment.run import harness_config, run_experiment
from vpcore.signal import DIAGNOSTICS, MODELS

PARTS = ["--host", "127.0.0.1", "--no-dashboard"]


class Machines:
    """A scheduler, and workers that have folders of their own for home, cache and temporary files."""

    def __init__(self, folder: Path, path: list[str], compiled: str) -> None:
        self.folder = folder
        self.env = {**os.environ, "PYTHONPATH": os.pathsep.join(path), "NUMBA_CACHE_DIR": compiled}
        self.port = free_port()
        self.address = f"tcp://127.0.0.1:{self.port}"
        self.processes: list[subprocess.Popen[bytes]] = []

    def _start(self, kind: str, *arguments: str, **env: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", f"distributed.cli.dask_{kind}", *arguments, *PARTS]
        process = subprocess.Popen(
            command, env=self.env | env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/"
        )
        self.processes.append(process)
        return process

    def scheduler(self) -> None:
        file = self.folder / "scheduler.json"
        file.unlink(missing_ok=True)
        self._start("scheduler", "--port", str(self.port), "--scheduler-file", str(file))
        while not file.exists() or not file.read_text():
            time.sleep(0.02)
        assert json.loads(file.read_text())["address"] == self.address

    def worker(self, name: str) -> subprocess.Popen[bytes]:
        places = {"HOME": "home", "XDG_CACHE_HOME": "cache", "TMPDIR": "tmp", "DASK_TEMPORARY_DIRECTORY": "tmp"}
        env = {variable: str(self.folder / name / place) for variable, place in places.items()}
        for place in env.values():
            Path(place).mkdir(parents=True, exist_ok=True)
        return self._start("worker", self.address, "--nthreads", "1", "--no-nanny", **env)

    def ready(self, n: int) -> None:
        """Wait for workers: a busy machine takes longer to start them than `vp run` waits."""
        from distributed import Client

        with Client(self.address, timeout=120, set_as_default=False) as client:
            client.wait_for_workers(n, timeout=120)

    def close(self) -> None:
        for process in reversed(self.processes):
            process.kill()
            process.wait()
        self.processes.clear()


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, Faults]]:
    """Address of a proxy before an S3 server with the bucket `lake`, and what the proxy saw."""
    for name in [name for name in os.environ if name.startswith(("AWS_", "HTTP_PROXY", "http_proxy"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "the-id-of-a-test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "the-secret-of-a-test")
    with s3_server() as server:
        make_bucket(server, "lake")
        with faulty_proxy(server) as proxied:
            yield proxied


@pytest.fixture
def machines(tmp_path: Path, paths: dict[str, Any], bucket: tuple[str, Faults]) -> Iterator[Machines]:
    compiled = os.environ.get("NUMBA_CACHE_DIR") or os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    made = Machines(tmp_path, [str(paths["plugin"])], compiled)
    yield made
    made.close()


@pytest.mark.slow
def test_a_sweep_on_machines_without_a_shared_folder(
    make_workspace: Callable[[str], Workspace],
    make_proven: Callable[[str], Workspace],
    proofs: Path,
    machines: Machines,
    bucket: tuple[str, Faults],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    address, faults = bucket
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "client" / "cache"))
    near, far = make_proven("near"), make_workspace("far")
    for ws in (near, far):
        text = (ws.configs / "experiments" / "sweep.yaml").read_text()
        assert "signals: [plain, scored]" in text
        text = text.replace("signals: [plain, scored]", "signals: [plain, scored, learns]\ndiagnostics: basic")
        (ws.configs / "experiments" / "sweep.yaml").write_text(text)
    run_experiment(near, "sweep")
    (dataset_id,) = near.datasets.ids()
    (far.configs / "workspace.yaml").write_text(
        f"storage: {{backend: object, options: {{url: 's3://lake/vp', region: {REGION}, endpoint: 'http://{address}', "
        "allow_http: true}}\n"
    )
    far = Workspace(far.root, plugins=far.plugins)
    for path in proofs.iterdir():  # those of `learns` are left to the workers
        (far.results.folder / "proofs").put(path.name, path.read_bytes(), "store a proof")
    key = f"research/vp_immutable/{dataset_id}"
    with far.storage.stage(key) as stage:
        for path in near.datasets.path(dataset_id).iterdir():
            (stage.path / path.name).write_bytes(path.read_bytes())
        assert far.storage.commit(key, stage)
    before = sorted(far.lake.rglob("*"))
    machines.scheduler()
    workers = {name: machines.worker(name) for name in ("one", "two")}
    machines.ready(2)
    config = harness_config(far, "sweep").with_executor("dask", options={"address": machines.address})
    faults.seen.clear()
    killed: list[str] = []

    def kill(now: SweepProgress) -> None:
        if now.stage != "run":
            return
        if now.done > 0 and not killed:
            workers["one"].kill()
            killed.append("worker")
        if now.done > 16 and "scheduler" not in killed:
            machines.close()
            killed.append("scheduler")

    with pytest.raises(PluginError, match="What was finished is stored; running"):
        run_experiment(far, config, on_progress=kill)
    assert killed == ["worker", "scheduler"]
    assert workers["one"].returncode == -signal.SIGKILL
    stored = far.results.query_runs(status=None).height
    assert 0 < stored < 52
    machines.scheduler()
    machines.worker("two")
    machines.ready(1)
    report = run_experiment(far, config)
    assert (report.n_reused, report.n_failed) == (stored, 0)
    assert far.results.canonical_bytes() == near.results.canonical_bytes()
    assert sorted(far.lake.rglob("*")) == before  # nothing lies beside the store
    for folder in (MODELS, DIAGNOSTICS):
        ours = {
            path.relative_to(near.results_dir): path
            for path in (near.results_dir / folder).rglob("*")
            if path.is_file()
        }
        theirs = (far.results.folder / folder).here(anew=True)
        assert len(ours) >= 2
        assert {name: path.read_bytes() for name, path in ours.items()} == {
            path.relative_to(theirs.parent): path.read_bytes() for path in theirs.rglob("*") if path.is_file()
        }
    assert len((far.results.folder / "proofs").files("*.json")) == len(list(proofs.iterdir())) + 1
    # Each machine moved each column once, over both runs: the second found it in its cache. The two workers that were
    # killed may have been moving one.
    columns = Counter(line for line in faults.seen if line.startswith("GET") and line.endswith("grid_clean.parquet"))
    stored_columns = set(near.datasets.open(dataset_id).grid_columns)
    moved = [{path.name.split(".")[0] for path in (tmp_path / name).rglob("*.npy")} for name in ("one", "two")]
    assert sum(columns.values()) <= sum(2 + len(names & stored_columns) for names in moved) + 2
