"""``knn_cl``: what became of the most similar states of the past.

The value is a confidence, P(up) - P(down) among the `k` nearest examples; those in which neither side paid, or both in
the same bin, are examples too and count against both. See `vpcore_signals_ml.neighbours`.

The search looks at every example: a prediction costs about 5 ns per example and feature, so a long session wants
`train_window_bins`.
"""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from vpcore_signals_ml.artifact import arrays_of, arrays_to_bytes
from vpcore_signals_ml.compact_features import CL
from vpcore_signals_ml.features import FeatureSet
from vpcore_signals_ml.labels import Floats
from vpcore_signals_ml.neighbours import Neighbours, fit_neighbours, predict_nearest
from vpcore_signals_ml.schedule import WalkParams
from vpcore_signals_ml.selection import Training
from vpcore_signals_ml.walk import WalkForward, columns_of

FILE = "neighbours.npz"


class KnnCl(WalkForward):
    """Nearest neighbours on a compact state of flow, depth and returns."""

    prediction_mode = "confidence"
    columns = columns_of(CL)
    features: ClassVar[FeatureSet] = CL
    neutral_examples = True

    class Params(WalkParams):
        """Parameters of ``knn_cl``."""

        k: int = Field(100, ge=1, le=100_000, description="Neighbours that vote.")

    params: Params

    def fit(self, training: Training) -> Neighbours:
        """Return the examples."""
        return fit_neighbours(training)

    def predict(self, model: Neighbours, x: Floats, out: Floats) -> None:
        """Write P(up) - P(down) of every row."""
        predict_nearest(model, self.params.k, x, out)

    def model_files(self, model: Neighbours) -> dict[str, bytes]:
        """Return the arrays of a model."""
        return {FILE: arrays_to_bytes(model._asdict())}

    def model_of(self, files: dict[str, bytes], where: str) -> Neighbours:
        """Return the model in files.

        Raises
        ------
        SignalError
            If the arrays are missing or do not fit the features or each other.
        """
        m = len(self.features.names)
        shapes: dict[str, tuple[int | None, ...]] = {"mean": (m,), "scale": (m,), "z": (None, m)}
        arrays = arrays_of(files.get(FILE, b""), shapes, f"{where}/{FILE}")
        n = len(arrays["z"])
        arrays |= arrays_of(files[FILE], {"side": (n,), "weight": (n,)}, f"{where}/{FILE}")
        return Neighbours(**arrays)
