"""Files made by hand, byte for byte."""

from __future__ import annotations

import datetime
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from sweep_workspace import frames, importable, make_proven, make_workspace, proofs, workspace  # noqa: F401
from tape_source import DAY, DAY0, NS, make_records

from vpcore.kernels.records import MBO_DTYPE
from vpcore.source import SourceRequest
from vpcore.storage import Folder
from vpcore_dbn.header import Mapping
from vpcore_dbn.source import DbnSource
from vpcore_dbn.writer import encode_metadata

DATE0 = datetime.date(1970, 1, 1) + datetime.timedelta(days=20_000)


def metadata(mappings: Any = None, start_ns: int = DAY0, end_ns: int | None = DAY0 + DAY, **options: Any) -> bytes:
    mappings = [Mapping("SYM", 7, start_ns, end_ns or start_ns + DAY)] if mappings is None else mappings
    return encode_metadata(dataset="TEST", start_ns=start_ns, end_ns=end_ns, mappings=mappings, **options)


def put(path: Path, *parts: bytes | np.ndarray) -> Path:
    """Write bytes and records to a file, compressed if its name says so."""
    data = b"".join(part if isinstance(part, bytes) else part.tobytes() for part in parts)
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".zst":
        sink = pa.BufferOutputStream()
        with pa.CompressedOutputStream(sink, "zstd") as stream:
            stream.write(data)
        data = sink.getvalue().to_pybytes()
    path.write_bytes(data)
    return path


def mapping_message(symbol: str, instrument: int, *, version: int = 3) -> bytes:
    """Return a symbol-mapping message as the live gateway sends it."""
    width = 22 if version == 1 else 71
    text = symbol.encode().ljust(width, b"\0")
    kinds = (b"", b"") if version == 1 else (b"\x04", b"\x01")
    body = kinds[0] + text + kinds[1] + text + (b"\0" * 4 if version == 1 else b"")
    body += struct.pack("<QQ", 2**64 - 1, 2**64 - 1)
    head = struct.pack("<BBHIQ", (16 + len(body)) // 4, 22, 0, instrument, DAY0)
    return head + body


def system_message(length: int = 320) -> bytes:
    return struct.pack("<BBHIQ", length // 4, 23, 0, 0, DAY0).ljust(length, b"\0")


class Reader:
    """Opens windows and collects what comes."""

    def __call__(
        self,
        *files: Path,
        symbol: str = "SYM",
        start: int = DAY0,
        end: int = DAY0 + DAY,
        root: Path | None = None,
        **options: Any,
    ) -> tuple[np.ndarray, Any]:
        request = SourceRequest(
            symbol, start, end, files=files, raw=None if root is None else Folder.of(root), options=options
        )
        with DbnSource().open(request) as stream:
            chunks = []
            position: dict[int, int] = {}
            for chunk in stream:
                assert chunk.records.dtype == MBO_DTYPE
                assert chunk.first_record == position.get(chunk.file_index, 0)
                position[chunk.file_index] = chunk.first_record + len(chunk.records)
                chunks.append(chunk.records.copy())
                assert stream.bytes_done <= stream.bytes_total
        return np.concatenate(chunks), stream


@pytest.fixture
def read() -> Reader:
    return Reader()


class Made:
    """The makers above, for tests that cannot import a conftest."""

    NS, DAY, DAY0, DATE0 = NS, DAY, DAY0, DATE0
    records = staticmethod(make_records)
    metadata = staticmethod(metadata)
    put = staticmethod(put)
    mapping_message = staticmethod(mapping_message)
    system_message = staticmethod(system_message)


@pytest.fixture
def made() -> type[Made]:
    return Made
