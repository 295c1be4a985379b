"""Signals with a linear model: ``logit``, ``svm_sp`` and ``lsvm_der``.

``logit`` is the baseline: a ridge-penalised logistic regression on the features of ``gbm_mf``. ``svm_sp`` is a linear
support vector machine with squared hinge on the profile of pressure minus vacuum, its margin turned into a probability
by Platt's sigmoid on the purged validation part. ``lsvm_der`` is one with the hinge loss on slopes of the asymmetries
of derivatives; between its fits it goes on learning, from every example once, when its label is resolved.

They are fitted by `vpcore_signals_ml.linear` and `vpcore_signals_ml.incremental`, which need no other library.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from pydantic import Field

from vpcore_signals_ml.artifact import arrays_of, arrays_to_bytes
from vpcore_signals_ml.compact_features import DER
from vpcore_signals_ml.features import FeatureSet
from vpcore_signals_ml.flow_features import MF, SP
from vpcore_signals_ml.incremental import Incremental, fit_incremental, learn
from vpcore_signals_ml.labels import Floats
from vpcore_signals_ml.linear import LOGISTIC, SQUARED_HINGE, Linear, fit_linear, predict_linear
from vpcore_signals_ml.schedule import ValidatedParams, WalkParams
from vpcore_signals_ml.selection import TARGET, Training, fresh
from vpcore_signals_ml.walk import WalkForward, columns_of
from vpcore_signals_ml.walk_state import WalkState

FILE = "linear.npz"


class LinearWalk(WalkForward):
    """What both signals share: predictions and files."""

    columns = columns_of(MF)

    def predict(self, model: Linear, x: Floats, out: Floats) -> None:
        """Write P(up) of every row."""
        predict_linear(model, x, out)

    def per_feature(self, model: Linear) -> dict[str, Floats]:
        """Return the weights of the standardised features."""
        return {"weight": model.weights}

    def model_files(self, model: Linear) -> dict[str, bytes]:
        """Return the arrays of a model."""
        return {FILE: arrays_to_bytes(model._asdict())}

    def model_of(self, files: dict[str, bytes], where: str) -> Linear:
        """Return the model in files.

        Raises
        ------
        SignalError
            If the arrays are missing or do not fit the features.
        """
        n = (len(self.features.names),)
        shapes: dict[str, tuple[int | None, ...]] = {"mean": n, "scale": n, "weights": n, "rest": (3,)}
        return Linear(**arrays_of(files.get(FILE, b""), shapes, f"{where}/{FILE}"))


class Logit(LinearWalk):
    """Logistic regression on flow, returns and spread: the baseline."""

    columns = columns_of(MF)
    features: ClassVar[FeatureSet] = MF

    class Params(WalkParams):
        """Parameters of ``logit``."""

        c: float = Field(10.0, gt=0.0, le=1e6, description="Weight of the examples against the penalty.")

    params: Params

    def fit(self, training: Training) -> Linear:
        """Return a model."""
        return fit_linear(training, LOGISTIC, self.params.c)


class SvmSp(LinearWalk):
    """Linear support vector machine on the spatial profile of pressure minus vacuum."""

    columns = columns_of(SP)
    features: ClassVar[FeatureSet] = SP

    class Params(ValidatedParams):
        """Parameters of ``svm_sp``."""

        c: float = Field(1.0, gt=0.0, le=1e6, description="Weight of the examples against the penalty.")

    params: Params

    def fit(self, training: Training) -> Linear:
        """Return a model."""
        return fit_linear(training, SQUARED_HINGE, self.params.c)


class LsvmDer(WalkForward):
    """Linear support vector machine on slopes of derivative asymmetries, learning on between its fits."""

    columns = columns_of(DER)
    features: ClassVar[FeatureSet] = DER

    class Params(ValidatedParams):
        """Parameters of ``lsvm_der``."""

        update_interval_bins: int = Field(
            200,
            ge=1,
            le=10_000_000,
            description="From one partial fit (on what was resolved since) to the next, in bins.",
        )
        alpha: float = Field(1e-3, gt=0.0, le=10.0, description="Penalty on the weights.")
        eta: float = Field(0.02, gt=0.0, le=1.0, description="Rate of the first step.")
        epochs: int = Field(10, ge=1, le=1000, description="Passes of a fit over its examples.")
        seed: int = Field(1, ge=0, le=2**31 - 1, description="Of the orders of these passes.")

    params: Params

    def fit(self, training: Training) -> Incremental:
        """Return a model."""
        p = self.params
        return fit_incremental(training, alpha=p.alpha, eta=p.eta, epochs=p.epochs, seed=p.seed)

    @property
    def update_interval_bins(self) -> int:
        """Bins from one partial fit to the next."""
        return self.params.update_interval_bins

    def update(self, state: WalkState, row: int) -> None:
        """Take one step per example that was resolved since the model last learned."""
        p, rules = self.params, state.rules
        rows = fresh(
            state.seq,
            state.y,
            state.resolved,
            first_row=self.features.warmup,
            row=row,
            after=state.learned,
            stride_bins=p.stride_bins,
            longest_bins=rules.longest_bins,
        )
        if len(rows):
            state.model = learn(state.model, state.x[rows], TARGET[state.y[rows]], alpha=p.alpha, eta=p.eta)
        state.learned = int(state.seq[row])

    def rehearse(self, model: Incremental, state: WalkState) -> None:
        """Load what the bins themselves need of compiled code."""
        super().rehearse(model, state)
        learn(model, np.zeros((1, len(self.feature_names))), np.ones(1), alpha=1.0, eta=1.0)

    def predict(self, model: Incremental, x: Floats, out: Floats) -> None:
        """Write P(up) of every row."""
        predict_linear(model.linear, x, out)

    def per_feature(self, model: Incremental) -> dict[str, Floats]:
        """Return the weights of the standardised features."""
        return {"weight": model.linear.weights}

    def model_files(self, model: Incremental) -> dict[str, bytes]:
        """Return the arrays of a model."""
        arrays = {**model.linear._asdict(), "iterate": model.iterate, "counters": model.counters}
        return {FILE: arrays_to_bytes(arrays)}

    def model_of(self, files: dict[str, bytes], where: str) -> Incremental:
        """Return the model in files.

        Raises
        ------
        SignalError
            If the arrays are missing or do not fit the features.
        """
        n = len(self.features.names)
        shapes: dict[str, tuple[int | None, ...]] = {
            "mean": (n,),
            "scale": (n,),
            "weights": (n,),
            "rest": (3,),
            "iterate": (n + 1,),
            "counters": (5,),
        }
        arrays = arrays_of(files.get(FILE, b""), shapes, f"{where}/{FILE}")
        iterate, counters = arrays.pop("iterate"), arrays.pop("counters")
        return Incremental(Linear(**arrays), iterate, counters)
