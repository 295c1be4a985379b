"""The memory of a learning signal between bins: features, labels, the model, and fits under way."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Executor, Future
from typing import Any, NamedTuple

import numpy as np

from vpcore import BackgroundFit, SignalContext
from vpcore_signals_ml.labels import NEVER, OPEN, UNKNOWN, Floats, Labels, MarketClock, new_book, resolve
from vpcore_signals_ml.models import Fitted
from vpcore_signals_stat.features import FeatureSet

FIRST_CAPACITY = 4096
_EMPTY = {"x": 0, "seq": 0, "outcome": OPEN, "ends": 0, "y": UNKNOWN, "resolved": NEVER, "ready": False}


class Retrain(NamedTuple):
    """One fit: bin, examples of the training and validation part, most important features with shares, duration."""

    bin_seq: int
    n_train: int
    n_valid: int
    used: tuple[tuple[str, float], ...]
    ns: int


class Unfit(NamedTuple):
    """A fit that was left out for too few examples: bin, and examples in which the long and the short paid."""

    bin_seq: int
    n_up: int
    n_down: int


class LearningState:
    """The state of a session.

    Attributes
    ----------
    x : float64[capacity, n_features]
        Features of the valid bins so far.
    seq, outcome, ends, y, resolved, ready : arrays of `capacity` rows
        Number of the bin and labels, see `vpcore_signals_ml.labels.Labels`; whether every feature has a value.
    n : int
        Valid bins so far.
    model : Fitted or None
        None before the first fit.
    learned : int
        Bin of the last label known to the model, -1 for a model of another session.
    retrains, unfit : list of Retrain, list of Unfit
        Fits, and fits that were left out.
    executor, pending, background : Executor or None, deque of Future, list of BackgroundFit
        Maker of fits in the background, its fits under way (model and Retrain), and all its fits.
    """

    def __init__(self, features: FeatureSet, context: SignalContext) -> None:
        assert context.rules is not None
        self.rules, self.tick_int = context.rules, context.tick_int
        self.warmup = features.warmup(context)
        self.progress = features.start(context)
        self.clock = MarketClock(context.rules, context.tick_int, context.cell_width_ns)
        self.book = new_book(context.rules, context.tick_int)
        self.n = 0
        self.model: Fitted | None = None
        self.learned = -1
        self.retrains: list[Retrain] = []
        self.unfit: list[Unfit] = []
        self.executor: Executor | None = None
        self.pending: deque[Future[tuple[Fitted, Retrain]]] = deque()
        self.background: list[BackgroundFit] = []
        self._allocate(np.empty((FIRST_CAPACITY, len(features.names))))

    @property
    def retrain_ns(self) -> list[int]:
        """Duration of every fit."""
        return [fit.ns for fit in self.retrains]

    def _allocate(self, x: Floats) -> None:
        n = len(x)
        self.x = x
        self.seq = np.zeros(n, dtype=np.int64)
        self.outcome = np.full((n, 2), OPEN, dtype=np.int8)
        self.ends = np.zeros((n, 2), dtype=np.int64)
        self.y = np.full(n, UNKNOWN, dtype=np.int8)
        self.resolved = np.full(n, NEVER, dtype=np.int64)
        self.ready = np.zeros(n, dtype=bool)

    def hold(self, x: Floats, dataset: Any) -> None:
        """Take the features of all valid bins of a dataset at once, and resolve its labels."""
        self._allocate(x)
        valid, seq = np.asarray(dataset.valid), dataset.bin("bin_seq")
        self.seq[:], self.ready[:] = seq[valid], ~np.isnan(x).any(axis=1)
        self.n = len(x)
        flags, prices = self.clock.bins(dataset)
        if len(seq):
            self._resolve(int(seq[0]), flags, prices, np.cumsum(valid) - 1)

    def append(self, x: Floats, bin_seq: int) -> int:
        """Add a valid bin and return its row."""
        row = self.n
        if row == len(self.seq):
            for name, fill in _EMPTY.items():
                old = getattr(self, name)
                setattr(self, name, np.concatenate([old, np.full_like(old, fill)]))
        self.x[row], self.seq[row], self.ready[row] = x, bin_seq, not np.isnan(x).any()
        self.n = row + 1
        return row

    def follow(self, frame: Any) -> None:
        """Let the next bin, valid or not, resolve labels; a valid bin after `append`."""
        flags, prices = self.clock.bin(frame)
        self._resolve(frame.bin_seq, np.array([flags]), prices, np.array([self.n - 1]))

    def _resolve(self, first_seq: int, flags: Any, prices: Any, last_row: Any) -> None:
        found = Labels(self.outcome, self.ends, self.y, self.resolved)
        resolve(self.book, first_seq, flags, prices, last_row, self.seq, found)

    def take(self, model: Fitted, fit: Retrain) -> None:
        """Go on with a new model."""
        self.model, self.learned = model, fit.bin_seq
        self.retrains.append(fit)
