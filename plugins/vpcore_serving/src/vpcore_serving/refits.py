"""Fits in another process while bins go on, as a live server makes them, in a simulation that is faster than time.

A simulated session takes as long as its work. A fit beside it would then seem to take thousands of bins. So during a
fit, bins begin on their real schedule, counted from the start of the fit; the end of the fit ends the wait. A new model
thus predicts the same first bin as on a live machine of this speed, and the fit competes with the bins for the cores.
Outside a fit the bins run at full speed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, wait
from contextlib import contextmanager
from typing import Any, Literal, TypeVar

from vpcore.errors import SignalError
from vpcore.executor import LocalExecutor
from vpcore.signal import MLSignal, Signal

Retrain = Literal["inline", "background"]
"""Where a learning signal fits."""

T = TypeVar("T")


class Pace:
    """The schedule of synchronous fits: bins run at full speed."""

    def wait_for(self, due_ns: int) -> None:
        """Return when the bin that is due at this time of the schedule may begin."""


class BackgroundFits(Executor, Pace):
    """One process for fits, and the clock that goes with it; see the module."""

    def __init__(self) -> None:
        self._pool = LocalExecutor(1)
        self._under_way: list[tuple[Future[Any], int, int]] = []
        self._now = 0

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """Hand a fit to the process."""
        began = time.perf_counter_ns()
        future = self._pool.submit(fn, *args, **kwargs)
        self._under_way.append((future, began, self._now))
        return future

    def wait_for(self, due_ns: int) -> None:
        """Wait until every fit is done, or has had the time that lies between it and `due_ns` on the schedule."""
        self._now = due_ns
        self._under_way = [fit for fit in self._under_way if not fit[0].done()]
        for future, began, handed_over in self._under_way:
            left = (due_ns - handed_over) - (time.perf_counter_ns() - began)
            if left > 0:
                wait([future], timeout=left / 1e9)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the process, even in the middle of a fit."""
        self._pool.kill()


@contextmanager
def pace_of(signal: Signal, state: Any, retrain: Retrain) -> Iterator[Pace]:
    """Choose the place of a signal's fits, and yield their schedule.

    Raises
    ------
    SignalError
        If it is a statistical signal, or fits inside its step only.
    """
    if retrain == "inline":
        yield Pace()
        return
    if not isinstance(signal, MLSignal):
        raise SignalError(
            f"Signal '{type(signal).__name__}' does not learn, so there is nothing to retrain",
            fix="Leave out --retrain.",
        )
    with BackgroundFits() as fits:
        signal.fit_elsewhere(state, fits)
        yield fits
