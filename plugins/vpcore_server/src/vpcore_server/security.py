"""Who may connect: the Host header, the Origin, the token, and the headers of every answer."""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from vpcore.errors import ConfigError
from vpcore_server.channel import Closed

LEAST_TOKEN_BYTES = 32
TOKEN_PREFIX = "token."
"""Of the subprotocol that carries the token of a browser."""

HEADERS = (
    (
        b"content-security-policy",
        b"default-src 'self'; img-src 'self' blob: data:; object-src 'none'; base-uri 'none'; frame-ancestors 'none'; "
        b"form-action 'none'",
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
)

OPEN_PATHS = ("/", "/healthz")
"""Paths that need no token; the page's own files below ``/page/`` neither. They hold nothing of the workspace."""


def is_loopback(host: str) -> bool:
    """Return True for a name or address of this machine alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def read_token(file: Path | None, host: str) -> str | None:
    """Return the token in a file.

    Raises
    ------
    ConfigError
        If the file is unreadable, the token too short, or `host` is not of this machine and there is no token.
    """
    if file is None:
        if not is_loopback(host):
            raise ConfigError(
                f"A server on {host} is open to the network, so it needs --token-file",
                fix=f"Name a file with at least {LEAST_TOKEN_BYTES} random characters.",
            )
        return None
    try:
        token = file.read_text("ascii").strip()
    except (OSError, ValueError) as error:
        raise ConfigError(f"The token file {file} cannot be read: {error}") from None
    if len(token) < LEAST_TOKEN_BYTES or any(not 33 <= ord(char) <= 126 or char in '",;' for char in token):
        raise ConfigError(
            f"The token in {file}",
            required=f"at least {LEAST_TOKEN_BYTES} characters without space, quote, comma and semicolon",
            was=f"{len(token)} characters",
            fix="Make one: python -c 'import secrets; print(secrets.token_urlsafe(32))'",
        )
    return token


@dataclass(frozen=True)
class Gate:
    """The rules of one server.

    Parameters
    ----------
    hosts : tuple of str
        Values of the Host header that are served; another one is a rebound name.
    origins : tuple of str
        Origins of pages that may connect.
    token : str or None
    """

    hosts: tuple[str, ...]
    origins: tuple[str, ...]
    token: str | None

    @classmethod
    def of(cls, host: str, port: int, origins: Sequence[str], token: str | None) -> Gate:
        """Return the rules of a server bound to `host` and `port`, with further origins for a proxy.

        Raises
        ------
        ConfigError
            If an origin is no ``https://name`` or ``http://name``.
        """
        names = {host, "localhost", "127.0.0.1"} if is_loopback(host) else {host}
        names = {f"[{name}]" if ":" in name else name for name in names}
        hosts = {f"{name}:{port}" for name in names} | (names if port == 80 else set())
        allowed = {f"http://{name}" for name in hosts}
        for origin in origins:
            parts = urlsplit(origin)
            if (
                parts.scheme not in ("http", "https")
                or not parts.netloc
                or f"{parts.scheme}://{parts.netloc}" != origin
            ):
                raise ConfigError(
                    "--origin", required="of the form https://name or https://name:port", was=f"'{origin}'"
                )
            hosts.add(parts.netloc)
            allowed.add(origin)
        return cls(tuple(sorted(hosts)), tuple(sorted(allowed)), token)

    def host_fits(self, headers: Headers) -> bool:
        """Return True if the Host header is a name of this server, and stands once."""
        return [host.lower() for host in headers.getlist("host")] in [[host] for host in self.hosts]

    def check_stream(self, headers: Headers, subprotocols: Sequence[str]) -> None:
        """Check the origin and the token of a WebSocket.

        Raises
        ------
        Closed
            4403 or 4401.
        """
        origin = headers.get("origin")
        if origin is not None and origin not in self.origins:
            raise Closed(
                4403, f"Pages of {origin[:100]} may not connect. Start the server with --origin {origin[:100]}."
            )
        offered = [name[len(TOKEN_PREFIX) :] for name in subprotocols if name.startswith(TOKEN_PREFIX)]
        if not self.token_fits(headers, offered):
            raise Closed(4401, "The token is missing or wrong.")

    def token_fits(self, headers: Headers, offered: Sequence[str] = ()) -> bool:
        """Return True if there is no token, or it is in the Authorization header or among `offered`."""
        if self.token is None:
            return True
        scheme, _, given = headers.get("authorization", "").partition(" ")
        tokens = [*offered, *([given] if scheme.lower() == "bearer" else [])]
        return any(hmac.compare_digest(token.encode(), self.token.encode()) for token in tokens)


class Guard:
    """Middleware: refuses strangers before anything is read, and adds the headers to every answer."""

    def __init__(self, app: ASGIApp, gate: Gate) -> None:
        self.app, self.gate = app, gate

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        if not self.gate.host_fits(headers):
            await _answer(scope, receive, send, 421, "The Host header does not name this server.")
            return
        if scope["type"] == "websocket":
            await self.app(scope, receive, send)
            return
        if scope["method"] not in ("GET", "HEAD"):
            await _answer(scope, receive, send, 405, "The server is read-only.")
            return
        path = scope["path"]
        if path not in OPEN_PATHS and not path.startswith("/page/") and not self.gate.token_fits(headers):
            await _answer(scope, receive, send, 401, "The token is missing or wrong.")
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *HEADERS]
            await send(message)

        await self.app(scope, receive, with_headers)


async def _answer(scope: Scope, receive: Receive, send: Send, status: int, text: str) -> None:
    if scope["type"] == "websocket":  # before the handshake: the client sees 403
        await receive()
        await send({"type": "websocket.close", "code": 1008, "reason": text})
        return
    body = text.encode() + b"\n"
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(body)).encode()), *HEADERS]
    if status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
