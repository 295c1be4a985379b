"""Messages from a worker to the server: a byte for the kind, four for the length, and the content."""

from __future__ import annotations

import asyncio
import json
import struct
from typing import Any, BinaryIO

HELLO, BIN, TEXT, FAILED, END = b"h", b"b", b"t", b"f", b"e"
"""What is served, before the first bin and again after every restart of the session; a bin, as two records; a JSON
frame for the clients; a final error; the end of the session."""

_HEAD = struct.Struct("<cI")
_LENGTH = struct.Struct("<I")
MOST_BYTES = 64 << 20


def write_message(out: BinaryIO, kind: bytes, content: bytes) -> None:
    """Write one message; blocks while the server does not read."""
    out.write(_HEAD.pack(kind, len(content)) + content)


def write_json(out: BinaryIO, kind: bytes, content: dict[str, Any]) -> None:
    """Write one message of JSON, and flush."""
    write_message(out, kind, json.dumps(content, allow_nan=False).encode())
    out.flush()


def write_bin(out: BinaryIO, view: bytes, exact: bytes) -> None:
    """Write one bin."""
    write_message(out, BIN, _LENGTH.pack(len(view)) + view + exact)


def split_bin(content: bytes) -> tuple[bytes, bytes]:
    """Return the two records of a bin: `view` and `exact`."""
    (size,) = _LENGTH.unpack_from(content)
    return content[4 : 4 + size], content[4 + size :]


async def read_message(reader: asyncio.StreamReader) -> tuple[bytes, bytes] | None:
    """Return the next message, or None at the end of the pipe."""
    try:
        kind, length = _HEAD.unpack(await reader.readexactly(_HEAD.size))
        return (kind, await reader.readexactly(length)) if length <= MOST_BYTES else None
    except asyncio.IncompleteReadError:
        return None
