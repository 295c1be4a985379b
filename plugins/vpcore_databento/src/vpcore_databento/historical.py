"""Databento's historical gateway: contracts, costs, downloads, and its refusals in one sentence each."""

from __future__ import annotations

import datetime
import email.utils
import os
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from vpcore.errors import ConfigError, SourceError
from vpcore.source.protocol import utc
from vpcore.units import NS_PER_S

KEY_VARIABLE = "DATABENTO_API_KEY"
WAITS_S: tuple[float, ...] = (1.0, 2.0, 4.0)
"""Pauses before another attempt, s: after a server error, too many requests, or a broken connection."""

SKEW_S = 120
"""Difference of this machine's clock and the gateway's that a refusal mentions, s."""

TIMEOUT_S = 100.0
"""Longest silence of the gateway, s."""

_CHUNK_BYTES = 1 << 16
_DAY_NS = 86_400 * NS_PER_S
_PAUSED = {408, 429, 500, 502, 503, 504}
_T = TypeVar("_T")


class UnreachableError(SourceError):
    """The gateway did not answer, or broke off: another attempt may succeed."""


def api_key() -> str:
    """Return the key of the account from the environment.

    Raises
    ------
    ConfigError
        If the variable is missing or empty.
    """
    key = os.environ.get(KEY_VARIABLE, "").strip()
    if not key:
        raise ConfigError(
            f"{KEY_VARIABLE} is not set",
            fix=f"Take a key from https://databento.com/portal/keys and run: export {KEY_VARIABLE}=...",
        )
    return key


def symbology(symbol: str) -> str:
    """Return Databento's type of a symbol: `raw_symbol`, `continuous`, `parent` or `instrument_id`."""
    if re.fullmatch(r"[A-Z0-9]+\.[cnv]\.[0-9]+", symbol):
        return "continuous"
    if re.fullmatch(r"[A-Z0-9]+\.(FUT|OPT|SPOT)", symbol):
        return "parent"
    return "instrument_id" if symbol.isascii() and symbol.isdigit() else "raw_symbol"


@dataclass(frozen=True, slots=True)
class Request:
    """Records of one symbol in ``[start_ns, end_ns)``.

    Parameters
    ----------
    dataset, symbol, schema, stype_in : str
        As Databento names them.
    start_ns, end_ns : int
        UTC nanoseconds.
    """

    dataset: str
    symbol: str
    schema: str
    stype_in: str
    start_ns: int
    end_ns: int

    @property
    def span(self) -> str:
        """The span as text."""
        return f"{utc(self.start_ns)} to {utc(self.end_ns)} UTC"

    def fields(self, start_ns: int | None = None) -> dict[str, Any]:
        """Return the arguments of the client's calls; `start_ns` for a later start."""
        return {
            "dataset": self.dataset,
            "symbols": self.symbol,
            "schema": self.schema,
            "stype_in": self.stype_in,
            "start": self.start_ns if start_ns is None else start_ns,
            "end": self.end_ns,
        }


@dataclass(frozen=True, slots=True)
class Estimate:
    """Size and price of a request, as the gateway states them.

    Parameters
    ----------
    records : int
    size : int
        Uncompressed bytes; they are what is billed.
    cost : float
        USD.
    """

    records: int
    size: int
    cost: float


class Historical:
    """A client of the historical gateway.

    Parameters
    ----------
    key : str
        Of the account. No message has it.
    gateway : str, optional
        Host of another gateway; always HTTPS.
    """

    def __init__(self, key: str, gateway: str | None = None) -> None:
        import databento

        self._key = key
        self._client = databento.Historical(key, gateway) if gateway else databento.Historical(key)

    def contract(self, request: Request) -> tuple[str, int]:
        """Return the exchange's symbol and the instrument of a request's symbol.

        Raises
        ------
        SourceError
            If the symbol is unknown then, or stands for more than one contract.
        """
        days = {
            "start_date": _date(request.start_ns),
            "end_date": _date(request.end_ns + _DAY_NS - 1),
        }
        dataset = {"dataset": request.dataset}
        numbers = self._resolved(
            request, symbols=request.symbol, stype_in=request.stype_in, stype_out="instrument_id", **days, **dataset
        )
        if request.stype_in == "raw_symbol":
            names = {request.symbol}
        else:
            names = self._resolved(
                request, symbols=sorted(numbers), stype_in="instrument_id", stype_out="raw_symbol", **days, **dataset
            )
        if len(names) > 1:
            shown = ", ".join(sorted(names)[:12]) + (f" and {len(names) - 12} more" if len(names) > 12 else "")
            raise SourceError(
                f"{request.symbol} stands for {len(names)} contracts between {request.span}: {shown}. A book is the "
                "book of one: name it, or fetch the days of each contract on their own."
            )
        return min(names), int(min(numbers))

    def _resolved(self, request: Request, **arguments: Any) -> set[str]:
        try:
            found = self._call("resolve the symbol", lambda: self._client.symbology.resolve(**arguments))
        except SourceError as error:
            if "symbology_" not in str(error):
                raise
            found = {"result": {}}
        names = {interval["s"] for intervals in found["result"].values() for interval in intervals if interval["s"]}
        if not names:
            raise SourceError(
                f"{request.dataset} has no symbol {request.symbol} between {request.span}: it is misspelled, or was "
                "not listed then. The most traded contract of a root is its .v.0, as ES.v.0."
            )
        return names

    def estimate(self, request: Request) -> Estimate:
        """Return records, size and cost of a request. The calls are free."""
        metadata, fields = self._client.metadata, request.fields()
        return Estimate(
            records=int(self._call("count the records", lambda: metadata.get_record_count(**fields))),
            size=int(self._call("ask for the size", lambda: metadata.get_billable_size(**fields))),
            cost=float(self._call("ask for the cost", lambda: metadata.get_cost(**fields))),
        )

    def conditions(self, request: Request) -> dict[str, str]:
        """Return the days of a request whose data Databento calls other than available, with the condition."""
        days = {"start_date": _date(request.start_ns), "end_date": _date(request.end_ns - 1)}
        found = self._call(
            "ask for the condition of the data",
            lambda: self._client.metadata.get_dataset_condition(request.dataset, **days),
        )
        return {str(day["date"]): str(day["condition"]) for day in found if day["condition"] != "available"}

    def stream(
        self, request: Request, start_ns: int, path: Path, on_bytes: Callable[[int], None] = lambda count: None
    ) -> None:
        """Download into a new file, from a time on. A broken connection leaves what has arrived.

        The client's own `get_range` leaves its files open after an error, so the HTTP call is made here.

        Parameters
        ----------
        request : Request
            What to download.
        start_ns : int
            The start, or a later one.
        path : Path
            A new file.
        on_bytes : callable, optional
            Told how many bytes have arrived.

        Raises
        ------
        UnreachableError
            If the connection breaks.
        SourceError
            If the gateway refuses.
        """
        self._call("download", lambda: self._stream(request, start_ns, path, on_bytes), attempts=1)

    def _stream(self, request: Request, start_ns: int, path: Path, on_bytes: Callable[[int], None]) -> None:
        import databento
        import requests

        fields = request.fields() | {
            "start": utc(start_ns).replace(" ", "T"),
            "end": utc(request.end_ns).replace(" ", "T"),
            "stype_out": "instrument_id",
            "encoding": "dbn",
            "compression": "zstd",
        }
        url = f"{self._client.gateway}/v{databento.API_VERSION}/timeseries.get_range"
        with requests.post(url, data=fields, auth=(self._key, ""), stream=True, timeout=TIMEOUT_S) as response:
            if response.status_code >= 400:
                try:
                    body = response.json()
                except ValueError:
                    body = None
                raise databento.BentoHttpError(response.status_code, json_body=body, headers=response.headers)
            count = 0
            with path.open("xb", buffering=0) as file:
                for chunk in response.iter_content(_CHUNK_BYTES):
                    file.write(chunk)
                    count += len(chunk)
                    on_bytes(count)

    def _call(self, doing: str, work: Callable[[], _T], attempts: int | None = None) -> _T:
        left = len(WAITS_S) + 1 if attempts is None else attempts
        while True:
            left -= 1
            try:
                return work()
            except Exception as error:  # the client lets errors of requests, json and its own through
                found = self._explained(doing, error)
                if found is None:
                    raise
            if not left or not isinstance(found, UnreachableError):
                raise found
            time.sleep(WAITS_S[-left])

    def _explained(self, doing: str, error: Exception) -> SourceError | ConfigError | None:
        import databento
        import requests

        if isinstance(error, databento.BentoHttpError):
            return _refusal(doing, error.http_status, self._said(error), error.headers)
        if isinstance(error, (databento.BentoError, requests.RequestException, ConnectionError, TimeoutError)):
            return UnreachableError(
                f"Could not {doing}: Databento did not answer, or broke off ({self._hidden(error)})."
            )
        if isinstance(error, ValueError):
            return SourceError(f"Could not {doing}: the gateway's answer was not understood ({self._hidden(error)}).")
        return None

    def _said(self, error: Any) -> str:
        detail = error.json_body.get("detail") if isinstance(error.json_body, dict) else None
        if isinstance(detail, dict):
            return self._hidden(f"{detail.get('case', '')}: {detail.get('message', '')}")
        return self._hidden(detail or error.message or "no reason given")

    def _hidden(self, text: object) -> str:
        """Return the first 300 characters of a text, without the key."""
        return " ".join(str(text).replace(self._key, "(key)").split())[:300].rstrip(".")


def _refusal(doing: str, status: int, said: str, headers: Mapping[str, Any]) -> SourceError | ConfigError:
    late = _skew(headers)
    if status == 401:
        return ConfigError(
            f"Databento refuses the key in {KEY_VARIABLE}",
            fix="Take one from https://databento.com/portal/keys; a key is shown whole only there.",
        )
    if status == 402:
        return SourceError(
            f"The account has too little credit: {said}. Add credit at https://databento.com/portal/billing."
        )
    if status == 403:
        return SourceError(
            f"The account has no permission for these data: {said}. The last 24 hours of a dataset need a live "
            f"licence; licences are at https://databento.com/portal.{late}"
        )
    if status in _PAUSED:
        return UnreachableError(f"Could not {doing}: Databento answered {status} ({said}).")
    return SourceError(f"Could not {doing}: Databento refused the request ({said}).{late}")


def _skew(headers: Mapping[str, Any]) -> str:
    """Return a sentence if this machine's clock is wrong, by the time of the gateway's answer."""
    try:
        there = email.utils.parsedate_to_datetime(str(headers.get("Date", ""))).timestamp()
    except ValueError:
        return ""
    off = time.time() - there
    if abs(off) < SKEW_S:
        return ""
    return f" The clock of this machine is {abs(off):,.0f} s {'ahead of' if off > 0 else 'behind'} Databento's: set it."


def _date(ns: int) -> str:
    return (datetime.date(1970, 1, 1) + datetime.timedelta(days=ns // _DAY_NS)).isoformat()
