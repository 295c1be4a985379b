"""A live gateway of Databento on loopback: challenge and response, subscriptions, a session of messages, and faults."""

from __future__ import annotations

import hashlib
import secrets
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import databento_dbn
import numpy as np
from databento_history import KEY

from vpcore.kernels.records import MBO_DTYPE
from vpcore_dbn.writer import encode_metadata

NOW = 1_700_000_000 * 10**9


def mapping(symbol: str, instrument_id: int, asked: str = "") -> bytes:
    kind = databento_dbn.SType.RAW_SYMBOL
    return bytes(databento_dbn.SymbolMappingMsg(1, instrument_id, NOW, kind, asked or symbol, kind, symbol, NOW, NOW))


def system(code: databento_dbn.SystemCode, text: str = "said") -> bytes:
    return bytes(databento_dbn.SystemMsg(NOW, text, code))


def heartbeat() -> bytes:
    return system(databento_dbn.SystemCode.HEARTBEAT, "Heartbeat")


def failure(code: databento_dbn.ErrorCode | None, text: str) -> bytes:
    return bytes(databento_dbn.ErrorMsg(NOW, text, True, code))


def market(records: np.ndarray) -> bytes:
    assert records.dtype == MBO_DTYPE
    return records.tobytes()


@dataclass
class Script:
    """What one connection gets after its start, message by message; then the gateway waits, closes or resets."""

    messages: list[bytes]
    then: str = "wait"
    pause_s: float = 0.0
    login: str = ""  # the gateway's refusal of the login
    silent: bool = False  # no greeting


@dataclass
class LiveGateway:
    scripts: list[Script]
    port: int = 0
    logins: list[dict[str, str]] = field(default_factory=list)
    subscriptions: list[dict[str, str]] = field(default_factory=list)
    closed: int = 0
    accepted: int = 0
    ended: threading.Event = field(default_factory=threading.Event)

    def _talk(self, connection: socket.socket, script: Script, ended: threading.Event) -> None:
        self.accepted += 1
        with connection:
            lines = connection.makefile("r", newline="\n")
            if script.silent:
                self.ended.wait(120)
                connection.sendall(b"lsg_version=0.6.0\nsuccess=0|error=Too late.\n")
                return
            challenge = secrets.token_hex(8)
            connection.sendall(f"lsg_version=0.6.0\ncram={challenge}\n".encode())
            login = _fields(lines.readline())
            self.logins.append(login)
            right = hashlib.sha256(f"{challenge}|{KEY}".encode()).hexdigest() + f"-{KEY[-5:]}"
            if script.login or login["auth"] != right:
                connection.sendall(f"success=0|error={script.login or 'Authentication failed.'}\n".encode())
                return
            connection.sendall(b"success=1|session_id=1234\n")
            while "start_session" not in (asked := _fields(lines.readline())):
                if not asked:
                    return
                self.subscriptions.append(asked)
            connection.sendall(encode_metadata(dataset="GLBX.MDP3", start_ns=NOW, end_ns=None, mappings=[]))
            for message in script.messages:
                connection.sendall(message)
                time.sleep(script.pause_s)
            if script.then == "wait":
                connection.settimeout(0.05)
                while not ended.is_set():
                    try:
                        if not connection.recv(1):
                            break
                    except TimeoutError:
                        continue
                    except OSError:
                        break
            elif script.then == "reset":
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.closed += 1


def _fields(line: str) -> dict[str, str]:
    parts = (part.partition("=") for part in line.strip().split("|") if part)
    return {name: value for name, _, value in parts}


@contextmanager
def live_gateway(*scripts: Script) -> Iterator[LiveGateway]:
    """Serve one script after the other; the last one again and again."""
    gateway = LiveGateway(list(scripts))
    listener = socket.create_server(("127.0.0.1", 0))
    gateway.port = listener.getsockname()[1]
    ended = gateway.ended
    talks: list[threading.Thread] = []

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            script = gateway.scripts.pop(0) if len(gateway.scripts) > 1 else gateway.scripts[0]
            talk: Callable[..., None] = gateway._talk
            talks.append(threading.Thread(target=_quietly(talk), args=(connection, script, ended), daemon=True))
            talks[-1].start()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield gateway
    finally:
        ended.set()
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        for each in (thread, *talks):
            each.join(5)


def _quietly(work: Callable[..., None]) -> Callable[..., None]:
    def run(*arguments: object) -> None:
        try:
            work(*arguments)
        except OSError:  # the reader went away
            pass

    return run
