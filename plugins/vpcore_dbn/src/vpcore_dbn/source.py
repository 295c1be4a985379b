"""The source that reads Databento files: `.dbn` and `.dbn.zst`, DBN versions 1 to 3, market-by-order."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from vpcore.canonical import file_digest
from vpcore.errors import SourceError, did_you_mean, listed
from vpcore.kernels.records import F_BAD_TS_RECV, F_SNAPSHOT
from vpcore.source.protocol import FileInfo, RecordChunk, RecordStream, Source, SourceRequest, utc
from vpcore.units import NS_PER_S
from vpcore_dbn.contracts import contract_of
from vpcore_dbn.discovery import Selection, select_files
from vpcore_dbn.far import fetch_files, is_held
from vpcore_dbn.header import SourceFile, require_complete
from vpcore_dbn.records import CHUNK_RECORDS, RecordReader, Records

FAR_NS = 60 * NS_PER_S
"""A last record further than this before its file's own end is worth a warning.

A file that was cut between two records cannot be told otherwise.
"""

_OPTIONS = {"chunk_records"}

MOST_CHUNK_RECORDS = 10_000_000
"""Most records at a time: they take 56 bytes each, and a time or two more."""


class DbnSource(Source):
    """Reads Databento files.

    Options: `chunk_records`, number of records decompressed at a time (default 32,768; results are independent of it).
    """

    reads_files = True

    def open(self, request: SourceRequest) -> DbnStream:
        """Open a capture window. See `Source.open`.

        Cost: every file found is opened for its header; chosen ones are read once for their digest.
        """
        chunk_records = _chunk_records(request.options)
        fetch_files(request)
        return DbnStream(request, _selected(request), chunk_records)

    def check(self, request: SourceRequest) -> None:
        """Raise the errors of `open` that need no records. Files that are still to be fetched are taken to be good."""
        _chunk_records(request.options)
        if not is_held(request):
            _selected(request)

    def contract(self, request: SourceRequest, matches: Callable[[str], bool]) -> str:
        """Return the contract of a root that the files hold in a window. See `contract_of`."""
        return contract_of(request, matches)


def _selected(request: SourceRequest) -> Selection:
    if request.start_ns >= request.end_ns:
        raise SourceError(
            f"The window is empty: it begins at {utc(request.start_ns)} and ends at {utc(request.end_ns)}."
        )
    selection = select_files(request)
    for file in selection.files:
        require_complete(file)
    return selection


def _chunk_records(options: Mapping[str, Any]) -> int:
    for name in options:
        if name not in _OPTIONS:
            raise SourceError(
                f"The source 'dbn' has no option '{name}' (capture.options).{did_you_mean(name, _OPTIONS)} "
                f"It has: {listed(_OPTIONS)}."
            )
    value = options.get("chunk_records", CHUNK_RECORDS)
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MOST_CHUNK_RECORDS:
        raise SourceError(
            f"capture.options.chunk_records must be a whole number of records from 1 to {MOST_CHUNK_RECORDS:,}, was "
            f"{value!r}."
        )
    return value


class DbnStream(RecordStream):
    """A capture window of one or several files, read in order of time. See `RecordStream`.

    Records go as far as the first one of the instrument at or after the window's end, that one included: it tells the
    engine that the last bin is complete.
    """

    def __init__(self, request: SourceRequest, selection: Selection, chunk_records: int) -> None:
        self._request = request
        self._selection = selection
        self._chunk_records = chunk_records
        self._reader: RecordReader | None = None
        self._read_before = 0
        self._stats = [os.stat(file.path) for file in selection.files]
        self.files = [
            _info(file, instrument_id)
            for file, instrument_id in zip(selection.files, selection.instrument_ids, strict=True)
        ]
        self.bytes_total = sum(info.size for info in self.files)
        last_end = selection.files[-1].end_ns
        covered = last_end is not None and last_end >= request.end_ns
        self.covered_end_ns: int | None = request.end_ns if covered else None
        self.warnings: list[str] = list(selection.warnings)

    @property
    def bytes_done(self) -> int:
        """Bytes on disk that have been read."""
        return self._read_before + (self._reader.position if self._reader else 0)

    def close(self) -> None:
        """Close the file that is open."""
        if self._reader is not None:
            self._reader.close()
            self._reader = None

    def __iter__(self) -> Iterator[RecordChunk]:
        n_own = 0
        for index, file in enumerate(self._selection.files):
            own_here = 0
            complete = False
            instrument_id = self._selection.instrument_ids[index]
            reader = self._reader = RecordReader(file, self._chunk_records)
            last_ns = 0
            for records in reader:
                first = reader.n_records - len(records)
                highest = self._check_times(file, records, instrument_id, first)
                last_ns = max(last_ns, highest)
                if highest >= self._request.end_ns:
                    stop = self._window_end(records, instrument_id)
                    if stop is not None:
                        complete = True
                        records = records[: stop + 1]
                own_here += int(np.count_nonzero(records["instrument_id"] == instrument_id))
                yield RecordChunk(records, instrument_id, index, first)
                if complete:
                    break
            self._finish(index, reader, own_here, last_ns, complete)
            n_own += own_here
            if complete:
                break
        if not n_own:
            names = listed(file.path.name for file in self._selection.files)
            raise SourceError(
                f"There is no market-by-order record of {self._request.symbol} (instrument "
                f"{listed({str(i) for i in self._selection.instrument_ids})}) in {names}. "
                "Choose other files or another symbol."
            )

    def _check_times(self, file: SourceFile, records: Records, instrument_id: int, first: int) -> int:
        """Return the highest usable time of a chunk; refuse a time beyond the file's own end."""
        limit = file.end_ns if file.end_ns is not None else 2**63 - 2
        times = records["ts_recv"]
        highest = int(times.max())
        if highest <= limit:
            return highest
        usable = _sets_the_clock(records, instrument_id)
        beyond = np.flatnonzero(usable & (times > np.uint64(limit)))
        if len(beyond):
            at = int(beyond[0])
            end = "any time that exists" if file.end_ns is None else f"the file's own end, {utc(file.end_ns)}"
            raise SourceError(
                f"Record {first + at} of {file.path} has the time {utc(int(times[at]))}, beyond {end}. "
                "The file is damaged or was joined from several; fetch it again."
            )
        return int(times[usable].max()) if usable.any() else 0

    def _window_end(self, records: Records, instrument_id: int) -> int | None:
        """Return the position of the first record at or after the window's end, else None."""
        after = _sets_the_clock(records, instrument_id) & (records["ts_recv"] >= np.uint64(self._request.end_ns))
        return int(np.argmax(after)) if after.any() else None

    def _finish(self, index: int, reader: RecordReader, own: int, last_ns: int, window_complete: bool) -> None:
        file = self._selection.files[index]
        reader.close()
        self._reader = None
        self._read_before += file.size
        now, then = os.stat(file.path), self._stats[index]
        if (now.st_size, now.st_mtime_ns) != (then.st_size, then.st_mtime_ns):
            raise SourceError(f"{file.path} changed while it was read. Wait until it is complete, then run again.")
        if reader.foreign:
            kinds = ", ".join(f"{count} of type {rtype}" for rtype, count in sorted(reader.foreign.items()))
            self.warnings.append(f"{file.path.name}: records that are not market-by-order were skipped: {kinds}.")
        if window_complete:
            return
        if not own:
            self.warnings.append(f"{file.path.name} holds no record of {self._request.symbol}.")
        elif file.end_ns is not None and file.end_ns - last_ns > FAR_NS:
            seconds = (file.end_ns - last_ns) // NS_PER_S
            self.warnings.append(
                f"{file.path.name}: the last record, at {utc(last_ns)}, is {seconds} s before the file's own end, "
                f"{utc(file.end_ns)}. The market was closed, or the file was cut."
            )


def _sets_the_clock(records: Records, instrument_id: int) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Return a mask of records with a usable time: of the instrument, and outside a snapshot free of the bad-time
    flag.
    """
    bad = (records["flags"] & (F_BAD_TS_RECV | F_SNAPSHOT)) == F_BAD_TS_RECV
    own: np.ndarray[Any, np.dtype[np.bool_]] = (records["instrument_id"] == instrument_id) & ~bad
    return own


def _info(file: SourceFile, instrument_id: int) -> FileInfo:
    return FileInfo(
        path=file.path,
        sha256=file_digest(file.path),
        size=file.size,
        dataset=file.dataset,
        schema=file.schema,
        version=file.version,
        symbols=file.names,
        start_ns=file.start_ns,
        end_ns=file.end_ns,
        instrument_id=instrument_id,
    )
