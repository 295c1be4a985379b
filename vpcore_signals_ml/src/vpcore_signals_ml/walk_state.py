"""What a walk-forward signal keeps from bin to bin: features, labels, the model, and the fits that are under way."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Executor, Future
from typing import Any, NamedTuple

import numpy as np

from vpcore import BackgroundFit, TradeRules
from vpcore_signals_ml.artifact import label_block
from vpcore_signals_ml.features import FeatureSet
from vpcore_signals_ml.labels import NEVER, OPEN, UNKNOWN, Floats, Labels, new_book, resolve

FIRST_CAPACITY = 4096


class Retrain(NamedTuple):
    """One fit: bin, examples in the training and in the validation part, duration."""

    bin_seq: int
    n_train: int
    n_valid: int
    ns: int


class Pending(NamedTuple):
    """A fit that an executor was given: bin, sizes, and what will hold the model and the duration."""

    bin_seq: int
    n_train: int
    n_valid: int
    future: Future[tuple[Any, int]]


class WalkState:
    """What the bins leave behind.

    Attributes
    ----------
    x : float64[capacity, n_features]
        Features of the valid bins so far.
    seq, outcome, ends, y, resolved : arrays of `capacity` rows
        Their numbers and labels; see `vpcore_signals_ml.labels.Labels`.
    n : int
        Valid bins so far.
    model : object
        The fitted model, None before the first.
    learned : int
        Bin by which the labels that the model knows were resolved, -1 for a model of another session.
    retrains : list of Retrain
    retrain_ns : list of int
        Duration of every fit.
    executor : Executor or None
        Makes the fits, if it is not the bin itself.
    pending : deque of Pending
        Fits under way, oldest first.
    background : list of BackgroundFit
        Fits that the executor was given.
    """

    def __init__(self, features: FeatureSet, rules: TradeRules, tick_int: int) -> None:
        self.rules = rules
        self.tick_int = tick_int
        self.progress = features.start()
        self.book = new_book(rules, tick_int)
        self.n = 0
        self.model: Any = None
        self.learned = -1
        self.retrains: list[Retrain] = []
        self.retrain_ns: list[int] = []
        self.executor: Executor | None = None
        self.pending: deque[Pending] = deque()
        self.background: list[BackgroundFit] = []
        self.value = np.empty(1)
        self._allocate(np.empty((FIRST_CAPACITY, len(features.names))))

    @property
    def labels(self) -> dict[str, Any]:
        """The part of the rules that decides labels; see `vpcore_signals_ml.artifact.label_block`."""
        return label_block(self.rules, self.tick_int)

    def _allocate(self, x: Floats) -> None:
        self.x = x
        n = len(x)
        self.seq = np.zeros(n, dtype=np.int64)
        self.outcome = np.full((n, 2), OPEN, dtype=np.int8)
        self.ends = np.zeros((n, 2), dtype=np.int64)
        self.y = np.full(n, UNKNOWN, dtype=np.int8)
        self.resolved = np.full(n, NEVER, dtype=np.int64)

    def hold(self, x: Floats, seq: Any) -> None:
        """Take the features of all bins at once."""
        self._allocate(x)
        self.seq[:] = seq
        self.n = len(x)

    def append(self, x: Floats, bin_seq: int) -> int:
        """Add a bin and return its row."""
        row = self.n
        if row == len(self.seq):
            for name, fill in (
                ("x", 0),
                ("seq", 0),
                ("outcome", OPEN),
                ("ends", 0),
                ("y", UNKNOWN),
                ("resolved", NEVER),
            ):
                old = getattr(self, name)
                setattr(self, name, np.concatenate([old, np.full_like(old, fill)]))
        self.x[row] = x
        self.seq[row] = bin_seq
        self.n = row + 1
        return row

    def label(self, first: int, prices: Any) -> None:
        """Let the bins from row `first` on resolve labels."""
        resolve(self.book, first, self.n, self.seq, prices, Labels(self.outcome, self.ends, self.y, self.resolved))

    def take(self, model: Any, fit: Retrain) -> None:
        """Go on with a new model."""
        self.model = model
        self.learned = fit.bin_seq
        self.retrains.append(fit)
        self.retrain_ns.append(fit.ns)
