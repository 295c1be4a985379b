"""One file of Databento in the lake: downloaded in parts that survive, joined, counted, and written once."""

from __future__ import annotations

import contextlib
import datetime
import fcntl
import importlib.metadata
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from vpcore.canonical import file_digest
from vpcore.errors import SourceError, StorageError
from vpcore.source.protocol import utc
from vpcore.storage.atomic import fsync_path, storage_errors, write_atomic
from vpcore_databento import historical
from vpcore_databento.historical import Estimate, Historical, Request, UnreachableError
from vpcore_dbn.header import SourceFile, read_header
from vpcore_dbn.records import RecordReader
from vpcore_dbn.zstd import Payload

_RECORDS = 512
"""Records decoded at a time: at most this many are lost of a part that was cut."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """Result of `fetch_file`.

    Parameters
    ----------
    path : Path
    created : bool
        False if the file was there already.
    records : int
    last_ns : int
        Receive time of the last record; 0 if the file was there.
    """

    path: Path
    created: bool
    records: int
    last_ns: int = 0


def provenance_of(path: Path) -> Path:
    """Return the file that says where a downloaded file comes from."""
    return path.with_name(f"{path.name}.json")


def present(path: Path, request: Request) -> bool:
    """Return True if a file is the complete answer to a request, by its provenance and its bytes.

    Raises
    ------
    SourceError
        If there is a file with other bytes, or of another request.
    """
    if not path.exists():
        return False
    try:
        told = json.loads(provenance_of(path).read_text())
        same = told["request"] == asdict(request) and told["sha256"] == file_digest(path)
    except (OSError, ValueError, KeyError, TypeError):
        same = False
    if not same:
        raise SourceError(
            f"{path} is there already, with other bytes than this request wrote, or without its provenance. Move it "
            "away, or keep it and fetch nothing."
        )
    return True


def fetch_file(
    client: Historical,
    request: Request,
    path: Path,
    estimate: Estimate,
    *,
    notes: dict[str, Any],
    on_pause: Callable[[str], None] = lambda text: None,
    on_bytes: Callable[[int], None] = lambda count: None,
) -> Fetched:
    """Download a file, unless it is there. An interrupted download goes on from its last complete record.

    Parameters
    ----------
    client : Historical
        The gateway.
    request : Request
        What to download.
    path : Path
        The file, below ``lake/raw``. It appears when all of it is on the disk and counted.
    estimate : Estimate
        Announced number of records, size and cost.
    notes : dict
        More of the provenance: requested symbol, contract, condition of the data.
    on_pause : callable, optional
        Told why an attempt ended, before the next one.

    on_bytes : callable, optional
        Told how many bytes of the running attempt have arrived.

    Raises
    ------
    SourceError
        If the gateway refuses or breaks off, the count differs from the announced one, or another file is there.
    StorageError
        If the disk refuses, or another process downloads the same file.
    """
    if present(path, request):
        return Fetched(path, False, estimate.records)
    folder = path.with_name(f".{path.name}.partial")
    with storage_errors(path, "write the download"), _alone(folder):
        _same_request(folder, request)
        parts = _download(client, request, folder, estimate, on_pause, on_bytes)
        whole, records, last_ns = _joined(folder, parts)
        if records != estimate.records:
            shutil.rmtree(folder)
            raise SourceError(
                f"The download of {path.name} must hold {estimate.records:,} records, as Databento counts them, was "
                f"{records:,}. Nothing was kept. Fetch it again."
            )
        told = {
            "request": asdict(request),
            **notes,
            "records": records,
            "billable_bytes": estimate.size,
            "cost_usd": estimate.cost,
            "sha256": file_digest(whole),
            "size": whole.stat().st_size,
            "parts": len(parts),
            "fetched_utc": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "packages": {name: importlib.metadata.version(name) for name in ("databento", "databento-dbn", "vpcore")},
        }
        write_atomic(provenance_of(path), (json.dumps(told, indent=2) + "\n").encode())
        try:
            os.link(whole, path)
        except FileExistsError:
            present(path, request)
        fsync_path(path.parent)
        shutil.rmtree(folder)
    return Fetched(path, True, records, last_ns)


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StorageError(f"Another process downloads into {folder}. Wait for it.") from None
        yield


def _same_request(folder: Path, request: Request) -> None:
    """Keep the parts of the same request; others are removed."""
    file, text = folder / "request.json", json.dumps(asdict(request))
    if not file.exists() or file.read_text() != text:
        for part in folder.glob("part-*"):
            part.unlink()
        write_atomic(file, text.encode())


@dataclass(frozen=True, slots=True)
class _Part:
    """A part and its usable records: those before `resume_ns`, all of them if it is None."""

    path: Path
    resume_ns: int | None
    records: int


def _download(
    client: Historical,
    request: Request,
    folder: Path,
    estimate: Estimate,
    on_pause: Callable[[str], None],
    on_bytes: Callable[[int], None],
) -> list[_Part]:
    parts = [_measured(path) for path in sorted(folder.glob("part-*"))]
    attempts = 0
    while True:
        # A part without a usable record is worth nothing; the next attempt takes its place.
        while parts and parts[-1].records == 0 and parts[-1].resume_ns is not None:
            parts.pop().path.unlink()
        if parts and parts[-1].resume_ns is None:
            return parts
        start_ns = parts[-1].resume_ns if parts else request.start_ns
        assert start_ns is not None
        path = folder / f"part-{len(parts):04d}"
        try:
            client.stream(request, start_ns, path, on_bytes)
        except UnreachableError as error:
            grown = path.exists() and _measured(path).records > 0
            attempts = 0 if grown else attempts + 1
            if attempts > len(historical.WAITS_S):
                done = sum(part.records for part in parts)
                raise SourceError(
                    f"{error} {done:,} of {estimate.records:,} records are kept. Run the same command again: it "
                    "goes on from there."
                ) from None
            on_pause(str(error))
            time.sleep(historical.WAITS_S[max(attempts - 1, 0)])
        if path.exists():
            parts.append(_measured(path))


def _measured(path: Path) -> _Part:
    """Return a part's usable records. Of a cut part they end before its last receive time, which may be incomplete."""
    last_ns, kept, complete = 0, 0, False
    try:
        file = read_header(path)
        reader = RecordReader(file, _RECORDS)
        try:
            for records in reader:
                times = records["ts_recv"]
                newest = int(times.max())
                if newest > last_ns:
                    last_ns, kept = newest, reader.n_records - len(records) + int(np.count_nonzero(times < newest))
            complete = True
            kept = reader.n_records + reader.foreign.total()
        finally:
            reader.close()
    except SourceError:
        pass
    return _Part(path, None if complete else last_ns, kept)


def _joined(folder: Path, parts: list[_Part]) -> tuple[Path, int, int]:
    """Return one file with the records of all parts, their number, and the last receive time."""
    if len(parts) == 1:
        return parts[0].path, parts[0].records, _last_ns(parts[0].path)
    import pyarrow

    whole, total, last_ns = folder / "whole", 0, 0
    with whole.open("wb") as handle:
        stream = pyarrow.CompressedOutputStream(pyarrow.PythonFile(handle, "w"), "zstd")
        first = read_header(parts[0].path)
        stream.write(_metadata(first))
        for part in parts:
            for records in _usable(part):
                stream.write(records.view(np.uint8))
                total += len(records)
                last_ns = max(last_ns, int(records["ts_recv"].max()))
        stream.close()
    with whole.open("rb") as written:
        os.fsync(written.fileno())
    return whole, total, last_ns


def _metadata(file: SourceFile) -> bytes:
    payload = Payload(file.path, zstd=file.zstd)
    try:
        return payload.read(file.header_bytes)
    finally:
        payload.close()


def _usable(part: _Part) -> Iterator[npt.NDArray[Any]]:
    reader = RecordReader(read_header(part.path), _RECORDS)
    try:
        for records in reader:
            own = records if part.resume_ns is None else records[records["ts_recv"] < np.uint64(part.resume_ns)]
            if len(own):
                yield np.ascontiguousarray(own)
    except SourceError:
        if part.resume_ns is None:
            raise
    finally:
        reader.close()


def _last_ns(path: Path) -> int:
    last = 0
    reader = RecordReader(read_header(path))
    try:
        for records in reader:
            last = max(last, int(records["ts_recv"][-1]))
    finally:
        reader.close()
    return last


def closing_remark(fetched: Fetched, request: Request) -> str:
    """Return a remark if the records end more than an hour before the request; else an empty text."""
    left_s = (request.end_ns - fetched.last_ns) / 1e9
    if not fetched.last_ns or left_s <= 3600:
        return ""
    return (
        f"The last record is at {utc(fetched.last_ns)} UTC, {left_s / 3600:.1f} h before the end of the request: the "
        "exchange closed then, or the day is not complete."
    )
