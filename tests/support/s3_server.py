"""A real S3 server process on loopback, and a proxy in front of it that answers with faults."""

from __future__ import annotations

import http.client
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

REGION = "us-east-1"

SERVER = """
import sys
import threading

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import run_simple

moto, lock = DomainDispatcherApplication(create_backend_app), threading.Lock()


def one_at_a_time(environ, start_response):
    with lock:
        return moto(environ, start_response)


run_simple("127.0.0.1", int(sys.argv[1]), one_at_a_time, threaded=True)
"""
"""moto's server, which looks whether a key is there and then writes it. S3 does both at once, so requests take turns."""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@contextmanager
def s3_server() -> Iterator[str]:
    """Yield the address of a server without buckets."""
    for _ in range(5):  # another process may take the port first
        port = free_port()
        command = [sys.executable, "-W", "ignore", "-c", SERVER, str(port)]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        if _answers(process, port):
            break
    else:
        raise AssertionError("the S3 server did not start")
    try:
        yield f"127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(60)


def _answers(process: subprocess.Popen[bytes], port: int) -> bool:
    """Wait until the server answers; return false if it ends before."""
    while process.poll() is None:
        try:
            request("GET", port, "/moto-api/")
        except OSError:
            time.sleep(0.1)
        else:
            return process.poll() is None
    return False


def request(method: str, port: int, path: str) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request(method, path)
        return connection.getresponse().status
    finally:
        connection.close()


def make_bucket(address: str, name: str) -> None:
    assert request("PUT", int(address.rpartition(":")[2]), f"/{name}") == 200


@dataclass
class Faults:
    """What the proxy does instead of passing a request on; counts go down as they are used."""

    unavailable: int = 0  # 503
    dropped: int = 0  # the connection is closed without an answer
    lost: int = 0  # passed on, and the connection closed instead of the answer
    only: str = ""  # method and end of the path that faults are for; empty: all
    denied: str = ""  # code of an S3 error with status 403
    seen: list[str] = field(default_factory=list)
    taken: int = 0  # bytes of bodies that came
    given: int = 0  # bytes of bodies that went


@contextmanager
def faulty_proxy(address: str) -> Iterator[tuple[str, Faults]]:
    faults = Faults()
    there = int(address.rpartition(":")[2])

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *args: object) -> None:
            pass

        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            faults.seen.append(f"{self.command} {self.path}")
            faults.taken += len(body)
            method, _, end = faults.only.partition(" ")
            meant = not method or (self.command == method and self.path.endswith(end))
            if meant:
                if faults.denied:
                    text = f"<Error><Code>{faults.denied}</Code><Message>No.</Message></Error>".encode()
                    return self._send(403, {}, text)
                if faults.unavailable > 0:
                    faults.unavailable -= 1
                    return self._send(503, {}, b"<Error><Code>SlowDown</Code></Error>")
                if faults.dropped > 0:
                    faults.dropped -= 1
                    self.close_connection = True
                    return self.connection.close()
            upstream = http.client.HTTPConnection("127.0.0.1", there, timeout=60)
            upstream.request(self.command, self.path, body, {k: v for k, v in self.headers.items() if k != "Host"})
            answer = upstream.getresponse()
            data = answer.read()
            upstream.close()
            if faults.lost > 0 and meant:
                faults.lost -= 1
                self.close_connection = True
                return self.connection.close()
            return self._send(answer.status, dict(answer.getheaders()), data)

        do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _answer

        def _send(self, status: int, headers: dict[str, str], body: bytes) -> None:
            self.send_response(status)
            for name, value in headers.items():
                if name.lower() not in ("content-length", "transfer-encoding", "connection", "date", "server"):
                    self.send_header(name, value)
            size = headers.get("Content-Length", str(len(body))) if self.command == "HEAD" else str(len(body))
            self.send_header("Content-Length", size)
            self.end_headers()
            if self.command != "HEAD":
                faults.given += len(body)
                self.wfile.write(body)

    class Quiet(ThreadingHTTPServer):
        def handle_error(self, *args: object) -> None:
            """A client that was killed closed its connection."""

    server = Quiet(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_address[1]}", faults
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
