"""Online simulation: one bin at a time through scorer and signal, every bin timed on its own.

The streamed values are compared with the batch values, byte for byte.
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
from vpcore.signal import Signal
from vpcore.source.protocol import RecordStream
from vpcore_serving.bin_pipeline import SCORED, BinStages
from vpcore_serving.parity import compare
from vpcore_serving.refits import Retrain, pace_of
from vpcore_serving.timing import Pauses, Simulation, Timing, peak_memory_mb

Array = npt.NDArray[Any]
OnProgress = Callable[[int, int], None]

_PROGRESS_EVERY = 500


def simulate(
    dataset: Dataset,
    stages: BinStages,
    *,
    budget_ms: float,
    retrain: Retrain = "inline",
    on_progress: OnProgress | None = None,
) -> Simulation:
    """Stream a dataset through scorer and signal, and compare with the batch path.

    Parameters
    ----------
    dataset : Dataset
        The session to stream.
    stages : BinStages
        Scorer and signal before their first bin, as `BinStages.on` makes them.
    budget_ms : float
        Time that a bin may take.
    retrain : {"inline", "background"}
        Place of a learning signal's fits: inside the bin, or in another process while the current model serves. During
        a fit, bins come in real time; see `vpcore_serving.refits`.
    on_progress : callable, optional
        Called with bins done and bins in all.

    Raises
    ------
    CausalityError
        If a streamed value differs from the batch value in a single bit, unless a fit in the background explains it.
    SignalError
        If the signal cannot fit in the background.
    """
    grid, bins = _columns(dataset, stages.signal)
    valid = dataset.valid
    startup = time.perf_counter_ns()
    _warm_up(stages.restarted(), grid, bins)
    startup = time.perf_counter_ns() - startup
    n = dataset.n_bins
    measured = _Measured(dataset, stages, ("scoring", "signal"), budget_ms)
    clock = time.perf_counter_ns
    with pace_of(stages.signal, stages.stream.state, retrain) as pace, Pauses() as pauses:
        for i in range(n):
            pace.wait_for((i + 1) * dataset.cell_width_ns)
            cells = {name: column[i] for name, column in grid.items()}
            scalars = {name: column[i] for name, column in bins.items()}
            begin = clock()
            score, state = stages.score(cells, bool(valid[i]))
            scored = clock()
            measured.values[i] = stages.value(cells, scalars, score, state)
            measured.spent[:, i] = scored - begin, clock() - scored
            measured.scores[i] = score
            if on_progress is not None and i % _PROGRESS_EVERY == 0:
                on_progress(i, n)
    return measured.result(startup, pauses)


def simulate_from_raw(
    dataset: Dataset,
    records: RecordStream,
    engine: Engine,
    stages: BinStages,
    *,
    budget_ms: float,
    retrain: Retrain = "inline",
    on_progress: OnProgress | None = None,
) -> Simulation:
    """Replay records through engine, scorer and signal, bin by bin, and compare with the dataset and the batch path.

    The receive times of the records give the schedule (open loop): the records of a bin are due at its end, a late bin
    delays the next bin, and the latency of a bin runs from its end to its value. Time is simulated and work is
    measured, so a session takes only as long as its work.

    Parameters
    ----------
    dataset : Dataset
        Made from the same records: its frames must come out again.
    records : RecordStream
        The records of the dataset.
    engine : Engine
        At the start of the dataset's window, with its parameters.
    stages, budget_ms, retrain, on_progress
        See `simulate`. The budget runs from the end of a bin to its value.

    Raises
    ------
    CausalityError
        If a frame differs from the dataset's, or a value from the batch value, in a single bit, unless a fit in the
        background explains it.
    SignalError
        If the signal cannot fit in the background.
    """
    startup = time.perf_counter_ns()
    Engine(engine.params, tick_int=engine.tick_int, start_ns=0).advance(dataset.cell_width_ns)
    Engine(engine.params, tick_int=engine.tick_int, start_ns=0).feed(np.zeros(0, MBO_DTYPE), 0)
    _warm_up(stages.restarted(), *_columns(dataset, stages.signal))
    startup = time.perf_counter_ns() - startup
    n = dataset.n_bins
    width = dataset.cell_width_ns
    measured = _Measured(dataset, stages, ("engine", "scoring", "signal"), budget_ms)
    latency = np.zeros(n, np.int64)
    stored = {name: dataset.grid(name) for name in dataset.grid_columns if name not in GRID_SUMS}
    clock = time.perf_counter_ns
    done = 0
    free = 0  # when the worker is idle again, ns on the schedule, relative to start_ns
    applied = 0
    with pace_of(stages.signal, stages.stream.state, retrain) as pace, Pauses() as pauses:
        for parts in _by_bin(records, engine.start_ns, width, n):
            due = (done + 1) * width
            pace.wait_for(due)
            began = clock()
            for part, instrument, new_file in parts:
                if new_file:
                    engine.begin_file()
                engine.feed(part, instrument)
            block = engine.advance(engine.start_ns + due)
            engine_done = clock()
            if len(block) != 1:
                raise _differs(
                    f"The number of frames of bin {done}, {len(block)}, differs between the replayed records", dataset
                )
            frame = block[0]
            score, state = stages.score(frame.grid, frame.valid)
            scored = clock()
            measured.values[done] = stages.value(frame.grid, frame.bins, score, state)
            ended = clock()
            spent = engine_done - began, scored - engine_done, ended - scored
            measured.spent[:, done] = spent
            free = max(free, due) + sum(spent)
            latency[done] = free - due
            measured.scores[done] = score
            applied += sum(len(part) for part, _, _ in parts)
            for name, column in stored.items():
                if frame.grid[name].tobytes() != column[done].tobytes():
                    raise _differs(f"Column '{name}' of bin {done} differs between the replayed records", dataset)
            done += 1
            if on_progress is not None and done % _PROGRESS_EVERY == 0:
                on_progress(done, n)
    return measured.result(startup, pauses, latency, applied)


def _differs(what: str, dataset: Dataset) -> CausalityError:
    return CausalityError(
        f"{what} and the dataset: live and offline are not the same",
        where=f"dataset {dataset.dataset_id}",
        fix=f"Check it: vp verify --rebuild {dataset.dataset_id}",
    )


class _Measured:
    """Values, scores and times of a simulation.

    Attributes
    ----------
    values : float64[n_bins]
    scores : float64[n_bins, n_cells]
    spent : int64[n_stages, n_bins]
        Time of every stage in every bin, ns.
    """

    def __init__(self, dataset: Dataset, stages: BinStages, names: Sequence[str], budget_ms: float) -> None:
        self._dataset, self._stages, self._names, self._budget_ms = dataset, stages, names, budget_ms
        self.values = np.full(dataset.n_bins, np.nan)
        self.scores = np.zeros((dataset.n_bins, dataset.n_cells))
        self.spent = np.zeros((len(names), dataset.n_bins), np.int64)

    def result(self, startup_ns: int, pauses: Pauses, latency: Array | None = None, records: int = 0) -> Simulation:
        """Compare with the batch path and return the simulation; `latency` is int64[n_bins], ns.

        Raises
        ------
        CausalityError
            If a value differs from its batch value, unless a fit explains it.
        """
        fits = self._stages.stream.state
        total = self.spent.sum(axis=0)
        timings = {name: Timing.of(row) for name, row in zip(self._names, self.spent, strict=True)}
        timings["total"] = Timing.of(total)
        if latency is not None:
            timings["latency"] = Timing.of(latency)
        judged = total if latency is None else latency
        return Simulation(
            n_bins=self._dataset.n_bins,
            values=self.values,
            stages=timings,
            budget_us=self._budget_ms * 1000.0,
            over_budget_bins=int((judged > self._budget_ms * 1e6).sum()),
            retrain_us=tuple(ns / 1000.0 for ns in getattr(fits, "retrain_ns", ())),
            gc_us=tuple(ns / 1000.0 for ns in pauses.durations),
            startup_us=startup_ns / 1000.0,
            peak_memory_mb=peak_memory_mb(),
            records=records,
            late_fits=compare(
                self._dataset, self._stages, self.values, self.scores, tuple(getattr(fits, "background", ()))
            ),
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

    Quiet bins are left out.
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
