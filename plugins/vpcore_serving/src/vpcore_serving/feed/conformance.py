"""Conformance checks for feeds; `vpcore_serving.testing.feed_checks` runs them. A check raises `AssertionError`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import numpy as np

from vpcore.errors import ConfigError
from vpcore.kernels.records import CLEAR, F_BAD_TS_RECV, F_SNAPSHOT, MBO_DTYPE
from vpcore_serving.feed.protocol import Batch, Feed, FeedRequest, Lost

Make = Callable[[FeedRequest], Feed]

PATIENCE_S = 30.0
"""Longest wait for the records of a check."""


async def _events(feed: Feed, least: int) -> list[tuple[Batch | Lost, int]]:
    """Return events up to so many own records, each with the feed's time before it."""
    found: list[tuple[Batch | Lost, int]] = []
    iterator: Any = aiter(feed)
    own = 0
    try:
        async with asyncio.timeout(PATIENCE_S):
            while own < least:
                before = feed.now_ns()
                event = await anext(iterator, None)
                if event is None:
                    break
                found.append((event, before))
                if isinstance(event, Batch):
                    own += int((event.records["instrument_id"] == event.instrument_id).sum())
    except TimeoutError:
        raise AssertionError(f"{least} records must arrive within {PATIENCE_S:g} s, {own} did") from None
    finally:
        await iterator.aclose()
        await feed.close()
    return found


def _read(make: Make, request: FeedRequest, least: int) -> tuple[Feed, list[tuple[Batch | Lost, int]]]:
    feed = make(request)
    return feed, asyncio.run(_events(feed, least))


def check_events(make: Make, request: FeedRequest, least: int) -> None:
    """It derives from `Feed` and yields `Batch` and `Lost`, with arrays of MBO_DTYPE and records of the contract."""
    feed, events = _read(make, request, least)
    assert isinstance(feed, Feed), f"{type(feed).__name__} must derive from vpcore_serving.feed.Feed"
    own = 0
    for event, _ in events:
        assert isinstance(event, (Batch, Lost)), f"an event must be a Batch or Lost, was {type(event).__name__}"
        if isinstance(event, Batch):
            assert event.records.dtype == MBO_DTYPE, f"records must be MBO_DTYPE, were {event.records.dtype}"
            own += int((event.records["instrument_id"] == event.instrument_id).sum())
        else:
            assert event.reason, "a loss must have a reason"
    assert own, f"there must be records of {request.symbol}"


def check_snapshot_first(make: Make, request: FeedRequest, least: int) -> None:
    """The first record is part of a snapshot, or a clear: without the book no bin is valid."""
    _, events = _read(make, request, least)
    first = next(event.records[0] for event, _ in events if isinstance(event, Batch) and len(event.records))
    begins = bool(first["flags"] & F_SNAPSHOT) or first["action"] == CLEAR
    assert begins, f"the first record must be of a snapshot, or a clear, was {first}"


def check_own_memory(make: Make, request: FeedRequest, least: int) -> None:
    """A later batch leaves the records of an earlier one as they are."""

    async def read() -> None:
        feed = make(request)
        held: list[tuple[np.ndarray[Any, Any], bytes]] = []
        iterator: Any = aiter(feed)
        try:
            async with asyncio.timeout(PATIENCE_S):
                while sum(len(records) for records, _ in held) < least:
                    event = await anext(iterator, None)
                    if event is None:
                        break
                    if isinstance(event, Batch):
                        held.append((event.records, event.records.tobytes()))
        finally:
            await iterator.aclose()
            await feed.close()
        assert all(records.tobytes() == before for records, before in held), "records must stay as they were"

    asyncio.run(read())


def check_clock(make: Make, request: FeedRequest, least: int) -> None:
    """`now_ns` never runs back. In a replay, every record before it has been delivered."""
    feed, events = _read(make, request, least)
    times = [before for _, before in events]
    assert times == sorted(times), "now_ns must not run back"
    if feed.live:
        return
    for event, before in events:
        if isinstance(event, Batch):
            stamped = (event.records["flags"] & (F_BAD_TS_RECV | F_SNAPSHOT)) == 0
            received = event.records["ts_recv"][stamped].astype(np.int64)
            peaks = np.maximum.accumulate(received)
            assert not len(peaks) or int(peaks[-1]) >= before, "a record came after now_ns had passed its time"


def check_repeatable(make: Make, request: FeedRequest, least: int) -> None:
    """A replay delivers the same bytes again."""
    both = []
    for _ in range(2):
        feed, events = _read(make, request, least)
        both.append(b"".join(event.records.tobytes() for event, _ in events if isinstance(event, Batch)))
    if not feed.live:
        n = min(map(len, both))
        assert both[0][:n] == both[1][:n], "the records must be the same bytes"


def check_early_end(make: Make, request: FeedRequest, least: int) -> None:
    """A reader may stop at any time; closing leaves no task behind."""

    async def read() -> None:
        feed = make(request)
        iterator: Any = aiter(feed)
        async with asyncio.timeout(PATIENCE_S):
            await anext(iterator, None)
            waiting = asyncio.ensure_future(anext(iterator, None))
            await asyncio.sleep(0)
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
            await iterator.aclose()
            await feed.close()
        left = asyncio.all_tasks() - {asyncio.current_task()}
        assert not left, f"close must end every task, {len(left)} were left"

    asyncio.run(read())


def check_unknown_option(make: Make, request: FeedRequest, least: int) -> None:
    """An unknown option is a ConfigError that names the option, before any connection."""
    said = ""
    try:
        make(FeedRequest(request.symbol, request.start_ns, request.end_ns, request.recorded, {"no_such_option": 1}))
    except ConfigError as error:
        said = str(error)
    assert said, "an unknown option must raise ConfigError"
    assert "no_such_option" in said, f"the error must name the option, was: {said}"


FEED_CHECKS: tuple[Callable[[Make, FeedRequest, int], None], ...] = (
    check_events,
    check_snapshot_first,
    check_own_memory,
    check_clock,
    check_repeatable,
    check_early_end,
    check_unknown_option,
)
