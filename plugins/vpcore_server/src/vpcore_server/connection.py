"""One WebSocket: the query, the first frame of the client, bins out and acknowledgements in."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from starlette.datastructures import QueryParams
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from vpcore.errors import did_you_mean
from vpcore_server.channel import STUCK_S, Channel, Client, Closed
from vpcore_server.wire import PROFILES, Profile

MOST_FRAME_BYTES = 4096
MOST_FRAMES_PER_S = 20
BURST_FRAMES = 60
START_S = 10.0
"""A client must send its first frame within this time."""

LAST_S = 1.0
"""Longest time that a socket takes for the error before a close."""

PARTING_S = 0.25
"""Time between an error and the close, for frames of the client on their way."""

MOST_WINDOW = 4096
SUBPROTOCOL = "vp1"
SOCKET = "vpcore_server.socket"
"""Name of the `vpcore_server.server.Socket` in the state of a connection."""

_START: dict[str, str] = {
    "op": "the text start",
    "profile": "history, view or exact",
    "since": "the number of a bin",
    "session": "a session of hello",
    "last": "a number of bins from 0",
    "window": f"a number of bins from 1 to {MOST_WINDOW}",
    "mode": "latest or every",
}


@dataclass(frozen=True, slots=True)
class Start:
    """The first frame of a client."""

    profile: Profile = "view"
    since: int | None = None
    session: str | None = None
    last: int | None = 0
    window: int = 64
    every: bool = False


def read_query(query: QueryParams) -> str:
    """Return the name of the version in the query.

    Raises
    ------
    Closed
        4400 for anything but one `serving`: nothing of a published version can be overridden.
    """
    for name in query:
        if name != "serving":
            message = f"The query has the key '{name[:60]}'. It takes serving alone: a version cannot be overridden."
            raise Closed(4400, message + did_you_mean(name, ["serving"]))
    names = query.getlist("serving")
    if len(names) != 1 or not names[0]:
        raise Closed(4400, f"The query needs one serving=ALIAS_OR_ID, was {len([name for name in names if name])}.")
    return names[0]


def read_frame(text: str | None) -> dict[str, Any]:
    """Return a frame of a client, a JSON object of at most 4 kB.

    Raises
    ------
    Closed
        4400 if it is anything else.
    """
    if text is None or len(text) > MOST_FRAME_BYTES:
        raise Closed(4400, f"A frame of a client must be text of at most {MOST_FRAME_BYTES} bytes.")
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise Closed(4400, f"A frame of a client must be a JSON object, was {text[:60]!r}.")
    return found


def read_start(frame: dict[str, Any]) -> Start:
    """Return the choices of the first frame.

    Raises
    ------
    Closed
        4400 if a key is unknown or a value is wrong.
    """

    def refuse(name: str) -> Closed:
        wanted = _START.get(name)
        if wanted is None:
            return Closed(4400, f"The first frame has the key '{name[:60]}'. It takes: {', '.join(_START)}.")
        return Closed(4400, f"{name} of the first frame must be {wanted}, was {json.dumps(frame.get(name))[:60]}.")

    for name in frame:
        if name not in _START:
            raise refuse(name)
    if frame.get("op") != "start":
        raise refuse("op")
    profile, mode = frame.get("profile", "view"), frame.get("mode", "latest")
    since, session = frame.get("since"), frame.get("session")
    window, last = frame.get("window", 64), frame.get("last", 0)
    if profile not in PROFILES:
        raise refuse("profile")
    if mode not in ("latest", "every"):
        raise refuse("mode")
    if since is not None and not _whole(since, -1, 2**62):
        raise refuse("since")
    if session is not None and not isinstance(session, str):
        raise refuse("session")
    if not _whole(window, 1, MOST_WINDOW):
        raise refuse("window")
    if not _whole(last, 0, 2**31):
        raise refuse("last")
    return Start(profile, since, session, last, window, mode == "every")


def _whole(value: Any, least: int, most: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


class Budget:
    """Frames that a client may still send: 20 per second, and some at once."""

    def __init__(self) -> None:
        self._left, self._at = float(BURST_FRAMES), time.monotonic()

    def spend(self) -> None:
        """Count a frame.

        Raises
        ------
        Closed
            4400 if there are too many.
        """
        now = time.monotonic()
        self._left = min(self._left + (now - self._at) * MOST_FRAMES_PER_S, BURST_FRAMES) - 1
        self._at = now
        if self._left < 0:
            raise Closed(4400, f"A client may send {MOST_FRAMES_PER_S} frames per second.")


Open = Callable[[str], Awaitable[tuple[Channel, str | None]]]


async def stream(socket: WebSocket, admit: Callable[[], None], open_channel: Open) -> None:
    """Serve one connection to its end.

    Parameters
    ----------
    socket : WebSocket
        Not yet accepted.
    admit : callable
        Raises `Closed` for a client that may not connect.
    open_channel : callable
        Returns the channel of a name, and the alias; raises `Closed`.
    """
    offered = socket.scope.get("subprotocols") or []
    await socket.accept(SUBPROTOCOL if SUBPROTOCOL in offered else None)
    try:
        try:
            admit()
            name = read_query(socket.query_params)
            await _serve(socket, name, open_channel)
        except Closed as error:
            await _refuse(socket, error)
    except (WebSocketDisconnect, RuntimeError, OSError):
        return  # the client has left; starlette raises RuntimeError for a send after that


async def _refuse(socket: WebSocket, error: Closed) -> None:
    if socket.application_state is not WebSocketState.CONNECTED:
        return
    try:
        async with asyncio.timeout(LAST_S):
            await socket.send_text(json.dumps({"type": "error", "code": error.code, "message": error.message}))
    except TimeoutError:
        socket.scope["state"][SOCKET].abort()  # nobody reads: a close would wait for ever
        return
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(PARTING_S):  # a close with frames unread would reset the connection
            while (await socket.receive())["type"] != "websocket.disconnect":
                pass
            return
    await socket.close(error.code, error.message.encode()[:120].decode(errors="ignore"))


async def _serve(socket: WebSocket, name: str, open_channel: Open) -> None:
    budget = Budget()
    try:
        async with asyncio.timeout(START_S):
            frame = await _receive(socket, budget)
    except TimeoutError:
        raise Closed(4400, f'The first frame must come within {START_S:g} s: {{"op": "start"}}.') from None
    start = read_start(frame)
    channel, alias = await open_channel(name)
    client = Client(start.profile, start.window, start.every, alias)
    client.write = socket.scope["state"][SOCKET].write
    listening = asyncio.create_task(_listen(socket, client, budget))
    try:
        waiting = asyncio.ensure_future(channel.started())
        await asyncio.wait({waiting, listening}, return_when=asyncio.FIRST_COMPLETED)
        if not waiting.done():
            waiting.cancel()
            raise client.closed or WebSocketDisconnect(1006)
        waiting.result()
        channel.join(client, start.since, start.last, start.session)
        await _send(socket, client, listening)
    finally:
        (client.channel or channel).leave(client)
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)


async def _receive(socket: WebSocket, budget: Budget) -> dict[str, Any]:
    message = await socket.receive()
    if message["type"] == "websocket.disconnect":
        raise WebSocketDisconnect(message.get("code", 1006))
    budget.spend()
    return read_frame(message.get("text"))


async def _listen(socket: WebSocket, client: Client, budget: Budget) -> None:
    """Take acknowledgements until the client leaves or breaks a rule."""
    try:
        while True:
            frame = await _receive(socket, budget)
            if frame.get("op") != "ack" or not _whole(frame.get("bin"), -1, 2**62) or len(frame) != 2:
                raise Closed(4400, f'Later frames must be {{"op": "ack", "bin": N}}, was {json.dumps(frame)[:60]}.')
            client.acknowledge(frame["bin"])
    except Closed as error:
        client.close(error.code, error.message)
    except (WebSocketDisconnect, RuntimeError):
        client.close(1006, "")


async def _send(socket: WebSocket, client: Client, listening: asyncio.Task[None]) -> None:
    """Send what waits. `Client.check_stuck` ends a frame that the socket does not take: timers for each cost more."""
    try:
        async with asyncio.timeout(None) as client.limit:
            while not listening.done():
                while client.closed is None and (frame := client.take()) is not None:
                    client.sending_since = time.monotonic()
                    if isinstance(frame, str):
                        await socket.send({"type": "websocket.send", "text": frame})
                    else:
                        await socket.send({"type": "websocket.send", "bytes": frame})
                        if client.channel is not None:
                            client.channel.sent(frame)
                    client.sending_since = None
                if client.closed is not None:
                    break
                await client.wait()
    except TimeoutError:
        client.close(4408, f"The client has read nothing for {STUCK_S:g} s.")
    finally:
        client.limit = client.sending_since = None
    if client.closed is None or client.closed.code == 1006:
        raise WebSocketDisconnect(1006)
    raise client.closed
