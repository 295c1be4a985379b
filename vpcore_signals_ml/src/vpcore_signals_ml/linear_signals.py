"""Signals with a linear model: ``logit``, ``svm_sp`` and ``lsvm_der``.

``logit`` is the baseline: ridge-penalised logistic regression on the features of ``gbm_mf``. ``svm_sp`` is a linear
support vector machine with squared hinge on the profile of pressure minus vacuum. ``lsvm_der`` is a linear support
vector machine by stochastic gradient descent on slopes of the leans of derivatives; between its fits it learns every
example once, after its label is resolved. Both machines are calibrated by Platt's sigmoid.
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
from pydantic import Field

from vpcore_signals_ml.flow_features import DERIVATIVES, FLOW
from vpcore_signals_ml.labels import Floats
from vpcore_signals_ml.learning import LearningSignal
from vpcore_signals_ml.schedule import LearningParams, ValidatedParams
from vpcore_signals_ml.selection import Training

FOLLOWED = ("v_add", "v_pull", "pressure", "vacuum")
MF = (
    *(f"lean_{name}_{far}" for far in (3, 10) for name in FLOW),
    *(f"{kind}_{name}" for kind in ("slope10", "slope50", "mean50") for name in FOLLOWED),
    *("spot_3", "spot_10", "return_1", "return_5", "return_20", "return_100"),
    *("deviation_20", "deviation_100", "skew_100", "spread", "spread_50", "touch", "touch_20"),
    *("depth_3", "depth_10", "flow_10", "flow_100", "volume_100"),
)
"""Features of ``logit`` and ``gbm_mf``: leans of the flow and their slopes, returns, spread, volume."""


class Logit(LearningSignal):
    """Logistic regression on flow, returns and spread: the baseline."""

    features = MF

    class Params(LearningParams):
        """Parameters of ``logit``."""

        c: float = Field(10.0, gt=0.0, le=1e6, description="Weight of the examples against the penalty.")

    params: Params

    def fit(self, training: Training) -> Any:
        """Return a model; the penalty is relative to the mean loss, so it is the same for any number of examples."""
        from sklearn.linear_model import LogisticRegression

        model = LogisticRegression(C=self.params.c / training.n_train, solver="newton-cholesky", tol=1e-6)
        return model.fit(training.x, training.y, training.weight)


class SvmSp(LearningSignal):
    """Linear support vector machine on the spatial profile of pressure minus vacuum."""

    features = (
        *(f"{side}_{d}" for side in ("bid", "ask") for d in (1, 2, 3, 4, 6, 8, 11, 15, 20)),
        *(f"{kind}_{b}" for kind in ("band", "band_mean", "band_deviation") for b in (1, 2, 3)),
        *(f"return_{n}" for n in (1, 5, 20, 100)),
    )
    calibrate = True

    class Params(ValidatedParams):
        """Parameters of ``svm_sp``."""

        c: float = Field(1.0, gt=0.0, le=1e6, description="Weight of the examples against the penalty.")

    params: Params

    def fit(self, training: Training) -> Any:
        """Return a model."""
        from sklearn.svm import LinearSVC

        model = LinearSVC(C=self.params.c / training.n_train, dual=False, tol=1e-3, random_state=1)
        return model.fit(training.x, training.y, training.weight)


class LsvmDer(LearningSignal):
    """Linear support vector machine on slopes of derivative asymmetries, learning on between its fits."""

    features = tuple(f"slope{n}_{name}_{far}" for far in (3, 10) for n in (10, 25, 50) for name in DERIVATIVES)
    calibrate = True

    class Params(ValidatedParams):
        """Parameters of ``lsvm_der``."""

        update_interval_bins: int = Field(
            200, ge=1, le=10_000_000, description="From one partial fit to the next, in bins."
        )
        alpha: float = Field(1e-3, gt=0.0, le=10.0, description="Penalty on the weights.")
        eta: float = Field(0.02, gt=0.0, le=1.0, description="Rate of every step.")
        epochs: int = Field(5, ge=1, le=1000, description="Passes of a fit over its examples.")
        seed: int = Field(1, ge=0, le=2**31 - 1, description="Of the orders of these passes.")

    params: Params

    def fit(self, training: Training) -> Any:
        """Return a model: the average of the weights over the last pass (Polyak and Juditsky 1992)."""
        from sklearn.linear_model import SGDClassifier

        p, n = self.params, training.n_train
        model = SGDClassifier(
            alpha=p.alpha,
            learning_rate="constant",
            eta0=p.eta,
            average=1 + n * (p.epochs - 1),
            max_iter=p.epochs,
            tol=None,
            random_state=p.seed,
        )
        model.fit(training.x, training.y, sample_weight=training.weight)
        weights = {side: float(training.weight[training.y == side].mean()) for side in (0.0, 1.0)}
        return model.set_params(class_weight=weights, shuffle=False)

    def update(self, model: Any, x: Floats, y: Floats) -> Any:
        """Return the model after one step per example; scaling, class weights and sigmoid stay."""
        return copy.deepcopy(model).partial_fit(np.ascontiguousarray(x), y)
