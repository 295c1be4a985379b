"""Events told apart by sequence number; stretches that are in the files twice."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, strategies as st
from tape_source import DAY, DAY0, NS, TapeStream, make_records

from vpcore.errors import SourceError
from vpcore.kernels.records import CLEAR, F_BAD_TS_RECV, F_LAST, F_SNAPSHOT, MBO_DTYPE
from vpcore.source.prepare import Prepared, SequenceEvents

OWN, OTHER = 7, 8


def _read(records, chunk=32_768, **settings):
    """Return the prepared records of a file, its warnings, and the positions of the chunks."""
    with Prepared(TapeStream([(Path("day.npy"), records)], OWN, chunk=chunk), **settings) as stream:
        parts = [(chunk.first_record, chunk.records.copy()) for chunk in stream]
        return np.concatenate([records for _, records in parts]), stream.warnings, parts


def test_closing_closes_the_wrapped_stream():
    stream = TapeStream([(Path("day.npy"), make_records(100))], OWN)
    closed = []
    stream.close = lambda: closed.append(True)
    Prepared(stream).close()
    assert closed == [True]


# -- repetition --------------------------------------------------------------------------------------------------------


def _twice(snapshot=False):
    """Return 100 records in which those of seconds 30 to 36 come twice, and the true records."""
    records = make_records(100)
    again = records[30:37].copy()
    if snapshot:
        again["flags"][:3] |= F_SNAPSHOT
    return np.concatenate([records[:37], again, records[37:]]), records


@pytest.mark.parametrize("chunk", [1, 5, 37, 38, 32_768])
def test_a_stretch_that_is_there_twice_is_refused_or_read_once(chunk):
    file, records = _twice()
    with pytest.raises(
        SourceError,
        match=r"run back at record 37 of day.npy, from 2024-10-04 00:00:36 to 2024-10-04 00:00:30: .*repeated: drop",
    ):
        _read(file, chunk)
    found, warnings, parts = _read(file, chunk, repeated="drop")
    assert found.tobytes() == records.tobytes()
    assert [text for text in warnings if "read once" in text] == [
        "7 records from 2024-10-04 00:00:30 on, up to 2024-10-04 00:00:36, are in the files twice and were read once "
        "(capture.repeated: drop)."
    ]
    for first, part in parts:
        assert part.tobytes() == file[first : first + len(part)].tobytes()


def test_a_repeated_stretch_that_begins_with_a_snapshot_cannot_be_left_out():
    file, _ = _twice(snapshot=True)
    for chunk in (1, 1000):
        with pytest.raises(SourceError, match="begins with a snapshot, so it cannot be left out"):
            _read(file, chunk, repeated="drop")


def test_a_later_file_begins_with_its_own_book():
    """The first file ends inside the repeated stretch: the snapshot of the second one is none of it."""
    first, second = make_records(40), make_records(20, DAY0 + DAY)
    second["flags"][:5] |= F_SNAPSHOT
    second["ts_recv"][:5] = DAY0
    tapes = [(Path("1.npy"), np.concatenate([first, first[20:30]])), (Path("2.npy"), second)]
    with Prepared(TapeStream(tapes, OWN), repeated="drop") as stream:
        found = np.concatenate([chunk.records.copy() for chunk in stream])
        assert any("10 records" in text and "read once" in text for text in stream.warnings)
    assert found.tobytes() == np.concatenate([first, second]).tobytes()


@pytest.mark.parametrize("case", ["within a second", "another instrument", "a snapshot", "a bad time"])
def test_what_is_no_repetition(case):
    records = make_records(10)
    back = 1 if case == "within a second" else 5
    records["ts_recv"][6] -= np.uint64(back * NS)
    if case == "another instrument":
        records["instrument_id"][6] = OTHER
    if case in ("a snapshot", "a bad time"):
        records["flags"][6] |= F_SNAPSHOT if case == "a snapshot" else F_BAD_TS_RECV
    found, _, _ = _read(records)
    assert found.tobytes() == records.tobytes()


# -- events by sequence number -----------------------------------------------------------------------------------------


@st.composite
def tapes(draw):
    """Records of two instruments with right flags, and the numbers at which the tape is cut."""
    made = []
    for event in range(draw(st.integers(1, 8))):
        kind = draw(st.sampled_from(["event", "event", "snapshot", "clear"]))
        length = draw(st.integers(1, 4))
        for i in range(length):
            if draw(st.booleans()):
                made.append((OTHER, 99, draw(st.sampled_from([0, F_LAST])), ord("A")))
            last = F_LAST if i == length - 1 else 0
            flags = {"event": last, "snapshot": F_SNAPSHOT | draw(st.sampled_from([0, F_LAST])), "clear": 0}[kind]
            made.append((OWN, event, flags, CLEAR if kind == "clear" else ord("A")))
    cuts = draw(st.lists(st.integers(0, len(made)), max_size=4).map(sorted))
    return made, cuts


def _records(rows):
    records = np.zeros(len(rows), MBO_DTYPE)
    for name, i in (("instrument_id", 0), ("sequence", 1), ("flags", 2), ("action", 3)):
        records[name] = [row[i] for row in rows]
    records["ts_event"] = 1000 + records["sequence"]
    return records


@given(tape=tapes(), noise=st.randoms(use_true_random=False))
def test_events_by_sequence_have_the_flags_of_whole_events(tape, noise):
    rows, cuts = tape
    wanted = _records(rows)
    given_flags = wanted.copy()
    for i, (instrument, _, flags, action) in enumerate(rows):
        if instrument == OWN and not flags & F_SNAPSHOT and action != CLEAR and noise.random() < 0.7:
            given_flags["flags"][i] ^= F_LAST
    events, got = SequenceEvents(), []
    for part in np.split(given_flags, cuts):
        got.append(events.feed(part, OWN))
        assert events.n_held <= len(rows)
    rest = events.flush()
    got += [] if rest is None else [rest]
    assert events.flush() is None
    found = np.concatenate(got)
    assert found[found["instrument_id"] == OWN].tobytes() == wanted[wanted["instrument_id"] == OWN].tobytes()


def test_the_chunks_of_events_by_sequence_keep_their_places():
    records = make_records(50)
    records["sequence"] = np.arange(50) // 3
    records["ts_event"] = records["sequence"]
    for chunk in (1, 4, 1000):
        found, _, parts = _read(records, chunk, events="sequence")
        assert (found["flags"] & F_LAST != 0).tolist() == [i % 3 == 2 or i == 49 for i in range(50)]
        for first, part in parts:
            assert (part["order_id"] == records["order_id"][first : first + len(part)]).all()


def test_records_of_others_do_not_wait_with_a_quiet_instrument():
    """Of a file of many instruments, what comes between two records of a quiet one is no event of its own."""
    own, others = make_records(1), make_records(60_000, instrument=OTHER)
    events = SequenceEvents()
    assert len(events.feed(np.concatenate([own, others]), OWN)) == 0
    for _ in range(3):
        events.feed(others, OWN)
        assert events.n_held == 1
    assert events.flush().tobytes() == own.tobytes()


def test_an_endless_event_is_refused():
    records = make_records(100_002)
    records["sequence"] = records["ts_event"] = 1
    with pytest.raises(SourceError, match="More than 100,000 consecutive records"):
        SequenceEvents().feed(records, OWN)
