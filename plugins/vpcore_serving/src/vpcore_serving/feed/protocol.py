"""The base class of feeds: a feed delivers the records of one contract as they arrive, and says what it has lost."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from vpcore.kernels.records import F_SNAPSHOT
from vpcore.source.protocol import RecordStream


@dataclass(frozen=True, slots=True)
class FeedRequest:
    """The contract that a feed follows, and its session.

    Parameters
    ----------
    symbol : str
        Contract, such as ESU5.
    start_ns, end_ns : int
        The session, UTC nanoseconds, end excluded.
    recorded : callable, optional
        Opens the recorded session, a `vpcore.source.RecordStream`; None without recorded files.
    options : mapping
        The feed's own options. A feed refuses an unknown one with a `ConfigError` that names it.
    """

    symbol: str
    start_ns: int
    end_ns: int
    recorded: Callable[[], RecordStream] | None = None
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Batch:
    """Records that arrived together.

    Parameters
    ----------
    records : MBO_DTYPE[n]
        In the order of arrival, in memory of their own. Empty for a heartbeat: the connection lives, the market is
        quiet. Records of other instruments are skipped.
    instrument_id : int
        Instrument of the contract; it may change with a later batch.
    arrived : float
        Time of arrival of the first record, in seconds of `time.monotonic`; by default now. Delays count from here.
    """

    records: npt.NDArray[Any]
    instrument_id: int
    arrived: float = field(default_factory=lambda: time.monotonic())


@dataclass(frozen=True, slots=True)
class Lost:
    """Records were lost: the book is unknown until a snapshot or a clear arrives.

    Parameters
    ----------
    reason : str
        One sentence for the log and the page.
    since_ns : int
        Receive time of the last record before the loss; 0 if unknown.
    """

    reason: str
    since_ns: int = 0


class Feed(ABC):
    """A component of kind `feed`: an asynchronous iterator of `Batch` and `Lost`, read once, in one event loop.

    The first records are a snapshot of the book. The iterator ends with the session. It raises a `SourceError` if the
    connection breaks: the reader counts the records in between as lost and makes a new feed after a pause. Every other
    `VpError` is final, such as a wrong key or an unknown contract. `vpcore_serving.testing.feed_checks` checks an
    implementation.

    Parameters
    ----------
    request : FeedRequest

    Raises
    ------
    ConfigError
        If an option is unknown or has a wrong value. The constructor opens no connection.
    """

    live: ClassVar[bool] = True
    """True if records arrive as the market makes them. False for a replay, which repeats exactly."""

    def __init__(self, request: FeedRequest) -> None:
        self.request = request
        self._offset_ns = time.time_ns() - time.monotonic_ns()

    @abstractmethod
    def __aiter__(self) -> AsyncIterator[Batch | Lost]:
        """Yield batches as they arrive."""

    def now_ns(self) -> int:
        """Return the time of the feed's market, ns since the epoch. It never runs back.

        A live feed has the clock of this machine as the feed was made; later steps of the clock leave it alone. For a
        replay, every record before this time has been delivered.
        """
        return time.monotonic_ns() + self._offset_ns

    def seconds_until(self, at_ns: int) -> float:
        """Return the seconds to wait until `now_ns` reaches a time."""
        return (at_ns - self.now_ns()) / 1e9

    async def close(self) -> None:  # noqa: B027
        """Close the connection. The reader calls it once, after closing the iterator, also after an error."""


class SequenceWatch:
    """Finds holes in sequence numbers, for feeds that number the events of one contract without holes.

    CME numbers the packets of a channel, so the records of one of its contracts have holes by nature.
    """

    def __init__(self) -> None:
        self._last: int | None = None

    def holes(self, records: npt.NDArray[Any]) -> npt.NDArray[np.intp]:
        """Return the positions of the records behind a hole, MBO_DTYPE[n] in; snapshots are left out.

        A number below its predecessor starts a new count.
        """
        own = np.flatnonzero((records["flags"] & F_SNAPSHOT) == 0)
        if not len(own):
            return own
        numbers = records["sequence"][own].astype(np.int64)
        before = np.concatenate([[numbers[0] if self._last is None else self._last], numbers[:-1]])
        self._last = int(numbers[-1])
        found: npt.NDArray[np.intp] = own[numbers - before > 1]
        return found
