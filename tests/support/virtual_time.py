"""Event loops whose time passes while they wait, at once: a test with a clock takes no time and sees no busy machine."""

from __future__ import annotations

import asyncio
import selectors
import time
from collections.abc import Coroutine
from types import ModuleType
from typing import Any

import pytest

_Runner = asyncio.Runner
LEAST_S = 1e-6
"""A turn of a loop takes this time at least: a task that looks at the clock again and again sees it go on."""


class VirtualTime:
    """The time of several loops in a row. In place of the module `time`, its own monotonic clock is this one."""

    def __init__(self) -> None:
        self.now = 1000.0  # of a machine that runs for a while
        self.time_ns = time.time_ns

    def monotonic(self) -> float:
        return self.now

    def monotonic_ns(self) -> int:
        return int(1e9 * self.now)

    def runner(self, **_: Any) -> asyncio.Runner:
        """Take the place of `asyncio.Runner`, whatever loop it was to have."""
        return _Runner(loop_factory=lambda: _Loop(self))

    def run(self, main: Coroutine[Any, Any, Any]) -> Any:
        """Do what `asyncio.run` does."""
        with self.runner() as runner:
            return runner.run(main)

    def rule(self, patch: pytest.MonkeyPatch, *modules: ModuleType) -> None:
        """Make it the time of `asyncio.run`, of `asyncio.Runner` and of modules."""
        patch.setattr(asyncio, "run", self.run)
        patch.setattr(asyncio, "Runner", self.runner)
        for module in modules:
            patch.setattr(module, "time", self)


class _Selector(selectors.DefaultSelector):
    def __init__(self, clock: VirtualTime) -> None:
        super().__init__()
        self.clock = clock

    def select(self, timeout: float | None = None) -> Any:
        found = super().select(timeout if timeout is None else 0)
        self.clock.now += LEAST_S if found else max(timeout or 0.0, LEAST_S)
        return found


class _Loop(asyncio.SelectorEventLoop):
    def __init__(self, clock: VirtualTime) -> None:
        super().__init__(_Selector(clock))
        self.time = clock.monotonic  # type: ignore[method-assign]
