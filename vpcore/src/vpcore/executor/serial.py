"""One task after the other, in this process: for debugging, and for signals that live in a notebook."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

from vpcore.executor.protocol import Executor

T = TypeVar("T")


class SerialExecutor(Executor):
    """Runs a task when it is submitted.

    Parameters
    ----------
    max_workers : int, optional
        Ignored: there is one.
    """

    in_process = True

    def __init__(self, max_workers: int | None = None) -> None:
        self._open = True

    @property
    def max_workers(self) -> int:
        """One."""
        return 1

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """Run `fn` now and return its finished future. Ctrl-C passes through."""
        if not self._open:
            raise RuntimeError("submit after shutdown")
        future: Future[T] = Future()
        future.set_running_or_notify_cancel()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Refuse further tasks."""
        self._open = False
