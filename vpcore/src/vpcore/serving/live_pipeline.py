"""`LivePipeline`: records in, scored bins with signal values and entries out."""

from __future__ import annotations

import logging
import math
import tempfile
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from vpcore.backtest.open_market import stale_bins
from vpcore.engine import ColdBook, Engine, EngineParams, Frame, FrameBlock
from vpcore.errors import EngineError, SignalError
from vpcore.halts import in_halt
from vpcore.kernels.records import F_BAD_TS_RECV, F_SNAPSHOT
from vpcore.serving.bin_pipeline import BinStages, EntryDetector, context_of
from vpcore.serving.spec import ServedVersion, ServingRuntime, published
from vpcore.signal import MLSignal, PackedModel, Signal, code_digest, distribution_of, unpack_model
from vpcore.source.prepare import Events, SequenceEvents
from vpcore.units import ms_to_ns

if TYPE_CHECKING:
    from vpcore.workspace import Workspace

Records = npt.NDArray[Any]

_log = logging.getLogger(__name__)


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
    """

    frame: Frame
    score: npt.NDArray[np.float64]
    state: npt.NDArray[np.int8]
    projection: npt.NDArray[np.float64] | None
    value: float
    entry: int

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


class LivePipeline:
    """Engine, scorer and signal behind one `push`, with the parameters that research evaluated.

    Parameters
    ----------
    params : EngineParams
    stages : BinStages
        Scorer, projection, signal and entries, for the cells of `params`: see `context_of`.
    cold_book : {'refuse', 'build'}
        See `Engine`.
    events : {'flags', 'sequence'}
        What ends an event. With 'sequence' the last event waits for the next record, or for `advance`.
    instrument_id : int, optional
        Instrument of the records to apply; by default the instrument of the first records.
    start_ns : int, optional
        Start of bin 0; by default the time of the first record, rounded down to a whole bin.
    symbol : str
        For messages.
    fits : Executor, optional
        Makes the fits of a learning signal, while the current model serves. By default a fit runs inside its bin and
        delays it. The caller shuts it down.

    Attributes
    ----------
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
        cold_book: ColdBook = "refuse",
        events: Events = "flags",
        instrument_id: int | None = None,
        start_ns: int | None = None,
        symbol: str = "",
        fits: Executor | None = None,
    ) -> None:
        self.version: ServedVersion | None = None
        self.params = params
        self.stages = stages
        self.signal = stages.signal
        self.instrument_id = instrument_id
        self._tick_int = stages.stream.context.tick_int
        self._cold_book = cold_book
        self._events = SequenceEvents() if events == "sequence" else None
        self._start_ns = start_ns
        self._symbol = symbol
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
    ) -> LivePipeline:
        """Return the pipeline of a published version. All its parameters are fixed.

        Parameters
        ----------
        workspace : Workspace
            Holds the registry and the installed signals.
        serving : str
            Alias or id of a published version, such as a server's ``?serving=`` query parameter.
        instrument_id, start_ns, fits : optional
            See `LivePipeline`.

        Raises
        ------
        RegistryError
            If the version is unknown (the message lists the known names), or its file has changed.
        PluginError, SignalError
            If its signal is missing, the installed code differs from the published code, or its fitted model was
            changed or belongs to another version.
        """
        version = published(workspace.registry, serving)
        pipeline = cls.from_runtime(
            version.spec.runtime, workspace.plugins.load, instrument_id=instrument_id, start_ns=start_ns, fits=fits
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
    ) -> LivePipeline:
        """Return the pipeline of the runtime part of a version; `load` is ``Plugins.load``. See `from_serving`."""
        signal = build_signal(runtime, load)
        resolved = runtime.pipeline
        rules = runtime.rules if isinstance(signal, MLSignal) else None
        width_ns = ms_to_ns(resolved.engine.cell_width_ms)
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
                stale_bins(width_ns, runtime.rules.stale_after_ms),
                lambda seq: in_halt(runtime.rules.daily_halt, pipeline._start_ns or 0, width_ns, seq),
            ),
        )
        pipeline = cls(
            resolved.engine,
            stages,
            cold_book=resolved.cold_book,
            events=resolved.events,
            instrument_id=instrument_id,
            start_ns=start_ns,
            symbol=resolved.symbol,
            fits=fits,
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

    def push(self, records: Records) -> list[LiveBin]:
        """Apply records and return every bin they complete, oldest first.

        Parameters
        ----------
        records : ndarray of MBO_DTYPE, shape (n_records,)
            As they came. They may be cut anywhere, also inside an event.
        """
        if len(records) == 0:
            return []
        return [self._bin(frame) for block in self._blocks(records) for frame in block]

    def advance(self, now_ns: int) -> list[LiveBin]:
        """Assert that all records before `now_ns` have arrived, and return the quiet bins that have ended by then.

        A server calls it after the end of a bin that had no record. Before the first record it returns an empty list.
        """
        if self._engine is None:
            return []
        held = self._events.flush() if self._events is not None else None
        made = [] if held is None else [self._bin(frame) for block in self._apply(held) for frame in block]
        return made + [self._bin(frame) for block in self._engine.advance_blocks(now_ns) for frame in block]

    def warm_from(self, records: Records | Iterable[Records]) -> int:
        """Bring book, mechanics and all windows up to now from earlier records, and return the number of bins.

        Parameters
        ----------
        records : array of MBO_DTYPE, or an iterable of such arrays
            The session so far, from its snapshot on.
        """
        parts = (records,) if isinstance(records, np.ndarray) else records
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
        return len(block)

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
        if self._start_ns is None:
            own = records["instrument_id"] == self.instrument_id
            flags = records["flags"]
            stamped = own & (((flags & F_BAD_TS_RECV) == 0) | ((flags & F_SNAPSHOT) != 0))
            if not stamped.any():
                raise EngineError(
                    "None of the first records has a usable receive time, so the first bin has no start",
                    fix="Say when it starts: start_ns=...",
                )
            first = int(records["ts_recv"][int(np.argmax(stamped))])
            self._start_ns = first - first % ms_to_ns(self.params.cell_width_ms)
        self._engine = Engine(
            self.params,
            tick_int=self._tick_int,
            start_ns=self._start_ns,
            cold_book=self._cold_book,
            symbol=self._symbol,
        )
        return self._engine

    def _bin(self, frame: Frame) -> LiveBin:
        stages = self.stages
        score, state = stages.score(frame.grid, frame.valid)
        projection = stages.projector.update(score, frame.valid) if stages.projector is not None else None
        value = stages.value(frame.grid, frame.bins, score, state)
        n_events = int(frame.bins["bin_event_count"])
        entry = stages.entries.push(value, frame.bin_seq, n_events) if stages.entries is not None else 0
        return LiveBin(frame, score, state, projection, value, entry)


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
