"""Workers of a Dask cluster: one that is running somewhere, or processes of this machine."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import logging
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import Any, TypeVar

from vpcore.errors import PluginError
from vpcore.executor import Executor, ExecutorLost, WorkerDied
from vpcore.executor.local import usable_cores

T = TypeVar("T")

PATIENCE_S = 10.0
"""How long a scheduler, and its first worker, may take to answer."""

ANSWER_S = 1.0
"""How long a scheduler may take to say how many threads there are; then there are as many as before."""

KILL_S = 0.5
"""How long `DaskExecutor.kill` waits for an own worker to end by itself."""

CONFIGURED = "scheduler-address"
"""Dask's own setting, as from the variable DASK_SCHEDULER_ADDRESS."""

LOST_WORKER_TIMEOUT = "distributed.deploy.lost-worker-timeout"
"""Dask's own setting: seconds until a cluster of this machine gives up a worker whose process ended (15).

The worker's nanny starts another process, which may take longer on a busy machine; a given-up worker is never replaced,
and its tasks wait for ever.
"""


class DaskExecutor(Executor):
    """Runs tasks on the workers of a Dask cluster.

    A task whose worker dies is given to another one by the scheduler, as often as it allows (its ``allowed-failures``);
    then the task's future has `WorkerDied`. If the scheduler is lost, the futures have `ExecutorLost`.

    Parameters
    ----------
    max_workers : int, optional
        Of a cluster of this machine, its processes, by default one per usable core. Of one that is running, at most so
        many tasks are given to it at a time, by default one per thread of its workers.
    address : str, optional
        Of a scheduler, ``tcp://host:8786``. The default is the address in Dask's own
        configuration (``DASK_SCHEDULER_ADDRESS``); without an address, the executor starts a cluster of processes on
        this machine, and ends the cluster at `shutdown`.

    Raises
    ------
    PluginError
        If Dask is not installed, no scheduler answers, or it has no workers.
    """

    # Not `isolates`: several tasks may wait at one worker, and Dask holds a death against all of them.

    def __init__(self, max_workers: int | None = None, *, address: str | None = None) -> None:
        try:
            distributed = importlib.import_module("distributed")
            dask = importlib.import_module("dask")
        except ModuleNotFoundError as error:
            raise PluginError(
                f"Executor 'dask' needs {error.name}, which is not installed. Run: pip install vpcore-dask, "
                "or set parallel.executor: local."
            ) from None
        self._killed_worker = distributed.KilledWorker
        self._most = max_workers
        self._open = True
        self._threads = 1
        self._own = contextlib.ExitStack()
        self._cluster: Any = None
        self.address = address or dask.config.get(CONFIGURED, None)
        if self.address is None:
            self._own.enter_context(dask.config.set({LOST_WORKER_TIMEOUT: "1 day"}))
            self._cluster = self._own.enter_context(_processes(distributed, max_workers or usable_cores()))
            self.address = self._cluster.scheduler_address
        try:
            _knock(self.address)
            self._client = distributed.Client(self.address, timeout=PATIENCE_S, set_as_default=False)
        except (OSError, ValueError) as error:
            self._own.close()
            raise PluginError(
                f"No Dask scheduler answers at {self.address} ({error}). Start one with: dask scheduler. Its address, "
                "tcp://HOST:PORT, is parallel.options.address, or DASK_SCHEDULER_ADDRESS."
            ) from None
        self._executor = self._client.get_executor(pure=False)
        try:
            self._client.wait_for_workers(1, timeout=PATIENCE_S)
        except TimeoutError:
            self.shutdown()
            raise PluginError(
                f"The Dask scheduler at {self.address} has no workers. Start one with: dask worker {self.address} "
                "--nthreads 1"
            ) from None

    @property
    def max_workers(self) -> int:
        """Tasks that are worked on at a time: as many as the workers have threads now."""
        # Of a scheduler that is lost the futures tell. The client would wait for it, and for minutes if it is lost now.
        if self._client.status == "running":
            with contextlib.suppress(OSError, TimeoutError):
                self._threads = sum(self._client.nthreads(callback_timeout=ANSWER_S).values()) or 1
        return int(min(self._threads, self._most or self._threads))

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """Hand a task to the cluster.

        Raises
        ------
        RuntimeError
            After `shutdown`.
        ExecutorLost
            If the scheduler was lost.
        """
        if not self._open:
            raise RuntimeError("cannot schedule new futures after shutdown")
        # While the client tries to connect again it takes tasks, which nobody does.
        if self._client.status != "running":
            raise ExecutorLost(self._lost())
        inner = self._executor.submit(fn, *args, **kwargs)
        future: Future[T] = Future()

        def hand_on(done: Future[T]) -> None:
            if not future.set_running_or_notify_cancel():
                return
            if done.cancelled():
                future.set_exception(ExecutorLost(self._lost()))
                return
            error = done.exception()
            if isinstance(error, self._killed_worker):
                future.set_exception(WorkerDied(_death(error)))
            elif error is not None:
                future.set_exception(error)
            else:
                future.set_result(done.result())

        inner.add_done_callback(hand_on)
        return future

    def _lost(self) -> str:
        return f"the Dask scheduler at {self.address} was lost"

    def on_every_worker(self, function: Callable[..., T], *args: Any) -> dict[str, T]:
        """Call a function once in every worker process and return its answers by the workers' addresses."""
        answers: dict[str, T] = self._client.run(function, *args)
        return answers

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more tasks, leave the scheduler, and end the cluster if it is our own."""
        self._open = False
        try:
            self._leave(wait=wait and not cancel_futures)
        finally:
            try:
                with self._forgiving(), _quiet():
                    self._client.close()
            finally:
                self._own.close()

    def _leave(self, *, wait: bool) -> None:
        """Wait for tasks or cancel them. Of a lost scheduler they are cancelled, and the client would wait for it."""
        if self._client.status == "running":
            with self._forgiving():
                self._executor.shutdown(wait=wait)

    @contextlib.contextmanager
    def _forgiving(self) -> Iterator[None]:
        """Ignore errors of a client whose scheduler is lost: its tasks are lost too."""
        try:
            yield
        except Exception:
            if self._client.status == "running":
                raise

    def kill(self) -> None:
        """Cancel waiting tasks. Own workers stop at once; workers of a foreign cluster finish their tasks."""
        self._open = False
        self._leave(wait=False)
        if self._cluster is not None:  # which would give each worker seconds to finish its task
            self._cluster.sync(_end_workers, self._cluster)
        self.shutdown(wait=False)


def _knock(address: str) -> None:
    """Try whether anything listens: a client that found nothing takes half a minute to give up, and complains."""
    scheme, _, place = address.rpartition("://")
    if scheme in ("", "tcp", "tls"):
        host, colon, port = place.rpartition(":")
        if not colon or not port.isdigit():
            raise ValueError("the address has no port")
        socket.create_connection((host.strip("[]"), int(port)), timeout=PATIENCE_S).close()


def _processes(distributed: Any, n: int) -> Any:
    return distributed.LocalCluster(
        host="127.0.0.1",
        n_workers=n,
        threads_per_worker=1,
        processes=True,
        dashboard_address=None,
        memory_limit=0,  # what a worker keeps is bounded by itself; Dask would pause or kill it at a guess
        silence_logs=logging.CRITICAL,  # a death is an exception here, and a row with its error
        # Without a dashboard its port is taken all the same: any free one, as another sweep may have the usual one.
        scheduler_kwargs={"allowed_failures": 1, "dashboard": False, "dashboard_address": "127.0.0.1:0"},
    )


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the client from printing how it gave up a lost scheduler: the futures tell."""
    logger = logging.getLogger("distributed.client")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)


async def _end_workers(cluster: Any) -> None:
    await asyncio.gather(*(nanny.close(KILL_S) for nanny in cluster.workers.values()), return_exceptions=True)


def _death(error: Any) -> str:
    name = getattr(getattr(error, "last_worker", None), "address", None)
    where = f", the last one {name}" if name else ""
    return f"every worker process that was given it died{where}, perhaps because memory ran out"
