"""The feed `replay`, and the checks that every feed must pass."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from markets import INSTRUMENT, START_NS, random_tape
from virtual_time import VirtualTime

from vpcore.errors import ConfigError
from vpcore.kernels.records import F_BAD_TS_RECV, F_SNAPSHOT
from vpcore.source import RecordChunk, RecordStream
from vpcore_serving.feed import Batch, Feed, FeedRequest, Lost, SequenceWatch, replay
from vpcore_serving.feed.conformance import check_clock, check_own_memory, check_snapshot_first
from vpcore_serving.feed.replay import ReplayFeed
from vpcore_serving.testing import feed_checks

END_NS = START_NS + 3 * 10**9


class Recorded(RecordStream):
    """Records in chunks that reuse their memory, as a source's do."""

    bytes_done = bytes_total = 0

    def __init__(self, records: np.ndarray, size: int = 100) -> None:
        self._records, self._size = records, size
        self.files, self.warnings = [], []
        self.covered_end_ns = END_NS

    def __iter__(self):
        memory = np.empty(self._size, self._records.dtype)
        for start in range(0, len(self._records), self._size):
            part = self._records[start : start + self._size]
            memory[: len(part)] = part
            yield RecordChunk(memory[: len(part)], INSTRUMENT, 0, start)


TAPE = random_tape(5, 300, oddities=False)
OWN = TAPE[TAPE["instrument_id"] == INSTRUMENT]


@pytest.fixture(scope="module", autouse=True)
def _virtual_time() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        VirtualTime().rule(patch, replay)
        yield


def request(records: np.ndarray = TAPE, **options: Any) -> FeedRequest:
    return FeedRequest("ESU5", START_NS, END_NS, lambda: Recorded(records), options)


def read(feed: Feed) -> list[tuple[Batch | Lost, int]]:
    async def run() -> list[tuple[Batch | Lost, int]]:
        return [(event, feed.now_ns()) async for event in feed]

    return asyncio.run(run())


def records_of(feed: Feed) -> bytes:
    return b"".join(event.records.tobytes() for event, _ in read(feed) if isinstance(event, Batch))


@feed_checks(ReplayFeed, lambda _: request(speed="max", batch_records=7), least=10**6)
def test_the_replay_at_full_speed_conforms(check):
    check()


@feed_checks(ReplayFeed, lambda _: request(speed=30), least=10**6)
def test_the_replay_at_a_speed_conforms(check):
    check()


@settings(max_examples=12)
@given(st.sampled_from(["max", 1000, 300.0]), st.integers(1, 60), st.integers(-1, 4))
def test_every_record_arrives_once_whatever_the_speed(speed, size, second):
    feed = ReplayFeed(request(speed=speed, batch_records=size, from_ns=START_NS + second * 10**9))
    assert records_of(feed) == OWN.tobytes()
    assert feed.now_ns() == END_NS


def test_the_schedule_is_absolute_and_the_past_comes_at_once():
    """Two seconds of the market at a speed of 10, behind a second that does not wait, with a slow reader."""
    feed = ReplayFeed(request(speed=10, from_ns=START_NS + 10**9))
    arrived: list[tuple[float, int]] = []
    waited: list[float] = []
    firsts: list[tuple[float, int]] = []

    async def run() -> None:
        loop = asyncio.get_running_loop()
        begin = loop.time()
        async for event in feed:
            assert isinstance(event, Batch)
            waited.append(loop.time() - event.arrived)
            firsts.append((event.arrived, int(event.records["ts_recv"][0])))
            clock = int(np.maximum.accumulate(event.records["ts_recv"])[-1])
            arrived.append((loop.time() - begin, clock))
            await asyncio.sleep(0.004)

    asyncio.run(run())
    early = [at for at, clock in arrived if clock < START_NS + 10**9]
    assert max(early) < 0.15
    for at, clock in arrived[len(early) :]:
        assert at - early[-1] >= (clock - START_NS - 10**9) / 10e9 - 0.004  # never before its time
    total, due = arrived[-1][0] - early[-1], (arrived[-1][1] - START_NS - 10**9) / 10e9
    assert due > 0.1
    assert total == pytest.approx(due, abs=0.01)  # the pauses of the reader do not add up
    # A batch arrives when its first record is due, however late the reader takes it.
    assert 0.002 < max(waited) < 0.01
    at, of = firsts[len(early)]
    for later, clock in firsts[len(early) + 1 :]:
        assert later - at == pytest.approx((clock - of) / 10e9, abs=1e-4)


def test_before_the_next_record_the_clock_runs_on_schedule():
    late = OWN.copy()
    late["ts_recv"][200:] += np.uint64(10**9)
    feed = ReplayFeed(request(late, speed=2))

    async def run() -> None:
        iterator = aiter(feed)
        gap = int(late["ts_recv"][200]) - 10**9
        while feed.now_ns() < gap - 1:
            await anext(iterator)
        waiting = asyncio.ensure_future(anext(iterator))
        seen = []
        while not waiting.done():
            await asyncio.sleep(0.02)
            seen.append(feed.now_ns())
            assert seen[-1] <= gap + 10**9 or waiting.done()
        assert seen == sorted(seen)
        assert len(set(seen)) > 10
        await iterator.aclose()

    asyncio.run(run())


# -- losses ------------------------------------------------------------------------------------------------------------


def numbered(records: np.ndarray) -> np.ndarray:
    found = records.copy()
    found["sequence"] = np.arange(len(found)) // 2
    return found


@pytest.mark.parametrize("size", [3, 4096])
def test_a_hole_of_the_sequence_numbers_is_a_loss(size):
    records = numbered(OWN)
    first = int(np.flatnonzero((records["flags"] & F_SNAPSHOT) == 0)[0])
    at = first + 90
    short = np.delete(records, slice(at, at + 6))
    events = [
        event for event, _ in read(ReplayFeed(request(short, speed="max", batch_records=size, dense_sequence=True)))
    ]
    lost = [i for i, event in enumerate(events) if isinstance(event, Lost)]
    assert len(lost) == 1
    before = np.concatenate([event.records for event in events[: lost[0]]])
    after = np.concatenate([event.records for event in events[lost[0] + 1 :]])
    assert before.tobytes() + after.tobytes() == short.tobytes()
    assert len(before) == at
    assert events[lost[0]].since_ns == int(np.maximum.accumulate(before["ts_recv"])[-1])
    assert not [
        e for e, _ in read(ReplayFeed(request(records, speed="max", dense_sequence=True))) if isinstance(e, Lost)
    ]


def test_a_new_count_is_no_hole():
    records = numbered(OWN)
    records["flags"] = 0
    records["sequence"][50:] = np.arange(len(records) - 50)
    watch = SequenceWatch()
    assert [len(watch.holes(part)) for part in np.array_split(records, 7)] == [0] * 7
    records["sequence"][60:] += 1
    assert SequenceWatch().holes(records).tolist() == [60]


# -- refusals ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("given", ["fast", 0, -1, None, float("nan")])
def test_a_speed_is_a_positive_number(given):
    with pytest.raises(ConfigError, match="The speed of a replay must be a number above 0, or max, was"):
        ReplayFeed(request(speed=given))


def test_what_a_replay_needs():
    with pytest.raises(ConfigError, match="The feed 'replay' needs recorded files. Name them with --files."):
        ReplayFeed(FeedRequest("ESU5", START_NS, END_NS))
    with pytest.raises(ConfigError, match="'replay' has no option 'sped'. Did you mean 'speed'?"):
        ReplayFeed(request(sped=1))
    with pytest.raises(
        ConfigError, match="The option 'batch_records' of a replay must be a whole number of at least 1, was 0"
    ):
        ReplayFeed(request(batch_records=0))
    with pytest.raises(
        ConfigError, match="The option 'from_ns' of a replay must be a whole number of at least 0, was 'noon'"
    ):
        ReplayFeed(request(from_ns="noon"))


# -- the clock of a live feed ------------------------------------------------------------------------------------------


class Quiet(Feed):
    async def __aiter__(self):
        yield Batch(OWN[:0], INSTRUMENT)


@pytest.mark.parametrize("step_s", [-3600, 3600])
def test_a_step_of_the_clock_moves_no_live_feed(monkeypatch, step_s):
    feed = Quiet(request())
    before, wall = feed.now_ns(), time.time_ns()
    assert abs(before - wall) < 10**9
    monkeypatch.setattr(time, "time_ns", lambda: wall + step_s * 10**9)
    assert 0 <= feed.now_ns() - before < 5 * 10**9
    assert feed.seconds_until(before + 10**12) == pytest.approx(1000, abs=5)


# -- the checks can fail -----------------------------------------------------------------------------------------------


class Hasty(ReplayFeed):
    """Its clock is ahead of its records."""

    def now_ns(self) -> int:
        return super().now_ns() + 10**9


class Frugal(ReplayFeed):
    """Reuses the memory of a batch."""

    async def __aiter__(self):
        memory = np.empty(10**4, OWN.dtype)
        async for event in super().__aiter__():
            memory[: len(event.records)] = event.records
            yield Batch(memory[: len(event.records)], event.instrument_id)


def test_the_checks_can_fail(tmp_path: Path):
    with pytest.raises(AssertionError, match="a record came after now_ns had passed its time"):
        check_clock(Hasty, request(speed="max", batch_records=5), 10**6)
    with pytest.raises(AssertionError, match="records must stay as they were"):
        check_own_memory(Frugal, request(speed="max", batch_records=5), 10**6)
    with pytest.raises(AssertionError, match="the first record must be of a snapshot"):
        check_snapshot_first(ReplayFeed, request(OWN[OWN["flags"] & F_SNAPSHOT == 0], speed="max"), 1)


def test_a_record_without_a_usable_time_arrives_with_the_record_before_it():
    records = OWN.copy()
    records["flags"][-20:] |= F_BAD_TS_RECV
    records["ts_recv"][-20:] = 2**63
    assert records_of(ReplayFeed(request(records, speed=100))) == records.tobytes()
