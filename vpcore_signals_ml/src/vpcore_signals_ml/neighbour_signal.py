"""``knn_cl``: the outcomes of the most similar states of the past.

The value is a confidence, P(up) - P(down) among the `k` nearest examples; examples in which neither side paid, or both
in the same bin, count against both. A k-d tree finds the neighbours of each row by itself.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from pydantic import Field

from vpcore.kernels.jit import jit
from vpcore_signals_ml.labels import Floats, Ints
from vpcore_signals_ml.learning import LearningSignal
from vpcore_signals_ml.schedule import LearningParams
from vpcore_signals_ml.selection import Training


class KnnCl(LearningSignal):
    """Nearest neighbours on a compact state of flow, depth and returns."""

    prediction_mode = "confidence"
    features = (
        *("spot_3", "spot_mean_10", "spot_mean_50", "spot_10", "touch_20", "depth_10", "flow_20"),
        *("return_10", "return_50", "deviation_50"),
    )
    neutral_examples = True
    rows_alone = True

    class Params(LearningParams):
        """Parameters of ``knn_cl``."""

        k: int = Field(100, ge=1, le=100_000, description="Neighbours that vote.")

    params: Params

    def fit(self, training: Training) -> Any:
        """Return the examples, with the weighted vote of each, and their tree."""
        vote = (2.0 * training.y - 1.0) * training.weight
        return self.restored({"x": training.x, "vote": vote, "weight": training.weight})

    def stored(self, model: Any) -> Any:
        """Return the examples: the tree counts its queries, and is made anew."""
        return {name: array for name, array in model.items() if name != "tree"}

    def restored(self, stored: Any) -> Any:
        """Return the examples and their tree."""
        from sklearn.neighbors import KDTree

        return {**stored, "tree": KDTree(stored["x"], leaf_size=len(stored["x"]))}

    def predict(self, model: Any, x: Floats) -> Floats:
        """Return P(up) - P(down) of every row."""
        nearest = model["tree"].query(x, min(self.params.k, len(model["vote"])), return_distance=False)
        out = np.empty(len(x))
        _vote(nearest, model["vote"], model["weight"], out)
        return out


@jit
def _vote(nearest: Ints, vote: Floats, weight: Floats, out: Floats) -> None:
    for i in range(nearest.shape[0]):
        votes = 0.0
        total = 0.0
        for j in range(nearest.shape[1]):
            votes += vote[nearest[i, j]]
            total += weight[nearest[i, j]]
        out[i] = votes / total if total > 0.0 else 0.0  # the weight of very old examples decays to 0
