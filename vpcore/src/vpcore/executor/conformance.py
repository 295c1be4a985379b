"""Conformance checks for executors; `vpcore.testing.executor_checks` runs them. A check raises `AssertionError`."""

from __future__ import annotations

import operator
import os
import time
from collections.abc import Callable
from concurrent import futures

from vpcore.executor.protocol import Executor, adapted

Make = Callable[[int], futures.Executor]
_PATIENCE_S = 60.0


def _made(make: Make, max_workers: int = 2) -> Executor:
    executor = make(max_workers)
    assert isinstance(executor, futures.Executor), (
        f"{type(executor).__name__} must derive from vpcore.executor.Executor or concurrent.futures.Executor"
    )
    return adapted(executor)


def check_results(make: Make) -> None:
    """Results come back, in the order of their calls with `map`."""
    with _made(make) as executor:
        found = [executor.submit(operator.add, number, 1) for number in range(20)]
        assert [future.result(_PATIENCE_S) for future in found] == list(range(1, 21)), "each future has its own result"
        assert list(executor.map(abs, [-3, 2, -1], timeout=_PATIENCE_S)) == [3, 2, 1], "map must keep the order"


def check_errors(make: Make) -> None:
    """The exception of a task is the exception of its future, and the next task is done."""
    with _made(make) as executor:
        error = executor.submit(operator.truediv, 1, 0).exception(_PATIENCE_S)
        assert isinstance(error, ZeroDivisionError), f"the future must have the task's ZeroDivisionError, had {error!r}"
        assert executor.submit(abs, -1).result(_PATIENCE_S) == 1, "a task after one that failed must be done"


def check_shutdown(make: Make) -> None:
    """After `shutdown` the submitted tasks are done, and a new task raises RuntimeError. A second shutdown is
    allowed.
    """
    executor = _made(make)
    found = [executor.submit(abs, -number) for number in range(4)]
    executor.shutdown()
    assert [future.result(0) for future in found] == list(range(4)), "shutdown must wait for what was submitted"
    executor.shutdown()
    try:
        executor.submit(abs, 1)
    except RuntimeError:
        return
    raise AssertionError("submit after shutdown must raise RuntimeError")


def check_attributes(make: Make) -> None:
    """`max_workers` and `in_process` are true."""
    with _made(make) as executor:
        assert executor.max_workers >= 1, f"max_workers must be at least 1, was {executor.max_workers}"
        here = executor.submit(os.getpid).result(_PATIENCE_S) == os.getpid()
        assert here == executor.in_process, f"in_process was {executor.in_process}; a task ran in this process: {here}"
        answers = executor.on_every_worker(os.getpid)
        assert all(isinstance(name, str) for name in answers), f"on_every_worker answers by name, was {answers!r}"


def check_a_death(make: Make) -> None:
    """The death of a worker breaks its task; with `isolates`, the next task is done."""
    executor = _made(make)
    try:
        if executor.in_process:
            return
        error = executor.submit(os._exit, 7).exception(_PATIENCE_S)
        broken = isinstance(error, futures.BrokenExecutor)
        assert broken, f"the death of a worker must be a BrokenExecutor, was {error!r}"
        if executor.isolates:
            assert executor.submit(abs, -2).result(_PATIENCE_S) == 2, "isolates: another worker must do the next task"
    finally:
        executor.shutdown(cancel_futures=True)


def check_kill(make: Make) -> None:
    """`kill` ends waiting tasks; every future is done."""
    executor = _made(make, 1)
    if executor.in_process:
        executor.kill()
        return
    waiting = [executor.submit(time.sleep, 0.2) for _ in range(5)]
    executor.kill()
    end = time.monotonic() + _PATIENCE_S
    while not all(future.done() for future in waiting) and time.monotonic() < end:
        time.sleep(0.01)
    left = sum(not future.done() for future in waiting)
    assert not left, f"{left} of {len(waiting)} futures stayed open after kill"
    assert any(future.cancelled() or future.exception() for future in waiting), "kill must end what waits"


EXECUTOR_CHECKS: tuple[Callable[[Make], None], ...] = (
    check_results,
    check_errors,
    check_shutdown,
    check_attributes,
    check_a_death,
    check_kill,
)
