"""A channel: one published version on one feed. A worker makes its bins; every client sees the same ones."""

from __future__ import annotations

import asyncio
import json
import logging
import struct
import sys
import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from websockets.frames import Frame, Opcode

from vpcore_server.messages import BIN, END, FAILED, HELLO, TEXT, read_message, split_bin
from vpcore_server.task import Task
from vpcore_server.wire import FLAGS_AT, HEADER_BYTES, PROFILES, SKIPPED_AT, STORED, Profile, layout, record_dtype

_log = logging.getLogger("vpcore.server")

HISTORY_BINS, VIEW_BINS, EXACT_BINS, EVENTS = 36_000, 6_000, 600, 10_000
"""Bins that a channel keeps by profile, and entries and exits."""

MOST_CRASHES, CRASH_SPAN_S = 3, 600.0
"""More deaths of a worker within this time end the channel."""

DELAYS = 20_000
"""Latest frames whose delays `/metrics` knows: 1,000 bins of 20 clients."""

EVERY_BYTES = 16 << 20
"""Most bytes that wait for a client in the mode `every`."""

MOST_TOGETHER = 64
"""Most bins in a frame."""

TOGETHER_S = 0.002
"""Bins at a smaller distance share frames. A bin at a larger distance is written to every client at once."""

DRAIN_S = 5.0
"""Longest time that an unpaced replay waits for a client in the mode `every`."""

STUCK_S = 30.0
"""A client without an acknowledgement for so long, its window full, is closed."""

MOST_SENT_BYTES = 256 << 10
"""Most bytes of a frame: what a client that does not read takes of the server's memory."""

_SKIPPED = struct.Struct("<I")
_SEQ = struct.Struct("<q")
_SEQ_AT, _CLOSED_AT = 8, 24


def _frame(content: bytes | str) -> bytes:
    """Return the frame of a WebSocket, the same one for every client."""
    if isinstance(content, str):
        return Frame(Opcode.TEXT, content.encode()).serialize(mask=False)
    return Frame(Opcode.BINARY, content).serialize(mask=False)


class Closed(Exception):
    """A stream ends: its WebSocket code, and a message for the client, in which half a character is spelled out."""

    def __init__(self, code: int, message: str) -> None:
        self.code, self.message = code, message.encode(errors="backslashreplace").decode()
        super().__init__(self.message)


class Hello(str):
    """The text frame `hello`: acknowledgements begin anew behind it."""

    __slots__ = ()


class Client:
    """What one client has been sent, and what waits for it, in order: texts, stored bins and new bins.

    Parameters
    ----------
    profile : {'history', 'view', 'exact'}
    window : int
        Most new bins that are sent and not acknowledged. Texts and stored bins do not count.
    every : bool
        True if no bin may be left out. Otherwise the oldest ones that wait are.
    alias : str or None
        Alias of the request.
    """

    def __init__(self, profile: Profile, window: int, every: bool, alias: str | None) -> None:
        self.profile, self.window, self.every, self.alias = profile, window, every, alias
        self.closed: Closed | None = None
        self.channel: Channel | None = None
        self.n_skipped = 0
        self.n_bytes = 0
        self.write: Callable[[bytes], bool] | None = None  # see `vpcore_server.server.Socket.write`
        self.sending_since: float | None = None  # monotonic clock, while a socket takes a frame
        self.limit: asyncio.Timeout | None = None  # ends a frame that a socket does not take
        self._queue: deque[str | bytes | list[bytes]] = deque()
        self._freed: deque[str | list[bytes]] = deque()  # what stood before a bin that was left out
        self._n_bins = self._n_texts = 0
        self._missed = 0
        self._sent: deque[int] = deque()
        self._stuck_since: float | None = None
        self._wake = asyncio.Event()

    def _write(self, frame: bytes | None) -> bool:
        """Write a frame at once, unless something else comes first."""
        if frame is None or self.write is None or self._queue or self._freed or self._missed:
            return False
        return self.closed is None and self.sending_since is None and self.write(frame)

    def put(self, record: bytes, frame: bytes | None = None) -> None:
        """Add a bin; `frame` is the same bin as the frame of a WebSocket."""
        if len(self._sent) < self.window and self._write(frame):
            self._sent.append(_SEQ.unpack_from(record, _SEQ_AT)[0])
            if self.channel is not None:
                self.channel.sent(record)
            return
        self._queue.append(record)
        self._n_bins += 1
        self.n_bytes += len(record)
        if not self.every:
            if self._n_bins > self.window:
                self._drop()
        elif self.n_bytes > EVERY_BYTES:
            self.close(4408, f"The client is more than {EVERY_BYTES >> 20} MB behind. Resume with since.")
        self._wake.set()

    def put_stored(self, records: list[bytes]) -> None:
        """Add bins of the past."""
        together = min(MOST_TOGETHER, max(MOST_SENT_BYTES // len(records[0]), 1)) if records else 1
        for at in range(0, len(records), together):
            self._queue.append(records[at : at + together])
        self._wake.set()

    def put_text(self, text: str, frame: bytes | None = None) -> None:
        """Add a text; `frame` is the same text as the frame of a WebSocket."""
        if self._write(frame):
            return
        self._queue.append(text)
        self._n_texts += 1
        if self._n_texts > EVENTS + 100:
            self.close(4408, "The client does not read.")
        self._wake.set()

    def close(self, code: int, message: str) -> None:
        """End the stream."""
        self.closed = self.closed or Closed(code, message)
        self._wake.set()

    def acknowledge(self, bin_seq: int) -> None:
        """Take every bin up to this one as drawn."""
        while self._sent and self._sent[0] <= bin_seq:
            self._sent.popleft()
            self._stuck_since = None
        if self._queue or self._freed:
            self._wake.set()

    def take(self) -> str | bytes | None:
        """Return the next frame, or None if nothing may be sent."""
        room = min(self.window - len(self._sent), MOST_TOGETHER)
        while not self.every and 0 < room < self._n_bins:
            self._drop()
        if not self._freed and not self._queue:
            return None
        first = self._freed.popleft() if self._freed else self._queue[0]
        if isinstance(first, bytes):
            return self._bins(room)
        if self._queue and first is self._queue[0]:
            self._queue.popleft()
        if isinstance(first, str):
            self._n_texts -= 1
            if isinstance(first, Hello):
                self._sent.clear()
                self._stuck_since = None
            return first
        frame = bytearray(b"".join(first))
        for at in range(FLAGS_AT, len(frame), len(first[0])):
            frame[at] |= STORED
        return bytes(frame)

    def _bins(self, room: int) -> bytes | None:
        if room <= 0:
            self._stuck_since = self._stuck_since or time.monotonic()
            return None
        records: list[bytes] = []
        size = 0
        while self._queue and len(records) < room and isinstance(record := self._queue[0], bytes):
            size += len(record)
            if records and size > MOST_SENT_BYTES:
                size -= len(record)
                break
            records.append(record)
            self._queue.popleft()
        self._n_bins -= len(records)
        self.n_bytes -= size
        self._sent.extend(_SEQ.unpack_from(record, _SEQ_AT)[0] for record in records)
        if self._missed:
            first = bytearray(records[0])
            _SKIPPED.pack_into(first, SKIPPED_AT, self._missed)
            records[0] = bytes(first)
            self._missed = 0
        return records[0] if len(records) == 1 else b"".join(records)

    def _drop(self) -> None:
        """Leave out the oldest bin that waits."""
        while not isinstance(item := self._queue.popleft(), bytes):
            self._freed.append(item)
        self.n_bytes -= len(item)
        self._n_bins -= 1
        self._missed += 1
        self.n_skipped += 1

    def check_stuck(self) -> None:
        """Close a client that acknowledges nothing, or reads nothing. The server calls it each second."""
        now = time.monotonic()
        if self._stuck_since is not None and now - self._stuck_since > STUCK_S:
            self.close(4408, f"The client has acknowledged nothing for {STUCK_S:g} s.")
        if self.sending_since is not None and now - self.sending_since > STUCK_S and self.limit is not None:
            self.limit.reschedule(0.0)

    async def wait(self) -> None:
        """Wait until something may have changed."""
        await self._wake.wait()
        self._wake.clear()


class Channel:
    """The worker of one version, what it has made, and its clients.

    Parameters
    ----------
    task : Task
    ended : callable
        Called with the channel when it is over.
    """

    def __init__(self, task: Task, ended: Callable[[Channel], None]) -> None:
        self.task = task
        self.serving_id = task.serving_id
        self.clients: set[Client] = set()
        self.hello: dict[str, Any] | None = None
        self.status: dict[str, Any] = {}
        self.end: dict[str, Any] | None = None
        self.failed: Closed | None = None
        self.notice: str | None = None
        self.moved: set[str] = set()  # aliases that name another version now
        self.damaged: str | None = None
        self.n_bins = 0
        self.n_lost = 0
        self.restarts = 0
        self.delays: deque[float] = deque(maxlen=DELAYS)  # seconds from the close of a bin to the socket of a client
        self.idle_since = time.monotonic()
        self.last_bin_at = 0.0
        self.pid: int | None = None
        self._ended = ended
        self._crashes: deque[float] = deque()
        self._skipped = 0
        self._started = asyncio.Event()
        self._runner: asyncio.Task[None] | None = None
        self._process: asyncio.subprocess.Process | None = None
        self._ending: asyncio.Task[None] | None = None
        self._last = b""
        self._reset()

    def _reset(self) -> None:
        self.rings: dict[Profile, deque[bytes]] = {
            "history": deque(maxlen=HISTORY_BINS),
            "view": deque(maxlen=VIEW_BINS),
            "exact": deque(maxlen=EXACT_BINS),
        }
        self.events: deque[tuple[int, str]] = deque(maxlen=EVENTS)
        self.gap: str | None = None
        self._last = b""

    def sent(self, frame: bytes) -> None:
        """Note the delay of a frame that a socket has taken."""
        if not frame[FLAGS_AT] & STORED:
            self.delays.append(time.time() - _SEQ.unpack_from(frame, _CLOSED_AT)[0] / 1e9)

    # -- the worker ----------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start the worker."""
        self._runner = asyncio.create_task(self._run())

    async def started(self) -> dict[str, Any]:
        """Wait for `hello`.

        Raises
        ------
        Closed
            If the worker refuses the version.
        """
        await self._started.wait()
        if self.failed is not None:
            raise self.failed
        assert self.hello is not None
        return self.hello

    async def stop(self) -> None:
        """End the worker."""
        if self._runner is not None:
            self._runner.cancel()
            await asyncio.gather(self._runner, return_exceptions=True)
        if self._ending is not None:
            await self._ending

    async def _run(self) -> None:
        try:
            while not await self._once():
                if not self._may_restart():
                    self._fail(4500, f"The worker died {MOST_CRASHES + 1} times in {CRASH_SPAN_S / 60:g} minutes.")
                    break
                self.restarts += 1
                await asyncio.sleep(0.2)
        finally:
            self._ending = self._ending or asyncio.create_task(self._end_process())
            await asyncio.shield(self._ending)
            self._started.set()
            if self.failed is not None:
                self._ended(self)

    def _may_restart(self) -> bool:
        now = time.monotonic()
        self._crashes.append(now)
        while now - self._crashes[0] > CRASH_SPAN_S:
            self._crashes.popleft()
        return len(self._crashes) <= MOST_CRASHES

    async def _once(self) -> bool:
        """Run one worker; return True if the channel is over, False if the worker died."""
        task = self.task
        if self._last:  # go on behind the last bin
            seq, end_ns = struct.unpack_from("<qq", self._last, _SEQ_AT)
            task = replace(task, after_bin=seq, begin_ns=max(task.begin_ns or 0, end_ns))
        command = (sys.executable, "-m", "vpcore_server.worker", task.to_json())
        pipe = asyncio.subprocess.PIPE
        # In a session of its own: Ctrl-C in a terminal is for the server, which then ends its workers.
        self._process = await asyncio.create_subprocess_exec(
            *command, stdin=pipe, stdout=pipe, limit=1 << 20, start_new_session=True
        )
        self.pid = self._process.pid
        assert self._process.stdout is not None
        while (message := await read_message(self._process.stdout)) is not None:
            kind, content = message
            if kind == BIN:
                self._take_bin(content)
                if self._unpaced:
                    await self._drain()
                elif not self.n_bins % MOST_TOGETHER:
                    await asyncio.sleep(0)  # the past comes without a pause
            elif kind == TEXT:
                self._take_text(content.decode())
            elif kind == HELLO:
                self._take_hello(json.loads(content))
                await asyncio.sleep(0.01)  # clients that wait join before the first bin
            elif kind == FAILED:
                found = json.loads(content)
                self._fail(found["code"], found["message"])
                return True
            elif kind == END:
                self.end = json.loads(content)
                self._tell(content.decode())
                return True
        code = await self._process.wait()
        _log.warning("The worker of %s died (exit code %s).", self.serving_id, code)
        return False

    async def _end_process(self) -> None:
        process, self._process, self.pid = self._process, None, None
        if process is None:
            return
        assert process.stdin is not None
        process.stdin.close()  # the worker leaves by itself
        try:
            async with asyncio.timeout(2.0):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()

    @property
    def _unpaced(self) -> bool:
        return self.hello is not None and self.hello.get("speed") == "max"

    async def _drain(self) -> None:
        """Let an unpaced replay wait for clients that may miss nothing."""
        until = time.monotonic() + DRAIN_S
        while time.monotonic() < until and any(
            client.every and client.closed is None and client.n_bytes > EVERY_BYTES // 2 for client in self.clients
        ):
            await asyncio.sleep(0.005)
        if not self.n_bins % 16:
            await asyncio.sleep(0)

    # -- what the worker says ------------------------------------------------------------------------------------------

    def _take_hello(self, hello: dict[str, Any]) -> None:
        if self.hello is not None and hello["continues"]:
            return  # the same session, in another process
        again = self.hello is not None
        self._reset()
        self.hello, self.end = hello, None
        self._started.set()
        if again:
            for client in self.clients:
                client.put_text(self.hello_for(client))

    def _take_bin(self, content: bytes) -> None:
        view, exact = split_bin(content)
        history = view[:HEADER_BYTES]
        self.n_bins += 1
        before, self.last_bin_at = self.last_bin_at, time.monotonic()
        self._last = history
        records: dict[Profile, bytes] = {"history": history, "view": view, "exact": exact}
        for name, ring in self.rings.items():
            ring.append(records[name])
        alone = self.last_bin_at - before > TOGETHER_S
        frames = {profile: _frame(records[profile]) for profile in {c.profile for c in self.clients}} if alone else {}
        for client in self.clients:
            client.put(records[client.profile], frames.get(client.profile))

    def _take_text(self, text: str) -> None:
        found = json.loads(text)
        if found["type"] == "status":
            self.status = found
        elif found["type"] == "event":
            self.events.append((found["bin_seq"], text))
        elif found["type"] == "gap":
            self.gap = text if found["until_ns"] is None else None
            self.n_lost += found["until_ns"] is None
        self._tell(text)

    def _tell(self, text: str) -> None:
        frame = _frame(text)
        for client in self.clients:
            client.put_text(text, frame)

    def say(self, kind: str, message: str, **more: Any) -> None:
        """Tell every client, also later ones, something about the channel."""
        self.notice = json.dumps({"type": kind, "message": message, **more})
        self._tell(self.notice)

    def _fail(self, code: int, message: str) -> None:
        _log.error("%s: %s", self.serving_id, message)
        self.failed = Closed(code, message)
        for client in self.clients:
            client.close(code, message)

    # -- clients -------------------------------------------------------------------------------------------------------

    def hello_for(self, client: Client, resumed: bool | None = None) -> Hello:
        """Return `hello` with the layout of the client's profile."""
        assert self.hello is not None
        dtype = record_dtype(client.profile, self.hello["n_cells"], len(self.hello["horizons_ms"]))
        own: dict[str, Any] = {
            "alias": client.alias,
            "profile": client.profile,
            "record_bytes": dtype.itemsize,
            "resumed": resumed,
        }
        own |= {"profiles": list(PROFILES), "window": client.window, "layout": layout(dtype)}
        return Hello(json.dumps(self.hello | own))

    def join(self, client: Client, since: int | None, last: int | None, session: str | None = None) -> None:
        """Add a client, with the stored bins behind `since`, or the `last` ones.

        `since` is a bin of `session`, by default of the present one. If that is another one, all its stored bins come.
        """
        assert self.hello is not None
        resumed = None if since is None or session is None else session == self.hello["session"]
        since = -1 if resumed is False else since
        client.put_text(self.hello_for(client, resumed))
        stored = list(self.rings[client.profile])
        if since is not None and stored and since <= _SEQ.unpack_from(stored[-1], _SEQ_AT)[0]:
            stored = [record for record in stored if _SEQ.unpack_from(record, _SEQ_AT)[0] > since]
        elif since is None and last is not None:
            stored = stored[max(len(stored) - last, 0) :]
        first = _SEQ.unpack_from(stored[0], _SEQ_AT)[0] if stored else 0
        for bin_seq, text in self.events:
            if stored and bin_seq >= first:
                client.put_text(text)
        texts = (self.gap, json.dumps(self.status) if self.status else None, self.notice)
        for text in (text for text in texts if text is not None):
            client.put_text(text)
        client.put_stored(stored)
        if self.end is not None:
            client.put_text(json.dumps(self.end))
        self.clients.add(client)
        client.channel = self

    @property
    def n_skipped(self) -> int:
        """Bins left out for clients, of all time."""
        return self._skipped + sum(client.n_skipped for client in self.clients)

    def leave(self, client: Client) -> None:
        """Remove a client."""
        if client in self.clients:
            self.clients.discard(client)
            self._skipped += client.n_skipped
        self.idle_since = time.monotonic()

    # -- health --------------------------------------------------------------------------------------------------------

    def unready(self) -> list[str]:
        """Return the reasons why the channel is not fresh and warm."""
        if self.failed is not None:
            return [self.failed.message]
        if self.hello is None:
            return ["it is starting"]
        if self.end is not None:
            return []
        reasons = []
        if self.status.get("lost"):
            reasons.append(f"records were lost: {self.status['lost']}")
        if self.status.get("doubt"):
            reasons.append(self.status["doubt"])
        left = self.status.get("warmup_bins_left", 1)
        if left:
            reasons.append(f"{left} bins of its windows are missing")
        if time.monotonic() - self.last_bin_at > self.task.stale_s:
            reasons.append(f"no bin for {self.task.stale_s:g} s")
        return reasons
