"""Gradient-boosted trees: fitted by LightGBM, kept as its text, predicted by one compiled loop.

LightGBM predicts a batch and a single row by different code, and takes milliseconds to start. Its model text holds
every split and leaf with all digits; read into arrays, the trees are walked row by row and their leaves added in order,
so that streaming and batch give the same bits, and a saved model needs no LightGBM to predict.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from vpcore import SignalError
from vpcore.kernels.jit import jit
from vpcore_signals_ml.labels import Floats, Ints
from vpcore_signals_ml.linear import sigmoid
from vpcore_signals_ml.selection import Training

NUMERICAL_BITS = (0, 2, 8, 10)
"""`decision_type` of numerical splits without missing values (0, 2) or with NaN as missing (8, 10). Features are finite
here, so all four mean ``x <= threshold``."""


class Trees(NamedTuple):
    """Trees, one after the other.

    Attributes
    ----------
    root : int64[n_trees]
        First node of each tree; ``-1 - leaf`` where a tree is one leaf.
    feature, left, right : int64[n_nodes]
        A child is a node, or ``-1 - leaf``.
    threshold : float64[n_nodes]
        Left if ``x <= threshold``.
    leaf : float64[n_leaves]
        Log odds that a leaf adds.
    """

    root: Ints
    feature: Ints
    left: Ints
    right: Ints
    threshold: Floats
    leaf: Floats


@jit
def predict_trees(model: Trees, x: Floats, out: Floats) -> None:
    """Write P(up) of every row of `x` float64[n, n_features] to `out` float64[n], row by row, tree by tree."""
    for i in range(x.shape[0]):
        total = 0.0
        for t in range(model.root.shape[0]):
            node = model.root[t]
            while node >= 0:
                node = model.left[node] if x[i, model.feature[node]] <= model.threshold[node] else model.right[node]
            total += model.leaf[-1 - node]
        out[i] = sigmoid(total)


def parse_trees(text: str, n_features: int, where: str = "the model text") -> Trees:
    """Return the trees of LightGBM's model text.

    Raises
    ------
    SignalError
        If it is no such text, has other features, splits that are not numerical, or links that lead nowhere.
    """
    try:
        return _parse(text, n_features)
    except (ValueError, KeyError, IndexError) as error:
        raise SignalError(f"{where} is no binary LightGBM model of {n_features} features: {error}.") from None


def _parse(text: str, n_features: int) -> Trees:
    head, *blocks = text.split("\nTree=")
    fields = dict(line.split("=", 1) for line in head.splitlines() if "=" in line)
    if int(fields["max_feature_idx"]) + 1 != n_features:
        raise ValueError(f"it has {int(fields['max_feature_idx']) + 1} features")
    if fields["num_tree_per_iteration"] != "1" or not fields["objective"].startswith("binary sigmoid:1"):
        raise ValueError(f"its objective is {fields['objective']}")
    root: list[int] = []
    columns: dict[str, list[Any]] = {name: [] for name in ("feature", "left", "right", "threshold", "leaf")}
    for block in blocks:
        lines = block.split("\nend of trees")[0].splitlines()[1:]
        tree = dict(line.split("=", 1) for line in lines if "=" in line)
        leaves = int(tree["num_leaves"])
        nodes, leaf_base = len(columns["feature"]), len(columns["leaf"])
        values = [float(value) for value in tree["leaf_value"].split()]
        if len(values) != leaves or int(tree.get("num_cat", "0")) or not np.isfinite(values).all():
            raise ValueError("a tree has categories, or leaves that are missing or not finite")
        columns["leaf"] += values
        if leaves == 1:
            root.append(-1 - leaf_base)
            continue
        root.append(nodes)
        feature = [int(value) for value in tree["split_feature"].split()]
        threshold = [float(value) for value in tree["threshold"].split()]
        children = [[int(value) for value in tree[name].split()] for name in ("left_child", "right_child")]
        kinds = {int(value) for value in tree["decision_type"].split()}
        if {len(feature), len(threshold), *map(len, children)} != {leaves - 1} or not kinds <= set(NUMERICAL_BITS):
            raise ValueError("a tree's nodes do not fit together, or a split is not numerical")
        if min(feature) < 0 or max(feature) >= n_features or not np.isfinite(threshold).all():
            raise ValueError("a split reads a feature that does not exist, or has no threshold")
        for name, links in zip(("left", "right"), children, strict=True):
            # A child comes after its parent, so a walk always ends.
            if any(not (i < link < leaves - 1 or -leaves <= link < 0) for i, link in enumerate(links)):
                raise ValueError("a tree's links lead nowhere")
            columns[name] += [nodes + link if link >= 0 else link - leaf_base for link in links]
        columns["feature"] += feature
        columns["threshold"] += threshold
    if not root:
        raise ValueError("it has no trees")
    return Trees(
        np.array(root, dtype=np.int64),
        np.array(columns["feature"], dtype=np.int64),
        np.array(columns["left"], dtype=np.int64),
        np.array(columns["right"], dtype=np.int64),
        np.array(columns["threshold"], dtype=np.float64),
        np.array(columns["leaf"], dtype=np.float64),
    )


def gains_of(text: str, n_features: int) -> Floats:
    """Return what the splits on each feature gained in all trees of LightGBM's model text, float64[n_features]."""
    gains = np.zeros(n_features)
    for block in text.split("\nTree=")[1:]:
        tree = dict(line.split("=", 1) for line in block.splitlines()[1:] if "=" in line)
        for feature, gain in zip(
            tree.get("split_feature", "").split(), tree.get("split_gain", "").split(), strict=True
        ):
            gains[int(feature)] += float(gain)
    return gains


def fit_trees(
    training: Training, names: tuple[str, ...], *, rounds: int, patience: int, seed: int, settings: dict[str, Any]
) -> str:
    """Return the text of a model fitted on the training part, stopped early on the validation part.

    Parameters
    ----------
    training : Training
        Examples. Without both classes in the validation part all `rounds` are made.
    names : tuple of str
        Of the features.
    rounds, patience : int
        Trees at most, and how many without improvement end the fit.
    seed : int
        Of the sampling of rows and features.
    settings : dict
        Further parameters of LightGBM.
    """
    import lightgbm

    options = {
        "objective": "binary",
        "metric": "binary_logloss",
        "num_threads": 1,
        "deterministic": True,
        "force_row_wise": True,
        "seed": seed,
        "verbosity": -1,
        **settings,
    }
    data = lightgbm.Dataset(
        training.x, training.y, weight=training.weight, feature_name=list(names), free_raw_data=True
    )
    callbacks = []
    sets = []
    if 0.0 < training.y_valid.sum() < len(training.y_valid):
        sets = [data.create_valid(training.x_valid, training.y_valid, weight=training.weight_valid)]
        callbacks = [lightgbm.early_stopping(patience, verbose=False)]
    booster = lightgbm.train(options, data, rounds, valid_sets=sets, callbacks=callbacks)
    return str(booster.model_to_string(num_iteration=booster.best_iteration or -1))
