"""A source for tests of the core: records of .npy files below lake/raw, and streams of arrays."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from markets import INSTRUMENT

from vpcore.errors import SourceError
from vpcore.kernels.records import ADD, ASK, BID, F_LAST, MBO_DTYPE, MBO_RTYPE
from vpcore.source import FileInfo, RecordChunk, RecordStream, Source, SourceRequest

NS = 10**9
DAY = 86_400 * NS
DAY0 = 20_000 * DAY  # 2024-10-04


def make_records(n: int, start_ns: int = DAY0, step_ns: int = NS, instrument: int = 7) -> np.ndarray:
    """Return n adds, one per `step_ns`, each an event."""
    records = np.zeros(n, MBO_DTYPE)
    records["length"] = MBO_DTYPE.itemsize // 4
    records["rtype"] = MBO_RTYPE
    records["publisher_id"] = 1
    records["instrument_id"] = instrument
    records["ts_recv"] = start_ns + np.arange(n, dtype=np.uint64) * np.uint64(step_ns)
    records["ts_event"] = records["ts_recv"]
    records["order_id"] = np.arange(1, n + 1)
    records["price"] = (100 + np.arange(n) % 3) * NS
    records["size"] = 1 + np.arange(n) % 5
    records["flags"] = F_LAST | 2
    records["action"] = ADD
    records["side"] = np.where(np.arange(n) % 2, ASK, BID)
    records["sequence"] = np.arange(n)
    return records


class TapeStream(RecordStream):
    """Arrays as files. The end of the window is covered if `covered_end_ns` says it."""

    bytes_done = 0

    def __init__(
        self,
        tapes: Sequence[tuple[Path, np.ndarray]],
        instrument: int = INSTRUMENT,
        *,
        chunk: int = 97,
        covered_end_ns: int | None = None,
    ) -> None:
        self.tapes, self.instrument, self.chunk, self.covered_end_ns = tapes, instrument, chunk, covered_end_ns
        self.warnings: list[str] = []
        self.files = []
        for path, records in tapes:
            data = path.read_bytes() if path.exists() else records.tobytes()
            digest = hashlib.sha256(data).hexdigest()
            self.files.append(FileInfo(path, digest, len(data), "T", "mbo", 1, (), 0, None, instrument))
        self.bytes_total = sum(file.size for file in self.files)

    def __iter__(self) -> Iterator[RecordChunk]:
        buffer = np.empty(self.chunk, MBO_DTYPE)
        for index, (_, records) in enumerate(self.tapes):
            for first in range(0, len(records), self.chunk):
                part = records[first : first + self.chunk]
                buffer[: len(part)] = part  # used again, as the contract of sources allows
                yield RecordChunk(buffer[: len(part)], self.instrument, index, first)
            self.bytes_done += self.files[index].size
        if self.covered_end_ns is None:
            self.warnings.append("the tape does not say where it ends")


class TapeSource(Source):
    """Reads all .npy files below lake/raw, or the named ones. Option: `covered`, their records reach the window's end."""

    reads_files = True

    def check(self, request: SourceRequest) -> None:
        self._paths(request)

    def _paths(self, request: SourceRequest) -> list[Path]:
        assert request.raw is not None
        paths = sorted(request.files or request.raw.path.glob("*.npy"))
        missing = [path for path in paths if not path.exists()]
        if missing or not paths:
            raise SourceError(f"There is no tape {missing}.")
        return paths

    def open(self, request: SourceRequest) -> TapeStream:
        paths = self._paths(request)
        covered = request.end_ns if request.options.get("covered") else None
        return TapeStream([(path, np.load(path)) for path in paths], covered_end_ns=covered)
