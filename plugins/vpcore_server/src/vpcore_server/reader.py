"""A process beside the server, for what takes seconds or much memory: specs, rankings, trades, Arrow."""

from __future__ import annotations

import asyncio
import contextlib
import math
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from multiprocessing.connection import Connection
from typing import Any, ParamSpec, TypeVar

from vpcore.errors import ResultsError
from vpcore_server.channel import Closed

KEEP_S = 10.0
"""Time that an answer is kept: ranking takes seconds, and pages ask again."""

REST_S = 120.0
"""The process ends so long after its last question."""

MOST_QUESTIONS = 16
"""Most open questions; the process answers one at a time."""

P = ParamSpec("P")
T = TypeVar("T")


class Reader:
    """Calls functions in one process beside this one, which starts with the first question.

    polars, numba and pyarrow stay out of the server that way. A function must be importable by its name; its arguments
    and its answer are pickled.
    """

    def __init__(self) -> None:
        self._pool: ProcessPoolExecutor | None = None
        self._line: Connection | None = None  # the process ends when this end is closed
        self._known: dict[tuple[Any, ...], tuple[float, Any]] = {}
        self._open: dict[tuple[Any, ...], asyncio.Future[Any]] = {}
        self._asked = 0.0

    def ask_now(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Return what a function returns, without an event loop. In this process, if that has the modules anyway."""
        if "vpcore_serving.spec" in sys.modules:
            return function(*args, **kwargs)
        self._asked = time.monotonic()
        return self._process().submit(function, *args, **kwargs).result()

    async def ask(self, function: Callable[..., T], *arguments: Any, keep: bool = False) -> T:
        """Return what a function returns.

        Parameters
        ----------
        function : callable
            Importable by its name.
        *arguments : object
            Hashable if `keep`.
        keep : bool
            Give the same answer for `KEEP_S`, and ask once for clients that ask at the same time.

        Raises
        ------
        Closed
            4429 if too many questions are open.
        VpError
            Of the function, or if the process died.
        """
        key = (function.__name__, *arguments) if keep else (object(),)
        at, answer = self._known.get(key, (-math.inf, None))
        if time.monotonic() - at <= KEEP_S:
            return answer  # type: ignore[no-any-return]
        if key not in self._open:
            if len(self._open) >= MOST_QUESTIONS:
                raise Closed(4429, f"The server has {MOST_QUESTIONS} questions to answer, its most. Try again later.")
            self._open[key] = asyncio.ensure_future(self._answer(function, arguments))
            self._open[key].add_done_callback(partial(self._answered, key))
        answer = await asyncio.shield(self._open[key])  # a client that leaves takes nobody's answer away
        if keep:
            if len(self._known) > 32:
                self._known.clear()
            self._known[key] = (time.monotonic(), answer)
        return answer  # type: ignore[no-any-return]

    def _answered(self, key: tuple[Any, ...], question: asyncio.Future[Any]) -> None:
        del self._open[key]
        if not question.cancelled():
            question.exception()  # nobody may be left to take it

    async def _answer(self, function: Callable[..., T], arguments: tuple[Any, ...]) -> T:
        self._asked = time.monotonic()
        pool = self._process()
        try:
            return await asyncio.get_running_loop().run_in_executor(pool, function, *arguments)
        except BrokenProcessPool:
            if self._pool is pool:
                self.close()
            raise ResultsError("The process that reads the workspace died", fix="Ask again.") from None

    def _process(self) -> ProcessPoolExecutor:
        if self._pool is None:
            spawn = multiprocessing.get_context("spawn")
            end, self._line = spawn.Pipe(duplex=False)
            self._pool = ProcessPoolExecutor(1, spawn, _belong_to_server, (end,))
        return self._pool

    def rest(self) -> None:
        """End the process if nobody has asked for `REST_S`."""
        if not self._open and time.monotonic() - self._asked > REST_S:
            self.close()
            self._known.clear()

    def close(self) -> None:
        """End the process, also at work."""
        if self._pool is not None and self._line is not None:
            self._line.close()
            self._pool.shutdown(wait=False, cancel_futures=True)
            self._pool = self._line = None


def _belong_to_server(line: Connection) -> None:
    """Leave Ctrl-C in a terminal to the server, and end with it, however it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def follow() -> None:
        with contextlib.suppress(EOFError, OSError):
            line.recv()
        os._exit(0)

    threading.Thread(target=follow, daemon=True).start()
