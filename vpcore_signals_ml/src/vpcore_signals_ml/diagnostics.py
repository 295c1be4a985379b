"""Diagnostics of a run of a learning signal, beside its trades: accuracy, calibration, use and drift of features.

Everything here looks back on a finished session and is no part of a prediction. "Out of sample" is what the
walk-forward gives: each bin was predicted by a model that had seen only labels resolved by then.
"""

from __future__ import annotations

import json
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from vpcore import SignalResult, TradeRules
from vpcore_signals_ml.figures import auc, auc_estimate, mean_estimate
from vpcore_signals_ml.labels import DOWN, UP, Floats, Ints
from vpcore_signals_ml.selection import MIN_PER_CLASS

if TYPE_CHECKING:
    from vpcore_signals_ml.learning import LearningSignal
    from vpcore_signals_ml.state import LearningState

BLOCK_BINS = 600
"""Bins of a block of predictions in an error; longer than a usual trade."""

LEAST_PROBABILITY = 1e-12
CALIBRATION_STEPS = 10
PERMUTATIONS = 3
PERMUTED_EXAMPLES = 2000
"""Most examples, evenly spread, for the cost of shuffling a feature."""

MOST = 5
"""Features named with the drift of every fit."""

COMPARED_BINS = 500
"""Most bins on either side, evenly spread, for the drift of a feature between a fit and its use."""


def out_of_sample(state: LearningState, values: Floats) -> tuple[Floats, Floats, Ints]:
    """Return predictions, outcomes (1 up, 0 down), and rows, of all valid bins that have both.

    `state` is that after the last bin, and `values`, float64[n_valid], are those of the valid bins.
    """
    y = state.y[: state.n]
    rows = np.flatnonzero(~np.isnan(values) & ((y == UP) | (y == DOWN)))
    return values[rows], (y[rows] == UP).astype(np.float64), rows


def diagnose(
    signal: LearningSignal, dataset: Any, rules: TradeRules, result: SignalResult | None = None, *, full: bool = True
) -> dict[str, Any]:
    """Return the diagnostics of a signal over a dataset, as JSON values.

    Parameters
    ----------
    signal : LearningSignal
        With its parameters.
    dataset : Dataset
        With the score attached, if the signal reads it.
    rules : TradeRules
        The experiment's barriers.
    result : SignalResult, optional
        Returned by `signal.compute`.
    full : bool
        With the cost of shuffling each feature, which takes longer than all the rest.

    Returns
    -------
    dict
        ``n`` predictions with a label; ``auc``, ``log_loss`` and ``brier`` with bounds of a 95 % interval over blocks
        of 600 bins (a confidence c counts as the probability (1 + c)/2); ``calibration`` per tenth of [0, 1];
        ``retrains`` and ``unfit``, the fits and those left out; ``note``, the reason if nothing was fitted;
        ``importance`` per feature, with `full` also the loss in AUC of the last model after shuffling (in sample);
        ``drift`` per feature, the largest Kolmogorov-Smirnov distance between the bins of a fit and the bins that it
        predicts, and the shift of the median in interquartile ranges; ``circumstances``. Undefined figures are None.
    """
    result = result or signal.compute(dataset, rules)
    state: LearningState = result.state
    scores, y, rows = out_of_sample(state, result.values[np.flatnonzero(dataset.valid)])
    p = (1.0 + scores) / 2.0 if signal.prediction_mode == "confidence" else scores
    block = state.seq[rows] // BLOCK_BINS
    distance, shift = _drift(signal, state)
    losses = -np.log(np.maximum(np.where(y == 1.0, p, 1.0 - p), LEAST_PROBABILITY))
    report = {
        "n": len(y),
        "auc": auc_estimate(scores, y, block).share_interval,
        "log_loss": mean_estimate(losses, block).interval,
        "brier": mean_estimate((p - y) ** 2, block).interval,
        "calibration": _calibration(p, y),
        "retrains": _fits(signal, state, distance),
        "unfit": [fit._asdict() for fit in state.unfit],
        "note": _note(signal, state),
        "importance": _importance(signal, state, rows, y, full),
        "drift": _largest(signal, distance, shift),
        "circumstances": {"fit_ms": [fit.ns / 1e6 for fit in state.retrains]},
    }
    plain: dict[str, Any] = json.loads(json.dumps(report), parse_constant=lambda undefined: None)
    return plain


def _note(signal: LearningSignal, state: LearningState) -> str | None:
    """Return the reason and a remedy for a session without a fit."""
    if state.retrains or state.pending:
        return None
    if not state.unfit:
        due = state.warmup + signal.params.min_train_bins
        return f"Nothing was fitted: the first fit is due after {due} valid bins, the session has {state.n}. " + (
            "Lower min_train_bins, or take a longer session."
        )
    last = state.unfit[-1]
    return (
        f"Nothing was fitted: a fit needs {MIN_PER_CLASS} examples of each side, bin {last.bin_seq:,} had {last.n_up} "
        f"in which the long paid and {last.n_down} in which the short did. Bring the barriers nearer, allow a longer "
        "hold, lower stride_bins, or take a longer session."
    )


def _calibration(p: Floats, y: Floats) -> list[dict[str, Any]]:
    tenth = np.minimum((p * CALIBRATION_STEPS).astype(np.int64), CALIBRATION_STEPS - 1)
    return [
        {"from": step / CALIBRATION_STEPS, "n": int(at.sum()), "mean": float(p[at].mean()), "up": float(y[at].mean())}
        for step in range(CALIBRATION_STEPS)
        if (at := tenth == step).any()
    ]


def _importance(
    signal: LearningSignal, state: LearningState, rows: Ints, y: Floats, full: bool
) -> list[dict[str, Any]]:
    if state.model is None:
        return []
    columns = dict(signal.importance(state.model.estimator))
    order = next((-np.abs(values) for values in columns.values()), None)
    if full and len(rows):
        every = -(-len(rows) // PERMUTED_EXAMPLES)
        columns["auc_lost"] = _auc_lost(signal, state, rows[::every], y[::every])
        order = -columns["auc_lost"]
    if order is None:
        return []
    return [
        {"feature": signal.feature_names[f], **{name: float(values[f]) for name, values in columns.items()}}
        for f in np.argsort(order, kind="stable")
    ]


def _auc_lost(signal: LearningSignal, state: LearningState, rows: Ints, y: Floats) -> Floats:
    """Return the loss in AUC of the last model after shuffling each feature, float64[n_features]."""
    from sklearn.inspection import permutation_importance

    model = state.model
    assert model is not None

    def scoring(signal: LearningSignal, x: Floats, y: Floats) -> float:
        return auc(signal.values(model, x), y)

    lost: Floats = permutation_importance(
        signal, state.x[rows], y, scoring=scoring, n_repeats=PERMUTATIONS, random_state=0
    ).importances_mean
    return lost


def _drift(signal: LearningSignal, state: LearningState) -> tuple[Floats, Floats]:
    """Return distance and shift of the features of every fit, float64[n_fits, n_features] each; NaN without its use."""
    fits = np.searchsorted(state.seq[: state.n], [fit.bin_seq for fit in state.retrains])
    window = signal.params.train_window_bins or state.n
    distance, shift = np.full((2, len(fits), len(signal.feature_names)), np.nan)
    for i, (at, until) in enumerate(pairwise([*fits, state.n])):
        seen, used = _few(state, max(state.warmup, at + 1 - window), at + 1), _few(state, at + 1, until)
        if len(used) and len(seen):
            low, middle, high = np.quantile(seen, (0.25, 0.5, 0.75), axis=0)
            moved = np.median(used, axis=0) - middle
            distance[i] = _distance(seen, used)
            shift[i] = np.divide(moved, high - low, out=np.zeros_like(moved), where=high > low)
    return distance, shift


def _largest(signal: LearningSignal, distance: Floats, shift: Floats) -> list[dict[str, Any]]:
    """Return the largest drift of every feature, largest first."""
    distance, shift = (drift[~np.isnan(distance).all(axis=1)] for drift in (distance, shift))
    if not len(distance):
        return []
    at = distance.argmax(axis=0)
    items = [
        {"feature": name, "distance": float(distance[i, f]), "shift": float(shift[i, f])}
        for f, (name, i) in enumerate(zip(signal.feature_names, at, strict=True))
    ]
    return sorted(items, key=lambda item: -item["distance"])


def _fits(signal: LearningSignal, state: LearningState, distance: Floats) -> list[dict[str, Any]]:
    names = signal.feature_names
    return [
        {
            "bin_seq": fit.bin_seq,
            "n_train": fit.n_train,
            "n_valid": fit.n_valid,
            "used": [name for name, _ in fit.used],
            "importance": fit.used,
            "drift": [
                (names[f], float(far[f])) for f in np.argsort(-far, kind="stable")[:MOST] if not np.isnan(far[f])
            ],
        }
        for fit, far in zip(state.retrains, distance, strict=True)
    ]


def _few(state: LearningState, first: int, until: int) -> Floats:
    rows = np.arange(first, until, max(1, (until - first) // COMPARED_BINS))
    found: Floats = state.x[rows[state.ready[rows]]]
    return found


def _distance(a: Floats, b: Floats) -> Floats:
    """Return the Kolmogorov-Smirnov distance of each column, float64[n_columns]."""
    both = np.concatenate([a, b])
    order = np.argsort(both, axis=0, kind="stable")
    steps = np.where(order < len(a), 1.0 / len(a), -1.0 / len(b))
    ascending = np.take_along_axis(both, order, axis=0)
    last = np.concatenate([ascending[1:] > ascending[:-1], np.ones((1, both.shape[1]), dtype=bool)])  # of equal values
    found: Floats = np.where(last, np.abs(np.cumsum(steps, axis=0)), 0.0).max(axis=0)
    return found
