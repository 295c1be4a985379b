"""The seven learning signals: features, parameters, and an estimator of scikit-learn or LightGBM each.

``logit`` is the baseline that the others must beat. ``gbm_mf`` and ``gbm_snap`` are boosted trees, stopped early on the
purged validation part. ``svm_sp`` and ``lsvm_der`` are linear support vector machines, calibrated by Platt's sigmoid;
``lsvm_der`` learns every example once more between its fits, after its label is resolved. ``knn_cl`` is the vote of the
nearest examples of the past. ``pca_ad`` learns from no labels: with z the standardised profile, V its first r principal
components and l their variances::

    t = V'z        T2 = sum_j t_j^2 / l_j  (Mahalanobis distance within the components, Hotelling)
                   Q  = |z - V t|^2        (reconstruction error, the squared prediction error)
    a = max(T2 / limit of T2, Q / limit of Q)          value = direction (1 - 1/a) where a > 1, else 0

The direction is the lean of pressure minus vacuum 1 to 3 ticks from the mid, the limits are quantiles over the profiles
of the fit. Source of T2 and Q: J. E. Jackson, "A User's Guide to Principal Components" (1991), chapter 2.
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
from pydantic import Field

from vpcore.kernels.jit import jit
from vpcore_signals_ml.labels import Floats, Ints
from vpcore_signals_ml.learning import LearningSignal
from vpcore_signals_ml.models import moments, standardise
from vpcore_signals_ml.schedule import LearningParams, ScheduleParams, ValidatedParams, Window
from vpcore_signals_ml.selection import Training
from vpcore_signals_ml.state import LearningState
from vpcore_signals_stat.book_features import PROFILE
from vpcore_signals_stat.flow_features import DERIVATIVES, FLOW

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

        model = LinearSVC(C=self.params.c / training.n_train, dual=False, tol=0.05, random_state=0)
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
        return copy.deepcopy(model).partial_fit(x, y)


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
        stopping: dict[str, Any] = {}
        if 0.0 < training.y_valid.sum() < training.n_valid:
            valid = data.create_valid(training.x_valid, training.y_valid, weight=training.weight_valid)
            stopping = {"valid_sets": [valid], "callbacks": [lightgbm.early_stopping(p.patience, verbose=False)]}
        booster = lightgbm.train(options, data, p.rounds, **stopping)
        # As it will be loaded: the best number of trees, without the data.
        return lightgbm.Booster(model_str=booster.model_to_string(num_iteration=booster.best_iteration or -1))


class GbmMf(TreeSignal):
    """Boosted trees on leans of the flow and their slopes, returns, spread and volume."""

    features = MF


class GbmSnap(TreeSignal):
    """Boosted trees on pressure, vacuum and flow score in the cells around the mid."""

    features = tuple(f"{name}_{k}" for name in ("pressure", "vacuum", "score") for k in range(-8, 9))


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
        """Return the examples and their tree, of one leaf: in ten dimensions many leaves are searched no faster."""
        from sklearn.neighbors import BallTree

        return {**stored, "tree": BallTree(stored["x"], leaf_size=len(stored["x"]))}

    def predict(self, model: Any, x: Floats) -> Floats:
        """Return P(up) - P(down) of every row."""
        nearest = model["tree"].query(x, min(self.params.k, len(model["vote"])), return_distance=False)
        return _vote(nearest, model["vote"], model["weight"])


@jit
def _vote(nearest: Ints, vote: Floats, weight: Floats) -> Floats:
    out = np.empty(nearest.shape[0])
    for i in range(nearest.shape[0]):
        votes = 0.0
        total = 0.0
        for j in range(nearest.shape[1]):
            votes += vote[nearest[i, j]]
            total += weight[nearest[i, j]]
        out[i] = votes / total if total > 0.0 else 0.0  # the weight of very old examples decays to 0
    return out


CELLS = 2 * PROFILE
LEAST = 1e-9
"""Variance of a component that counts, and least limit."""


class PcaAd(LearningSignal):
    """Rolling principal components of the profile: unusual ones let the lean at the touch speak."""

    prediction_mode = "confidence"
    features = (*(f"{side}_{d}" for side in ("bid", "ask") for d in range(1, PROFILE + 1)), "spot_3")
    standardised = False
    rows_alone = True

    class Params(ScheduleParams):
        """Parameters of ``pca_ad``."""

        train_window_bins: Window = 12_000
        components: int = Field(5, ge=1, le=CELLS, description="Principal components at most.")
        quantile: float = Field(0.8, gt=0.0, lt=1.0, description="Of both distances: an unusual profile is above it.")

    params: Params

    def examples(self, state: LearningState, row: int) -> Training | None:
        """Return the profiles up to a row that are in the window, one out of every stride."""
        p, seq = self.params, state.seq[: row + 1]
        chosen = (seq - seq[0]) % p.stride_bins == 0
        if p.train_window_bins:
            chosen &= seq > seq[row] - p.train_window_bins
        x = np.ascontiguousarray(state.x[: row + 1][chosen])
        none = np.empty(0)
        return Training(x, np.zeros(len(x)), np.ones(len(x)), x[:0], none, none) if len(x) > 1 else None

    def fit(self, training: Training) -> Any:
        """Return the components of the profiles."""
        from sklearn.decomposition import PCA

        p, profiles = self.params, np.ascontiguousarray(training.x[:, :CELLS])
        mean, scale = moments(profiles, training.weight)
        with np.errstate(invalid="ignore"):  # its share of the variance of a profile that never moves is 0 / 0
            pca = PCA(min(p.components, *profiles.shape), svd_solver="covariance_eigh").fit(
                standardise(profiles, mean, scale, False)
            )
        counted = int((pca.explained_variance_ > LEAST).sum())
        model = {
            "mean": mean,
            "scale": scale,
            "components": np.ascontiguousarray(pca.components_[:counted]),
            "variances": pca.explained_variance_[:counted].copy(),
            "limits": np.ones(2),
        }
        limits = np.quantile(_distances(**model, x=training.x), p.quantile, axis=0)
        return {**model, "limits": np.maximum(limits, LEAST)}

    def predict(self, model: Any, x: Floats) -> Floats:
        """Return gate times direction of every row."""
        unusual = np.maximum(_distances(**model, x=x).max(axis=1), 1.0)
        value: Floats = x[:, CELLS] * (1.0 - 1.0 / unusual)
        return value


@jit
def _distances(mean: Floats, scale: Floats, components: Floats, variances: Floats, limits: Floats, x: Floats) -> Floats:
    """Return T2 and Q of every profile over their limits, float64[n, 2]."""
    m = mean.shape[0]
    out = np.empty((x.shape[0], 2))
    z = np.empty(m)
    for i in range(x.shape[0]):
        for j in range(m):
            z[j] = (x[i, j] - mean[j]) / scale[j]
        within = 0.0
        for c in range(variances.shape[0]):
            score = 0.0
            for j in range(m):
                score += components[c, j] * z[j]
            within += score * score / variances[c]
            for j in range(m):
                z[j] -= score * components[c, j]  # the components are orthogonal: the later scores stay
        left = 0.0
        for j in range(m):
            left += z[j] * z[j]
        out[i, 0] = within / limits[0]
        out[i, 1] = left / limits[1]
    return out
