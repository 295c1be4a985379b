"""The feed `replay`: a recorded session at a chosen speed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from vpcore.errors import ConfigError, did_you_mean, listed
from vpcore.kernels.records import F_BAD_TS_RECV, F_SNAPSHOT
from vpcore.source.protocol import RecordStream
from vpcore_serving.feed.protocol import Batch, Feed, FeedRequest, Lost, SequenceWatch

_OPTIONS = ("speed", "from_ns", "batch_records", "dense_sequence")
BATCH_RECORDS = 1024
_END_NS = 2**63 - 1


class ReplayFeed(Feed):
    """Reads a recorded session and delivers every record on an absolute schedule, which does not drift::

        due = begin + (ts_recv - from_ns) / speed

    Options: `speed`, a factor or ``max`` (default 1); `from_ns`, by default the start of the session: earlier records
    come at once; `batch_records`, most records at a time (default 1,024); `dense_sequence`, true if holes of
    the sequence numbers are losses (default false).
    """

    live = False

    def __init__(self, request: FeedRequest) -> None:
        super().__init__(request)
        options = request.options
        for name in options:
            if name not in _OPTIONS:
                raise ConfigError(
                    f"The feed 'replay' has no option '{name}'.{did_you_mean(name, _OPTIONS)} "
                    f"It has: {listed(_OPTIONS)}."
                )
        if request.recorded is None:
            raise ConfigError("The feed 'replay' needs recorded files", fix="Name them with --files.")
        self._speed = _speed(options.get("speed", 1))
        self._from_ns = _whole("from_ns", options.get("from_ns", request.start_ns), least=0)
        self._most = _whole("batch_records", options.get("batch_records", BATCH_RECORDS), least=1)
        self._watch = SequenceWatch() if options.get("dense_sequence", False) else None
        self._began: float | None = None  # monotonic seconds at `from_ns`
        self._next_ns = 0  # every earlier record has been delivered
        self._last_ns = 0

    def now_ns(self) -> int:
        """Return the time before which every record has been delivered."""
        return min(self._next_ns, self._scheduled())

    def seconds_until(self, at_ns: int) -> float:
        """Return the seconds until the schedule reaches a time."""
        return 0.0 if self._began is None else (at_ns - self._scheduled()) / 1e9 / self._speed

    def _scheduled(self) -> int:
        if self._began is None:
            return self._next_ns
        return self._from_ns + int((time.monotonic() - self._began) * self._speed * 1e9)

    async def __aiter__(self) -> AsyncIterator[Batch | Lost]:
        assert self.request.recorded is not None
        with self.request.recorded() as stream:
            for records, clocks, instrument_id in _clocked(stream):
                holes = self._watch.holes(records).tolist() if self._watch is not None else []
                at = 0
                while at < len(records):
                    self._next_ns = due_ns = max(self._next_ns, int(clocks[at]))
                    reached = await self._until(self._next_ns)
                    stop = min(int(np.searchsorted(clocks, reached, side="right")), at + self._most)
                    if holes and holes[0] == at:
                        holes.pop(0)
                        yield Lost("The sequence numbers have a hole.", self._last_ns)
                    stop = min([stop, *holes[:1]])
                    self._last_ns = int(clocks[stop - 1])
                    self._next_ns = max(self._next_ns, int(clocks[min(stop, len(clocks) - 1)]))
                    yield Batch(
                        records[at:stop], instrument_id, time.monotonic() + min(self.seconds_until(due_ns), 0.0)
                    )
                    at = stop
            if stream.covered_end_ns is not None:
                await self._until(stream.covered_end_ns)
                self._next_ns = max(self._next_ns, stream.covered_end_ns)

    async def _until(self, at_ns: int) -> int:
        """Wait for a time on the schedule, and return the time that the schedule has reached."""
        await asyncio.sleep(0)
        if at_ns < self._from_ns:
            return self._from_ns - 1
        if self._speed == float("inf"):
            return _END_NS
        if self._began is None:
            self._began = time.monotonic()
        while (seconds := self.seconds_until(at_ns)) > 0:
            await asyncio.sleep(seconds)
        return max(self._scheduled(), at_ns)


def _clocked(stream: RecordStream) -> Iterator[tuple[npt.NDArray[Any], npt.NDArray[np.int64], int]]:
    """Yield the instrument's own records, the clock at each of them, and its id.

    A record without a usable receive time arrives with the record before it.
    """
    clock = 0
    for chunk in stream:
        own = chunk.records[chunk.records["instrument_id"] == chunk.instrument_id]
        if len(own):
            times = own["ts_recv"].astype(np.int64)
            times[(own["flags"] & (F_BAD_TS_RECV | F_SNAPSHOT)) == F_BAD_TS_RECV] = 0
            clocks = np.maximum(np.maximum.accumulate(times), clock)
            clock = int(clocks[-1])
            yield own, clocks, chunk.instrument_id


def _speed(given: Any) -> float:
    try:
        speed = float("inf") if given == "max" else float(given)
    except (TypeError, ValueError):
        speed = 0.0
    if not speed > 0:
        raise ConfigError("The speed of a replay", required="a number above 0, or max", was=repr(given))
    return speed


def _whole(name: str, given: Any, *, least: int) -> int:
    if isinstance(given, bool) or not isinstance(given, int) or given < least:
        raise ConfigError(
            f"The option '{name}' of a replay", required=f"a whole number of at least {least}", was=repr(given)
        )
    return given
