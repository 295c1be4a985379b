"""Records as a capture wants them: events told apart by sequence number, repeated stretches refused or dropped.

`Prepared` wraps the stream of any source, so that datasets and replays see the same records.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from types import TracebackType
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt

from vpcore.errors import SourceError
from vpcore.kernels.records import CLEAR, F_BAD_TS_RECV, F_LAST, F_SNAPSHOT
from vpcore.source.protocol import RecordChunk, RecordStream, utc
from vpcore.units import NS_PER_S

Events = Literal["flags", "sequence"]
Repeated = Literal["refuse", "drop"]

BACK_NS = NS_PER_S
"""A receive time that runs back further than this means that a stretch is in the files twice."""

MOST_EVENT_RECORDS = 100_000
"""Most records of one event outside a snapshot."""

_Records = npt.NDArray[Any]


class SequenceEvents:
    """Sets `F_LAST` at the last of consecutive records with equal ``ts_event`` and ``sequence``, whatever it was.

    For feeds that set the flag on the trade, the fill and the cancel of one event alike. The records of the last event
    wait for the next record, which tells that the event is over. Snapshots and clears keep their flags. Records of
    other instruments do not wait: those behind the beginning of the last event are left out.
    """

    def __init__(self) -> None:
        self._held: _Records | None = None

    @property
    def n_held(self) -> int:
        """Number of records that wait."""
        return 0 if self._held is None else len(self._held)

    def feed(self, records: _Records, instrument_id: int) -> _Records:
        """Return the records of complete events, in memory of their own.

        Parameters
        ----------
        records : MBO_DTYPE[n]
            In file order.
        instrument_id : int
            The instrument whose events are told apart.

        Raises
        ------
        SourceError
            If an event has more than `MOST_EVENT_RECORDS` records.
        """
        found = records.copy() if self._held is None else np.concatenate([self._held, records])
        self._held = None
        own = np.flatnonzero(found["instrument_id"] == instrument_id)
        if not len(own):
            return found
        flags, single = found["flags"][own], _single(found[own])
        same = ~single[1:] & ~single[:-1]
        for name in ("ts_event", "sequence"):
            column = found[name][own]
            same &= column[1:] == column[:-1]
        last = np.append(~same, True)
        found["flags"][own] = np.where(single, flags, (flags & ~np.uint8(F_LAST)) | (last * np.uint8(F_LAST)))
        if single[-1]:
            return found
        begins = np.flatnonzero(last[:-1])
        first = int(own[begins[-1] + 1]) if len(begins) else int(own[0])
        self._held = found[own[own >= first]]
        if len(self._held) > MOST_EVENT_RECORDS:
            raise SourceError(
                f"More than {MOST_EVENT_RECORDS:,} consecutive records have the time of event and sequence number of "
                f"one event. Set capture.events: flags."
            )
        return found[:first]

    def flush(self, before_ns: int | None = None) -> _Records | None:
        """Return the records that wait, as a complete event, or None.

        Given a time, an event waits on unless all its records were received before it.
        """
        if self._held is not None and before_ns is not None and int(self._held["ts_recv"].max()) >= before_ns:
            return None
        held, self._held = self._held, None
        return held


def _single(records: _Records) -> npt.NDArray[np.bool_]:
    """Return a mask of the records that keep their flags: of a snapshot, or a clear."""
    mask: npt.NDArray[np.bool_] = ((records["flags"] & F_SNAPSHOT) != 0) | (records["action"] == CLEAR)
    return mask


class Prepared(RecordStream):
    """The records of another stream, with events and repetitions treated as a capture says.

    Parameters
    ----------
    stream : RecordStream
        Open, still at its start.
    events : {'flags', 'sequence'}
        What ends an event: `F_LAST`, or another ``ts_event`` or ``sequence`` (`SequenceEvents`).
    repeated : {'refuse', 'drop'}
        A stretch that comes a second time is an error, or is left out with a warning.
    """

    def __init__(self, stream: RecordStream, events: Events = "flags", repeated: Repeated = "refuse") -> None:
        self._stream, self._events, self._repeated = stream, events, repeated
        self._reached = 0  # the latest usable receive time outside snapshots
        self._from_snapshot = False
        self._file = 0
        self._dropping: tuple[int, int] | None = None  # records and first time of the stretch that is being left out
        self.files = stream.files
        self.bytes_total = stream.bytes_total
        self.warnings = stream.warnings

    def __enter__(self) -> Self:
        self._stream.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stream.__exit__(kind, error, traceback)

    def close(self) -> None:
        """Close the wrapped stream."""
        self._stream.close()

    @property
    def covered_end_ns(self) -> int | None:  # type: ignore[override]  # read when the stream has come to its end
        """The end of the capture window if the last file's metadata cover it, else None."""
        return self._stream.covered_end_ns

    @property
    def bytes_done(self) -> int:
        """Bytes on disk that have been read."""
        return self._stream.bytes_done

    def __iter__(self) -> Iterator[RecordChunk]:
        once = (part for chunk in self._stream for part in self._once(chunk))
        yield from once if self._events == "flags" else _by_sequence(once)
        self._say_dropped()

    def _once(self, chunk: RecordChunk) -> Iterator[RecordChunk]:
        """Yield a chunk without the records of repeated stretches; an ordinary chunk comes as it is."""
        records = chunk.records
        own = np.flatnonzero(records["instrument_id"] == chunk.instrument_id)
        if not len(own):
            yield chunk
            return
        flags = records["flags"][own]
        times = records["ts_recv"][own].astype(np.int64)
        times[(flags & (F_SNAPSHOT | F_BAD_TS_RECV)) != 0] = 0
        at = 0  # position in `own`
        start = 0  # position in `records`
        while True:
            if self._dropping is not None and chunk.file_index != self._file:
                self._say_dropped()  # a later file begins with a book of its own
            self._file = chunk.file_index
            if self._dropping is not None:
                past = np.flatnonzero(times[at:] > self._reached)
                stop = at + int(past[0]) if len(past) else len(own)
                self._dropping = (self._dropping[0] + stop - at, self._dropping[1])
                if stop == len(own):
                    return
                at, start = stop, int(own[stop])
                self._say_dropped()
            peaks = np.maximum(np.maximum.accumulate(times[at:]), self._reached)
            back = np.flatnonzero((times[at:] > 0) & (peaks - times[at:] > BACK_NS))
            if not len(back):
                self._reached = int(peaks[-1])
                self._from_snapshot = bool(flags[-1] & F_SNAPSHOT)
                yield chunk if start == 0 else _part(chunk, start, len(records))
                return
            first = at + int(back[0])
            self._reached = int(peaks[back[0]])
            after_snapshot = bool(flags[first - 1] & F_SNAPSHOT) if first else self._from_snapshot
            if self._repeated == "refuse" or after_snapshot:
                raise self._twice(chunk, int(own[first]), int(times[first]), after_snapshot)
            if own[first] > start:
                yield _part(chunk, start, int(own[first]))
            self._dropping = (0, int(times[first]))
            at = first

    def _twice(self, chunk: RecordChunk, at: int, time: int, after_snapshot: bool) -> SourceError:
        fix = "Fetch it again, or set capture.repeated: drop, which reads the stretch once."
        if after_snapshot:
            fix = "The stretch begins with a snapshot, so it cannot be left out: fetch the file again."
        return SourceError(
            f"The receive times run back at record {chunk.first_record + at:,} of "
            f"{self.files[chunk.file_index].path}, from {utc(self._reached)} to {utc(time)}: the stretch between is in "
            f"the files twice. {fix}"
        )

    def _say_dropped(self) -> None:
        if self._dropping is not None:
            count, time = self._dropping
            self.warnings.append(
                f"{count:,} records from {utc(time)} on, up to {utc(self._reached)}, are in the files twice and were "
                "read once (capture.repeated: drop)."
            )
            self._dropping = None


def _part(chunk: RecordChunk, start: int, stop: int) -> RecordChunk:
    return replace(chunk, records=chunk.records[start:stop], first_record=chunk.first_record + start)


def _by_sequence(chunks: Iterator[RecordChunk]) -> Iterator[RecordChunk]:
    events = SequenceEvents()
    before: RecordChunk | None = None
    for chunk in chunks:
        if before is not None and before.file_index != chunk.file_index:
            yield from _rest(events, before)
        first = chunk.first_record - events.n_held
        records = events.feed(chunk.records, chunk.instrument_id)
        if len(records):
            yield replace(chunk, records=records, first_record=first)
        before = chunk
    if before is not None:
        yield from _rest(events, before)


def _rest(events: SequenceEvents, chunk: RecordChunk) -> Iterator[RecordChunk]:
    first = chunk.first_record + len(chunk.records) - events.n_held
    held = events.flush()
    if held is not None:
        yield replace(chunk, records=held, first_record=first)
