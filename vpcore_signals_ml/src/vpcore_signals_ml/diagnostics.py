"""What a run of a learning signal was worth, apart from its trades: was it right, was it calibrated, what did it use?

Everything here looks back on a finished session and is no part of a prediction. "Out of sample" means what the
walk-forward gives: each bin was predicted by a model that had seen only labels resolved by then.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from vpcore import LabelSpec, SignalResult
from vpcore_signals_ml.labels import DOWN, UP, Floats
from vpcore_signals_ml.linear import Linear
from vpcore_signals_ml.walk import WalkForward, WalkState

BLOCK_BINS = 600
"""Bins whose examples stay together when an interval is estimated; longer than a usual trade."""

CALIBRATION_STEPS = 10
EPSILON = 1e-12
PERMUTATIONS = 3


def auc(scores: Floats, y: Floats) -> float:
    """Return the probability that an example of class 1 scores above one of class 0, ties counted half.

    NaN if either class is missing.
    """
    n_up = int(y.sum())
    n_down = len(y) - n_up
    if not n_up or not n_down:
        return float("nan")
    _, place, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = np.cumsum(counts) - (counts - 1) / 2.0
    return float((ranks[place][y == 1.0].sum() - n_up * (n_up + 1) / 2.0) / (n_up * n_down))


def auc_across(sessions: Sequence[tuple[Floats, Floats]]) -> tuple[float, float]:
    """Return the AUC over all pairs of an up of one session and a down of another, and its standard error.

    Inside one short session the AUC of a walk-forward without any effect lies below 1/2 on average: a session that rose
    has taught its models to say up, and what is left of it holds the fewer ups. Across independent sessions it is 1/2.

    Parameters
    ----------
    sessions : sequence of (float64[n], float64[n])
        Predictions and what happened (1 up, 0 down) of three independent sessions or more.

    Returns
    -------
    tuple of float
        The AUC, and its standard error by the jackknife over sessions.
    """
    n = len(sessions)
    won, pairs = np.zeros((n, n)), np.zeros((n, n))
    for a, (p, y) in enumerate(sessions):
        ups = p[y == 1.0]
        for b, (q, z) in enumerate(sessions):
            if a != b:
                downs = np.sort(q[z == 0.0])
                below = np.searchsorted(downs, ups, "left") + np.searchsorted(downs, ups, "right")
                won[a, b], pairs[a, b] = below.sum() / 2.0, len(ups) * len(downs)
    kept = [np.delete(np.arange(n), a) for a in range(n)]
    left_out = np.array([won[np.ix_(rows, rows)].sum() / pairs[np.ix_(rows, rows)].sum() for rows in kept])
    error = np.sqrt((n - 1) / n * ((left_out - left_out.mean()) ** 2).sum())
    return float(won.sum() / pairs.sum()), float(error)


def log_loss(p: Floats, y: Floats) -> float:
    """Return the mean of minus the log of the probability given to what happened; NaN without examples."""
    if not len(y):
        return float("nan")
    right = np.where(y == 1.0, p, 1.0 - p)
    return float(-np.log(np.clip(right, EPSILON, 1.0)).mean())


def brier(p: Floats, y: Floats) -> float:
    """Return the mean squared difference between probability and what happened; NaN without examples."""
    return float(((p - y) ** 2).mean()) if len(y) else float("nan")


def jackknife(measure: Any, p: Floats, y: Floats, block: npt.NDArray[np.int64]) -> tuple[float, float, float]:
    """Return a measure with the bounds of its 95 % interval, by leaving out one block of time after the other."""
    value = measure(p, y)
    left_out = np.array([measure(p[block != b], y[block != b]) for b in np.unique(block)])
    left_out = left_out[np.isfinite(left_out)]
    n = len(left_out)
    if n < 2:
        return value, float("nan"), float("nan")
    error = float(np.sqrt((n - 1) / n * ((left_out - left_out.mean()) ** 2).sum()))
    return value, value - 1.96 * error, value + 1.96 * error


def out_of_sample(state: WalkState, values: Floats) -> tuple[Floats, Floats, npt.NDArray[np.int64]]:
    """Return predictions, what happened (1 up, 0 down), and the rows, of all bins that have both.

    Parameters
    ----------
    state : WalkState
        After the last bin.
    values : float64[n_valid]
        The values of the valid bins.
    """
    y = state.y[: state.n]
    rows = np.flatnonzero(~np.isnan(values) & ((y == UP) | (y == DOWN)))
    return values[rows], (y[rows] == UP).astype(np.float64), rows


def diagnose(
    signal: WalkForward, dataset: Any, labels: LabelSpec, result: SignalResult | None = None
) -> dict[str, Any]:
    """Return the diagnostics of a signal over a dataset, as JSON values.

    Parameters
    ----------
    signal : WalkForward
        With its parameters.
    dataset : Dataset
        With the score attached, if the signal reads it.
    labels : LabelSpec
        The experiment's barriers.
    result : SignalResult, optional
        What `signal.compute` returned, if it is at hand.

    Returns
    -------
    dict
        ``n`` (predictions with a label), ``auc``, ``log_loss`` and ``brier``, each as value and bounds of a 95 %
        interval (block jackknife); ``calibration``: per tenth of [0, 1] the number of predictions, their mean and the
        share of ups; ``retrains``; ``importance``: per feature what shuffling it costs the last model in AUC, and for
        linear models the weight of the standardised feature, largest loss first (in sample: it says what the model
        uses, not what is there); ``drift``: per feature the difference of the medians of the first and last third over
        the interquartile range, largest first. Undefined figures are None.
    """
    result = result or signal.compute(dataset, labels)
    state: WalkState = result.state
    p, y, rows = out_of_sample(state, result.values[np.flatnonzero(dataset.valid)])
    block = state.seq[rows] // BLOCK_BINS
    report: dict[str, Any] = _plain(
        {
            "n": len(y),
            **{measure.__name__: jackknife(measure, p, y, block) for measure in (auc, log_loss, brier)},
            "calibration": _calibration(p, y),
            "retrains": [fit._asdict() for fit in state.retrains],
            "importance": _importance(signal, state, rows, y),
            "drift": _drift(signal, state),
        }
    )
    return report


def _calibration(p: Floats, y: Floats) -> list[dict[str, Any]]:
    tenth = np.minimum((p * CALIBRATION_STEPS).astype(np.int64), CALIBRATION_STEPS - 1)
    found = [(step, tenth == step) for step in range(CALIBRATION_STEPS)]
    return [
        {"from": step / CALIBRATION_STEPS, "n": int(at.sum()), "mean": float(p[at].mean()), "up": float(y[at].mean())}
        for step, at in found
        if at.any()
    ]


def _importance(signal: WalkForward, state: WalkState, rows: npt.NDArray[np.int64], y: Floats) -> list[dict[str, Any]]:
    if state.model is None or not len(rows):
        return []
    x = np.ascontiguousarray(state.x[rows])
    out = np.empty(len(x))
    signal.predict(state.model, x, out)
    base = auc(out, y)
    rng = np.random.default_rng(0)
    orders = [rng.permutation(len(x)) for _ in range(PERMUTATIONS)]
    items = []
    for f, name in enumerate(signal.features.names):
        kept = x[:, f].copy()
        lost = 0.0
        for order in orders:
            x[:, f] = kept[order]
            signal.predict(state.model, x, out)
            lost += (base - auc(out, y)) / PERMUTATIONS
        x[:, f] = kept
        item = {"feature": name, "auc_lost": lost}
        if isinstance(state.model, Linear):
            item["weight"] = float(state.model.weights[f])
        items.append(item)
    return sorted(items, key=lambda item: -item["auc_lost"])


def _drift(signal: WalkForward, state: WalkState) -> list[dict[str, Any]]:
    x = state.x[signal.features.warmup : state.n]
    third = len(x) // 3
    if not third:
        return []
    low, high = np.quantile(x, (0.25, 0.75), axis=0)
    moved = np.median(x[-third:], axis=0) - np.median(x[:third], axis=0)
    size = np.divide(moved, high - low, out=np.zeros_like(moved), where=high > low)
    items = [{"feature": n, "shift": float(s)} for n, s in zip(signal.features.names, size, strict=True)]
    return sorted(items, key=lambda item: -abs(item["shift"]))


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return value if np.isfinite(value) else None
    return value
