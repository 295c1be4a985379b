"""What a run of a learning signal was worth, apart from its trades: was it right, was it calibrated, what did it use?

Everything here looks back on a finished session and is no part of a prediction. "Out of sample" means what the
walk-forward gives: each bin was predicted by a model that had seen only labels resolved by then.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from vpcore import SignalResult, TradeRules
from vpcore_signals_ml.figures import auc, auc_estimate, brier_losses, log_losses, mean_estimate
from vpcore_signals_ml.labels import DOWN, UP, Floats, Ints

if TYPE_CHECKING:
    from vpcore_signals_ml.walk import WalkForward
    from vpcore_signals_ml.walk_state import WalkState

BLOCK_BINS = 600
"""Bins whose examples stay together when an error is estimated; longer than a usual trade."""

CALIBRATION_STEPS = 10
PERMUTATIONS = 3
PERMUTED_EXAMPLES = 2000
"""At most so many examples, evenly spread, say what shuffling a feature costs."""


def out_of_sample(state: WalkState, values: Floats) -> tuple[Floats, Floats, Ints]:
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
    signal: WalkForward, dataset: Any, rules: TradeRules, result: SignalResult | None = None, *, full: bool = True
) -> dict[str, Any]:
    """Return the diagnostics of a signal over a dataset, as JSON values.

    Parameters
    ----------
    signal : WalkForward
        With its parameters.
    dataset : Dataset
        With the score attached, if the signal reads it.
    rules : TradeRules
        The experiment's barriers.
    result : SignalResult, optional
        What `signal.compute` returned, if it is at hand.
    full : bool
        With what shuffling each feature costs, which takes longer than all the rest.

    Returns
    -------
    dict
        ``n`` (predictions with a label), ``auc``, ``log_loss`` and ``brier``, each as value and bounds of a 95 %
        interval (jackknife over blocks of 600 bins; a confidence c counts as the probability (1 + c)/2);
        ``calibration``: per tenth of [0, 1] the number of predictions, their mean and the share of ups; ``retrains``:
        bin and examples of every fit; ``importance``: per feature the weight of the standardised feature (linear
        models) or the gain of its splits (trees), and with `full` what shuffling it costs the last model in AUC
        (``auc_lost``: in sample, it says what the model uses, not what is there), the most important first; ``drift``:
        per feature the difference of the medians of the first and last third over the interquartile range, largest
        first; ``circumstances``: what another computation would not repeat, the time of every fit. Undefined figures
        are None.
    """
    result = result or signal.compute(dataset, rules)
    state: WalkState = result.state
    scores, y, rows = out_of_sample(state, result.values[np.flatnonzero(dataset.valid)])
    p = (1.0 + scores) / 2.0 if signal.prediction_mode == "confidence" else scores
    block = state.seq[rows] // BLOCK_BINS
    report: dict[str, Any] = _plain(
        {
            "n": len(y),
            "auc": auc_estimate(scores, y, block).share_interval,
            "log_loss": mean_estimate(log_losses(p, y), block).interval,
            "brier": mean_estimate(brier_losses(p, y), block).interval,
            "calibration": _calibration(p, y),
            "retrains": [{name: v for name, v in fit._asdict().items() if name != "ns"} for fit in state.retrains],
            "importance": _importance(signal, state, rows, y, full),
            "drift": _drift(signal, dataset, state),
            "circumstances": {"fit_ms": [fit.ns / 1e6 for fit in state.retrains]},
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


def _importance(signal: WalkForward, state: WalkState, rows: Ints, y: Floats, full: bool) -> list[dict[str, Any]]:
    if state.model is None:
        return []
    columns = dict(signal.per_feature(state.model))
    order = next((-np.abs(values) for values in columns.values()), None)
    if full and len(rows):
        every = -(-len(rows) // PERMUTED_EXAMPLES)
        columns["auc_lost"] = _auc_lost(signal, state, rows[::every], y[::every])
        order = -columns["auc_lost"]
    if order is None:
        return []
    names = signal.feature_names
    return [
        {"feature": names[f], **{name: float(values[f]) for name, values in columns.items()}}
        for f in np.argsort(order, kind="stable")
    ]


def _auc_lost(signal: WalkForward, state: WalkState, rows: Ints, y: Floats) -> Floats:
    """Return what shuffling each feature costs the last model in AUC, float64[n_features]."""
    x = np.ascontiguousarray(state.x[rows])
    out = np.empty(len(x))
    signal.predict(state.model, x, out)
    base = auc(out, y)
    rng = np.random.default_rng(0)
    orders = [rng.permutation(len(x)) for _ in range(PERMUTATIONS)]
    lost = np.zeros(x.shape[1])
    for f in range(x.shape[1]):
        kept = x[:, f].copy()
        for order in orders:
            x[:, f] = kept[order]
            signal.predict(state.model, x, out)
            lost[f] += (base - auc(out, y)) / PERMUTATIONS
        x[:, f] = kept
    return lost


def _drift(signal: WalkForward, dataset: Any, state: WalkState) -> list[dict[str, Any]]:
    """Return how far each feature moved; made once per dataset, because it depends on nothing else."""
    shared = getattr(dataset, "shared", {})
    key = f"vpcore_signals_ml.drift.{signal.features.name}"
    if key not in shared:
        shared[key] = _moved(signal, state)
    moved: list[dict[str, Any]] = shared[key]
    return moved


def _moved(signal: WalkForward, state: WalkState) -> list[dict[str, Any]]:
    x = state.x[signal.features.warmup : state.n]
    third = len(x) // 3
    if not third:
        return []
    low, high = np.quantile(x, (0.25, 0.75), axis=0)
    moved = np.median(x[-third:], axis=0) - np.median(x[:third], axis=0)
    size = np.divide(moved, high - low, out=np.zeros_like(moved), where=high > low)
    items = [{"feature": n, "shift": float(s)} for n, s in zip(signal.feature_names, size, strict=True)]
    return sorted(items, key=lambda item: -abs(item["shift"]))


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return value if np.isfinite(value) else None
    return value
