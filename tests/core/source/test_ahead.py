"""Reading ahead shows the caller what reading in step would."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from vpcore.errors import SourceError
from vpcore.kernels.records import MBO_DTYPE
from vpcore.source.prefetch import ReadAhead
from vpcore.source.protocol import RecordChunk


class Tape:
    """A stream that uses its memory again, warns behind every chunk, and may end in an error."""

    def __init__(self, n_chunks: int, fails: bool = False) -> None:
        self.n_chunks = n_chunks
        self.fails = fails
        self.warnings: list[str] = []
        self.bytes_done = 0
        self.bytes_total = n_chunks

    def __iter__(self):
        buffer = np.zeros(5, MBO_DTYPE)
        for i in range(self.n_chunks):
            buffer["order_id"] = i
            self.bytes_done = i + 1
            yield RecordChunk(buffer, 7, 0, 5 * i)
            self.warnings.append(f"after {i}")
        if self.fails:
            raise SourceError("the tape is torn")


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "read-ahead"]


def test_every_chunk_arrives_with_its_own_records_and_standing():
    with ReadAhead(Tape(40)) as chunks:
        kept = list(chunks)
    assert [int(item.chunk.records["order_id"][0]) for item in kept] == list(range(40))
    assert [item.chunk.first_record for item in kept] == list(range(0, 200, 5))
    assert [item.bytes_done for item in kept] == list(range(1, 41))
    assert [item.n_warnings for item in kept] == list(range(40))
    assert not threads()


def test_records_that_are_not_contiguous_are_copied_too():
    class Strided(Tape):
        def __iter__(self):
            for chunk in super().__iter__():
                yield RecordChunk(np.repeat(chunk.records, 2)[::2], 7, 0, chunk.first_record)

    with ReadAhead(Strided(3)) as chunks:
        assert [int(item.chunk.records["order_id"][4]) for item in chunks] == [0, 1, 2]


def each(stream: Tape, action) -> None:
    with ReadAhead(stream) as chunks:
        for item in chunks:
            action(item)


def test_an_error_comes_after_the_chunks_before_it():
    seen = []
    with pytest.raises(SourceError, match="the tape is torn"):
        each(Tape(9, fails=True), seen.append)
    assert len(seen) == 9
    assert not threads()


@pytest.mark.parametrize("taken", [0, 1, 5])
def test_leaving_early_ends_the_thread_and_raises_nothing(taken):
    stream = Tape(1000, fails=True)
    with ReadAhead(stream) as chunks:
        for item, _ in zip(chunks, range(taken), strict=False):
            assert item.n_warnings == item.chunk.first_record // 5
    assert not threads()
    assert stream.bytes_done < 20


def test_the_callers_own_error_ends_the_thread():
    with pytest.raises(ZeroDivisionError):
        each(Tape(1000), lambda _: 1 // 0)
    assert not threads()
