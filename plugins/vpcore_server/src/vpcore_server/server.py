"""The process of `vp serve`: a socket, uvicorn, and an orderly end."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.http11 import Request

from vpcore.errors import ConfigError
from vpcore_server.app import make_app
from vpcore_server.connection import MOST_FRAME_BYTES, SOCKET
from vpcore_server.hub import Hub
from vpcore_server.security import Gate, read_token

DRAIN_S = 5
PING_S = 20.0
REQUEST_S = 10.0
"""A connection must send a request within this time."""

SWITCH_S = 0.0005
"""Time that a thread keeps the interpreter from the event loop. Python's own is 5 ms, for every write to a socket."""

SEND_BUFFER_BYTES = 256 << 10
"""Of a socket, kept by the system: what a client that does not read takes of its memory, and how old its bins are."""


class _Http(H11Protocol):
    """Closes a connection whose request does not come to its end: uvicorn waits for ever."""

    _waited = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.loop.call_later(REQUEST_S / 2, self._expect)

    def _expect(self) -> None:
        if self.transport.is_closing() or self.transport.get_protocol() is not self:
            return  # gone, or a WebSocket by now
        answered = self.cycle is None or self.cycle.response_complete
        waits = answered and self.timeout_keep_alive_task is None  # without a request, or with a part of one
        if waits and self._waited:
            self.transport.close()
            return
        self._waited = waits
        self.loop.call_later(REQUEST_S / 2, self._expect)


class Socket(WebSocketsSansIOProtocol):
    """A WebSocket that also writes frames which are encoded once for all clients.

    It ends for certain: uvicorn waits for ever for a client that reads neither its frames nor the close.
    """

    def handle_connect(self, event: Request) -> None:
        """Begin the connection."""
        super().handle_connect(event)
        if not self.close_sent:
            self.scope["state"][SOCKET] = self  # the application starts in the next turn of the loop

    def write(self, frame: bytes) -> bool:
        """Write an encoded frame at once. False if the client is gone, or reads too slowly: then `send` waits."""
        if not self.writable.is_set() or self.close_sent or self.transport.is_closing():
            return False
        self.transport.write(frame)
        return True

    def abort(self) -> None:
        """End the connection at once; what waits for the client is dropped."""
        self.transport.abort()

    async def send(self, message: Any) -> None:
        """Take an event of the application. After a close the client has some seconds for what is on its way."""
        await super().send(message)
        if message["type"] == "websocket.close":
            self.loop.call_later(DRAIN_S, self.abort)

    def keepalive_timeout(self) -> None:
        """End the connection of a client that has answered no ping: it reads no close either."""
        super().keepalive_timeout()
        self.abort()


class _Server(uvicorn.Server):
    """Ends with exit code 0 after SIGTERM or Ctrl-C; a second signal ends it at once."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        numbers = (signal.SIGTERM, signal.SIGINT)
        for number in numbers:
            loop.add_signal_handler(number, self.handle_exit, number, None)
        try:
            yield
        finally:
            for number in numbers:
                loop.remove_signal_handler(number)


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket.

    Raises
    ------
    ConfigError
        If the address is taken or is not of this machine.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listening = socket.create_server((host, port), family=family, backlog=128)
    except (OSError, UnicodeError) as error:
        number = getattr(error, "errno", None)
        reason = os.strerror(number) if number is not None and number > 0 else str(error)
        raise ConfigError(
            f"The server cannot listen on {host}:{port}: {reason}", fix="Choose another --port or --host."
        ) from None
    # Accepted sockets inherit both. asyncio turns Nagle's algorithm off only for sockets made with a protocol number: a
    # bin would wait 40 ms for the acknowledgement of the frame before it.
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listening


def configure(app: ASGIApp) -> uvicorn.Config:
    """Return uvicorn's settings: flow control, small client frames, pings, no log of requests."""
    return uvicorn.Config(
        app,
        http=_Http,
        ws=Socket,
        ws_max_size=MOST_FRAME_BYTES,
        ws_ping_interval=PING_S,
        ws_ping_timeout=PING_S,
        ws_per_message_deflate=False,
        timeout_graceful_shutdown=DRAIN_S,
        log_level="warning",
        access_log=False,
        server_header=False,
        lifespan="on",
    )


@dataclass(frozen=True, slots=True)
class Address:
    """Where a server listens, and who may connect; see ``vp serve``."""

    host: str = "127.0.0.1"
    port: int = 8765
    token_file: Path | None = None
    origins: tuple[str, ...] = ()


def run(hub: Hub, names: list[str], address: Address, started: Callable[[str], None]) -> None:
    """Serve until a signal.

    Parameters
    ----------
    hub : Hub
        The channels.
    names : list of str
        Aliases or ids of versions whose channels start at once and stay.
    address : Address
        Where to listen, and who may connect.
    started : callable
        Called with the address of the page.

    Raises
    ------
    ConfigError
        If the address cannot be used, or is open to the network without a token.
    """
    host = address.host
    token = read_token(address.token_file, host)
    with listen(host, address.port) as listening:
        bound = listening.getsockname()[1]
        gate = Gate.of(host, bound, address.origins, token)
        server = _Server(configure(make_app(hub, gate, names)))
        name = f"[{host}]" if ":" in host else host
        query = f"/?serving={names[0]}" if names else "/"
        started(f"http://{name}:{bound}{query}" + ("#token=..." if token else ""))
        sys.setswitchinterval(SWITCH_S)
        gc.collect()
        gc.freeze()  # a look at all that was imported would hold every client up
        asyncio.run(server.serve(sockets=[listening]))
