"""Conformance checks for sources; `vpcore.testing.source_checks` runs them. A check raises `AssertionError`."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from vpcore.errors import SourceError
from vpcore.kernels.records import MBO_DTYPE
from vpcore.source.protocol import RecordStream, Source, SourceRequest

Make = Callable[[], Source]


def _read(make: Make, request: SourceRequest) -> tuple[RecordStream, list[np.ndarray[Any, Any]]]:
    with make().open(request) as stream:
        return stream, [chunk.records.copy() for chunk in stream]


def check_base_classes(make: Make, request: SourceRequest) -> None:
    """It derives from `Source`, and its streams from `RecordStream`."""
    source = make()
    assert isinstance(source, Source), f"{type(source).__name__} must derive from vpcore.source.Source"
    with source.open(request) as stream:
        assert isinstance(stream, RecordStream), f"{type(stream).__name__} must derive from vpcore.source.RecordStream"


def check_files(make: Make, request: SourceRequest) -> None:
    """The files are known, with digest and size, before a record is read."""
    with make().open(request) as stream:
        assert stream.files, "files must name what is read"
        for file in stream.files:
            assert re.fullmatch("[0-9a-f]{64}", file.sha256), f"sha256 must be 64 hex digits, was {file.sha256!r}"
            assert file.size >= 0
        assert stream.covered_end_ns in (None, request.end_ns), "covered_end_ns is the window's end, or None"


def check_records(make: Make, request: SourceRequest) -> None:
    """Chunks are arrays of MBO_DTYPE that number the records of their file, some of them of the instrument."""
    own = 0
    with make().open(request) as stream:
        expected: dict[int, int] = {}
        for chunk in stream:
            assert chunk.records.dtype == MBO_DTYPE, f"records must be MBO_DTYPE, were {chunk.records.dtype}"
            assert 0 <= chunk.file_index < len(stream.files), f"file_index was {chunk.file_index}"
            wanted = expected.get(chunk.file_index, 0)
            assert chunk.first_record == wanted, f"first_record must be {wanted}, was {chunk.first_record}"
            expected[chunk.file_index] = wanted + len(chunk.records)
            own += int((chunk.records["instrument_id"] == chunk.instrument_id).sum())
        assert 0 <= stream.bytes_done <= stream.bytes_total, f"read {stream.bytes_done} of {stream.bytes_total} bytes"
    assert own, f"there must be records of {request.symbol}"


def check_repeatable(make: Make, request: SourceRequest) -> None:
    """Reading again gives the same bytes and the same digests."""
    (first, some), (second, more) = _read(make, request), _read(make, request)
    assert np.concatenate(some).tobytes() == np.concatenate(more).tobytes(), "the records must be the same bytes"
    assert [file.sha256 for file in first.files] == [file.sha256 for file in second.files]


def check_early_end(make: Make, request: SourceRequest) -> None:
    """A reader may stop after the first chunk."""
    with make().open(request) as stream:
        next(iter(stream))
    with make().open(request):
        pass


def check_unknown_option(make: Make, request: SourceRequest) -> None:
    """An unknown option is a SourceError that names the option."""
    strange = replace(request, options={**request.options, "no_such_option": 1})
    said = ""
    try:
        with make().open(strange):
            pass
    except SourceError as error:
        said = str(error)
    assert said, "an unknown option must raise SourceError"
    assert "no_such_option" in said, f"the error must name the option, was: {said}"


def check_before_reading(make: Make, request: SourceRequest) -> None:
    """`check` accepts the window that `open` opens."""
    make().check(request)


SOURCE_CHECKS: tuple[Callable[[Make, SourceRequest], None], ...] = (
    check_base_classes,
    check_files,
    check_records,
    check_repeatable,
    check_early_end,
    check_unknown_option,
    check_before_reading,
)
