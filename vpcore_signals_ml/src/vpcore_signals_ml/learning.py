"""Learning signals: features and an estimator, refitted on a schedule while the session runs.

Counted in valid bins after the warm-up of the features, the first fit is at the end of bin number `min_train_bins`, and
another one every `retrain_interval_bins`. The bin of a fit is the first that its model predicts. A saved model predicts
at once, and is replaced on the schedule of a fresh start. An executor may make the fits: the current model serves until
the new one is ready. A fit gets the same examples and gives the same bytes either way.
"""

from __future__ import annotations

import math
import time
from concurrent.futures import Executor
from contextlib import suppress
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from scipy.special import expit

from vpcore import BackgroundFit, MLSignal, SignalContext, SignalError, SignalFrame, SignalResult, TradeRules
from vpcore_signals_ml import artifact, models
from vpcore_signals_ml.diagnostics import diagnose
from vpcore_signals_ml.labels import LABEL_COLUMNS, UP, Floats
from vpcore_signals_ml.models import Fitted
from vpcore_signals_ml.schedule import LearningParams, ScheduleParams, ValidatedParams
from vpcore_signals_ml.selection import MIN_PER_CLASS, Training, choose, fresh
from vpcore_signals_ml.state import LearningState, Retrain, Unfit
from vpcore_signals_stat.features import FeatureSet

MOST_USED = 5
"""Features named with every fit."""

NO_SIGMOID = np.full(2, math.nan)


class LearningSignal(MLSignal):
    """A signal that learns: name `features`, and define `make_model`, or `fit` and `predict`.

    The base class owns schedule, labels, purging, weights, scaling, calibration, background fits, files and
    diagnostics. Streaming and batch give the same bytes. Fits run on one thread, with fixed seeds.

    Examples
    --------
    ::

        class Tilt(LearningSignal):
            features = ("touch", "touch_20", "spot_3", "flow_20")

            def make_model(self):
                return LogisticRegression(C=0.01)
    """

    features: ClassVar[tuple[Any, ...]] = ()
    """Registered names (`vpcore_signals_stat.features`) and statistical signals, in order."""
    standardised: ClassVar[bool] = True
    """Features become ``clip((x - mean) / deviation, -8, 8)`` of the training part, for `fit` and `predict`."""
    calibrate: ClassVar[bool] = False
    """Scores become probabilities by Platt's sigmoid on the validation part; needs `ValidatedParams`."""
    rows_alone: ClassVar[bool] = False
    """`predict` treats every row by itself, so a batch may be predicted at once; its first and last row are tested."""
    neutral_examples: ClassVar[bool] = False
    """A fit also gets the examples in which neither side paid, or both at once, with y of 1/2."""
    trusted_types: ClassVar[tuple[str, ...]] = ()
    """Types of a saved model beyond scikit-learn's and numpy's own."""
    feature_set: ClassVar[FeatureSet]
    Params = LearningParams
    params: ScheduleParams

    def __init_subclass__(cls, **arguments: Any) -> None:
        if "features" in vars(cls):
            cls.feature_set = FeatureSet(cls.features, cls.__name__)
            cls.columns = tuple(dict.fromkeys((*cls.feature_set.columns, *LABEL_COLUMNS)))
        super().__init_subclass__(**arguments)
        if cls.calibrate and not issubclass(cls.Params, ValidatedParams):
            raise SignalError(
                f"Signal '{cls.__name__}' sets calibrate = True, which needs a validation part.",
                fix="Let its Params derive from vpcore_signals_ml.ValidatedParams.",
            )

    # -- the model -------------------------------------------------------------------------------------------------

    def make_model(self) -> Any:
        """Return an unfitted scikit-learn estimator with the parameters of the signal."""
        raise SignalError(f"Signal '{type(self).__name__}' defines neither make_model nor fit.")

    def fit(self, training: Training) -> Any:
        """Return a model fitted on the training part; by default `make_model`, weighted.

        Parameters
        ----------
        training : Training
            Examples; features are standardised if `standardised`.

        Returns
        -------
        object
            A scikit-learn estimator, a LightGBM booster, or a dict of such values and arrays.
        """
        return models.fit_weighted(self.make_model(), training)

    def predict(self, model: Any, x: Floats) -> Floats:
        """Return the value of every row; by default P(up), or the score that `calibrate` turns into P(up).

        Parameters
        ----------
        model : object
            Returned by `fit`.
        x : float64[n, n_features]
            Complete rows, standardised if `standardised`.

        Returns
        -------
        float64[n]
        """
        return models.score(model, x) if self.calibrate else models.probability(model, x)

    def update(self, model: Any, x: Floats, y: Floats) -> Any:
        """Return the model after new examples, for a signal with `update_interval_bins`; leave the given one as it is.

        Parameters
        ----------
        model : object
            Returned by `fit` or `update`.
        x, y : float64[n, n_features], float64[n]
            Examples resolved since, standardised if `standardised`; y as in `Training`.
        """
        return model

    def stored(self, model: Any) -> Any:
        """Return the part of a model that its files keep: estimators, arrays, and dicts and lists of them."""
        return model

    def restored(self, stored: Any) -> Any:
        """Return the model of a stored part."""
        return stored

    def importance(self, model: Any) -> dict[str, Floats]:
        """Return the model's own importance of its features, float64[n_features] by name: a weight, a gain."""
        return models.importance(model, len(self.feature_names))

    @property
    def update_interval_bins(self) -> int:
        """Bins from one `update` to the next; 0 without updates. A parameter of that name sets it."""
        return getattr(self.params, "update_interval_bins", 0)

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Names of the features, in order."""
        return self.feature_set.names

    # -- a session -------------------------------------------------------------------------------------------------

    def start(self, context: SignalContext) -> LearningState:
        """Return a state without bins or model; see `Signal.start`. The context needs rules."""
        name = type(self).__name__
        if context.rules is None:
            raise SignalError(f"Signal '{name}' learns from trades: its context needs TradeRules.")
        self.feature_set.require(context, name)
        return LearningState(self.feature_set, context)

    def warmup_bins(self, context: SignalContext) -> int:
        """Return the valid bins before the first fit; the first value may come later, with few labels."""
        return self.feature_set.warmup(context) + self.params.min_train_bins - 1

    def skip(self, state: LearningState, frame: SignalFrame) -> None:
        """Let an invalid bin pass: time passes for open trades, and the market may close."""
        state.follow(frame)

    def step(self, state: LearningState, frame: SignalFrame) -> float:
        """Return the value of one bin, after learning what is due."""
        if not state.n:
            _load(type(self))
        row = state.append(self.feature_set.row(state.progress, frame, state.tick_int), frame.bin_seq)
        state.follow(frame)
        self._adopt(state, frame.bin_seq)
        self._learn(state, row)
        if state.model is None or row < state.warmup:
            return math.nan
        return float(self.values(state.model, state.x[row : row + 1])[0])

    def compute(self, dataset: Any, rules: TradeRules | None = None) -> SignalResult:
        """Return the values of every bin, and with them the last state."""
        state = self.start(SignalContext.of(dataset, rules))
        state.hold(self.feature_set.matrix(dataset), dataset)
        out = np.full(state.n, math.nan)
        at = min(state.warmup, state.n)
        first, intervals = self._first(state), (self.params.retrain_interval_bins, self.update_interval_bins)
        due = {row for every in intervals if every for row in range(first, state.n, every)}
        for row in [*sorted(due), state.n]:
            if state.model is not None:
                out[at:row] = self.values(state.model, state.x[at:row])
            if row < state.n:
                self._learn(state, row)
            at = row
        values = np.full(dataset.n_bins, math.nan)
        values[np.asarray(dataset.valid)] = out
        return SignalResult(values, self.prediction_mode, state)

    def values(self, model: Fitted, x: Floats) -> Floats:
        """Return the value of every row of raw features, float64[n]; NaN without every feature."""
        z = models.standardise(x, model.mean, model.scale, self.standardised)
        if len(model.linear):
            out = models.linear_scores(model.linear, z)
        else:
            out, ready = np.full(len(x), math.nan), ~np.isnan(z).any(axis=1)
            with models.one_thread():
                predict = partial(self.predict, model.estimator)
                out[ready] = models.predict_rows(predict, z[ready], model.estimator, self.rows_alone)
        slope, shift = model.sigmoid
        return out if math.isnan(slope) else expit(slope * out + shift)

    def _first(self, state: LearningState) -> int:
        return state.warmup + self.params.min_train_bins - 1

    def _learn(self, state: LearningState, row: int) -> None:
        """Make the fit or the update that is due at the end of a row."""
        since, every = row - self._first(state), self.update_interval_bins
        if since >= 0 and since % self.params.retrain_interval_bins == 0 and self._refit(state, row):
            return
        if every and state.model is not None and since % every == 0:
            self._update(state, row)

    def examples(self, state: LearningState, row: int) -> Any:
        """Return the examples of a fit at the end of a row; None for no fit."""
        found = choose(state, row, self.params, neutral=self.neutral_examples)
        if min(found.counts) < MIN_PER_CLASS:
            state.unfit.append(Unfit(int(state.seq[row]), *found.counts))
            return None
        return found

    def _refit(self, state: LearningState, row: int) -> bool:
        """Fit on what is known at the end of a row, or hand that to the executor; return whether the model changed."""
        began = time.perf_counter_ns()
        training = self.examples(state, row)
        if training is None:
            return False
        seq = int(state.seq[row])
        if state.executor is not None:
            state.pending.append(state.executor.submit(timed_fit, self, training, seq))
            state.background.append(BackgroundFit(seq))
            return False
        model, fit = timed_fit(self, training, seq)
        state.take(model, fit._replace(ns=time.perf_counter_ns() - began))
        return True

    def fit_model(self, training: Training) -> Fitted:
        """Return a fitted model: scaling, `fit`, calibration, and for an updated model the validation part learned.

        Scaling and estimator see the training part alone.
        """
        m = training.x.shape[1]
        mean, scale = models.moments(training.x, training.weight) if self.standardised else (np.zeros(m), np.ones(m))
        z, z_valid = (models.standardise(x, mean, scale, self.standardised) for x in (training.x, training.x_valid))
        with models.one_thread():
            estimator = self.fit(replace(training, x=z, x_valid=z_valid))
            own = type(self).predict is not LearningSignal.predict
            model = Fitted(estimator, mean, scale, np.empty(0) if own else models.coefficients(estimator), NO_SIGMOID)
            if self.calibrate:
                scores = self.values(model, training.x_valid)
                model = model._replace(sigmoid=models.platt(scores, training.y_valid, training.weight_valid))
            elif len(model.linear):
                models.probability(estimator, z[:1])  # refuses an estimator without probabilities
                model = model._replace(sigmoid=np.array([1.0, 0.0]))
        if not self.update_interval_bins or not training.n_valid:
            return model
        return self._updated(model, training.x_valid, training.y_valid)

    def _updated(self, model: Fitted, x: Floats, y: Floats) -> Fitted:
        z = models.standardise(x, model.mean, model.scale, self.standardised)
        with models.one_thread():
            estimator = self.update(model.estimator, z, y)
        linear = models.coefficients(estimator) if len(model.linear) else model.linear
        return model._replace(estimator=estimator, linear=linear)

    def _update(self, state: LearningState, row: int) -> None:
        """Learn what was resolved since, in the portions of every update that is due by a row."""
        every, first = self.update_interval_bins, self._first(state)
        start = int(np.searchsorted(state.seq[: row + 1], state.learned, "right")) if state.learned >= 0 else 0
        for at in range(row - (row - max(start, first % every)) // every * every, row + 1, every):
            rows = fresh(state, at, self.params.stride_bins)
            if len(rows) and state.model is not None:
                state.model = self._updated(state.model, state.x[rows], (state.y[rows] == UP).astype(np.float64))
            state.learned = int(state.seq[at])
        for i, fit in enumerate(state.background):
            if fit.ready_bin is not None and fit.settled_bin is None:
                state.background[i] = fit._replace(settled_bin=int(state.seq[row]))

    # -- fits in the background ------------------------------------------------------------------------------------

    def fit_elsewhere(self, state: LearningState, executor: Executor) -> None:
        """Let an executor make the fits of a state from now on; see the module.

        Its first fit is one of made-up examples, which loads all code that a fit needs.
        """
        model, _ = executor.submit(timed_fit, self, self.rehearsal(), 0).result()
        x = np.zeros((1, len(self.feature_names)))
        self.values(model, x)
        if self.update_interval_bins:
            self.update(model.estimator, x, np.ones(1))
        state.executor = executor

    def rehearsal(self) -> Any:
        """Return made-up examples, as few as a fit can do with."""
        rng = np.random.default_rng(0)
        x, y, weight = rng.standard_normal((60, len(self.feature_names))), np.arange(60.0) % 2.0, np.ones(60)
        return Training(x[:40], y[:40], weight[:40], x[40:], y[40:], weight[40:])

    def _adopt(self, state: LearningState, now: int) -> None:
        """Go on with the finished fits of an executor."""
        while state.pending and state.pending[0].done():
            model, fit = state.pending.popleft().result()
            state.take(model, fit)
            # The new model makes up at the next update for those it has missed.
            settled = None if self.update_interval_bins else now
            at = [other.due_bin for other in state.background].index(fit.bin_seq)
            state.background[at] = BackgroundFit(fit.bin_seq, now, settled, fit.ns)

    def diagnose(self, dataset: Any, rules: TradeRules, result: SignalResult, *, full: bool) -> Any:
        """Return the diagnostics of a run; see `vpcore_signals_ml.diagnostics`."""
        return diagnose(self, dataset, rules, result, full=full)

    def _facts(self, state: LearningState) -> dict[str, Any]:
        return {
            "signal": type(self).__name__,
            "version": self.version,
            "features": list(self.feature_names),
            "labels": artifact.label_block(state.rules, state.tick_int),
        }

    def save_model(self, state: LearningState, folder: Path) -> None:
        """Write the model, its facts and a digest; raise `SignalError` if nothing was fitted yet."""
        if state.model is None:
            raise SignalError(f"Signal '{type(self).__name__}' has no model to save: nothing was fitted yet.")
        last = state.retrains[-1] if state.retrains else None
        facts = {
            **self._facts(state),
            "params": self.params.plain(),
            "libraries": artifact.versions(),
            "fit": {"bin_seq": last.bin_seq, "n_train": last.n_train, "n_valid": last.n_valid} if last else None,
        }
        model = state.model._replace(estimator=self.stored(state.model.estimator))
        artifact.write_artifact(Path(folder), facts, artifact.model_files(model))

    def load_model(self, folder: Path, context: SignalContext) -> LearningState:
        """Return a state that predicts with a saved model as soon as its features are there.

        Raises `SignalError` for a model of another signal, version, feature list or other labels, or a changed one.
        """
        state = self.start(context)
        files = artifact.read_artifact(Path(folder), self._facts(state))
        model = artifact.model_of(files, len(self.feature_names), self.trusted_types, str(folder))
        state.model = model._replace(estimator=self.restored(model.estimator))
        return state


@cache
def _load(kind: type[LearningSignal]) -> None:
    """Load the libraries of a signal's fits before its first bin: the first fit would take seconds inside its bin."""
    signal = kind()
    with suppress(Exception):  # an estimator may refuse made-up examples; its own fits speak for themselves
        signal.fit_model(signal.rehearsal())


def timed_fit(signal: LearningSignal, training: Any, bin_seq: int) -> tuple[Fitted, Retrain]:
    """Return a model and the record of its fit: the task of an executor."""
    began = time.perf_counter_ns()
    model = signal.fit_model(training)
    ns = time.perf_counter_ns() - began
    sizes = next((np.abs(values) for values in signal.importance(model.estimator).values()), np.empty(0))
    total = float(sizes.sum()) or 1.0
    order = np.argsort(-sizes, kind="stable")[:MOST_USED]
    used = tuple((signal.feature_names[f], float(sizes[f]) / total) for f in order)
    return model, Retrain(bin_seq, training.n_train, training.n_valid, used, ns)
