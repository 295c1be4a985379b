"""The executors: results, errors, a worker that dies, and a stop in the middle."""

from __future__ import annotations

import operator
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from vpcore.executor import LocalExecutor, SerialExecutor, WorkerDied, local
from vpcore.testing import executor_checks


@executor_checks(LocalExecutor)
def test_local_conforms(check: Callable[[], None]) -> None:
    check()


@executor_checks(SerialExecutor)
def test_serial_conforms(check: Callable[[], None]) -> None:
    check()


@executor_checks(ThreadPoolExecutor)
def test_a_foreign_executor(check: Callable[[], None], request: pytest.FixtureRequest) -> None:
    if "check_attributes" in request.node.name:  # its tasks run in this process, which the defaults do not say
        with pytest.raises(AssertionError, match="in_process was False; a task ran in this process: True"):
            check()
    elif "check_a_death" not in request.node.name:  # which would end this process
        check()


def test_a_local_error_carries_the_workers_traceback() -> None:
    with LocalExecutor(1) as executor:
        error = executor.submit(operator.truediv, 1, 0).exception()
    assert "Traceback" in str(error.__cause__)  # type: ignore[union-attr]


def test_what_cannot_be_pickled_is_an_error_and_not_the_end() -> None:
    with LocalExecutor(1) as executor:
        with pytest.raises(RuntimeError, match="Odd: as it is"):
            executor.submit(exec, "class Odd(Exception): pass\nraise Odd('as it is')").result()
        with pytest.raises(TypeError, match="cannot pickle"):
            executor.submit(eval, "(_ for _ in ())").result()
        assert executor.submit(abs, -1).result() == 1


_MEET = """
import pathlib, time
pathlib.Path({mine!r}).touch()
for _ in range(6_000):
    if pathlib.Path({other!r}).exists():
        break
    time.sleep(0.01)
else:
    raise TimeoutError("the other task did not start")
"""


def test_tasks_run_in_other_processes_at_once(tmp_path: Path) -> None:
    one, two = str(tmp_path / "one"), str(tmp_path / "two")
    with LocalExecutor(2) as executor:
        ids = {executor.submit(os.getpid).result() for _ in range(3)}
        assert os.getpid() not in ids
        met = [executor.submit(exec, _MEET.format(mine=a, other=b)) for a, b in ((one, two), (two, one))]
        assert [future.result() for future in met] == [None, None]


def test_a_worker_that_dies_takes_its_own_task_only() -> None:
    with LocalExecutor(2) as executor:
        doomed = executor.submit(os._exit, 7)
        others = [executor.submit(abs, -i) for i in range(6)]
        assert [future.result() for future in others] == list(range(6))
        with pytest.raises(WorkerDied, match="its worker process ended with exit code 7"):
            doomed.result()
        with pytest.raises(WorkerDied, match="died of SIGSEGV"):
            executor.submit(signal.raise_signal, signal.SIGSEGV).result()
        with pytest.raises(WorkerDied, match=r"was killed \(SIGKILL\), perhaps because memory ran out"):
            executor.submit(signal.raise_signal, signal.SIGKILL).result()
        assert executor.submit(abs, -3).result() == 3


def test_kill_ends_what_is_at_work_and_cancels_what_waits() -> None:
    executor = LocalExecutor(1)
    working, waiting = executor.submit(time.sleep, 3600), executor.submit(abs, -1)
    while not working.running():
        time.sleep(0.01)
    executor.kill()  # returns long before the task would
    assert isinstance(working.exception(), WorkerDied)
    assert waiting.cancelled()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("vp-worker")]


def test_shutdown_can_cancel_what_waits(tmp_path: Path) -> None:
    executor = LocalExecutor(1)
    mine, other = tmp_path / "mine", tmp_path / "other"
    first, second = executor.submit(exec, _MEET.format(mine=str(mine), other=str(other))), executor.submit(abs, -1)
    while not first.running():
        time.sleep(0.01)
    executor.shutdown(wait=False, cancel_futures=True)
    assert second.cancelled()
    assert not first.done()
    other.touch()
    executor.shutdown()
    assert first.result() is None


_PARENT = """
import os, sys, time
from vpcore.executor import local, LocalExecutor
executor = LocalExecutor(1)
print(executor.submit(os.getpid).result(), flush=True)
executor.submit(time.sleep, 3600)
time.sleep(3600)
"""


def test_workers_end_with_a_parent_that_is_killed() -> None:
    parent = subprocess.Popen([sys.executable, "-c", _PARENT], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    worker = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    parent.stdout.close()
    deadline = time.monotonic() + 60
    while _alive(worker):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def _alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_the_number_of_workers_must_be_positive() -> None:
    with pytest.raises(ValueError, match="max_workers must be at least 1, was 0"):
        LocalExecutor(0)


# -- cores


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "150000 100000\n"}, 1.5),
        ({"proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/cpu.max": "200000 100000", "sys/fs/cgroup/a/b/cpu.max": "max 100000"}, 2.0),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "max 100000"}, float("inf")),
        ({"proc/self/cgroup": "3:memory:/\n2:cpu,cpuacct:/x\n", "sys/fs/cgroup/cpu,cpuacct/x/cpu.cfs_quota_us": "50000", "sys/fs/cgroup/cpu,cpuacct/x/cpu.cfs_period_us": "100000"}, 0.5),
        ({"proc/self/cgroup": "2:cpu:/\n", "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1", "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000"}, float("inf")),
        ({}, float("inf")),
    ],
)  # fmt: skip
def test_the_quota_of_a_cgroup_bounds_the_cores(
    files: dict[str, str], cores: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert local.cpu_quota(tmp_path) == cores
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    monkeypatch.setattr(local, "cpu_quota", lambda: cores)
    assert local.usable_cores() == max(1, int(min(8, cores)))


def test_the_workers_share_the_cores_among_their_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("POLARS_MAX_THREADS", raising=False)
    monkeypatch.setattr(local, "usable_cores", lambda: 4)
    for workers, threads in ((2, 2), (8, 1)):
        with LocalExecutor(workers) as pool:
            assert pool.submit(os.getenv, "POLARS_MAX_THREADS").result() == str(threads)
