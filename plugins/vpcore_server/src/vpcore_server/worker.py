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
import secrets
import selectors
import sys
import threading
import time
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from vpcore.backtest.entries import band
from vpcore.errors import ConfigError, EngineError, PluginError, RegistryError, SourceError, VpError
from vpcore.source.prepare import Prepared
from vpcore.source.protocol import RecordStream, SourceRequest
from vpcore.units import NS_PER_MS, NS_PER_S
from vpcore_server.describe import describe
from vpcore_server.messages import END, FAILED, HELLO, TEXT, write_bin, write_json
from vpcore_server.task import Task
from vpcore_server.wire import GAP, REPLAYED, Encoder, as_float
from vpcore_serving.feed import Batch, Feed, FeedRequest, Lost
from vpcore_serving.live_pipeline import LiveBin, LivePipeline, session_start
from vpcore_serving.registry import registry_of
from vpcore_serving.spec import PublishedPipeline, published

if TYPE_CHECKING:
    from vpcore.workspace import Workspace

_log = logging.getLogger("vpcore.server")

FIRST_PAUSE_S, LAST_PAUSE_S = 1.0, 30.0
"""Pause before a feed is made anew, doubled after every failure in a row, with jitter."""

MOST_OPEN = 64
"""Most open positions in a status, the latest ones."""

TURN_S = 0.25
"""Longest wait between two looks at the clock."""


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
        self._spans: deque[float] = deque(maxlen=1000)  # seconds from the close of a bin to its message
        self._valid: deque[bool] = deque(maxlen=1000)
        self._n_valid = 0
        self._next_ns = 0  # start of the next session of a live feed
        self._told_state: tuple[bool, list[int]] = (True, [])
        self._lost: tuple[str, int] | None = None  # reason and time of an open loss
        self._gap = False
        self._silence = 0.0  # seconds of waiting since the feed was heard; work does not count
        self._told = 0.0
        self._n_collections = 0
        self._last_bin: LiveBin | None = None

    def run(self) -> None:
        """Run the task to its end. A `VpError` is a message, and so is a failure of the signal."""
        try:
            while self._session():
                self._after_bin = -1
            write_json(self.out, END, {"type": "end", "reason": "The session is over."})
        except VpError as error:
            write_json(self.out, FAILED, {"code": code_of(error), "message": str(error)})
        except Exception as error:
            _log.exception("The worker failed.")
            text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
            write_json(self.out, FAILED, {"code": 4500, "message": f"The signal failed: {text}"})
        finally:
            gc.enable()
            gc.unfreeze()

    # -- a session -----------------------------------------------------------------------------------------------------

    def _session(self) -> bool:
        """Run one session and return True if another one follows."""
        task, workspace = self.task, self.workspace
        kind: type[Feed] = workspace.plugins.load("feed", task.feed, "vp serve --feed")
        version = published(registry_of(workspace), task.serving_id)
        resolved = version.spec.runtime.pipeline
        at_ns = self._next_ns or (time.time_ns() if kind.live and task.begin_ns is None else task.begin_ns)
        start_ns, end_ns = session_of(resolved, at_ns)
        self.pipeline = LivePipeline.from_serving(
            workspace,
            task.serving_id,
            symbol=task.symbol,
            start_ns=start_ns,
            end_ns=None if kind.live else end_ns,
            grace_ns=self._grace_ns,
        )
        symbol = task.symbol or version.symbol
        options = dict(task.options)
        if task.begin_ns is not None and not kind.live:
            options["from_ns"] = task.begin_ns
        self._kind = kind
        self._request = FeedRequest(
            symbol, start_ns, end_ns, lambda: self._recorded(resolved, start_ns, end_ns), options
        )
        self._width_ns = self.pipeline.stages.stream.context.cell_width_ns
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
            "session": self._session_id(symbol, start_ns),
            "levels": list(band(version.threshold, self.pipeline.signal.prediction_mode)),
            "warmup_bins": self._warmup_bins,
        }
        write_json(self.out, HELLO, about)
        gc.unfreeze()
        gc.collect()
        gc.freeze()
        gc.disable()  # `_collect` chooses the time: a collection takes longer than a bin
        self._n_collections = 0
        with asyncio.Runner(loop_factory=_exact_loop) as runner:
            runner.run(self._follow(feed))
        del self.pipeline  # its windows are free before those of the next session are made
        return self._next_ns <= feed.now_ns() if kind.live else task.loop

    def _session_id(self, symbol: str, start_ns: int) -> str:
        """Return a name that two sessions share only if a number means the same bin in both."""
        name = f"{self.task.serving_id}/{symbol}/{start_ns}"
        return name if self._kind.live else f"{name}/{secrets.token_hex(4)}"

    def _recorded(self, resolved: PublishedPipeline, start_ns: int, end_ns: int) -> RecordStream:
        """Open the recorded session: of the task's files, or found below ``lake/raw``."""
        from pathlib import Path

        source = self.workspace.plugins.load("source", resolved.source)()
        request = SourceRequest(
            symbol=self.task.symbol or resolved.symbol,
            start_ns=start_ns,
            end_ns=end_ns,
            files=tuple(map(Path, self.task.files)),
            raw=self.workspace.raw_folder,
            options=resolved.options,
        )
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
                    self._emit(self.pipeline.advance(feed.now_ns() + self._grace_ns), time.monotonic())
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
            self._emit_by_clock(feed)
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
                if pending.done():
                    event, pending = pending.result(), None
                    if event is None:
                        return
                    self._silence, connected = 0.0, True
                    if isinstance(event, Lost):
                        self._lose(event.reason, event.since_ns)
                    elif len(event.records):
                        self._emit(self._push(event), min(event.arrived, begun))
                self._emit_by_clock(feed)
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
        seconds = feed.seconds_until(self._due_ns + self._grace_ns)
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

    def _emit_by_clock(self, feed: Feed) -> None:
        """Write the bins whose grace is over."""
        bins = self.pipeline.advance(feed.now_ns())
        if bins:
            late = max(-feed.seconds_until(bins[0].end_ns + self._grace_ns), 0.0)
            self._emit(bins, time.monotonic() - late)

    def _emit(self, bins: list[LiveBin], closed: float) -> None:
        """Write bins that were closed at a time of the monotonic clock."""
        if not bins:
            return
        closed_ns = time.time_ns() - int(1e9 * (time.monotonic() - closed))
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
            write_bin(self.out, *self._encoder.encode(bin, closed_ns, flags))
            if bin.entry or bin.exits:
                exits = [asdict(exit) for exit in bin.exits]
                event = {"type": "event", "bin_seq": bin.bin_seq, "end_ns": bin.end_ns, "entry": bin.entry}
                write_json(self.out, TEXT, event | {"value": as_float(bin.value), "exits": exits})
        self._due_ns = bins[-1].end_ns + self._width_ns
        self.out.flush()
        self._spans.append(time.monotonic() - closed)

    def _status(self, feed: Feed) -> None:
        """Write a status, each second and when a loss begins or ends."""
        now, pipeline, last = time.monotonic(), self.pipeline, self._last_bin
        positions = pipeline.open_positions
        state = (self._lost is None, [position.entry_bin for position in positions])
        if now - self._told < 1.0 and state == self._told_state:
            return
        self._told, self._told_state = now, state
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
            "n_open": len(positions),
            "open": [asdict(position) for position in positions[-MOST_OPEN:]],
        }
        write_json(self.out, TEXT, status)
        self._collect()

    def _collect(self) -> None:
        """Collect garbage, now that the bins are on their way.

        Compiled code loads with its first call, as 55,000 objects that stay. Later collections leave out the objects
        that were alive at collection 1, 2, 4, 8, ... of the session, so they take microseconds.
        """
        gc.collect()
        self._n_collections += 1
        if self._n_collections.bit_count() == 1:
            gc.freeze()

    @property
    def _grace_bins(self) -> int:
        return self._grace_ns // self._width_ns + 1

    @property
    def _grace_ns(self) -> int:
        return int(self.task.grace_ms * NS_PER_MS)


def _exact_loop() -> asyncio.AbstractEventLoop:
    """Return an event loop with timers of a microsecond. By default they wait for the next whole millisecond."""
    return asyncio.SelectorEventLoop(selectors.SelectSelector())


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
    gc.set_threshold(50_000, 10, 10)  # imports make objects that stay; a session turns the search for garbage off
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
