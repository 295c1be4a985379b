"""Signals with gradient-boosted trees: ``gbm_mf`` on flow, returns and spread, ``gbm_snap`` on the frame itself.

LightGBM fits them on one thread with a fixed seed, stopped early on the purged validation part.
"""

from __future__ import annotations

from typing import Any

from pydantic import Field

from vpcore_signals_ml.learning import LearningSignal
from vpcore_signals_ml.linear_signals import MF
from vpcore_signals_ml.schedule import ValidatedParams
from vpcore_signals_ml.selection import Training


class TreeParams(ValidatedParams):
    """Parameters of a boosted model."""

    rounds: int = Field(200, ge=1, le=5000, description="Trees at most.")
    patience: int = Field(20, ge=1, le=1000, description="Trees without improvement of the validation part.")
    learning_rate: float = Field(0.05, gt=0.0, le=1.0, description="Share of each tree's correction.")
    leaves: int = Field(15, ge=2, le=1024, description="Leaves per tree at most.")
    min_leaf: int = Field(20, ge=1, le=100_000, description="Examples per leaf at least.")
    feature_share: float = Field(0.7, gt=0.0, le=1.0, description="Share of the features that a tree may use.")
    seed: int = Field(1, ge=0, le=2**31 - 1, description="Of the choice of features per tree.")


class TreeSignal(LearningSignal):
    """Everything but the features of the boosted signals."""

    standardised = False
    Params = TreeParams
    params: TreeParams

    def fit(self, training: Training) -> Any:
        """Return a booster of the best number of trees; all of them without both classes in the validation part."""
        import lightgbm

        p = self.params
        options = {
            "objective": "binary",
            "metric": "binary_logloss",
            "num_threads": 1,
            "deterministic": True,
            "force_row_wise": True,
            "verbosity": -1,
            "seed": p.seed,
            "learning_rate": p.learning_rate,
            "num_leaves": p.leaves,
            "min_data_in_leaf": p.min_leaf,
            "feature_fraction": p.feature_share,
        }
        data = lightgbm.Dataset(training.x, training.y, weight=training.weight, feature_name=list(self.feature_names))
        callbacks, sets = [], []
        if 0.0 < training.y_valid.sum() < training.n_valid:
            sets = [data.create_valid(training.x_valid, training.y_valid, weight=training.weight_valid)]
            callbacks = [lightgbm.early_stopping(p.patience, verbose=False)]
        booster = lightgbm.train(options, data, p.rounds, valid_sets=sets, callbacks=callbacks)
        # As it will be loaded: the best number of trees, without the data.
        return lightgbm.Booster(model_str=booster.model_to_string(num_iteration=booster.best_iteration or -1))


class GbmMf(TreeSignal):
    """Boosted trees on leans of the flow and their slopes, returns, spread and volume."""

    features = MF


class GbmSnap(TreeSignal):
    """Boosted trees on pressure, vacuum and flow score in the cells around the mid."""

    features = tuple(f"{name}_{k}" for name in ("pressure", "vacuum", "score") for k in range(-8, 9))
