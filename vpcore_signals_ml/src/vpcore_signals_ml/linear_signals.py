"""Signals with a linear model: ``logit`` and ``svm_sp``.

``logit`` is the baseline: a ridge-penalised logistic regression on the features of ``gbm_mf``. ``svm_sp`` is a linear
support vector machine with squared hinge on the profile of pressure minus vacuum, its margin turned into a probability
by Platt's sigmoid on the purged validation part.

Both are fitted by `vpcore_signals_ml.linear`, which needs no other library.
"""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from vpcore_signals_ml.artifact import arrays_of, arrays_to_bytes
from vpcore_signals_ml.features import FeatureSet
from vpcore_signals_ml.flow_features import MF, SP
from vpcore_signals_ml.labels import Floats
from vpcore_signals_ml.linear import LOGISTIC, SQUARED_HINGE, Linear, fit_linear, predict_linear
from vpcore_signals_ml.selection import Training
from vpcore_signals_ml.walk import ValidatedParams, WalkForward, WalkParams, columns_of

FILE = "linear.npz"


class LinearWalk(WalkForward):
    """What both signals share: predictions and files."""

    columns = columns_of(MF)

    def predict(self, model: Linear, x: Floats, out: Floats) -> None:
        """Write P(up) of every row."""
        predict_linear(model, x, out)

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
