"""The steps after the engine, bin by bin: score, projection, signal, entry."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from vpcore.backtest.entries import Mode, band
from vpcore.dataset import Dataset
from vpcore.engine import EngineParams
from vpcore.kernels import barrier
from vpcore.projection import ProjectionConfig
from vpcore.rules import EntryRule, TradeRules
from vpcore.scoring import ScoringConfig, SpectrumScorer
from vpcore.signal import Signal, SignalContext, SignalStream
from vpcore.units import ms_to_ns
from vpcore_serving.projection import Projector

SCORED = ("composite_d1", "composite_d2", "composite_d3")
"""Grid columns that the scorer reads."""


NEVER_STALE = 2**62


class EntryDetector:
    """Finds entries as values come: the crossings and the cooldown of `vpcore.backtest.entries`, by the same kernel.

    Parameters
    ----------
    threshold : float
    cooldown_bins : int
        Smallest distance of two entries, in bins.
    first_seq : int
        Earlier bins report no entries; their values only precede later crossings.
    mode : {'value', 'probability', 'confidence'}
    stale_bins : int
        Bins without an event after which the market is closed and gives no entry.
    halted : callable, optional
        Whether a bin, given by its number, lies in a daily halt and gives no entry.
    entry_rule : {'crossing', 'level'}
        See `vpcore.TradeRules`.
    """

    def __init__(
        self,
        threshold: float,
        cooldown_bins: int,
        first_seq: int = 0,
        mode: Mode = "value",
        stale_bins: int = NEVER_STALE,
        halted: Callable[[int], bool] = lambda _: False,
        entry_rule: EntryRule = "crossing",
    ) -> None:
        self._find = barrier.crossings if entry_rule == "crossing" else barrier.beyond
        self._upper, self._lower = band(threshold, mode)
        self._cooldown = cooldown_bins
        self._first_seq = first_seq
        self._stale_bins = stale_bins
        self._halted = halted
        self._quiet = 0  # bins since the last event
        self._last_entry: int | None = None
        self._values = np.full(2, math.nan)
        self._valid = np.ones(2, np.bool_)
        self._opened = np.array([False, True])
        self._seq = np.zeros(2, np.int64)
        self._bins = np.zeros(2, np.int64)
        self._sides = np.zeros(2, np.int8)

    def push(self, value: float, bin_seq: int, n_events: int = 1) -> int:
        """Return +1 for a long entry at the end of this bin, -1 for a short entry, else 0. NaN gives 0.

        `n_events` is the number of events in the bin.
        """
        self._quiet = 0 if n_events else self._quiet + 1
        if math.isnan(value):
            return 0
        self._opened[1] = self._quiet <= self._stale_bins and not self._halted(bin_seq)
        self._values[1] = value
        self._seq[1] = bin_seq
        found = self._find(
            self._values, self._valid, self._opened, self._seq, self._upper, self._lower, self._first_seq,
            self._bins, self._sides,
        )  # fmt: skip
        # The value carried over stands at index 0, in a closed bin: only index 1 signals.
        self._values[0] = value
        if not found or (self._last_entry is not None and bin_seq - self._last_entry < self._cooldown):
            return 0
        self._last_entry = bin_seq
        return int(self._sides[0])


class BinStages:
    """Scorer, projection, signal and entries of one configuration, with their state.

    Parameters
    ----------
    scoring : ScoringConfig
    signal : Signal
    context : SignalContext
        Cells, bin width, tick and, for a learning signal, the rules of its trades.
    projection : ProjectionConfig, optional
    entries : EntryDetector, optional
    """

    def __init__(
        self,
        scoring: ScoringConfig,
        signal: Signal,
        context: SignalContext,
        *,
        projection: ProjectionConfig | None = None,
        entries: EntryDetector | None = None,
    ) -> None:
        self.scoring = scoring
        self.signal = signal
        self.scorer = SpectrumScorer(scoring, context.n_cells)
        self.projector = (
            Projector(projection, context.n_cells, context.cell_width_ns) if projection is not None else None
        )
        self.entries = entries
        self.stream = SignalStream(signal, context)

    @classmethod
    def on(cls, dataset: Dataset, signal: Signal, scoring: ScoringConfig, rules: TradeRules | None = None) -> Self:
        """Return scorer and signal for the cells and bins of a dataset; `rules` for a signal that learns."""
        return cls(scoring, signal, SignalContext.of(dataset, rules))

    def restarted(self) -> BinStages:
        """Return scorer and signal of the same configuration before their first bin."""
        return BinStages(self.scoring, self.signal, self.stream.context)

    def score(
        self, grid: Mapping[str, npt.NDArray[Any]], valid: bool
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int8]]:
        """Return score and state of every cell of the next bin, float64[n_cells] and int8[n_cells]."""
        d1, d2, d3 = (grid[name] for name in SCORED)
        return self.scorer.update(d1, d2, d3, valid)

    def value(
        self,
        grid: Mapping[str, npt.NDArray[Any]],
        bins: Mapping[str, Any],
        score: npt.NDArray[np.float64],
        state: npt.NDArray[np.int8],
    ) -> float:
        """Return the signal at the end of the next bin; NaN where undefined."""
        return self.stream.push(self.stream.frame(grid, bins, score, state))


def context_of(params: EngineParams, tick_int: int, rules: TradeRules | None = None) -> SignalContext:
    """Return the context of the engine's bins and cells, for a tick size in 1e-9."""
    radius = params.grid_radius_ticks
    k = np.arange(-radius, radius + 1, dtype=np.int16)
    return SignalContext(k=k, cell_width_ns=ms_to_ns(params.cell_width_ms), tick_int=tick_int, rules=rules)
