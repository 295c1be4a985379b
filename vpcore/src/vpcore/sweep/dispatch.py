"""Feeding an executor a few tasks at a time, so that a stop leaves little undone and nothing piles up."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from concurrent.futures import FIRST_COMPLETED, CancelledError, Executor, Future, wait
from typing import Any, TypeVar

T = TypeVar("T")

SPARE = 2
"""Tasks that wait at the executor beside those at work, so that no worker waits for the parent."""


def dispatch(
    executor: Executor,
    function: Callable[..., T],
    calls: Sequence[tuple[Any, ...]],
    on_submit: Callable[[int], None] = lambda index: None,
) -> Generator[tuple[int, T | BaseException], None, None]:
    """Yield ``(index, result or exception)`` of every call, as they finish.

    Parameters
    ----------
    executor : Executor
        One with the attribute `max_workers` gets that many tasks and a few spare ones at a time, another 8.
    function : callable
        What to call.
    calls : sequence of tuples
        The positional arguments of each call.
    on_submit : callable
        Called with the index of a call that is about to be handed over.

    Notes
    -----
    If the generator is closed early or interrupted, what waits is cancelled and, where the executor can (`kill`),
    what is at work is ended.
    """
    at_once = getattr(executor, "max_workers", 8)
    if not getattr(executor, "in_process", False):
        at_once += SPARE
    pending: dict[Future[T], int] = {}
    position = 0
    try:
        while pending or position < len(calls):
            while position < len(calls) and len(pending) < at_once:
                on_submit(position)
                pending[executor.submit(function, *calls[position])] = position
                position += 1
            for future in wait(pending, return_when=FIRST_COMPLETED).done:
                index = pending.pop(future)
                try:
                    result: T | BaseException = future.result()
                except (Exception, CancelledError) as error:
                    result = error
                yield index, result
    finally:
        if pending:
            stop(executor)


def stop(executor: Executor) -> None:
    """End an executor in the middle of its work."""
    kill = getattr(executor, "kill", None)
    if kill is not None:
        kill()
    else:
        executor.shutdown(wait=False, cancel_futures=True)
