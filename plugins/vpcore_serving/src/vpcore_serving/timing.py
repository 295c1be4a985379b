"""Measurements of an online simulation: times of bins and stages, collections, memory."""

from __future__ import annotations

import gc
import resource
import sys
import time
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from vpcore_serving.parity import LateFit


@dataclass(frozen=True, slots=True)
class Timing:
    """Distribution of one stage's time per bin, in microseconds. Every bin is one measurement."""

    p50: float
    p95: float
    p99: float
    max: float

    @classmethod
    def of(cls, nanoseconds: npt.NDArray[np.int64]) -> Timing:
        """Return the distribution of int64[n_bins] durations in ns."""
        if not len(nanoseconds):
            return cls(0.0, 0.0, 0.0, 0.0)
        p50, p95, p99 = np.percentile(nanoseconds, (50, 95, 99)) / 1000.0
        return cls(float(p50), float(p95), float(p99), float(nanoseconds.max()) / 1000.0)


@dataclass(frozen=True, slots=True)
class Simulation:
    """Result of an online simulation.

    Attributes
    ----------
    n_bins : int
    values : float64[n_bins]
        The signal as it was streamed.
    stages : dict of str to Timing
        ``scoring``, ``signal`` and ``total``; from raw records also ``engine``, and ``latency``: from the end of a bin
        on the schedule to its value, waiting for earlier bins included.
    budget_us : float
    over_budget_bins : int
        Bins whose total (from raw records: whose latency) exceeded the budget.
    retrain_us : tuple of float
        Time of every refit of a learning signal: part of its bin, or beside the bins if made in the background.
    gc_us : tuple of float
        Time of every garbage collection during the run; part of the time of its bin.
    startup_us : float
        Time to load (or compile) every kernel that a bin needs, before the first bin; a server pays it before it opens.
    peak_memory_mb : float
        Largest resident memory of the process so far.
    records : int
        Records applied; 0 unless from raw records.
    late_fits : tuple of LateFit
        Fits in the background, and their effect on the values.
    """

    n_bins: int
    values: npt.NDArray[np.float64]
    stages: dict[str, Timing]
    budget_us: float
    over_budget_bins: int
    retrain_us: tuple[float, ...]
    gc_us: tuple[float, ...]
    startup_us: float
    peak_memory_mb: float
    records: int = 0
    late_fits: tuple[LateFit, ...] = ()

    @property
    def judged(self) -> Timing:
        """The distribution behind the budget."""
        return self.stages.get("latency", self.stages["total"])

    @property
    def within_budget(self) -> bool:
        """True if the 99th percentile keeps the budget."""
        return self.judged.p99 <= self.budget_us


@dataclass(slots=True)
class Pauses:
    """Garbage collections while it is entered."""

    durations: list[int] = field(default_factory=list)
    _began: int = 0

    def __call__(self, phase: str, info: dict[str, int]) -> None:
        """Note the beginning or the end of a collection."""
        if phase == "start":
            self._began = time.perf_counter_ns()
        else:
            self.durations.append(time.perf_counter_ns() - self._began)

    def __enter__(self) -> Pauses:
        gc.callbacks.append(self)
        return self

    def __exit__(self, *error: object) -> None:
        gc.callbacks.remove(self)


def peak_memory_mb() -> float:
    """Return the largest resident memory of this process so far, in MB (1e6 bytes)."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return float(peak) / 1e6 if sys.platform == "darwin" else float(peak) * 1024 / 1e6
