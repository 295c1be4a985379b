"""The bytes of a file, decompressed where needed, and a check for a cut file."""

from __future__ import annotations

import os
from io import FileIO
from pathlib import Path
from typing import Any

import zstandard

from vpcore.errors import SourceError

ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
_SKIPPABLE = range(0x184D2A50, 0x184D2A60)


def is_zstd(path: Path) -> bool:
    """Return True if a file begins as a zstd frame, whatever its name: downloads are renamed."""
    with path.open("rb") as handle:
        magic = handle.read(4)
    return magic == ZSTD_MAGIC or (len(magic) == 4 and int.from_bytes(magic, "little") in _SKIPPABLE)


def check_zstd_complete(path: Path) -> None:
    """Walk the block headers of a compressed zstd file to its end.

    A cut is known before hours of work, also behind the capture window. The file is read in pieces: touched pages of a
    memory map stay in the process's memory, which would grow with the file.

    Raises
    ------
    SourceError
        If the file ends inside a frame, or something else follows a frame.
    """
    size = path.stat().st_size
    with path.open("rb", buffering=0) as handle:
        position = 0
        while position < size:
            end = _frame_end(handle, position, size)
            if end is None:
                raise SourceError(
                    f"{path} is damaged: at byte {position} a zstd frame was expected. Fetch the file again."
                )
            if end > size:
                raise SourceError(
                    f"{path} is truncated: its zstd frame goes on beyond the {size} bytes that are there. "
                    "Fetch the file again."
                )
            position = end


def _at(handle: FileIO, position: int, count: int) -> bytes:
    return os.pread(handle.fileno(), count, position)


def _frame_end(handle: FileIO, start: int, size: int) -> int | None:
    """Return the end of the frame at `start`: beyond `size` if it is cut, None without a frame."""
    if size - start < 6:
        return size + 1
    magic = _at(handle, start, 4)
    if int.from_bytes(magic, "little") in _SKIPPABLE:
        return start + 8 + int.from_bytes(_at(handle, start + 4, 4), "little")
    if magic != ZSTD_MAGIC:
        return None
    descriptor = _at(handle, start + 4, 1)[0]
    single_segment = descriptor >> 5 & 1
    content_size = (single_segment, 2, 4, 8)[descriptor >> 6]
    position = start + 5 + (1 - single_segment) + (0, 1, 2, 4)[descriptor & 3] + content_size
    while position + 3 <= size:
        block = int.from_bytes(_at(handle, position, 3), "little")
        kind = block >> 1 & 3
        if kind == 3:
            return None
        position += 3 + (1 if kind == 1 else block >> 3)
        if block & 1:
            return position + 4 * (descriptor >> 2 & 1)
    return size + 1


class Payload:
    """The decompressed bytes of a file, read in order into the caller's memory.

    zstandard decompresses straight into it. It takes a cut stream for one that ends, so the end is checked here.
    """

    def __init__(self, path: Path, *, zstd: bool) -> None:
        self.path = path
        self._zstd = zstd
        self._raw = path.open("rb", buffering=0)
        self._stream: Any = self._raw
        if zstd:
            self._stream = zstandard.ZstdDecompressor().stream_reader(self._raw, read_across_frames=True)
        self._size = path.stat().st_size

    def read_into(self, view: memoryview) -> int:
        """Fill `view` as far as the file goes; return the number of written bytes.

        Raises
        ------
        SourceError
            If the compressed stream is cut or damaged.
        """
        done = 0
        while done < len(view):
            try:
                count = self._stream.readinto(view[done:])
            except (OSError, zstandard.ZstdError) as error:
                raise SourceError(
                    f"{self.path} could not be read to its end: {error}. Fetch the file again."
                ) from error
            if not count:
                if self._zstd:
                    check_zstd_complete(self.path)
                break
            done += count
        return done

    def read(self, count: int) -> bytes:
        """Return up to `count` bytes."""
        buffer = bytearray(count)
        return bytes(buffer[: self.read_into(memoryview(buffer))])

    @property
    def position(self) -> int:
        """Number of bytes read from disk."""
        return self._size if self._raw.closed else int(self._raw.tell())

    def close(self) -> None:
        """Close the file."""
        self._stream.close()
        self._raw.close()
