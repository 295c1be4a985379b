"""The records of one DBN file, in chunks, in memory that is used again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np

from vpcore.errors import SourceError
from vpcore.kernels.records import MBO_DTYPE, MBO_RTYPE
from vpcore_dbn.header import SourceFile
from vpcore_dbn.zstd import Payload

Records = np.ndarray[Any, Any]

CHUNK_RECORDS = 32_768
_LONGEST = 4 * 255
_FIRST_RUN = 64


class RecordReader:
    """Iterates over the market-by-order records of one file.

    Parameters
    ----------
    file : SourceFile
    chunk_records : int
        Approximate maximum number of records in a chunk.

    Attributes
    ----------
    n_records : int
        Market-by-order records so far.
    foreign : Counter of int
        Records of other kinds that were skipped, by their `rtype`: symbol mappings, system messages, errors.

    Notes
    -----
    A chunk of plain records is a view of the buffer into which the file was decompressed. Only the part of a record at
    the buffer's end is moved, to its front. Records of other kinds, and the sending time behind every record of a live
    recording (`ts_out`), are squeezed out within the buffer.
    """

    def __init__(self, file: SourceFile, chunk_records: int = CHUNK_RECORDS) -> None:
        self.file = file
        self.n_records = 0
        self.foreign: Counter[int] = Counter()
        self._stride = MBO_DTYPE.itemsize + (8 if file.ts_out else 0)
        self._buffer = np.empty(max(chunk_records, 1) * self._stride + _LONGEST, np.uint8)
        self._payload = Payload(file.path, zstd=file.zstd)
        self._payload.read(file.header_bytes)

    @property
    def position(self) -> int:
        """Bytes on disk read so far."""
        return self._payload.position

    def close(self) -> None:
        """Close the file."""
        self._payload.close()

    def __iter__(self) -> Iterator[Records]:
        """Yield ``MBO_DTYPE[n]``, valid until the next.

        Raises
        ------
        SourceError
            If the file ends within a record, is damaged, or holds a record of an impossible length.
        """
        memory = self._buffer.data
        carry = 0
        at_end = False
        while not at_end:
            count = self._payload.read_into(memory[carry:])
            filled, at_end = carry + count, not count
            # At the end, records shorter than a market-by-order one may be all that is left.
            used, records = self._mixed(filled) if at_end else self._take(filled)
            if len(records):
                self.n_records += len(records)
                yield records
            carry = filled - used
            self._buffer[:carry] = self._buffer[used:filled].copy()  # less than one record
        if carry:
            raise SourceError(
                f"{self.file.path} is truncated: it ends {carry} bytes into record "
                f"{self.n_records + self.foreign.total()}. Fetch the file again."
            )
        found = self.n_records + self.foreign.total()
        if self.file.n_records not in (None, found):
            raise SourceError(
                f"{self.file.path} is truncated: it has {found:,} records, and its metadata states "
                f"{self.file.n_records:,}. Fetch the file again."
            )

    def _take(self, filled: int) -> tuple[int, Records]:
        """Return the number of used bytes among the `filled`, and their records."""
        whole = filled // self._stride
        rows = self._buffer[: whole * self._stride].reshape(whole, self._stride)
        if self._plain(rows) == whole:
            return whole * self._stride, self._squeeze(rows, 0)
        return self._mixed(filled)

    def _plain(self, rows: Records) -> int:
        """Return the number of leading rows that are plain market-by-order records."""
        heads = rows[:, :2].view("<u2")[:, 0]  # length and kind, the first two bytes
        good = heads == self._stride // 4 + (MBO_RTYPE << 8)
        return len(rows) if good.all() else int(np.argmin(good))

    def _squeeze(self, rows: Records, at: int) -> Records:
        """Return rows as records. Records of a live recording, or behind another kind of record, move to `at`."""
        size = MBO_DTYPE.itemsize
        if self._stride == size:
            return rows.reshape(-1).view(MBO_DTYPE)
        packed = np.ascontiguousarray(rows[:, :size]).reshape(-1)
        self._buffer[at : at + len(packed)] = packed
        return self._buffer[at : at + len(packed)].view(MBO_DTYPE)

    def _mixed(self, filled: int) -> tuple[int, Records]:
        """As `_take`, for a buffer mixed with other kinds of records."""
        read = write = 0
        run = _FIRST_RUN
        size = MBO_DTYPE.itemsize
        while read < filled:
            count = min(run, (filled - read) // self._stride)
            rows = self._buffer[read : read + count * self._stride].reshape(count, self._stride)
            plain = self._plain(rows)
            if plain:
                packed = np.ascontiguousarray(rows[:plain, :size]).reshape(-1).copy()
                self._buffer[write : write + len(packed)] = packed
                write += len(packed)
                read += plain * self._stride
            if plain and plain == count:
                run *= 2  # long runs of plain records are looked at in few steps, frequent strangers cost little
                continue
            run = _FIRST_RUN
            length = 4 * int(self._buffer[read])
            number = self.n_records + write // size + self.foreign.total()
            if length < 16:
                raise SourceError(f"{self.file.path} is damaged: record {number} claims a length of {length} bytes.")
            if read + length > filled:
                break
            rtype = int(self._buffer[read + 1])
            if rtype == MBO_RTYPE:
                raise SourceError(
                    f"{self.file.path} is damaged: record {number} is a market-by-order record of {length} "
                    f"bytes, which must have {self._stride}."
                )
            self.foreign[rtype] += 1
            read += length
        return read, self._buffer[:write].view(MBO_DTYPE)
