"""Signals with gradient-boosted trees: ``gbm_mf`` on flow, returns and spread, ``gbm_snap`` on the frame itself.

LightGBM fits them on one thread with a fixed seed, stopped early on the purged validation part; see
`vpcore_signals_ml.trees`.
"""

from __future__ import annotations

from typing import ClassVar, NamedTuple

from pydantic import Field

from vpcore import SignalError
from vpcore_signals_ml.features import FeatureSet
from vpcore_signals_ml.flow_features import MF
from vpcore_signals_ml.labels import Floats
from vpcore_signals_ml.schedule import ValidatedParams
from vpcore_signals_ml.selection import Training
from vpcore_signals_ml.snap_features import SNAP
from vpcore_signals_ml.trees import Trees, fit_trees, gains_of, parse_trees, predict_trees
from vpcore_signals_ml.walk import WalkForward, columns_of

FILE = "trees.txt"


class TreeModel(NamedTuple):
    """LightGBM's text, and the arrays read from it."""

    text: str
    trees: Trees


class TreeParams(ValidatedParams):
    """Parameters of a boosted model."""

    rounds: int = Field(200, ge=1, le=5000, description="Trees at most.")
    patience: int = Field(20, ge=1, le=1000, description="Trees without improvement of the validation part.")
    learning_rate: float = Field(0.05, gt=0.0, le=1.0, description="Share of each tree's correction.")
    leaves: int = Field(15, ge=2, le=1024, description="Leaves per tree at most.")
    min_leaf: int = Field(20, ge=1, le=100_000, description="Examples per leaf at least.")
    feature_share: float = Field(0.7, gt=0.0, le=1.0, description="Share of the features that a tree may use.")
    seed: int = Field(1, ge=0, le=2**31 - 1, description="Of the choice of features per tree.")


class TreeWalk(WalkForward):
    """What both signals share: everything but the features."""

    columns = columns_of(MF)
    library = "lightgbm"
    Params = TreeParams
    params: TreeParams

    def fit(self, training: Training) -> TreeModel:
        """Return a model."""
        p = self.params
        text = fit_trees(
            training,
            self.features.names,
            rounds=p.rounds,
            patience=p.patience,
            seed=p.seed,
            settings={
                "learning_rate": p.learning_rate,
                "num_leaves": p.leaves,
                "min_data_in_leaf": p.min_leaf,
                "feature_fraction": p.feature_share,
            },
        )
        return TreeModel(text, parse_trees(text, len(self.features.names)))

    def predict(self, model: TreeModel, x: Floats, out: Floats) -> None:
        """Write P(up) of every row."""
        predict_trees(model.trees, x, out)

    def per_feature(self, model: TreeModel) -> dict[str, Floats]:
        """Return what the splits on each feature gained."""
        return {"gain": gains_of(model.text, len(self.features.names))}

    def model_files(self, model: TreeModel) -> dict[str, bytes]:
        """Return the text of a model."""
        return {FILE: model.text.encode()}

    def model_of(self, files: dict[str, bytes], where: str) -> TreeModel:
        """Return the model in files.

        Raises
        ------
        SignalError
            If there is no text of such trees.
        """
        try:
            text = files[FILE].decode()
        except (KeyError, UnicodeDecodeError) as error:
            raise SignalError(f"{where}/{FILE} holds no model: {error}.") from None
        return TreeModel(text, parse_trees(text, len(self.features.names), f"{where}/{FILE}"))


class GbmMf(TreeWalk):
    """Boosted trees on leans of the flow and their slopes, returns, spread and volume."""

    columns = columns_of(MF)
    features: ClassVar[FeatureSet] = MF


class GbmSnap(TreeWalk):
    """Boosted trees on pressure, vacuum and flow score in the cells around the mid."""

    columns = columns_of(SNAP)
    features: ClassVar[FeatureSet] = SNAP
