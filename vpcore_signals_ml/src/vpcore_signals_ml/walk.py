"""Walk-forward learning: every signal of this package is this schedule with its own features and model.

Counted in valid bins after the features' warm-up, the first fit is at the end of bin number `min_train_bins` and
another one every `retrain_interval_bins`. A fit sees the labels that are resolved by then (`vpcore_signals_ml.labels`),
every `stride_bins`-th of them, of the whole past or of the last `train_window_bins`; see
`vpcore_signals_ml.selection`. The bin of a fit is the first that its model predicts. A fit that finds fewer than ten
examples of either class is left out. There is no value (NaN) before the first model.

A saved model predicts at once. It is replaced on the schedule of a fresh start, counted from where it was loaded.
"""

from __future__ import annotations

import math
import time
from abc import abstractmethod
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
from pydantic import Field

from vpcore import LabelSpec, MLSignal, SignalContext, SignalError, SignalFrame, SignalParams, SignalResult
from vpcore_signals_ml import require
from vpcore_signals_ml.artifact import describe, read_artifact, write_artifact
from vpcore_signals_ml.features import BIN_COLUMNS, FeatureSet
from vpcore_signals_ml.labels import NEVER, OPEN, PRICE_COLUMNS, UNKNOWN, Floats, new_book, prices_of, resolve
from vpcore_signals_ml.selection import Rules, Training, choose

FIRST_CAPACITY = 4096


class WalkParams(SignalParams):
    """Parameters of the schedule."""

    min_train_bins: int = Field(3000, ge=20, le=10_000_000, description="Bins before the first fit, in bins.")
    retrain_interval_bins: int = Field(3000, ge=1, le=10_000_000, description="From one fit to the next, in bins.")
    train_window_bins: int = Field(
        0,
        ge=0,
        le=10_000_000,
        examples=[200, 18_000],
        description="How far back a fit looks (a rolling window); 0 for the whole past, in bins.",
    )
    stride_bins: int = Field(5, ge=1, le=10_000, description="One example out of this many bins.")
    half_life_bins: int = Field(
        0,
        ge=0,
        le=100_000_000,
        examples=[100],
        description="Age at which an example counts half; 0 for no decay, in bins.",
    )
    uniqueness: bool = Field(True, description="Whether examples with overlapping trades share their weight.")


class ValidatedParams(WalkParams):
    """Parameters of the schedule of a model that needs a validation part."""

    validation_share: float = Field(
        0.2, ge=0.05, le=0.5, description="Latest share of the examples that only decides when to stop or how to scale."
    )


class Retrain(NamedTuple):
    """One fit: bin, examples in the training and in the validation part, duration."""

    bin_seq: int
    n_train: int
    n_valid: int
    ns: int


class WalkState:
    """What the bins leave behind.

    Attributes
    ----------
    x : float64[capacity, n_features]
        Features of the valid bins so far.
    seq, outcome, ends, y, resolved : arrays of `capacity` rows
        Their numbers and labels; see `vpcore_signals_ml.labels.resolve`.
    n : int
        Valid bins so far.
    model : object
        The fitted model, None before the first.
    retrains : list of Retrain
    retrain_ns : list of int
        Duration of every fit.
    """

    def __init__(self, features: FeatureSet, labels: LabelSpec, tick_int: int) -> None:
        self.labels = labels
        self.tick_int = tick_int
        self.progress = features.start()
        self.book = new_book(labels)
        self.n = 0
        self.model: Any = None
        self.retrains: list[Retrain] = []
        self.retrain_ns: list[int] = []
        self.value = np.empty(1)
        self._allocate(np.empty((FIRST_CAPACITY, len(features.names))))

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
        resolve(self.book, first, self.n, self.seq, prices, self.outcome, self.ends, self.y, self.resolved)


class WalkForward(MLSignal):
    """A signal that refits a model on a schedule. Subclasses name features and library, fit, predict and keep."""

    version = 1
    prediction_mode = "probability"
    features: ClassVar[FeatureSet]
    library: ClassVar[str] = ""
    Params = WalkParams
    params: WalkParams

    @abstractmethod
    def fit(self, training: Training) -> Any:
        """Return a model."""

    @abstractmethod
    def predict(self, model: Any, x: Floats, out: Floats) -> None:
        """Write the value of every row of `x` to `out`, row by row in compiled code."""

    @abstractmethod
    def model_files(self, model: Any) -> dict[str, bytes]:
        """Return a model as files, without pickle."""

    @abstractmethod
    def model_of(self, files: dict[str, bytes], where: str) -> Any:
        """Return the model in files.

        Raises
        ------
        SignalError
            If they are none.
        """

    # -- a session -------------------------------------------------------------------------------------------------

    def start(self, context: SignalContext) -> WalkState:
        """Return a state without bins or model.

        Raises
        ------
        SignalError
            If the context has no labels.
        ConfigError
            If the grid does not reach as far as the features.
        PluginError
            If the library of the fits is not installed.
        """
        name = type(self).__name__
        if context.labels is None:
            raise SignalError(f"Signal '{name}' learns from trades: its context needs a LabelSpec.")
        self.features.require(context, name)
        if self.library:
            require.check(self.library, name)
        return WalkState(self.features, context.labels, context.tick_int)

    def warmup_bins(self, context: SignalContext) -> int:
        """Return the valid bins before the first fit; the first value may come later, when labels are few."""
        return self.features.warmup + self.params.min_train_bins - 1

    def step(self, state: WalkState, frame: SignalFrame) -> float:
        """Return the value of one bin, after refitting if it is time."""
        row = state.append(self.features.row(state.progress, frame, state.tick_int), frame.bin_seq)
        state.label(row, prices_of(frame.__getitem__, state.labels).reshape(1, -1))
        if self._due(row):
            self._refit(state, row)
        if state.model is None or row < self.features.warmup:
            return math.nan
        self.predict(state.model, state.x[row : row + 1], state.value)
        return float(state.value[0])

    def compute(self, dataset: Any, labels: LabelSpec | None = None) -> SignalResult:
        """Return the values of every bin, and with them the last state."""
        state = self.start(SignalContext.of(dataset, labels))
        rows = np.flatnonzero(dataset.valid)
        state.hold(self._matrix(dataset).copy(), dataset.bin("bin_seq")[rows])
        state.n = len(rows)
        state.label(0, prices_of(lambda name: dataset.bin(name)[rows], state.labels))
        out = np.full(state.n, math.nan)
        at = min(self.features.warmup, state.n)
        for row in range(
            self.warmup_bins(SignalContext.of(dataset, labels)), state.n, self.params.retrain_interval_bins
        ):
            if state.model is not None:
                self.predict(state.model, state.x[at:row], out[at:row])
            self._refit(state, row)
            at = row
        if state.model is not None:
            self.predict(state.model, state.x[at : state.n], out[at:])
        values = np.full(dataset.n_bins, math.nan)
        values[rows] = out
        return SignalResult(values, self.prediction_mode, state)

    def _matrix(self, dataset: Any) -> Floats:
        """Return the features of a dataset, made once for all that run over it in this process."""
        shared = getattr(dataset, "shared", None)
        if shared is None:
            return self.features.matrix(dataset)
        key = f"vpcore_signals_ml.features.{self.features.name}"
        if key not in shared:
            shared[key] = self.features.matrix(dataset)
        matrix: Floats = shared[key]
        return matrix

    def _due(self, row: int) -> bool:
        since = row - (self.features.warmup + self.params.min_train_bins - 1)
        return since >= 0 and since % self.params.retrain_interval_bins == 0

    def _refit(self, state: WalkState, row: int) -> None:
        began = time.perf_counter_ns()
        p = self.params
        rules = Rules(
            window_bins=p.train_window_bins,
            stride_bins=p.stride_bins,
            half_life_bins=p.half_life_bins,
            uniqueness=p.uniqueness,
            validation_share=p.validation_share if isinstance(p, ValidatedParams) else 0.0,
            latency_bins=state.labels.latency_bins,
        )
        training = choose(
            state.x, state.seq, state.y, state.resolved, first_row=self.features.warmup, row=row, rules=rules
        )
        if training is None:
            return
        state.model = self.fit(training)
        spent = time.perf_counter_ns() - began
        state.retrain_ns.append(spent)
        state.retrains.append(Retrain(int(state.seq[row]), len(training.y), len(training.y_valid), spent))

    # -- keeping the model -----------------------------------------------------------------------------------------

    def save_model(self, state: WalkState, folder: Path) -> None:
        """Write the model of the last fit, with what it belongs to and a digest.

        Raises
        ------
        SignalError
            If nothing was fitted yet.
        """
        name = type(self).__name__
        if state.model is None:
            raise SignalError(f"Signal '{name}' has no model to save: nothing was fitted yet.")
        facts = describe(
            name, self.version, self.features.names, self.params.plain(), state.labels, self.library, state.retrains
        )
        write_artifact(Path(folder), facts, self.model_files(state.model))

    def load_model(self, folder: Path, context: SignalContext) -> WalkState:
        """Return a state that predicts with a saved model as soon as its features are there.

        Raises
        ------
        SignalError
            If the folder has no model of this signal, version, features and labels, or it was changed.
        """
        state = self.start(context)
        files = read_artifact(Path(folder), type(self).__name__, self.version, self.features.names, state.labels)
        state.model = self.model_of(files, str(folder))
        return state


def columns_of(features: FeatureSet) -> tuple[str, ...]:
    """Return what a signal with these features declares: theirs, and what labels are made of."""
    return (*features.grid, *dict.fromkeys((*BIN_COLUMNS, *PRICE_COLUMNS)))
