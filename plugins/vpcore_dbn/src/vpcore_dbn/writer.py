"""Writing market-by-order records as a DBN file."""

from __future__ import annotations

import contextlib
import datetime
import os
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace, TracebackType
from typing import Any, Self

import numpy as np

from vpcore.errors import SourceError
from vpcore.kernels.records import MBO_DTYPE
from vpcore.storage.atomic import fsync_path, make_folder, sweep_dead, temporary_file
from vpcore.units import NS_PER_S
from vpcore_dbn.header import Mapping

_DAY_NS = 86_400 * NS_PER_S


def encode_metadata(
    *,
    dataset: str,
    start_ns: int,
    end_ns: int | None,
    mappings: Sequence[Mapping],
    version: int = 3,
    schema: str | None = "mbo",
    stype_in: str = "raw_symbol",
    ts_out: bool = False,
) -> bytes:
    """Return the metadata of a DBN file, its magic bytes and length included.

    Parameters
    ----------
    dataset : str
        At most 16 characters.
    start_ns, end_ns : int
        The span of the file, UTC, end excluded.
    mappings : sequence of Mapping
        Written as whole UTC days: from the day of `start_ns` to the day before `end_ns`, that one included.
    version : int
        1 to 3.
    stype_in : str
        The symbology of the mapped symbols.
    schema : str, optional
        None for a stream of several schemas.
    ts_out : bool
        True if every record is followed by its sending time.
    """
    import databento_dbn

    by_symbol: dict[str, list[Any]] = {}
    for mapping in sorted(mappings, key=lambda m: (m.symbol, m.start_ns)):
        interval = SimpleNamespace(
            start_date=_date(mapping.start_ns),
            end_date=_date(mapping.end_ns + _DAY_NS - 1),
            symbol=str(mapping.instrument_id),
        )
        by_symbol.setdefault(mapping.symbol, []).append(interval)
    metadata = databento_dbn.Metadata(
        dataset,
        start_ns,
        databento_dbn.SType.from_str(stype_in),
        databento_dbn.SType.INSTRUMENT_ID,
        None if schema is None else databento_dbn.Schema.from_str(schema),
        symbols=list(by_symbol),
        mappings=[SimpleNamespace(raw_symbol=name, intervals=intervals) for name, intervals in by_symbol.items()],
        end=end_ns,
        ts_out=ts_out,
        version=version,
    )
    return bytes(metadata.encode())


class DbnWriter:
    """Writes a DBN file as a stream; only the complete file appears under its name.

    Parameters
    ----------
    path : Path
        Compressed with zstd if the name ends in ``.zst``. An existing file is replaced.
    metadata : bytes
        See `encode_metadata`.

    Raises
    ------
    SourceError
        If writing fails.

    Examples
    --------
    >>> with DbnWriter(path, metadata) as writer:  # doctest: +SKIP
    ...     writer.write(records)
    """

    def __init__(self, path: Path, metadata: bytes) -> None:
        self.path = path
        self.n_records = 0
        self._target = path.resolve()  # a link stays, and its file is replaced
        if path.exists() and not path.is_file():
            raise SourceError(f"{path} is no file: it could not be replaced by one. Choose another name.")
        try:
            make_folder(self._target.parent)
            sweep_dead(self._target.parent)
            self._temporary, self._held = temporary_file(self._target)
            self._file: Any = os.fdopen(os.dup(self._held), "wb")
        except OSError as error:
            raise SourceError(f"{path} could not be written: {error}.") from error
        self._stream: Any = self._file
        if path.name.endswith(".zst"):
            import pyarrow

            self._stream = pyarrow.CompressedOutputStream(pyarrow.PythonFile(self._file, "w"), "zstd")
        self._stream.write(metadata)

    def write(self, records: np.ndarray[Any, Any]) -> None:
        """Append ``MBO_DTYPE[n]``.

        Raises
        ------
        SourceError
            If the disk is full or writing fails.
        """
        if records.dtype != MBO_DTYPE:
            raise TypeError(f"Records must have the dtype MBO_DTYPE, was {records.dtype}.")
        try:
            self._stream.write(np.ascontiguousarray(records).view(np.uint8))
        except OSError as error:
            raise SourceError(f"{self.path} could not be written: {error}.") from error
        self.n_records += len(records)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is not None:
            self._abandon()
            return
        try:
            if self._stream is not self._file:
                self._stream.flush()
                # Ends the zstd frame; it closes the file below, so that the file is opened again to reach the disk.
                self._stream.close()
            if not self._file.closed:
                self._file.close()
            os.fsync(self._held)
            self._temporary.replace(self._target)
            fsync_path(self._target.parent)
        except OSError as failure:
            self._abandon()
            raise SourceError(f"{self.path} could not be written: {failure}.") from failure
        os.close(self._held)

    def _abandon(self) -> None:
        for stream in (self._stream, self._file):
            with contextlib.suppress(OSError, ValueError):
                stream.close()
        self._temporary.unlink(missing_ok=True)
        os.close(self._held)


def _date(ns: int) -> datetime.date:
    return datetime.date(1970, 1, 1) + datetime.timedelta(days=ns // _DAY_NS)
