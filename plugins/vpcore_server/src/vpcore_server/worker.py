"""The worker of one channel: a process with feed, engine, scorer, signal and clock.

``python -m vpcore_server.worker JSON`` writes messages to stdout (see `messages`) until its session or its stdin ends.
"""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import os
import random
import sys
import threading
import time
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from vpcore.backtest.entries import band
from vpcore.errors import ConfigError, EngineError, PluginError, RegistryError, SourceError, VpError
from vpcore.feed import Batch, Feed, FeedRequest, Lost
from vpcore.serving.live_pipeline import LiveBin, LivePipeline, session_start
from vpcore.serving.spec import PublishedPipeline, published
from vpcore.source.prepare import Prepared
from vpcore.source.protocol import RecordStream, SourceRequest
from vpcore.units import NS_PER_MS, NS_PER_S
from vpcore_server.describe import describe
from vpcore_server.messages import END, FAILED, HELLO, TEXT, write_bin, write_json
from vpcore_server.wire import GAP, REPLAYED, Encoder, as_float

if TYPE_CHECKING:
    from vpcore.workspace import Workspace

_log = logging.getLogger("vpcore.server")

FIRST_PAUSE_S, LAST_PAUSE_S = 1.0, 30.0
"""Pause before a feed is made anew, doubled after every failure in a row, with jitter."""

TURN_S = 0.25
"""Longest wait between two looks at the clock."""


@dataclass(frozen=True, slots=True)
class Task:
    """What a worker does.

    Parameters
    ----------
    root : str
        The workspace.
    serving_id : str
        Version to serve.
    feed : str
        Name of a feed.
    options : dict
        Options of the feed.
    files : list of str
        Files of a replay; empty: those of the published window, found below ``lake/raw``.
    symbol : str, optional
        Contract, if another one than the published one.
    begin_ns : int, optional
        Time that names the session; a replay keeps its schedule from then on. By default the published session, or
        the present one of a live feed.
    after_bin : int
        Bins up to this one have been sent by an earlier worker.
    loop : bool
        Start a replay again at its end.
    grace_ms, stale_s : float
        See ``vp serve``.
    """

    root: str
    serving_id: str
    feed: str = "replay"
    options: dict[str, Any] = field(default_factory=dict)
    files: list[str] = field(default_factory=list)
    symbol: str | None = None
    begin_ns: int | None = None
    after_bin: int = -1
    loop: bool = False
    grace_ms: float = 250.0
    stale_s: float = 5.0

    def to_json(self) -> str:
        """Return the argument of the worker's command."""
        return json.dumps(asdict(self))


def session_of(pipeline: PublishedPipeline, at_ns: int | None) -> tuple[int, int]:
    """Return start and end of the session of a time, or of the published session."""
    start_ns = pipeline.start_ns if at_ns is None else session_start(pipeline, at_ns)
    return start_ns, start_ns + pipeline.end_ns - pipeline.start_ns


class Worker:
    """Runs the sessions of a task, and writes what comes of them.

    Parameters
    ----------
    task : Task
    workspace : Workspace
    out : binary file
        Where the messages go.
    """

    def __init__(self, task: Task, workspace: Workspace, out: BinaryIO) -> None:
        self.task, self.workspace, self.out = task, workspace, out
        self._after_bin = task.after_bin
        self._spans: deque[float] = deque(maxlen=1000)  # seconds from what closed a bin to its message
        self._valid: deque[bool] = deque(maxlen=1000)
        self._n_valid = self._n_sessions = 0
        self._next_ns = 0  # start of the next session of a live feed
        self._told_fresh = True
        self._lost: tuple[str, int] | None = None  # reason and time of an open loss
        self._gap = False
        self._silence = 0.0  # seconds of waiting since the feed was heard; work does not count
        self._told = 0.0
        self._last_bin: LiveBin | None = None

    def run(self) -> None:
        """Run the task to its end. A `VpError` is a message, and so is a failure of the signal."""
        try:
            while self._session():
                self._after_bin = -1
                self._n_sessions += 1
                gc.collect()  # the old session's windows are in cycles, and large
            write_json(self.out, END, {"type": "end", "reason": "The session is over."})
        except VpError as error:
            write_json(self.out, FAILED, {"code": code_of(error), "message": str(error)})
        except Exception as error:
            _log.exception("The worker failed.")
            text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
            write_json(self.out, FAILED, {"code": 4500, "message": f"The signal failed: {text}"})

    # -- a session -----------------------------------------------------------------------------------------------------

    def _session(self) -> bool:
        """Run one session and return True if another one follows."""
        task, workspace = self.task, self.workspace
        kind: type[Feed] = workspace.plugins.load("feed", task.feed, "vp serve --feed")
        version = published(workspace.registry, task.serving_id)
        resolved = version.spec.runtime.pipeline
        at_ns = self._next_ns or (time.time_ns() if kind.live and task.begin_ns is None else task.begin_ns)
        start_ns, end_ns = session_of(resolved, at_ns)
        self.pipeline = LivePipeline.from_serving(
            workspace,
            task.serving_id,
            symbol=task.symbol,
            start_ns=start_ns,
            end_ns=None if kind.live else end_ns,
            grace_ns=int(task.grace_ms * NS_PER_MS),
        )
        symbol = task.symbol or version.symbol
        options = dict(task.options)
        if task.begin_ns is not None and not kind.live:
            options["from_ns"] = task.begin_ns
        self._request = FeedRequest(
            symbol, start_ns, end_ns, lambda: self._recorded(resolved, start_ns, end_ns), options
        )
        self._kind, self._width_ns = kind, self.pipeline.stages.stream.context.cell_width_ns
        self._due_ns = start_ns + self._width_ns
        self._next_ns = session_start(resolved, end_ns) if kind.live else 0
        self._n_valid, self._lost, self._gap, self._last_bin = 0, None, False, None
        runtime = version.spec.runtime
        context = self.pipeline.stages.stream.context
        windows = (runtime.scoring.zscore_window_bins, self.pipeline.signal.warmup_bins(context))
        self._warmup_bins = max(*map(int, windows), runtime.rules.warmup_bins)
        n_horizons = len(runtime.projection.horizons_ms)
        n_cells = runtime.pipeline.engine.n_cells
        self._encoder = Encoder(n_cells, n_horizons, resolved.tick_int)
        feed = kind(self._request)
        # A feed may also deliver the session so far: then the windows fill at once.
        self._joined_ns = feed.now_ns() if kind.live and feed.now_ns() > start_ns + NS_PER_S else None
        self._replayed_until = 2**63 if not kind.live else feed.now_ns()
        about = describe(version, workspace.instrument(symbol).multiplier)
        about |= {
            "type": "hello",
            "symbol": symbol,
            "published_symbol": version.symbol,
            "feed": task.feed,
            "live": kind.live,
            "speed": None if kind.live else task.options.get("speed", 1),
            "start_ns": start_ns,
            "end_ns": end_ns,
            "n_cells": n_cells,
            "continues": self._after_bin >= 0,
            "session": self._n_sessions,
            "levels": list(band(version.threshold, self.pipeline.signal.prediction_mode)),
            "warmup_bins": self._warmup_bins,
        }
        write_json(self.out, HELLO, about)
        asyncio.run(self._follow(feed))
        return self._next_ns <= feed.now_ns() if kind.live else task.loop

    def _recorded(self, resolved: PublishedPipeline, start_ns: int, end_ns: int) -> RecordStream:
        """Open the recorded session: of the task's files, or found below ``lake/raw``."""
        from pathlib import Path

        from vpcore.source.far import with_files

        source = self.workspace.plugins.load("source", resolved.source)()
        request = SourceRequest(
            symbol=self.task.symbol or resolved.symbol,
            start_ns=start_ns,
            end_ns=end_ns,
            files=tuple(map(Path, self.task.files)),
            raw_root=self.workspace.raw,
            options=resolved.options,
        )
        with_files(self.workspace.raw_folder, request)
        # The pipeline tells events apart itself.
        return Prepared(source.open(request), "flags", resolved.repeated)

    async def _follow(self, feed: Feed) -> None:
        """Follow a feed, and a new one after every broken connection, to the end of the session."""
        pause = FIRST_PAUSE_S
        while True:
            n_before = self.pipeline.lost_count
            try:
                await self._read(feed)
                if not feed.live:
                    # Every record has come: nothing to wait for.
                    self._emit(self.pipeline.advance(feed.now_ns() + int(self.task.grace_ms * NS_PER_MS)))
                self._status(feed)
                return
            except SourceError as error:
                if not feed.live:
                    raise
                self._lose(f"The feed broke: {error}", 0)
            finally:
                await feed.close()
            if self.pipeline.lost_count - n_before <= 1 and self._lost is None:
                pause = FIRST_PAUSE_S
            wait = pause * random.uniform(0.5, 1.0)
            pause = min(2 * pause, LAST_PAUSE_S)
            await self._idle(feed, wait)
            feed = self._kind(self._request)

    async def _idle(self, feed: Feed, seconds: float) -> None:
        """Let bins go on, invalid, while there is no feed."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            turn = min(left, max(self._wait(feed), 0.001))
            await asyncio.sleep(turn)
            self._silence += turn
            self._emit(self.pipeline.advance(feed.now_ns()))
            self._status(feed)

    async def _read(self, feed: Feed) -> None:
        iterator: AsyncIterator[Batch | Lost] = aiter(feed)
        self._silence = 0.0
        connected = False
        pending: asyncio.Future[Any] | None = None
        try:
            while True:
                pending = pending or asyncio.ensure_future(_next(iterator))
                before = time.monotonic()
                await asyncio.wait({pending}, timeout=self._wait(feed))
                begun = time.monotonic()
                self._silence += begun - before
                bins: list[LiveBin] = []
                if pending.done():
                    event, pending = pending.result(), None
                    if event is None:
                        return
                    self._silence, connected = 0.0, True
                    if isinstance(event, Lost):
                        self._lose(event.reason, event.since_ns)
                    elif len(event.records):
                        bins = self._push(event)
                bins += self.pipeline.advance(feed.now_ns())
                self._emit(bins, begun)
                if feed.live and connected and self._silence > self.task.stale_s and self._lost is None:
                    self._lose(f"The feed has been silent for {self.task.stale_s:g} s.", 0)
                self._status(feed)
                if feed.live and feed.now_ns() >= self._next_ns:
                    return
        finally:
            if pending is not None:
                pending.cancel()
                await asyncio.gather(pending, return_exceptions=True)
            await iterator.aclose()  # type: ignore[attr-defined]

    def _push(self, batch: Batch) -> list[LiveBin]:
        pipeline = self.pipeline
        if pipeline.instrument_id != batch.instrument_id:
            if pipeline.instrument_id is not None:
                raise ConfigError(
                    "The instrument id of the feed changed within the session",
                    required=str(pipeline.instrument_id),
                    was=str(batch.instrument_id),
                )
            pipeline.instrument_id = batch.instrument_id
        if self._joined_ns is not None:
            # The bins so far have no book: nobody needs them, and there may be a night of them.
            pipeline.joined(self._joined_ns)
            self._joined_ns = None
            self._due_ns = self._request.start_ns + (pipeline.warm_from(batch.records) + 1) * self._width_ns
            return []
        return pipeline.push(batch.records)

    def _wait(self, feed: Feed) -> float:
        """Return the seconds until the next bin can be ended by the clock."""
        seconds = feed.seconds_until(self._due_ns + int(self.task.grace_ms * NS_PER_MS))
        return min(max(seconds, 0.0), TURN_S)

    # -- losses --------------------------------------------------------------------------------------------------------

    def _lose(self, reason: str, since_ns: int) -> None:
        self.pipeline.lost()
        self._note_loss(reason, since_ns)

    def _note_loss(self, reason: str, since_ns: int) -> None:
        _log.warning("%s", reason)
        if self._lost is None:
            since_ns = since_ns or (self._last_bin.end_ns if self._last_bin is not None else 0)
            self._lost = (reason, since_ns)
            write_json(self.out, TEXT, {"type": "gap", "reason": reason, "since_ns": since_ns, "until_ns": None})

    def _found(self, bin: LiveBin) -> None:
        """Say that the book is known again."""
        assert self._lost is not None
        reason, since_ns = self._lost
        self._lost, self._gap = None, True
        write_json(self.out, TEXT, {"type": "gap", "reason": reason, "since_ns": since_ns, "until_ns": bin.end_ns})

    # -- output --------------------------------------------------------------------------------------------------------

    def _emit(self, bins: list[LiveBin], begun: float | None = None) -> None:
        for bin in bins:
            self._last_bin = bin
            self._valid.append(bin.valid)
            self._n_valid += bin.valid
            if bin.valid and self._lost is not None:
                self._found(bin)
            if bin.bin_seq <= self._after_bin:
                continue
            flags = (REPLAYED if bin.end_ns < self._replayed_until else 0) | (GAP if self._gap else 0)
            self._gap = False
            write_bin(self.out, *self._encoder.encode(bin, time.time_ns(), flags))
            if bin.entry or bin.exits:
                exits = [asdict(exit) for exit in bin.exits]
                event = {"type": "event", "bin_seq": bin.bin_seq, "end_ns": bin.end_ns, "entry": bin.entry}
                write_json(self.out, TEXT, event | {"value": as_float(bin.value), "exits": exits})
        if bins:
            self._due_ns = bins[-1].end_ns + self._width_ns
            self.out.flush()
            if begun is not None:
                self._spans.append(time.monotonic() - begun)

    def _status(self, feed: Feed) -> None:
        """Write a status, each second and when a loss begins or ends."""
        now = time.monotonic()
        changed = (self._lost is None) != self._told_fresh
        if now - self._told < 1.0 and not changed:
            return
        self._told, self._told_fresh = now, self._lost is None
        pipeline, last = self.pipeline, self._last_bin
        counts = pipeline.quality()
        status = {
            "type": "status",
            "now_ns": feed.now_ns(),
            "sent_ns": time.time_ns(),
            "feed_age_s": round(self._silence, 3),
            "late_records": pipeline.late_records,
            "doubt": pipeline.doubt or None,
            "unknown_order_rate": as_float(float(counts.get("unknown_order_rate") or 0.0)),
            "invalid_share": round(1.0 - float(np.mean(self._valid)), 4) if self._valid else None,
            "p99_ms": round(1e3 * float(np.percentile(self._spans, 99)), 3) if self._spans else None,
            "bins_behind": max(int((feed.now_ns() - self._due_ns) // self._width_ns) - self._grace_bins, 0),
            "bin_seq": last.bin_seq if last is not None else None,
            "warmup_bins_left": max(pipeline.n_missing, self._warmup_bins - self._n_valid, 0),
            "warmup_bins": self._warmup_bins,
            "lost": self._lost[0] if self._lost is not None else None,
            "lost_since_ns": self._lost[1] if self._lost is not None else None,
            "lost_count": pipeline.lost_count,
            "n_open": len(pipeline.open_positions),
        }
        write_json(self.out, TEXT, status)

    @property
    def _grace_bins(self) -> int:
        return int(self.task.grace_ms * NS_PER_MS // self._width_ns) + 1


async def _next(iterator: AsyncIterator[Batch | Lost]) -> Batch | Lost | None:
    return await anext(iterator, None)


def code_of(error: VpError) -> int:
    """Return the WebSocket code that an error closes a stream with."""
    if isinstance(error, (ConfigError, SourceError, EngineError)):
        return 4409  # contract, files, records or options do not fit the version
    if isinstance(error, (RegistryError, PluginError)) or "was published" in str(error):
        return 4410
    return 4500


def main() -> None:
    """Run the task in the first argument."""
    out = os.fdopen(os.dup(1), "wb", buffering=1 << 16)
    os.dup2(2, 1)  # what a plugin prints is no message
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(message)s")
    task = Task(**json.loads(sys.argv[1]))
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    from vpcore.workspace import Workspace

    try:
        workspace = Workspace(task.root)
        Worker(task, workspace, out).run()
    except BrokenPipeError:
        os._exit(0)
    try:
        out.close()
    except BrokenPipeError:
        pass


def _leave_with_parent() -> None:
    """End the process when the server is gone or closes the pipe."""
    while os.read(0, 4096):
        pass
    os._exit(0)


if __name__ == "__main__":
    main()
