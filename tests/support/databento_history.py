"""A historical gateway of Databento on loopback, over HTTPS, with its answers and its faults.

It serves market-by-order records and definitions that a test gives it, as the real one does: HTTP basic authentication
with the key, form parameters, DBN in zstd, errors as ``{"detail": {"case", "message", ...}}``.
"""

from __future__ import annotations

import base64
import datetime
import json
import ssl
import subprocess
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import databento  # noqa: F401  # its import takes a second, which no test shall pay
import databento_dbn
import numpy as np
from definitions import compressed, encoded

from vpcore_dbn.header import Mapping
from vpcore_dbn.writer import encode_metadata

KEY = "db-ThisIsTheKeyOfATest0123456789"
DAY_NS = 86_400 * 10**9
USD_PER_GB = 2.5


@dataclass
class Exchange:
    """What the gateway knows: contracts, their records, rules of continuous symbols, definitions."""

    records: dict[str, np.ndarray]
    numbers: dict[str, int]
    continuous: dict[str, dict[str, str]] = field(default_factory=dict)  # symbol -> date -> contract
    parents: dict[str, list[str]] = field(default_factory=dict)
    definitions: list[databento_dbn.InstrumentDefMsg] = field(default_factory=list)
    conditions: dict[str, str] = field(default_factory=dict)


@dataclass
class Faults:
    """What goes wrong. Counts go down as they are used."""

    refuse: tuple[int, str, str] | None = None  # status, case, message: to every request
    refuse_only: str = ""  # part of the path that `refuse` is for
    unavailable: int = 0  # 503 to so many requests
    cut: list[float] = field(default_factory=list)  # share of a download's bytes after which the connection drops
    miscount: int = 0  # added to the announced number of records
    hold: threading.Event | None = None  # a download waits for it in its middle
    clock_s: float = 0.0  # added to the Date of answers
    garbage: str = ""  # a body in place of JSON, for paths that hold it


class Gateway:
    def __init__(self, exchange: Exchange, faults: Faults, port: int) -> None:
        self.exchange, self.faults, self.port = exchange, faults, port
        self.asked: list[tuple[str, dict[str, str]]] = []

    @property
    def downloads(self) -> list[dict[str, str]]:
        return [fields for path, fields in self.asked if path.endswith("timeseries.get_range")]

    # -- answers -------------------------------------------------------------------------------------------------------

    def data(self, fields: dict[str, str]) -> bytes:
        start, end = _ns(fields["start"]), _ns(fields["end"])
        symbols = fields["symbols"].split(",")
        if fields["schema"] == "definition":
            names = {name for symbol in symbols for name in self.exchange.parents.get(symbol, [symbol])}
            return compressed(encoded([d for d in self.exchange.definitions if d.raw_symbol in names], start_ns=start))
        assert len(symbols) == 1
        assert fields["stype_in"] == "raw_symbol"
        symbol = symbols[0]
        records = self.select(symbol, start, end)
        mapping = Mapping(symbol, self.exchange.numbers[symbol], start // DAY_NS * DAY_NS, -(-end // DAY_NS) * DAY_NS)
        metadata = encode_metadata(dataset=fields["dataset"], start_ns=start, end_ns=end, mappings=[mapping])
        return compressed(metadata + records.tobytes())

    def select(self, symbol: str, start: int, end: int) -> np.ndarray:
        records = self.exchange.records[symbol]
        times = records["ts_recv"].astype(np.int64)
        return records[(times >= start) & (times < end)]

    def count(self, fields: dict[str, str]) -> int:
        start, end = _ns(fields["start"]), _ns(fields["end"])
        if fields["schema"] == "definition":
            symbols = fields["symbols"].split(",")
            names = {name for symbol in symbols for name in self.exchange.parents.get(symbol, [symbol])}
            return sum(one.raw_symbol in names for one in self.exchange.definitions)
        return sum(len(self.select(symbol, start, end)) for symbol in fields["symbols"].split(","))

    def resolve(self, fields: dict[str, str]) -> dict[str, Any]:
        result: dict[str, list[dict[str, str]]] = {}
        days = _days(fields["start_date"], fields["end_date"])
        for symbol in fields["symbols"].split(","):
            for day in days:
                for name in self._names(symbol, fields["stype_in"], fields["stype_out"], day):
                    after = (datetime.date.fromisoformat(day) + datetime.timedelta(days=1)).isoformat()
                    result.setdefault(symbol, []).append({"d0": day, "d1": after, "s": name})
        missing = [symbol for symbol in fields["symbols"].split(",") if symbol not in result]
        return {
            "result": result, "symbols": fields["symbols"].split(","), "stype_in": fields["stype_in"],
            "stype_out": fields["stype_out"], "start_date": fields["start_date"], "end_date": fields["end_date"],
            "partial": [], "not_found": missing, "message": "Not found" if missing else "OK", "status": 2 if missing else 0,
        }  # fmt: skip

    def _names(self, symbol: str, stype_in: str, stype_out: str, day: str) -> list[str]:
        exchange = self.exchange
        if stype_in == "instrument_id" and stype_out == "raw_symbol":
            return [name for name, number in exchange.numbers.items() if str(number) == symbol]
        if stype_in == "instrument_id":
            return [symbol] if int(symbol) in exchange.numbers.values() else []
        contracts = {
            "raw_symbol": [symbol] if symbol in exchange.numbers else [],
            "continuous": [c for c in [exchange.continuous.get(symbol, {}).get(day)] if c],
            "parent": exchange.parents.get(symbol, []),
        }[stype_in]
        assert stype_out == "instrument_id"
        return [str(exchange.numbers[name]) for name in contracts]

    def condition(self, fields: dict[str, str]) -> list[dict[str, Any]]:
        end = (datetime.date.fromisoformat(fields["end_date"]) + datetime.timedelta(days=1)).isoformat()
        return [
            {"date": day, "condition": self.exchange.conditions.get(day, "available"), "last_modified_date": day}
            for day in _days(fields["start_date"], end)
        ]


def _days(start: str, end: str) -> list[str]:
    first, last = datetime.date.fromisoformat(start), datetime.date.fromisoformat(end)
    return [(first + datetime.timedelta(days=i)).isoformat() for i in range((last - first).days)]


def _ns(text: str) -> int:
    if text.isdigit():
        return int(text)
    at, _, fraction = text.removesuffix("Z").removesuffix("+00:00").partition(".")
    moment = datetime.datetime.fromisoformat(at).replace(tzinfo=datetime.UTC)
    return int(moment.timestamp()) * 10**9 + int(fraction.ljust(9, "0") or 0)


def _handler(gateway: Gateway) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *args: object) -> None:
            pass

        def date_time_string(self, timestamp: float | None = None) -> str:
            return super().date_time_string((timestamp or time.time()) + gateway.faults.clock_s)

        def do_GET(self) -> None:
            path, _, query = self.path.partition("?")
            self._answer(path, dict(urllib.parse.parse_qsl(query)))

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            self._answer(self.path, dict(urllib.parse.parse_qsl(body)))

        def _answer(self, path: str, fields: dict[str, str]) -> None:
            gateway.asked.append((path, fields))
            faults = gateway.faults
            if self.headers.get("Authorization") != "Basic " + base64.b64encode(f"{KEY}:".encode()).decode():
                return self._refuse(401, "auth_authentication_failed", "Authentication failed.")
            if faults.unavailable > 0:
                faults.unavailable -= 1
                return self._refuse(503, "unavailable", "Try again.")
            if faults.refuse is not None and faults.refuse_only in path:
                return self._refuse(*faults.refuse)
            if faults.garbage and faults.garbage in path:
                return self._send(b"<html>a proxy</html>")
            if path.endswith("timeseries.get_range"):
                return self._stream(gateway.data(fields))
            work: dict[str, Callable[[dict[str, str]], Any]] = {
                "metadata.get_record_count": lambda f: gateway.count(f) + faults.miscount,
                "metadata.get_billable_size": lambda f: 56 * gateway.count(f),
                "metadata.get_cost": lambda f: 56 * gateway.count(f) / 1e9 * USD_PER_GB,
                "metadata.get_dataset_condition": gateway.condition,
                "symbology.resolve": gateway.resolve,
            }
            self._send(json.dumps(work[path.rpartition("/")[2]](fields)).encode())
            return None

        def _refuse(self, status: int, case: str, message: str) -> None:
            detail = {
                "case": case,
                "message": message,
                "status_code": status,
                "docs": "https://databento.com/docs",
                "payload": None,
            }
            self._send(json.dumps({"detail": detail}).encode(), status)

        def _send(self, body: bytes, status: int = 200) -> None:
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def _stream(self, body: bytes) -> None:
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            share = gateway.faults.cut.pop(0) if gateway.faults.cut else None
            sent = body if share is None else body[: int(len(body) * share)]
            hold = gateway.faults.hold
            for at in range(0, len(sent), 2000):
                if hold is not None and at > len(sent) / 2:
                    self.wfile.flush()
                    hold.wait()
                piece = sent[at : at + 2000]
                self.wfile.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
            if share is None:
                self.wfile.write(b"0\r\n\r\n")
            else:
                self.wfile.flush()
                self.connection.close()
                self.close_connection = True

    return Handler


def certificate(folder: Path) -> Path:
    """Return a file with a certificate of 127.0.0.1 and its key, made for this run."""
    file = folder / "gateway.pem"
    if not file.exists():
        key, cert = folder / "key.pem", folder / "cert.pem"
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1",
             "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(cert)],
            check=True, capture_output=True,
        )  # fmt: skip
        file.write_bytes(key.read_bytes() + cert.read_bytes())
    return file


@contextmanager
def serving(exchange: Exchange, pem: Path) -> Iterator[Gateway]:
    gateway = Gateway(exchange, Faults(), 0)
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(gateway))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    gateway.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield gateway
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
