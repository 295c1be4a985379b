"""The executor: a cluster of this machine, a worker that dies, and a scheduler that is not there."""

from __future__ import annotations

import json
import operator
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from vpcore.errors import PluginError
from vpcore.executor import ExecutorLost, WorkerDied
from vpcore.testing import executor_checks
from vpcore_dask.executor import LOST_WORKER_TIMEOUT, DaskExecutor

pytestmark = pytest.mark.slow

_PARENT = """
import os, sys, time
from vpcore_dask.executor import DaskExecutor
executor = DaskExecutor(1)
print(executor.submit(os.getpid).result(), flush=True)
executor.submit(time.sleep, 3600)
time.sleep(3600)
"""


def _alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.slow
@executor_checks(lambda _: DaskExecutor(1))
def test_dask_conforms(check: Callable[[], None]) -> None:
    """With one worker; the next test has a cluster of two."""
    check()


def _answer(executor: DaskExecutor, *task: Any) -> Any:
    """Return a task's result; a task that waits for ever ends its executor, which would wait for it."""
    try:
        return executor.submit(*task).result(timeout=60)
    except TimeoutError:
        executor.kill()
        raise


def _later(number: int) -> int:
    time.sleep(0.1)
    return number


@pytest.mark.slow
def test_a_dask_cluster_of_this_machine() -> None:
    import dask

    # With this setting Dask would give up every worker before its next process starts, as on a busy machine.
    with dask.config.set({LOST_WORKER_TIMEOUT: "1ms"}), DaskExecutor(2) as executor:
        assert executor.max_workers == 2
        assert executor.address.startswith("tcp://127.0.0.1:")
        assert list(executor.map(abs, [-1, -2])) == [1, 2]
        workers = set(executor.on_every_worker(os.getpid).values())
        assert len(workers) == 2
        assert os.getpid() not in workers
        with pytest.raises(ZeroDivisionError):
            executor.submit(operator.truediv, 1, 0).result()
        with pytest.raises(WorkerDied, match="every worker process that was given it died, the last one tcp://"):
            _answer(executor, os._exit, 7)
        assert _answer(executor, abs, -3) == 3
        late = [executor.submit(_later, number) for number in range(4)]
    assert [future.result(0) for future in late] == [0, 1, 2, 3]
    with pytest.raises(RuntimeError, match="after shutdown"):
        executor.submit(abs, 1)
    assert not any(_alive(pid) for pid in workers)


@pytest.mark.slow
def test_a_dask_cluster_ends_with_a_kill_and_with_its_parent() -> None:
    executor = DaskExecutor(1)
    (worker,) = executor.on_every_worker(os.getpid).values()
    waiting = executor.submit(time.sleep, 3600)
    executor.kill()  # returns long before the task would
    assert isinstance(waiting.exception(timeout=60), ExecutorLost)
    assert not _alive(worker)

    script = _PARENT
    script = "if __name__ == '__main__':" + script.replace("\n", "\n    ")
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert parent.stdout is not None
    worker = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    parent.stdout.close()
    deadline = time.monotonic() + 60
    while _alive(worker):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_lost_scheduler_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vpcore_dask.executor.PATIENCE_S", 120.0)  # the client tries to connect again for so long
    file = tmp_path / "scheduler.json"
    parts = ["--host", "127.0.0.1", "--no-dashboard"]
    scheduler = _started("scheduler", "--port", "0", "--scheduler-file", str(file), *parts)
    while not file.exists() or not file.read_text():
        assert scheduler.poll() is None
        time.sleep(0.02)
    address = json.loads(file.read_text())["address"]
    worker = _started("worker", address, "--nthreads", "1", "--no-nanny", *parts)
    executor = DaskExecutor(address=address)
    waiting = executor.submit(time.sleep, 600)
    scheduler.send_signal(signal.SIGSTOP)  # lost, and the client does not know it yet
    started = time.monotonic()
    assert executor.max_workers == 1
    assert time.monotonic() - started < 30
    for process in (worker, scheduler):
        process.kill()
        process.wait()
    assert isinstance(waiting.exception(timeout=60), ExecutorLost)
    started = time.monotonic()
    assert executor.max_workers == 1
    with pytest.raises(ExecutorLost, match="was lost"):
        executor.submit(abs, -1)
    executor.shutdown()
    assert time.monotonic() - started < 60
    with pytest.raises(RuntimeError, match="after shutdown"):
        executor.submit(abs, -1)


def _started(kind: str, *arguments: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", f"distributed.cli.dask_{kind}", *arguments]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def test_no_dask_and_no_scheduler(monkeypatch: pytest.MonkeyPatch) -> None:
    for address, reason in (("tcp://127.0.0.1:1", "Connection refused"), ("nowhere", "the address has no port")):
        with pytest.raises(
            PluginError, match=rf"No Dask scheduler answers at {address} \(.*{reason}\)\. Start one with"
        ):
            DaskExecutor(address=address)
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(
        PluginError, match=r"Executor 'dask' needs distributed, which is not installed\. Run: pip install"
    ):
        DaskExecutor()
