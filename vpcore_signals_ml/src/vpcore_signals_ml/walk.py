"""Walk-forward learning: every signal of this package is this schedule with its own features and model.

Counted in valid bins after the features' warm-up, the first fit is at the end of bin number `min_train_bins` and
another one every `retrain_interval_bins`. A fit sees the labels that are resolved by then (`vpcore_signals_ml.labels`),
every `stride_bins`-th of them, of the whole past or of the last `train_window_bins`; see
`vpcore_signals_ml.selection`. The bin of a fit is the first that its model predicts. A fit that finds fewer than ten
examples of either class is left out. There is no value (NaN) before the first model.

A saved model predicts at once. It is replaced on the schedule of a fresh start, counted from where it was loaded.

An executor may make the fits (`WalkForward.fit_elsewhere`): then the model that there is serves until the new one is
ready, which is looked for at every bin. Nothing else changes: a fit gets the same examples and gives the same bytes.
"""

from __future__ import annotations

import math
import time
from abc import abstractmethod
from concurrent.futures import Executor
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np

from vpcore import BackgroundFit, MLSignal, SignalContext, SignalError, SignalFrame, SignalResult, TradeRules
from vpcore_signals_ml import require
from vpcore_signals_ml.artifact import describe, read_artifact, write_artifact
from vpcore_signals_ml.diagnostics import diagnose
from vpcore_signals_ml.features import BIN_COLUMNS, FeatureSet
from vpcore_signals_ml.labels import PRICE_COLUMNS, Floats, prices_of
from vpcore_signals_ml.schedule import ScheduleParams, ValidatedParams, WalkParams
from vpcore_signals_ml.selection import Selection, Training, choose, uniqueness
from vpcore_signals_ml.walk_state import Pending, Retrain, WalkState


class Examples(Protocol):
    """What a fit is given."""

    @property
    def n_train(self) -> int:
        """Examples in the training part."""

    @property
    def n_valid(self) -> int:
        """Examples in the validation part."""


class WalkForward(MLSignal):
    """A signal that refits a model on a schedule. Subclasses name features and library, fit, predict and keep."""

    version = 1
    features: ClassVar[FeatureSet]
    library: ClassVar[str] = ""
    neutral_examples: ClassVar[bool] = False
    """Whether a fit also gets the examples in which neither side paid, or both at once."""
    Params = WalkParams
    params: ScheduleParams

    @abstractmethod
    def fit(self, training: Any) -> Any:
        """Return a model; `training` is what `examples` returned."""

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

    def per_feature(self, model: Any) -> dict[str, Floats]:
        """Return what a model says of its features, float64[n_features] by name: a weight, a gain."""
        return {}

    @classmethod
    def missing(cls) -> str:
        """Return the library that is not installed, and how it would be; empty if nothing is missing."""
        return require.missing(cls.library) if cls.library else ""

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Names of the features, in order."""
        return self.features.names

    # -- a session -------------------------------------------------------------------------------------------------

    def start(self, context: SignalContext) -> WalkState:
        """Return a state without bins or model.

        Raises
        ------
        SignalError
            If the context has no rules.
        ConfigError
            If the grid does not reach as far as the features.
        PluginError
            If the library of the fits is not installed.
        """
        name = type(self).__name__
        if context.rules is None:
            raise SignalError(f"Signal '{name}' learns from trades: its context needs TradeRules.")
        self.features.require(context, name)
        if self.library:
            require.check(self.library, name)
        return WalkState(self.features, context.rules, context.tick_int)

    def warmup_bins(self, context: SignalContext) -> int:
        """Return the valid bins before the first fit; the first value may come later, when labels are few."""
        return self.features.warmup + self.params.min_train_bins - 1

    def step(self, state: WalkState, frame: SignalFrame) -> float:
        """Return the value of one bin, after learning what is due."""
        row = state.append(self.features.row(state.progress, frame, state.tick_int), frame.bin_seq)
        state.label(row, prices_of(frame.__getitem__, state.rules.price, state.tick_int).reshape(1, -1))
        self._adopt(state, frame.bin_seq)
        if self._due(row) or self._update_due(state, row):
            self._learn(state, row)
        if state.model is None or row < self.features.warmup:
            return math.nan
        self.predict(state.model, state.x[row : row + 1], state.value)
        return float(state.value[0])

    def compute(self, dataset: Any, rules: TradeRules | None = None) -> SignalResult:
        """Return the values of every bin, and with them the last state."""
        state = self.start(SignalContext.of(dataset, rules))
        rows = np.flatnonzero(dataset.valid)
        state.hold(self._matrix(dataset).copy(), dataset.bin("bin_seq")[rows])
        state.label(0, prices_of(lambda name: dataset.bin(name)[rows], state.rules.price, state.tick_int))
        out = np.full(state.n, math.nan)
        at = min(self.features.warmup, state.n)
        for row in self._learning_rows(state.n):
            if state.model is not None:
                self.predict(state.model, state.x[at:row], out[at:row])
            self._learn(state, row)
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

    # -- learning --------------------------------------------------------------------------------------------------

    @property
    def update_interval_bins(self) -> int:
        """Bins from one partial fit to the next, for models that have them; 0 for none."""
        return 0

    def update(self, state: WalkState, row: int) -> None:
        """Improve the model by what was resolved since it last learned, for models with partial fits."""

    def _first(self) -> int:
        return self.features.warmup + self.params.min_train_bins - 1

    def _due(self, row: int) -> bool:
        since = row - self._first()
        return since >= 0 and since % self.params.retrain_interval_bins == 0

    def _update_due(self, state: WalkState, row: int) -> bool:
        every = self.update_interval_bins
        return every > 0 and state.model is not None and (row - self._first()) % every == 0

    def _learning_rows(self, n: int) -> list[int]:
        """Return the rows at which a fresh session learns, ascending."""
        first, every = self._first(), self.update_interval_bins
        updates = range(first, n, every) if every else ()
        return sorted({*range(first, n, self.params.retrain_interval_bins), *updates})

    def _learn(self, state: WalkState, row: int) -> None:
        if self._due(row) and self._refit(state, row):
            return
        if self._update_due(state, row):
            self.update(state, row)
            self._settle(state, int(state.seq[row]))

    def examples(self, state: WalkState, row: int) -> Examples | None:
        """Return what a fit at the end of a row may see; None for no fit."""
        p = self.params
        selection = Selection(
            window_bins=p.train_window_bins,
            stride_bins=p.stride_bins,
            half_life_bins=p.half_life_bins,
            uniqueness=p.uniqueness if isinstance(p, WalkParams) else False,
            validation_share=p.validation_share if isinstance(p, ValidatedParams) else 0.0,
            latency_bins=state.rules.latency_bins,
            neutral=self.neutral_examples,
        )
        first = self.features.warmup
        return choose(state.x, state.seq, state.y, state.resolved, first_row=first, row=row, selection=selection)

    def _refit(self, state: WalkState, row: int) -> bool:
        """Fit, or have it done; whether the state has a new model now."""
        began = time.perf_counter_ns()
        training = self.examples(state, row)
        if training is None:
            return False
        seq = int(state.seq[row])
        if state.executor is not None:
            future = state.executor.submit(fit_timed, self, training)
            state.pending.append(Pending(seq, training.n_train, training.n_valid, future))
            state.background.append(BackgroundFit(seq))
            return False
        model = self.fit(training)
        state.take(model, Retrain(seq, training.n_train, training.n_valid, time.perf_counter_ns() - began))
        return True

    # -- fits made elsewhere ---------------------------------------------------------------------------------------

    def fit_elsewhere(self, state: WalkState, executor: Executor) -> None:
        """Let an executor make the fits of a state from now on; see the module.

        It makes one of made-up examples first, so that what a fit needs is loaded before the first one is due.
        """
        training = self.rehearsal()
        model, _ = executor.submit(fit_timed, self, training).result()
        self.rehearse(model, state)
        state.executor = executor

    def rehearse(self, model: Any, state: WalkState) -> None:
        """Load what the bins themselves need of compiled code, with a made-up model; the state stays as it is."""
        few = np.arange(3)
        uniqueness(few, few + 1)
        self.predict(model, np.zeros((1, len(self.feature_names))), state.value)

    def rehearsal(self) -> Any:
        """Return made-up examples, as few as a fit can do with."""
        rng = np.random.default_rng(0)
        x, y, weight = rng.standard_normal((60, len(self.feature_names))), np.arange(60.0) % 2.0, np.ones(60)
        return Training(x[:40], y[:40], weight[:40], x[40:], y[40:], weight[40:])

    def _adopt(self, state: WalkState, now: int) -> None:
        """Go on with what an executor has fitted meanwhile."""
        while state.pending and state.pending[0].future.done():
            fit = state.pending.popleft()
            model, ns = fit.future.result()
            state.take(model, Retrain(fit.bin_seq, fit.n_train, fit.n_valid, ns))
            # Partial fits that the new model has missed are made up for at the next one.
            settled = None if self.update_interval_bins else now
            done = BackgroundFit(fit.bin_seq, now, settled, ns)
            state.background = [done if other.due_bin == fit.bin_seq else other for other in state.background]

    def _settle(self, state: WalkState, now: int) -> None:
        state.background = [
            fit if fit.ready_bin is None or fit.settled_bin is not None else fit._replace(settled_bin=now)
            for fit in state.background
        ]

    def diagnose(self, dataset: Any, rules: TradeRules, result: SignalResult, *, full: bool) -> Any:
        """Return what a run was worth apart from its trades; see `vpcore_signals_ml.diagnostics`."""
        return diagnose(self, dataset, rules, result, full=full)

    # -- keeping the model -----------------------------------------------------------------------------------------

    def save_model(self, state: WalkState, folder: Path) -> None:
        """Write the model, with what it belongs to and a digest.

        Raises
        ------
        SignalError
            If nothing was fitted yet.
        """
        name = type(self).__name__
        if state.model is None:
            raise SignalError(f"Signal '{name}' has no model to save: nothing was fitted yet.")
        facts = describe(
            name, self.version, self.feature_names, self.params.plain(), state.labels, self.library, state.retrains
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
        files = read_artifact(Path(folder), type(self).__name__, self.version, self.feature_names, state.labels)
        state.model = self.model_of(files, str(folder))
        return state


def fit_timed(signal: WalkForward, training: Any) -> tuple[Any, int]:
    """Return a model and how long its fit took, ns: what an executor is given."""
    began = time.perf_counter_ns()
    model = signal.fit(training)
    return model, time.perf_counter_ns() - began


def columns_of(features: FeatureSet) -> tuple[str, ...]:
    """Return what a signal with these features declares: theirs, and what labels are made of."""
    return (*features.grid, *dict.fromkeys((*BIN_COLUMNS, *PRICE_COLUMNS)))
