"""The base classes of sources: a source opens a capture window as a stream of market-by-order records."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar, Self

from vpcore.errors import ConfigError

if TYPE_CHECKING:
    import numpy as np

    from vpcore.storage import Folder


@dataclass(frozen=True, slots=True)
class SourceRequest:
    """A capture window of one symbol.

    Parameters
    ----------
    symbol : str
        As the source's own symbology spells it.
    start_ns, end_ns : int
        The window, UTC nanoseconds, end excluded.
    files : tuple of Path
        Read exactly these; empty: find them below `raw`.
    raw : Folder, optional
        Where files are looked for, ``lake/raw`` of a workspace. Of a remote storage the source fetches what it reads.
    options : mapping
        The source's own options, `capture.options` of a pipeline.
    """

    symbol: str
    start_ns: int
    end_ns: int
    files: tuple[Path, ...] = ()
    raw: Folder | None = None
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class FileInfo:
    """A file of a stream.

    Parameters
    ----------
    path : Path
        As it was named or found.
    sha256 : str
        Of the file's bytes as they are on disk, 64 hex digits.
    size : int
        Bytes on disk.
    dataset, schema : str
        As the file's own metadata says; the schema of a live recording may be empty.
    version : int
        The DBN version of the file.
    symbols : tuple of str
        Every symbol that the file maps to an instrument, sorted.
    start_ns, end_ns : int
        Span in the metadata, end excluded; `end_ns` may be None.
    instrument_id : int
        The requested symbol's instrument in this file.
    """

    path: Path
    sha256: str
    size: int
    dataset: str
    schema: str
    version: int
    symbols: tuple[str, ...]
    start_ns: int
    end_ns: int | None
    instrument_id: int


@dataclass(frozen=True, slots=True)
class RecordChunk:
    """Consecutive records of one file.

    Parameters
    ----------
    records : MBO_DTYPE[n]
        Records of every instrument of the file. **Valid until the next chunk**, which reuses the memory.
    instrument_id : int
        The requested symbol's instrument; records of others are to be skipped.
    file_index : int
        Which of the stream's `files`.
    first_record : int
        Position of the first record among the market-by-order records of its file.
    """

    records: np.ndarray[Any, Any]
    instrument_id: int
    file_index: int
    first_record: int


class RecordStream(ABC):
    """An open capture window: a context manager, iterated once.

    Attributes
    ----------
    files : list of FileInfo
        In reading order; complete from the start.
    covered_end_ns : int or None
        The end of the capture window if the last file's metadata cover it, else None.
    warnings : list of str
        Grows while the stream is read.
    bytes_done, bytes_total : int
        Bytes on disk that have been read, and all of them.
    """

    files: list[FileInfo]
    covered_end_ns: int | None = None
    warnings: list[str]
    bytes_total: int

    @property
    @abstractmethod
    def bytes_done(self) -> int:
        """Bytes on disk that have been read."""

    @abstractmethod
    def __iter__(self) -> Iterator[RecordChunk]:
        """Yield the records in the order of arrival, once."""

    def close(self) -> None:  # noqa: B027
        """Close open files; called at the end of reading, also after an error."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


class Source(ABC):
    """A component of kind `source`, with a constructor of zero arguments. `vpcore.testing.source_checks` checks an
    implementation.
    """

    reads_files: ClassVar[bool] = False
    """True if records come from files below `SourceRequest.raw`, or named ones, alone: same files, same records."""

    @abstractmethod
    def open(self, request: SourceRequest) -> RecordStream:
        """Open a capture window.

        Raises
        ------
        SourceError
            If the files lack market-by-order records of the symbol in the window. A cut or damaged file raises while
            the stream is read.
        """

    def check(self, request: SourceRequest) -> None:  # noqa: B027
        """Raise the errors of `open` that need no records.

        An experiment on many sessions calls it first, and names sessions without data at once. The default accepts all.
        """

    def contract(self, request: SourceRequest, matches: Callable[[str], bool]) -> str:
        """Return the contract of a root in a window, for the days of ``contract: volume``.

        Parameters
        ----------
        request : SourceRequest
            The window; its symbol is the root.
        matches : callable
            Returns whether a symbol is a contract of the root.

        Raises
        ------
        ConfigError
            If there is none, or the source cannot tell which one: the default always.
        """
        raise ConfigError(
            f"The source cannot tell which contract of {request.symbol} to take from {utc(request.start_ns)} to "
            f"{utc(request.end_ns)} UTC",
            fix="Name the day's contract: {date: ..., symbol: ...}.",
        )


def utc(ns: int) -> str:
    """Return UTC nanoseconds as text: seconds, and the fraction only where there is one."""
    import datetime

    seconds, fraction = divmod(int(ns), 1_000_000_000)
    try:
        text = datetime.datetime.fromtimestamp(seconds, datetime.UTC).strftime("%Y-%m-%d %H:%M:%S")
    except (ValueError, OverflowError, OSError):
        return f"{ns} ns"
    return f"{text}.{fraction:09d}".rstrip("0") if fraction else text
