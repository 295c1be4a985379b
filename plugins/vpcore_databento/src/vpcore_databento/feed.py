"""The feed `databento`: market-by-order records of one contract as the live gateway sends them."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections import deque
from collections.abc import AsyncIterator
from typing import Any

import numpy as np

from vpcore.errors import ConfigError, SourceError, VpError, did_you_mean, listed
from vpcore.kernels.records import MBO_DTYPE
from vpcore_databento.historical import KEY_VARIABLE, api_key, symbology
from vpcore_serving.feed import Batch, Feed, FeedRequest, Lost

_OPTIONS = ("dataset", "gateway", "port", "heartbeat_s")
MOST_WAITING = 2_000_000
"""Most records that may wait for the reader: a reader further behind is better off with a new snapshot."""

_CLOSE_S = 5.0
_RECORD_BYTES = MBO_DTYPE.itemsize

_FINAL = {
    "auth_failed",
    "api_key_deactivated",
    "connection_limit_exceeded",
    "symbol_resolution_failed",
    "invalid_subscription",
}
"""Codes of the gateway that another attempt would meet again."""


class DatabentoFeed(Feed):
    """Subscribes to the schema mbo with a snapshot. One connection: the reader makes a new feed after an error.

    The market goes on after the window of a session, and so does the feed: its reader decides when to leave.

    Options: `dataset` (default GLBX.MDP3); `gateway` and `port`, another live gateway; `heartbeat_s`, the interval of
    heartbeats, 5 to 1,800 s (default 5): a connection without any message for 10 s longer is broken.

    The gateway is asked to warn a slow reader and to skip nothing, as a skipped record is a wrong book. After a warning
    the feed gives up its connection: a new snapshot is nearer to the market than the backlog.
    """

    def __init__(self, request: FeedRequest) -> None:
        super().__init__(request)
        options = request.options
        for name in options:
            if name not in _OPTIONS:
                raise ConfigError(
                    f"The feed 'databento' has no option '{name}'.{did_you_mean(name, _OPTIONS)} "
                    f"It has: {listed(_OPTIONS)}."
                )
        self._dataset = _text("dataset", options.get("dataset", "GLBX.MDP3"))
        self._gateway = _text("gateway", options["gateway"]) if "gateway" in options else None
        self._port = _whole("port", options.get("port", 13000), 1, 65_535)
        self._heartbeat_s = _whole("heartbeat_s", options.get("heartbeat_s", 5), 5, 1800)
        self._key = api_key()
        self._client: Any = None
        self._inbox: deque[tuple[float, Any]] = deque()  # with the time of arrival
        self._arrived = asyncio.Event()
        self._woken = False  # a record after the reader's last look has woken it
        self._loop: asyncio.AbstractEventLoop | None = None
        self._instrument_id: int | None = None
        self._last_ns = 0
        self._closing = threading.Event()

    # -- the client's thread -------------------------------------------------------------------------------------------

    def _receive(self, record: Any) -> None:
        """Take a record in the thread of the client."""
        item = bytes(record)[:_RECORD_BYTES] if hasattr(record, "order_id") else record
        self._inbox.append((time.monotonic(), item))
        self._wake()

    def _wake(self) -> None:
        if self._woken:
            return  # the reader has not looked since
        self._woken = True
        with contextlib.suppress(RuntimeError):  # the reader's loop is closed
            assert self._loop is not None
            self._loop.call_soon_threadsafe(self._arrived.set)

    def _connect(self) -> None:
        """Log in, subscribe and start; blocks for as long as the gateway takes."""
        import databento

        client = databento.Live(
            key=self._key,
            gateway=self._gateway,
            port=self._port,
            heartbeat_interval_s=self._heartbeat_s,
            slow_reader_behavior="warn",
        )
        client.add_callback(self._receive)
        try:
            client.subscribe(
                dataset=self._dataset,
                schema="mbo",
                symbols=self.request.symbol,
                stype_in=symbology(self.request.symbol),
                snapshot=True,
            )
            client.start()
        except (databento.BentoError, ValueError) as error:
            if client.is_connected():
                client.terminate()
            raise self._refused(str(error)) from None
        # Only now: the client is locked while the gateway answers, and closing shall not wait for it.
        self._client = client
        if self._closing.is_set():
            client.terminate()

    def _refused(self, text: str) -> VpError:
        said = text.replace(self._key, "(key)").strip().rstrip(".")[:300]
        if said.startswith(("Connection to", "Authentication with", "cannot start", "session is")) or not said:
            return SourceError(f"Databento's live gateway did not answer, or broke off ({said or 'no reason given'}).")
        return ConfigError(
            f"Databento's live gateway refuses the login: {said}",
            fix=f"Look at the key in {KEY_VARIABLE} and at the account's live licences.",
        )

    # -- the reader's loop ---------------------------------------------------------------------------------------------

    async def __aiter__(self) -> AsyncIterator[Batch | Lost]:
        self._loop = asyncio.get_running_loop()
        await asyncio.to_thread(self._connect)
        ended = asyncio.ensure_future(self._client.wait_for_close())
        ended.add_done_callback(lambda task: self._arrived.set())
        try:
            while True:
                await self._arrived.wait()
                self._arrived.clear()
                self._woken = False
                over = ended.done()
                for event in self._events():
                    yield event
                    if isinstance(event, Lost):
                        raise SourceError(event.reason)
                if over:
                    error = ended.exception()
                    text = str(error).replace(self._key, "(key)") if error is not None else "it closed the connection"
                    raise SourceError(f"The connection to Databento's live gateway broke: {text}.")
        finally:
            self._terminate()
            with contextlib.suppress(Exception):
                await asyncio.wait_for(ended, _CLOSE_S)

    def _events(self) -> list[Batch | Lost]:
        """Return what has arrived: records in one batch between messages of other kinds."""
        found: list[Batch | Lost] = []
        waiting: list[bytes] = []
        first = 0.0
        n = len(self._inbox)
        if n > MOST_WAITING:
            return [Lost(f"This reader is {n:,} records behind.", self._last_ns)]
        for _ in range(n):
            arrived, item = self._inbox.popleft()
            if isinstance(item, bytes):
                first = first if waiting else arrived
                waiting.append(item)
                continue
            found += self._batch(waiting, first)
            waiting = []
            message = self._message(item)
            found += [message] if message is not None else []
            if isinstance(message, Lost):
                return found
        return [*found, *self._batch(waiting, first)]

    def _batch(self, waiting: list[bytes], arrived: float) -> list[Batch | Lost]:
        if not waiting:
            return []
        records = np.frombuffer(bytearray().join(waiting), MBO_DTYPE)
        if self._instrument_id is None:
            raise SourceError(f"The gateway sent records before it said which instrument {self.request.symbol} is.")
        self._last_ns = max(self._last_ns, int(records["ts_recv"][-1]))
        return [Batch(records, self._instrument_id, arrived)]

    def _message(self, record: Any) -> Batch | Lost | None:
        """Return the event of a message that is no record of the market, or None.

        Raises
        ------
        ConfigError
            If the gateway refuses for good.
        """
        kind = type(record).__name__
        if kind.startswith("SymbolMapping"):
            if self.request.symbol in (record.stype_in_symbol, record.stype_out_symbol, str(record.instrument_id)):
                self._instrument_id = record.instrument_id
            return None
        if kind.startswith("SystemMsg"):
            if record.is_heartbeat():
                return Batch(np.zeros(0, MBO_DTYPE), self._instrument_id or 0)
            if str(record.code) == "slow_reader_warning":
                return Lost("Databento's gateway says that this reader is too slow.", self._last_ns)
            return None
        if kind.startswith("ErrorMsg"):
            said = record.err.replace(self._key, "(key)").rstrip(".")
            if str(record.code) in _FINAL:
                raise ConfigError(
                    f"Databento's live gateway refuses {self.request.symbol}: {said}",
                    fix=f"Look at the symbol, at the key in {KEY_VARIABLE}, and at the account's live licences.",
                )
            return Lost(f"Databento's gateway reports an error: {said}.", self._last_ns)
        return None

    def _terminate(self) -> None:
        self._closing.set()
        if self._client is not None and self._client.is_connected():
            self._client.terminate()

    async def close(self) -> None:
        """Close the connection."""
        self._terminate()


def _text(name: str, given: Any) -> str:
    if not isinstance(given, str) or not given:
        raise ConfigError(f"The option '{name}' of the feed 'databento'", required="text", was=repr(given))
    return given


def _whole(name: str, given: Any, least: int, most: int) -> int:
    if isinstance(given, bool) or not isinstance(given, int) or not least <= given <= most:
        required = f"a whole number from {least} to {most}"
        raise ConfigError(f"The option '{name}' of the feed 'databento'", required=required, was=repr(given))
    return given
