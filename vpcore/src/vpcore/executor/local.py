"""Processes of this machine.

A death of one worker in a `ProcessPoolExecutor` fails every task in flight and hides the guilty task. Here each worker
has its own pipe and thread: a death fails one task, and a new process replaces the worker. Workers are spawned (forking
is unsafe with threads), skip the caller's main module, leave Ctrl-C to the parent, and end with the parent.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, Future
from multiprocessing.connection import Connection, Pipe
from pathlib import Path
from typing import Any, TypeVar

from vpcore.executor.protocol import Executor

T = TypeVar("T")

_Item = tuple["Future[Any]", bytes]


class WorkerDied(BrokenExecutor):
    """The process that worked on a task ended before the task did."""


class ExecutorLost(BrokenExecutor):
    """The executor itself is gone, whatever the task."""


class _RemoteTraceback(Exception):
    """Where an exception was raised in the worker; shown as its cause."""

    def __str__(self) -> str:
        return f"\n{self.args[0]}"


def usable_cores() -> int:
    """Return the number of whole cores that this process may use, by its affinity and the quota of its cgroups."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, int(min(cores, cpu_quota())))


def cpu_quota(root: Path = Path("/")) -> float:
    """Return the least CPU quota of this process's cgroups, in cores; infinite without one.

    Parameters
    ----------
    root : Path
        Root of the file system, with ``proc`` and ``sys/fs/cgroup`` (version 1 or 2).
    """
    quota = float("inf")
    with contextlib.suppress(OSError):
        for line in (root / "proc/self/cgroup").read_text().splitlines():
            _, controllers, place = line.split(":", 2)
            if controllers and "cpu" not in controllers.split(","):
                continue
            base = root / "sys/fs/cgroup" / controllers
            for folder in [base / place.strip("/"), *(base / place.strip("/")).parents]:
                if folder.is_relative_to(base):
                    quota = min(quota, _quota_of(folder))
    return quota


def _quota_of(folder: Path) -> float:
    with contextlib.suppress(OSError, ValueError):
        if (folder / "cpu.max").is_file():
            most, period = (folder / "cpu.max").read_text().split()
        else:
            most, period = ((folder / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period"))
        if int(most) > 0 and int(period) > 0:  # "max", or -1 in version 1, is no quota
            return int(most) / int(period)
    return float("inf")


class _Process:
    """One worker process and the parent's end of its pipe."""

    def __init__(self, threads: int) -> None:
        here, there = Pipe()
        # The caller's import path, so that what it can import by name the worker can too.
        path = os.pathsep.join(entry or os.getcwd() for entry in sys.path)
        try:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "vpcore.executor.child", str(there.fileno())],
                pass_fds=(there.fileno(),),
                stdin=subprocess.DEVNULL,
                stdout=2,  # stdout holds data and nothing else
                # Polars' thread pool would be as large as the machine in each of them.
                env={"POLARS_MAX_THREADS": str(threads), **os.environ, "PYTHONPATH": path},
                process_group=0,  # Ctrl-C at the terminal is the parent's alone
            )
        finally:
            there.close()
        self.connection: Connection = here

    def call(self, payload: bytes) -> Any:
        try:
            self.connection.send_bytes(payload)
            answer = self.connection.recv_bytes()
        except (EOFError, OSError):
            raise WorkerDied(self._death()) from None
        ok, value, trace = pickle.loads(answer)
        if ok:
            return value
        value.__cause__ = _RemoteTraceback(trace)
        raise value

    def _death(self) -> str:
        self.connection.close()
        code = self.process.wait()
        if code == -signal.SIGKILL:
            return "its worker process was killed (SIGKILL), perhaps because memory ran out"
        if code < 0:
            return f"its worker process died of {signal.Signals(-code).name}"
        return f"its worker process ended with exit code {code}"

    def close(self) -> None:
        self.connection.close()  # the worker ends at the end of its pipe
        self.process.wait()

    def kill(self) -> None:
        self.process.kill()


class LocalExecutor(Executor):
    """Runs tasks in processes of this machine.

    Parameters
    ----------
    max_workers : int, optional
        Processes; by default one per usable core. A process is started when there is work for it.

    Raises
    ------
    ValueError
        If `max_workers` is below 1.
    """

    isolates = True

    def __init__(self, max_workers: int | None = None) -> None:
        if max_workers is not None and max_workers < 1:
            raise ValueError(f"max_workers must be at least 1, was {max_workers}.")
        self._workers = max_workers or usable_cores()
        self._tasks: queue.SimpleQueue[_Item | None] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._living: set[_Process] = set()
        self._idle = threading.Semaphore(0)
        self._lock = threading.Lock()
        self._open = True
        self._killed = False

    @property
    def max_workers(self) -> int:
        """Processes."""
        return self._workers

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """Hand a task to the next free process.

        The future's exception comes from `fn`, or is `WorkerDied`.

        Raises
        ------
        RuntimeError
            After `shutdown`.
        """
        payload = pickle.dumps((fn, args, kwargs))
        future: Future[T] = Future()
        with self._lock:
            if not self._open:
                raise RuntimeError("submit after shutdown")
            self._tasks.put((future, payload))
            if not self._idle.acquire(blocking=False) and len(self._threads) < self._workers:
                thread = threading.Thread(target=self._serve, name=f"vp-worker-{len(self._threads)}", daemon=True)
                self._threads.append(thread)
                thread.start()
        return future

    def _serve(self) -> None:
        process: _Process | None = None
        try:
            while (item := self._tasks.get()) is not None:
                future, payload = item
                if future.set_running_or_notify_cancel():
                    try:
                        process = process or self._start()
                        result = process.call(payload)
                    except WorkerDied as error:
                        self._forget(process)
                        process = None
                        future.set_exception(error)
                    except BaseException as error:
                        future.set_exception(error)
                    else:
                        future.set_result(result)
                self._idle.release()
        finally:
            if process is not None:
                process.close()
                self._forget(process)

    def _start(self) -> _Process:
        with self._lock:
            if self._killed:
                raise WorkerDied("the executor was stopped")
            process = _Process(max(1, usable_cores() // self._workers))
            self._living.add(process)
        return process

    def _forget(self, process: _Process | None) -> None:
        with self._lock:
            self._living -= {process}

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Refuse further tasks, and end the processes after the last task; see `concurrent.futures.Executor`."""
        with self._lock:
            self._open = False
        if cancel_futures:
            self._cancel()
        for _ in self._threads:
            self._tasks.put(None)
        if wait:
            for thread in self._threads:
                thread.join()

    def kill(self) -> None:
        """Cancel waiting tasks and end the processes now, in the middle of their tasks."""
        with self._lock:
            self._open = False
            self._killed = True
            living = list(self._living)
        self._cancel()
        for process in living:
            process.kill()
        self.shutdown(wait=True)

    def _cancel(self) -> None:
        while True:
            try:
                item = self._tasks.get_nowait()
            except queue.Empty:
                return
            if item is not None:
                item[0].cancel()
