"""`LivePipeline`: records in, scored bins with signal values and entries out."""

from __future__ import annotations

import datetime
import logging
import math
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

from vpcore.backtest.open_market import stale_bins
from vpcore.engine import ColdBook, Engine, EngineParams, Frame, FrameBlock
from vpcore.engine.engine import BLOCK_BINS
from vpcore.errors import ConfigError, EngineError, SignalError
from vpcore.halts import in_halt
from vpcore.kernels.records import F_BAD_TS_RECV, F_SNAPSHOT
from vpcore.signal import MLSignal, Signal, code_digest, distribution_of
from vpcore.source.prepare import Events, SequenceEvents
from vpcore.units import NS_PER_MS, NS_PER_S, ms_to_ns
from vpcore_dbn.messages import as_records
from vpcore_serving.bin_pipeline import BinStages, EntryDetector, context_of
from vpcore_serving.models import PackedModel, unpack_model
from vpcore_serving.positions import Exit, OpenPosition, PositionTracker
from vpcore_serving.registry import registry_of
from vpcore_serving.spec import PublishedPipeline, ServedVersion, ServingRuntime, published

if TYPE_CHECKING:
    from vpcore.workspace import Workspace

Records = npt.NDArray[Any]

_log = logging.getLogger("vpcore.serving")

GRACE_NS = 250 * NS_PER_MS
"""Time that records may take to arrive."""

UNKNOWN_SHARE, UNKNOWN_LEAST = 0.01, 1000
"""Share of unknown orders among at least so many cancels and modifies from which records may be missing."""


@dataclass(frozen=True, slots=True)
class LiveBin:
    """Everything that is known at the end of one bin.

    Attributes
    ----------
    frame : Frame
        Bin columns and grid columns.
    score : float64[n_cells]
        Score of every cell, 0 in an invalid bin.
    state : int8[n_cells]
        Its state: +1, 0 or -1.
    projection : float64[n_horizons, n_cells] or None
        The score projected forward.
    value : float
        The signal; NaN while it is warming up and in invalid bins.
    entry : int
        +1 for a long signal at the end of this bin, -1 for a short, else 0.
    exits : tuple of Exit
        Trades of earlier entries that leave in this bin: take-profit, stop or timeout.
    ready : bool
        True if every window of scorer and signal is full. Before, there is no entry.
    """

    frame: Frame
    score: npt.NDArray[np.float64]
    state: npt.NDArray[np.int8]
    projection: npt.NDArray[np.float64] | None
    value: float
    entry: int
    exits: tuple[Exit, ...] = ()
    ready: bool = True

    @property
    def bin_seq(self) -> int:
        """Number of the bin."""
        return self.frame.bin_seq

    @property
    def end_ns(self) -> int:
        """End of the bin, ns since the epoch."""
        return int(self.frame.bins["bin_end_ns"])

    @property
    def valid(self) -> bool:
        """True if the book was valid at the end of the bin."""
        return self.frame.valid


@dataclass(slots=True)
class LiveSession:
    """Contract and bounds of the session that a pipeline follows.

    Parameters
    ----------
    symbol : str
        For messages.
    instrument_id : int, optional
        Instrument of the records to apply; by default the instrument of the first records.
    start_ns : int, optional
        Start of bin 0. Without one the pipeline fills it in with the first record: by `start_of`, or the time of the
        record, rounded down to a whole bin.
    end_ns : int, optional
        End of the last bin; later records are left out.
    start_of : callable, optional
        Start of the session that a time belongs to: see `session_start`.
    """

    symbol: str = ""
    instrument_id: int | None = None
    start_ns: int | None = None
    end_ns: int | None = None
    start_of: Callable[[int], int] | None = None


class LivePipeline:
    """Engine, scorer and signal behind one `push`, with the parameters that research evaluated.

    Parameters
    ----------
    params : EngineParams
    stages : BinStages
        Scorer, projection, signal and entries, for the cells of `params`: see `context_of`.
    session : LiveSession, optional
        Contract and bounds. By default bin 0 starts with the first record.
    cold_book : {'refuse', 'build'}
        See `Engine`.
    events : {'flags', 'sequence'}
        What ends an event. With 'sequence' the last event waits for the next record, or for `advance`.
    fits : Executor, optional
        Makes the fits of a learning signal, while the current model serves. By default a fit runs inside its bin and
        delays it. The caller shuts it down.
    grace_ns : int
        Time that records may take to arrive; `advance` leaves so much of the present open.
    positions : PositionTracker, optional
        Follows the trades of the entries.

    Attributes
    ----------
    late_records : int
        Records with a receive time before a bin that `advance` had ended: their bin was emitted without them.
    lost_count : int
        How often records were lost: the number of calls of `lost`.
    unknown_share : float
        Share of unknown orders among the latest `UNKNOWN_LEAST` cancels and modifies or more. Above `UNKNOWN_SHARE` a
        warning is logged once: records may be missing without a word of the feed. Bins stay those of research, where
        the same records count in `data_quality`.
    version : ServedVersion or None
        The published version: id, alias, signal, symbol, tick size, threshold, barriers, evidence. None for an
        unpublished pipeline.

    Notes
    -----
    The values are independent of the cuts between calls. With the same start they equal the values of the dataset of
    the window; with another start they agree once every window of scorer and signal is full.
    """

    def __init__(
        self,
        params: EngineParams,
        stages: BinStages,
        *,
        session: LiveSession | None = None,
        cold_book: ColdBook = "refuse",
        events: Events = "flags",
        fits: Executor | None = None,
        grace_ns: int = GRACE_NS,
        positions: PositionTracker | None = None,
    ) -> None:
        self.late_records = 0
        self.lost_count = 0
        self.unknown_share = 0.0
        self._session = session if session is not None else LiveSession()
        self._grace_ns = grace_ns
        self._positions = positions
        self._asserted_ns = 0
        self._missing = 0  # valid bins until every window is full, for a pipeline that joined late
        self._known = (0, 0)  # cancels and modifies, and those of unknown orders, when they were last looked at
        self.version: ServedVersion | None = None
        self.params = params
        self.stages = stages
        self.signal = stages.signal
        self.instrument_id = self._session.instrument_id
        self._tick_int = stages.stream.context.tick_int
        self._cold_book = cold_book
        self._events = SequenceEvents() if events == "sequence" else None
        self._engine: Engine | None = None
        self._fits = fits
        self._fit_elsewhere()

    @classmethod
    def from_serving(
        cls,
        workspace: Workspace,
        serving: str,
        *,
        instrument_id: int | None = None,
        start_ns: int | None = None,
        fits: Executor | None = None,
        symbol: str | None = None,
        grace_ns: int = GRACE_NS,
        end_ns: int | None = None,
    ) -> LivePipeline:
        """Return the pipeline of a published version. All its parameters are fixed.

        Parameters
        ----------
        workspace : Workspace
            Holds the registry and the installed signals.
        serving : str
            Alias or id of a published version, such as a server's ``?serving=`` query parameter.
        instrument_id, fits, grace_ns, end_ns : optional
            See `LivePipeline`.
        start_ns : int, optional
            Start of bin 0; by default the start of the published window on the day of the first record.
        symbol : str, optional
            Contract of the records, after a roll another one of the same root; by default the published one.

        Raises
        ------
        RegistryError
            If the version is unknown (the message lists the known names), or its file has changed.
        ConfigError
            If `symbol` is of another instrument.
        PluginError, SignalError
            If its signal is missing, the installed code differs from the published code, or its fitted model was
            changed or belongs to another version.
        """
        version = published(registry_of(workspace), serving)
        if symbol is not None and not workspace.instrument(version.symbol).matches(symbol):
            raise ConfigError(
                f"Serving version '{version.serving_id}' was evaluated on {version.symbol}",
                required=f"a contract of {workspace.instrument(version.symbol).root}",
                was=symbol,
            )
        pipeline = cls.from_runtime(
            version.spec.runtime,
            workspace.plugins.load,
            instrument_id=instrument_id,
            start_ns=start_ns,
            fits=fits,
            symbol=symbol,
            grace_ns=grace_ns,
            end_ns=end_ns,
        )
        pipeline.version = version
        if version.warning:
            _log.warning("%s", version.warning)
        return pipeline

    @classmethod
    def from_runtime(
        cls,
        runtime: ServingRuntime,
        load: Callable[[str, str], Any],
        *,
        instrument_id: int | None = None,
        start_ns: int | None = None,
        fits: Executor | None = None,
        symbol: str | None = None,
        grace_ns: int = GRACE_NS,
        end_ns: int | None = None,
    ) -> LivePipeline:
        """Return the pipeline of the runtime part of a version; `load` is ``Plugins.load``. See `from_serving`."""
        signal = build_signal(runtime, load)
        resolved = runtime.pipeline
        rules = runtime.rules if isinstance(signal, MLSignal) else None
        width_ns = ms_to_ns(resolved.engine.cell_width_ms)

        session = LiveSession(
            symbol or resolved.symbol, instrument_id, start_ns, end_ns, partial(session_start, resolved)
        )

        def is_halted(seq: int) -> bool:
            # Knows the session alone: through the pipeline it would be part of a cycle, with every window.
            return in_halt(runtime.rules.daily_halt, session.start_ns or 0, width_ns, seq)

        stale = stale_bins(width_ns, runtime.rules.stale_after_ms)
        stages = BinStages(
            runtime.scoring,
            signal,
            context_of(resolved.engine, resolved.tick_int, rules),
            projection=runtime.projection,
            entries=EntryDetector(
                runtime.threshold,
                runtime.cooldown_bins,
                runtime.rules.warmup_bins,
                signal.prediction_mode,
                stale,
                is_halted,
                runtime.rules.entry_rule,
            ),
        )
        pipeline = cls(
            resolved.engine,
            stages,
            session=session,
            cold_book=resolved.cold_book,
            events=resolved.events,
            fits=fits,
            grace_ns=grace_ns,
            positions=PositionTracker(runtime.rules, stale, resolved.tick_int, is_halted),
        )
        if runtime.model is not None:
            pipeline._load_model(runtime.model)
        return pipeline

    def _load_model(self, packed: PackedModel) -> None:
        """Start from a fitted model, so that values exist before the first fit."""
        stream = self.stages.stream
        if not isinstance(self.signal, MLSignal):
            raise SignalError(
                f"Signal '{type(self.signal).__name__}' was published with a model, but does not learn",
                fix="Promote a run of the installed signal.",
            )
        with tempfile.TemporaryDirectory(prefix="vpcore-model-") as folder:
            unpack_model(packed, Path(folder))
            stream.state = self.signal.load_model(Path(folder), stream.context)
        self._fit_elsewhere()

    def _fit_elsewhere(self) -> None:
        if self._fits is not None and isinstance(self.signal, MLSignal):
            self.signal.fit_elsewhere(self.stages.stream.state, self._fits)

    # -- feeding -----------------------------------------------------------------------------------------------------

    def push(self, records: Any) -> list[LiveBin]:
        """Apply records and return every bin they complete, oldest first.

        Parameters
        ----------
        records : array of MBO_DTYPE, MBOMsg, or several MBOMsg
            As they came, from the databento client or as `DBNStore.to_ndarray()`. They may be cut anywhere, also inside
            an event.

        Raises
        ------
        EngineError
            If they are no market-by-order records, or a price is off the tick.
        """
        found = as_records(records)
        if len(found) == 0:
            return []
        self._count_late(found)
        made = [self._bin(frame) for block in self._blocks(found) for frame in block]
        self._watch_orders()
        return made

    def lost(self) -> None:
        """Say that records were lost: no bin is valid until a snapshot or a clear arrives.

        A feed calls it after a gap, a disconnection or a slow-reader message.
        """
        self.lost_count += 1
        if self._engine is not None:
            self._engine.lose()

    @property
    def doubt(self) -> str:
        """Why the book may be wrong though the feed reported no loss; empty if nothing says so."""
        if self.unknown_share <= UNKNOWN_SHARE:
            return ""
        return f"{self.unknown_share:.1%} of the latest cancels and modifies are of unknown orders"

    def _count_late(self, records: Records) -> None:
        if not self._asserted_ns:
            return
        late = records["ts_recv"].view(np.int64) < self._asserted_ns
        if not late.any():
            return
        late &= (records["flags"] & (F_BAD_TS_RECV | F_SNAPSHOT)) == 0
        n = int(np.count_nonzero(late & (records["instrument_id"] == self.instrument_id)))
        if n and not self.late_records:
            _log.warning(
                "Records arrived after their bin was ended: values may differ from research. Raise grace_ns, which is "
                "%d ms.",
                self._grace_ns // NS_PER_MS,
            )
        self.late_records += n

    def _watch_orders(self) -> None:
        """Keep the share of unknown orders among the latest cancels and modifies."""
        if self._cold_book != "refuse" or self._engine is None:
            return  # a book that was built without a snapshot has unknown orders all day
        asked, unknown = self._engine.order_counts()
        n, n_unknown = asked - self._known[0], unknown - self._known[1]
        if n >= UNKNOWN_LEAST:
            self._known, before = (asked, unknown), self.unknown_share
            self.unknown_share = n_unknown / n
            if before <= UNKNOWN_SHARE < self.unknown_share:
                _log.warning(
                    "%d of %d cancels and modifies were of unknown orders: records may be missing.", n_unknown, n
                )

    def advance(self, now_ns: int) -> list[LiveBin]:
        """Return the quiet bins that ended `grace_ns` before `now_ns` or earlier: all their records have arrived.

        A server calls it on a timer. Before the first record it returns an empty list.
        """
        if self._engine is None:
            return []
        now_ns -= self._grace_ns
        self._asserted_ns = max(self._asserted_ns, now_ns)
        held = self._events.flush(now_ns) if self._events is not None else None
        made = [] if held is None else [self._bin(frame) for block in self._apply(held) for frame in block]
        return made + [self._bin(frame) for block in self._engine.advance_blocks(now_ns) for frame in block]

    def warm_from(self, records: Any) -> int:
        """Bring book, mechanics and all windows up to now from earlier records, and return the number of bins.

        Parameters
        ----------
        records : array of MBO_DTYPE, or an iterable of such arrays
            The session so far, from its snapshot on.
        """
        parts = map(as_records, (records,) if isinstance(records, np.ndarray) else records)
        return sum(self._warm(block) for part in parts if len(part) for block in self._blocks(part))

    def _warm(self, block: FrameBlock) -> int:
        """Take a block of bins into the windows. A night with an empty book is cheap."""
        if block.bins["book_valid"].any():
            for frame in block:
                self._bin(frame)
            return len(block)
        if self.stages.projector is not None:
            self.stages.projector.update(np.zeros(self.params.n_cells), False)
        if self.stages.entries is not None:
            for seq, n_events in zip(block.bins["bin_seq"], block.bins["bin_event_count"], strict=True):
                self.stages.entries.push(math.nan, int(seq), int(n_events))
        if self._positions is not None:
            for frame in block:
                self._positions.push(frame.bins, 0)
        return len(block)

    @property
    def n_missing(self) -> int:
        """Valid bins until every window is full, of a session that began without this pipeline."""
        return self._missing

    @property
    def open_positions(self) -> tuple[OpenPosition, ...]:
        """Open positions with their barriers, in the order of entry."""
        return self._positions.open if self._positions is not None else ()

    def quality(self) -> dict[str, Any]:
        """Return the engine's data-quality counters; empty before the first record."""
        return self._engine.quality() if self._engine is not None else {}

    # -- inside ------------------------------------------------------------------------------------------------------

    def _blocks(self, records: Records) -> Iterator[FrameBlock]:
        self._engine_for(records)
        assert self.instrument_id is not None
        return self._apply(records if self._events is None else self._events.feed(records, self.instrument_id))

    def _apply(self, records: Records) -> Iterator[FrameBlock]:
        assert self._engine is not None
        assert self.instrument_id is not None
        return self._engine.blocks(records, self.instrument_id)

    def _engine_for(self, records: Records) -> Engine:
        if self._engine is not None:
            return self._engine
        if self.instrument_id is None:
            ids = np.unique(records["instrument_id"])
            if len(ids) != 1:
                raise EngineError(
                    "The first records",
                    required="of one instrument",
                    was=f"{len(ids)} instruments: {', '.join(map(str, ids[:8]))}",
                    fix="Say which one to follow: instrument_id=...",
                )
            self.instrument_id = int(ids[0])
        session = self._session
        if session.start_ns is None:
            own = records["instrument_id"] == self.instrument_id
            flags = records["flags"]
            stamped = own & (((flags & F_BAD_TS_RECV) == 0) | ((flags & F_SNAPSHOT) != 0))
            if not stamped.any():
                raise EngineError(
                    "None of the first records has a usable receive time, so the first bin has no start",
                    fix="Say when it starts: start_ns=...",
                )
            first = int(records["ts_recv"][int(np.argmax(stamped))])
            if session.start_of is None:
                session.start_ns = first - first % ms_to_ns(self.params.cell_width_ms)
            else:
                session.start_ns = session.start_of(first)
                self.joined(first)
        order_bins = self._positions.order_bins if self._positions is not None else 0
        self._engine = Engine(
            self.params,
            tick_int=self._tick_int,
            start_ns=session.start_ns,
            end_ns=session.end_ns,
            cold_book=self._cold_book,
            symbol=session.symbol,
            # A block may run ahead of the bin whose orders are asked for.
            virtual_bins=order_bins + BLOCK_BINS + 1 if order_bins else 0,
        )
        if self._positions is not None and order_bins:
            self._positions.filled = self._engine.filled
        return self._engine

    def joined(self, first_ns: int) -> None:
        """Say when the records of a session begin: after its start, no entry until every window is full.

        By default the first record decides. A caller that gives `start_ns` says it, unless the session is whole.
        """
        start_ns = self._session.start_ns
        assert start_ns is not None
        if first_ns < start_ns + ms_to_ns(self.params.cell_width_ms):
            return
        windows = (self.stages.scoring.zscore_window_bins, self.signal.warmup_bins(self.stages.stream.context))
        self._missing = max(map(int, windows))
        _log.warning(
            "The session began %d s before the first record: no entry for %d bins. Bring the session so far with "
            "warm_from.",
            (first_ns - start_ns) // NS_PER_S,
            self._missing,
        )

    def _bin(self, frame: Frame) -> LiveBin:
        stages = self.stages
        score, state = stages.score(frame.grid, frame.valid)
        projection = stages.projector.update(score, frame.valid) if stages.projector is not None else None
        value = stages.value(frame.grid, frame.bins, score, state)
        n_events = int(frame.bins["bin_event_count"])
        self._missing -= bool(self._missing) and frame.valid
        ready = self._missing == 0
        entry = 0
        if stages.entries is not None:
            entry = stages.entries.push(value if ready else math.nan, frame.bin_seq, n_events)
        exits: tuple[Exit, ...] = ()
        if self._positions is not None:
            exits = tuple(self._positions.push(frame.bins, entry))
            entry = self._positions.accepted
        return LiveBin(frame, score, state, projection, value, entry, exits, ready)


def session_start(pipeline: PublishedPipeline, at_ns: int) -> int:
    """Return the start of the session that a time belongs to, in the local time of the published window.

    A time inside a window belongs to it. Any other time, such as that of a snapshot before the opening, belongs to the
    next one.
    """
    zone = ZoneInfo(pipeline.timezone)
    first = datetime.datetime.fromtimestamp(pipeline.start_ns // NS_PER_S, zone)
    rest, length = pipeline.start_ns % NS_PER_S, pipeline.end_ns - pipeline.start_ns
    day = datetime.datetime.fromtimestamp(at_ns // NS_PER_S, zone).date() - datetime.timedelta(days=8)
    while True:
        start = datetime.datetime.combine(day, first.time(), zone)
        start_ns = int(start.timestamp()) * NS_PER_S + rest
        if start_ns + length > at_ns:
            return start_ns
        day += datetime.timedelta(days=1)


def build_signal(runtime: ServingRuntime, load: Callable[[str, str], Any]) -> Signal:
    """Return the signal of a published version, after checking that the installed code is the published code.

    Raises
    ------
    PluginError, SignalError
        If the signal is missing, or its code or a parameter differs.
    """
    wanted = runtime.signal
    signal_class: type[Signal] = load("signal", wanted.name)
    found = code_digest(signal_class)
    if found != wanted.code_digest:
        name, version = distribution_of(signal_class)
        raise SignalError(
            f"Signal '{wanted.name}' was published from {wanted.distribution} {wanted.distribution_version} "
            f"(code {wanted.code_digest[:12]}), but {name} {version} (code {found[:12]}) is installed",
            fix="Install the published version, or promote a run of the installed one.",
        )
    return signal_class(signal_class.Params.parse(wanted.params, wanted.name))
