"""Online simulation: one bin at a time through scorer and signal, every bin timed on its own.

The values that come out are compared with those of the batch path, byte for byte.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from vpcore.dataset import Dataset
from vpcore.engine import Engine
from vpcore.errors import CausalityError
from vpcore.kernels.records import F_BAD_TS_RECV, F_SNAPSHOT, MBO_DTYPE
from vpcore.schema import BIN_COLUMNS, GRID_SUMS
from vpcore.scoring import ScoringConfig
from vpcore.serving.bin_pipeline import SCORED, BinStages
from vpcore.serving.parity import compare
from vpcore.serving.refits import Retrain, pace_of
from vpcore.serving.timing import Pauses, Simulation, Timing, peak_memory_mb
from vpcore.signal import BackgroundFit, LabelSpec, Signal, SignalContext
from vpcore.source.protocol import RecordStream

Array = npt.NDArray[Any]
OnProgress = Callable[[int, int], None]

_PROGRESS_EVERY = 500


def simulate(
    dataset: Dataset,
    signal: Signal,
    scoring: ScoringConfig,
    *,
    budget_ms: float,
    labels: LabelSpec | None = None,
    retrain: Retrain = "inline",
    on_progress: OnProgress | None = None,
) -> Simulation:
    """Stream a dataset through scorer and signal, and compare with the batch path.

    Parameters
    ----------
    dataset : Dataset
        The session to stream.
    signal : Signal
        With its parameters.
    scoring : ScoringConfig
        Settings of the scorer.
    budget_ms : float
        What a bin may take.
    labels : LabelSpec, optional
        For a signal that learns.
    retrain : {"inline", "background"}
        Where a learning signal fits: inside the bin, or in another process while the model that there is serves. While
        one is under way, bins come as fast as time passes and not faster; see `vpcore.serving.refits`.
    on_progress : callable, optional
        Called with bins done and bins in all.

    Raises
    ------
    CausalityError
        If a streamed value differs from the batch value in a single bit, and no fit in the background explains it.
    SignalError
        If the signal has no fits that could be made in the background.
    """
    grid, bins = _columns(dataset, signal)
    valid = dataset.valid
    startup = time.perf_counter_ns()
    _warm_up(BinStages(scoring, signal, SignalContext.of(dataset, labels)), grid, bins)
    startup = time.perf_counter_ns() - startup
    stages = BinStages(scoring, signal, SignalContext.of(dataset, labels))
    n = dataset.n_bins
    spent = np.zeros((2, n), np.int64)
    values = np.full(n, np.nan)
    scores = np.zeros((n, dataset.n_cells))
    clock = time.perf_counter_ns
    with pace_of(signal, stages.stream.state, retrain) as pace, Pauses() as pauses:
        for i in range(n):
            pace.wait_for((i + 1) * dataset.cell_width_ns)
            cells = {name: column[i] for name, column in grid.items()}
            scalars = {name: column[i] for name, column in bins.items()}
            begin = clock()
            score, state = stages.score(cells, bool(valid[i]))
            scored = clock()
            values[i] = stages.value(cells, scalars, score, state)
            spent[:, i] = scored - begin, clock() - scored
            scores[i] = score
            if on_progress is not None and i % _PROGRESS_EVERY == 0:
                on_progress(i, n)
    late = compare(dataset, signal, scoring, labels, values, scores, _background(stages))
    total = spent.sum(axis=0)
    return Simulation(
        n_bins=n,
        values=values,
        stages={"scoring": Timing.of(spent[0]), "signal": Timing.of(spent[1]), "total": Timing.of(total)},
        budget_us=budget_ms * 1000.0,
        over_budget_bins=int((total > budget_ms * 1e6).sum()),
        retrain_us=_retrains(stages),
        gc_us=tuple(ns / 1000.0 for ns in pauses.durations),
        startup_us=startup / 1000.0,
        peak_memory_mb=peak_memory_mb(),
        late_fits=late,
    )


def simulate_from_raw(
    dataset: Dataset,
    records: RecordStream,
    engine: Engine,
    signal: Signal,
    scoring: ScoringConfig,
    *,
    budget_ms: float,
    labels: LabelSpec | None = None,
    retrain: Retrain = "inline",
    on_progress: OnProgress | None = None,
) -> Simulation:
    """Replay records through engine, scorer and signal, bin by bin, and compare with the dataset and the batch path.

    The schedule is that of the records' own receive times (open loop): the records of a bin are due at its end, a bin
    that is late delays the next one, and the latency of a bin runs from its end to its value. Time is simulated, so a
    session takes as long as its work and not as long as the session did; work is measured.

    Parameters
    ----------
    dataset : Dataset
        Made from the same records: its frames must come out again.
    records : RecordStream
        What the dataset was made from.
    engine : Engine
        At the start of the dataset's window, with its parameters.
    signal : Signal
        With its parameters.
    scoring : ScoringConfig
        Settings of the scorer.
    budget_ms : float
        What a bin may take, from its end to its value.
    labels : LabelSpec, optional
        For a signal that learns.
    retrain : {"inline", "background"}
        Where a learning signal fits: inside the bin, or in another process while the model that there is serves. While
        one is under way, bins come as fast as time passes and not faster; see `vpcore.serving.refits`.
    on_progress : callable, optional
        Called with bins done and bins in all.

    Raises
    ------
    CausalityError
        If a frame differs from the dataset's, or a value from the batch value, in a single bit, and no fit in the
        background explains it.
    SignalError
        If the signal has no fits that could be made in the background.
    """
    startup = time.perf_counter_ns()
    Engine(engine.params, tick_int=engine.tick_int, start_ns=0).advance(dataset.cell_width_ns)
    Engine(engine.params, tick_int=engine.tick_int, start_ns=0).feed(np.zeros(0, MBO_DTYPE), 0)
    _warm_up(BinStages(scoring, signal, SignalContext.of(dataset, labels)), *_columns(dataset, signal))
    startup = time.perf_counter_ns() - startup
    stages = BinStages(scoring, signal, SignalContext.of(dataset, labels))
    n = dataset.n_bins
    width = dataset.cell_width_ns
    spent = np.zeros((3, n), np.int64)
    latency = np.zeros(n, np.int64)
    values = np.full(n, np.nan)
    scores = np.zeros((n, dataset.n_cells))
    stored = {name: dataset.grid(name) for name in dataset.grid_columns if name not in GRID_SUMS}
    clock = time.perf_counter_ns
    done = 0
    free = 0  # when the worker is idle again, ns on the schedule, relative to start_ns
    applied = 0
    with pace_of(signal, stages.stream.state, retrain) as pace, Pauses() as pauses:
        for parts in _by_bin(records, engine.start_ns, width, n):
            pace.wait_for((done + 1) * width)
            began = clock()
            for part, instrument, new_file in parts:
                if new_file:
                    engine.begin_file()
                engine.feed(part, instrument)
            block = engine.advance(engine.start_ns + (done + 1) * width)
            engine_done = clock()
            if len(block) != 1:
                raise CausalityError(
                    f"Bin {done} came out as {len(block)} bins when its records were replayed: live and offline differ",
                    where=f"dataset {dataset.dataset_id}",
                    fix=f"Check the dataset: vp verify --rebuild {dataset.dataset_id}",
                )
            applied += sum(len(part) for part, _, _ in parts)
            frame = block[0]
            score, state = stages.score(frame.grid, frame.valid)
            scored = clock()
            values[done] = stages.value(frame.grid, frame.bins, score, state)
            ended = clock()
            spent[:, done] = engine_done - began, scored - engine_done, ended - scored
            due = (done + 1) * width
            free = max(free, due) + (ended - began)
            latency[done] = free - due
            scores[done] = score
            for name, column in stored.items():
                if frame.grid[name].tobytes() != column[done].tobytes():
                    raise CausalityError(
                        f"Column '{name}' of bin {done} differs between the replayed records and the dataset: live and "
                        "offline are not the same",
                        where=f"dataset {dataset.dataset_id}",
                        fix=f"Check the dataset: vp verify --rebuild {dataset.dataset_id}",
                    )
            done += 1
            if on_progress is not None and done % _PROGRESS_EVERY == 0:
                on_progress(done, n)
    late = compare(dataset, signal, scoring, labels, values, scores, _background(stages))
    names = ("engine", "scoring", "signal")
    timings = {name: Timing.of(row) for name, row in zip(names, spent, strict=True)}
    timings["total"] = Timing.of(spent.sum(axis=0))
    timings["latency"] = Timing.of(latency)
    return Simulation(
        n_bins=n,
        values=values,
        stages=timings,
        budget_us=budget_ms * 1000.0,
        over_budget_bins=int((latency > budget_ms * 1e6).sum()),
        retrain_us=_retrains(stages),
        gc_us=tuple(ns / 1000.0 for ns in pauses.durations),
        startup_us=startup / 1000.0,
        peak_memory_mb=peak_memory_mb(),
        records=applied,
        late_fits=late,
    )


def _warm_up(stages: BinStages, grid: dict[str, Array], bins: dict[str, Array]) -> None:
    """Run a bin through stages that are thrown away, so that every kernel is loaded before time is taken."""
    valid = np.flatnonzero(bins["book_valid"])
    if not len(valid):
        return
    i = int(valid[0])
    cells = {name: column[i] for name, column in grid.items()}
    score, state = stages.score(cells, True)
    stages.value(cells, {name: column[i] for name, column in bins.items()}, score, state)


Part = tuple[Array, int, bool]
"""Records, their instrument id, and whether a later file begins with them."""


def _by_bin(records: RecordStream, start_ns: int, width: int, n_bins: int) -> Iterator[list[Part]]:
    """Yield the records of each bin, by the engine's own clock; those before the start come with bin 0.

    Quiet bins have no part.
    """
    clock = 0
    current = 0
    file_index = 0
    pending: list[Part] = []
    for chunk in records:
        own = chunk.records[chunk.records["instrument_id"] == chunk.instrument_id]
        times = own["ts_recv"].astype(np.int64)
        unstamped = ((own["flags"] & F_BAD_TS_RECV) != 0) & ((own["flags"] & F_SNAPSHOT) == 0)
        times[unstamped] = 0
        clocks = np.maximum(np.maximum.accumulate(times), clock)
        bins = np.clip((clocks - start_ns) // width, 0, n_bins)
        at = 0
        while at < len(own):
            while current < bins[at]:
                yield pending
                pending = []
                current += 1
                if current == n_bins:
                    return
            stop = int(np.searchsorted(bins, current, side="right"))
            pending.append((own[at:stop], chunk.instrument_id, chunk.file_index != file_index))
            file_index = chunk.file_index
            at = stop
        if len(own):
            clock = int(clocks[-1])
    while current < n_bins:
        yield pending
        pending = []
        current += 1


def _columns(dataset: Dataset, signal: Signal) -> tuple[dict[str, Array], dict[str, Array]]:
    """Return the grid and bin columns that a bin needs: the scorer's and the signal's."""
    wanted = dict.fromkeys((*SCORED, *(name for name in signal.columns if name in dataset.columns)))
    bins = dict.fromkeys(("bin_seq", "book_valid", *(name for name in signal.columns if name in BIN_COLUMNS)))
    grid = {name: dataset.grid(name) for name in wanted if name not in BIN_COLUMNS}
    return grid, {name: dataset.bin(name) for name in bins}


def _retrains(stages: BinStages) -> tuple[float, ...]:
    """Return the time of every refit, in us: a learning signal's state lists them in ns as ``retrain_ns``."""
    return tuple(ns / 1000.0 for ns in getattr(stages.stream.state, "retrain_ns", ()))


def _background(stages: BinStages) -> Sequence[BackgroundFit]:
    """Return the fits that were not made inside their bins."""
    return tuple(getattr(stages.stream.state, "background", ()))
