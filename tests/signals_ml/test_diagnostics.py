"""The figures are those of scikit-learn, and the report of a run is whole and plain."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from vpcore.signal import batch
from vpcore_signals_ml.diagnostics import auc, auc_across, brier, diagnose, jackknife, log_loss
from vpcore_signals_ml.linear_signals import Logit


def sample(n=400, seed=0):
    rng = np.random.default_rng(seed)
    y = (rng.random(n) < 0.4).astype(float)
    return np.clip(np.round(0.5 + 0.2 * (y - 0.5) + 0.2 * rng.standard_normal(n), 1), 0.01, 0.99), y


def test_the_measures_are_those_of_scikit_learn():
    metrics = pytest.importorskip("sklearn.metrics")
    p, y = sample()
    assert auc(p, y) == pytest.approx(metrics.roc_auc_score(y, p))
    assert log_loss(p, y) == pytest.approx(metrics.log_loss(y, p))
    assert brier(p, y) == pytest.approx(metrics.brier_score_loss(y, p))


def test_nothing_to_measure():
    none = np.empty(0)
    assert math.isnan(auc(none, none))
    assert math.isnan(auc(np.ones(3), np.ones(3)))
    assert math.isnan(log_loss(none, none))
    assert math.isnan(brier(none, none))
    value, low, high = jackknife(brier, np.ones(3), np.ones(3), np.zeros(3, dtype=np.int64))
    assert (value, math.isnan(low), math.isnan(high)) == (0.0, True, True)


def test_the_jackknife_of_a_mean_is_its_standard_error():
    p, y = sample(50)
    value, low, high = jackknife(brier, p, y, np.arange(50))
    error = ((p - y) ** 2).std(ddof=1) / np.sqrt(50)
    assert (value - low, high - value) == (pytest.approx(1.96 * error), pytest.approx(1.96 * error))


def test_across_sessions_only_pairs_of_different_ones_count():
    sessions = [sample(40, seed) for seed in range(4)]
    expected = [
        (p > q) + (p == q) / 2
        for a, (ps, ys) in enumerate(sessions)
        for b, (qs, zs) in enumerate(sessions)
        if a != b
        for p in ps[ys == 1]
        for q in qs[zs == 0]
    ]
    value, error = auc_across(sessions)
    assert value == pytest.approx(np.mean(expected))
    assert 0 < error < 0.2


def test_the_report_of_a_run(small_signals, session, labels):
    for signal in small_signals:
        result = batch(signal, session, labels)
        found = diagnose(signal, session, labels, result)
        json.dumps(found, allow_nan=False)
        assert found == diagnose(signal, session, labels) | {"retrains": found["retrains"]}
        assert found["n"] == sum(step["n"] for step in found["calibration"]) > 100
        for name in ("auc", "log_loss", "brier"):
            value, low, high = found[name]
            assert value is not None
            assert low is None or low < value < high  # a block of time that holds every example has no other
        assert len(found["retrains"]) == len(result.state.retrains)
        assert {item["feature"] for item in found["importance"]} == set(signal.features.names)
        assert {item["feature"] for item in found["drift"]} == set(signal.features.names)
        assert ("weight" in found["importance"][0]) == hasattr(result.state.model, "weights")


def test_importance_names_the_feature_that_decides(session, labels):
    signal = Logit(min_train_bins=300, stride_bins=1)
    result = batch(signal, session, labels)
    model = result.state.model
    at = signal.features.names.index("touch_20")
    model.weights[:] = 0.0
    model.weights[at] = 1.0
    found = diagnose(signal, session, labels, result)
    lost = {item["feature"]: item["auc_lost"] for item in found["importance"]}
    assert lost["touch_20"] != 0.0
    assert all(value == 0.0 for name, value in lost.items() if name != "touch_20")


def test_a_session_without_a_fit(session, labels):
    found = diagnose(Logit(), session, labels)
    assert (found["n"], found["auc"], found["retrains"], found["importance"]) == (0, [None] * 3, [], [])
    empty = diagnose(Logit(), session.slice(0, 50), labels)
    assert empty["drift"] == []
