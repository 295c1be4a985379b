"""The base class of executors."""

from __future__ import annotations

import concurrent.futures
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")

WORKERS = 8
"""Tasks that an executor of unknown size has at a time."""


class Executor(concurrent.futures.Executor):
    """Runs the tasks of a sweep: a `concurrent.futures.Executor` with facts about its workers.

    A component may also make any other `concurrent.futures.Executor`: `adapted` gives it the defaults below.
    `vpcore.testing.executor_checks` checks an implementation. Submitted calls can be pickled. A worker that dies is a
    `concurrent.futures.BrokenExecutor` of the task's future, the loss of the whole executor `ExecutorLost`.
    """

    in_process: bool = False
    """Whether tasks run in the caller's process."""

    isolates: bool = False
    """Whether the death of a worker breaks only the task that the worker was doing."""

    @property
    def max_workers(self) -> int:
        """Tasks at work at a time; asked again and again, because clusters grow."""
        return WORKERS

    def on_every_worker(self, function: Callable[..., T], *args: Any) -> dict[str, T]:
        """Call a function once in every worker process, and return the answers by worker.

        Empty, the default, if every worker runs this process's code on this machine; the comparison is then skipped.
        """
        return {}

    def kill(self) -> None:
        """End in the middle of the work."""
        self.shutdown(wait=False, cancel_futures=True)


class _Adapted(Executor):
    def __init__(self, executor: concurrent.futures.Executor) -> None:
        self._executor = executor

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> concurrent.futures.Future[T]:
        return self._executor.submit(fn, *args, **kwargs)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        self._executor.shutdown(wait=wait, cancel_futures=cancel_futures)


def adapted(executor: concurrent.futures.Executor) -> Executor:
    """Return an executor as it is if it derives from `Executor`, else with the defaults of `Executor`."""
    return executor if isinstance(executor, Executor) else _Adapted(executor)
