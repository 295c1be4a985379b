"""Feed an executor a few tasks at a time: a stop loses little work, and memory stays flat."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, CancelledError, Future, wait
from typing import Any, TypeVar

from vpcore.errors import PluginError
from vpcore.executor import Executor, ExecutorLost

T = TypeVar("T")

SPARE = 2
"""Tasks that wait at the executor beside those at work, so that no worker waits for the parent."""


def dispatch(
    executor: Executor,
    function: Callable[..., T],
    calls: Sequence[tuple[Any, ...]],
    on_submit: Callable[[int], None] = lambda index: None,
    *,
    at_once: int | None = None,
) -> Generator[tuple[int, T | BaseException], None, None]:
    """Yield ``(index, result or exception)`` of every call, as they finish.

    Parameters
    ----------
    executor : Executor
        Gets `max_workers` tasks at a time, and `SPARE` more.
    function : callable
        Function to call.
    calls : sequence of tuples
        The positional arguments of each call.
    on_submit : callable
        Called with the index of a call that is about to be handed over.
    at_once : int, optional
        Number of calls in the executor at a time.

    Raises
    ------
    PluginError
        If the executor itself is lost.

    Notes
    -----
    A generator that is closed early or interrupted kills the executor.
    """

    def room() -> int:
        # Asked every time: workers of a cluster come and go.
        if at_once is not None:
            return at_once
        return executor.max_workers + (0 if executor.in_process else SPARE)

    pending: dict[Future[T], int] = {}
    position = 0
    try:
        while pending or position < len(calls):
            free = room() - len(pending)
            while position < len(calls) and free > 0:
                free -= 1
                on_submit(position)
                try:
                    future = executor.submit(function, *calls[position])
                except BrokenExecutor as error:
                    raise _gone(error) from error
                pending[future] = position
                position += 1
            for future in wait(pending, return_when=FIRST_COMPLETED).done:
                index = pending.pop(future)
                try:
                    result: T | BaseException = future.result()
                except ExecutorLost as error:
                    raise _gone(error) from error
                except (Exception, CancelledError) as error:
                    result = error
                yield index, result
    finally:
        if pending:
            executor.kill()


def _gone(error: BaseException) -> PluginError:
    return PluginError(f"The executor is gone: {error}. What was finished is stored; running again computes the rest.")
