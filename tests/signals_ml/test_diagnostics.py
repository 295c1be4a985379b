"""The figures are those of scikit-learn, and the report of a run is whole and plain."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from vpcore.signal import batch
from vpcore_signals_ml.diagnostics import diagnose, out_of_sample
from vpcore_signals_ml.figures import Estimate, auc, auc_across, auc_estimate, brier_losses, log_losses, mean_estimate
from vpcore_signals_ml.linear_signals import Logit
from vpcore_signals_ml.neighbour_signal import KnnCl


def sample(n=400, seed=0):
    rng = np.random.default_rng(seed)
    y = (rng.random(n) < 0.4).astype(float)
    return np.clip(np.round(0.5 + 0.2 * (y - 0.5) + 0.2 * rng.standard_normal(n), 1), 0.01, 0.99), y


def test_the_measures_are_those_of_scikit_learn():
    metrics = pytest.importorskip("sklearn.metrics")
    p, y = sample()
    assert auc(p, y) == pytest.approx(metrics.roc_auc_score(y, p))
    assert log_losses(p, y).mean() == pytest.approx(metrics.log_loss(y, p))
    assert brier_losses(p, y).mean() == pytest.approx(metrics.brier_score_loss(y, p))


def test_nothing_to_measure():
    none, no_block = np.empty(0), np.empty(0, dtype=np.int64)
    assert math.isnan(auc(none, none))
    assert math.isnan(auc(np.ones(3), np.ones(3)))
    assert np.isnan(auc_estimate(none, none, no_block)).all()
    assert np.isnan(mean_estimate(none, no_block)).all()
    one = np.zeros(3, dtype=np.int64)
    value, error = mean_estimate(np.ones(3), one)
    assert (value, math.isnan(error)) == (1.0, True)
    value, error = auc_estimate(np.array([0.1, 0.2, 0.3]), np.array([0.0, 1.0, 1.0]), one)
    assert (value, math.isnan(error)) == (1.0, True)


def test_the_error_of_a_mean_is_its_standard_error():
    p, y = sample(50)
    losses = brier_losses(p, y)
    value, error = mean_estimate(losses, np.arange(50))
    assert (value, error) == (pytest.approx(losses.mean()), pytest.approx(losses.std(ddof=1) / np.sqrt(50)))
    assert mean_estimate(losses, np.arange(50)).interval == pytest.approx(
        (value, value - 1.96 * error, value + 1.96 * error)
    )


def test_errors_are_those_of_leaving_blocks_out_one_by_one():
    p, y = sample(600)
    block = np.sort(np.random.default_rng(1).integers(3, 20, 600)) * 7
    y[block == 21] = 1.0  # a block without downs
    for found, measure in (
        (auc_estimate(p, y, block), lambda keep: auc(p[keep], y[keep])),
        (mean_estimate(log_losses(p, y), block), lambda keep: log_losses(p, y)[keep].mean()),
    ):
        left_out = np.array([measure(block != b) for b in np.unique(block)])
        n = len(left_out)
        assert found.value == pytest.approx(measure(block >= 0))
        assert found.error == pytest.approx(np.sqrt((n - 1) / n * ((left_out - left_out.mean()) ** 2).sum()))


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


def test_the_report_of_a_run(small_signals, session, rules):
    for signal in small_signals:
        result = batch(signal, session, rules)
        found = diagnose(signal, session, rules, result)
        json.dumps(found, allow_nan=False)
        again = diagnose(signal, session, rules)
        assert len(found.pop("circumstances")["fit_ms"]) == len(again.pop("circumstances")["fit_ms"])
        assert found == again
        assert found["n"] == sum(step["n"] for step in found["calibration"]) > 100
        for name in ("auc", "log_loss", "brier"):
            value, low, high = found[name]
            assert value is not None
            assert low is None or low < value < high  # a block of time that holds every example has no other
        assert [fit["bin_seq"] for fit in found["retrains"]] == [fit.bin_seq for fit in result.state.retrains]
        assert {item["feature"] for item in found["importance"]} == set(signal.features.names)
        assert {item["feature"] for item in found["drift"]} == set(signal.features.names)
        lost = [item["auc_lost"] for item in found["importance"]]
        assert lost == sorted(lost, reverse=True)
        assert max(lost) > 0.0


def test_what_costs_little_is_said_without_shuffling(small_signals, session, rules):
    for signal in small_signals:
        result = batch(signal, session, rules)
        basic, full = (signal.diagnose(session, rules, result, full=extent) for extent in (False, True))
        kind = {"linear": "weight", "tree": "gain"}.get(type(signal).__module__.split(".")[1].split("_")[0])
        assert [set(item) for item in basic["importance"]] == ([{"feature", kind}] * len(full["drift"]) if kind else [])
        sizes = [abs(item[kind]) for item in basic["importance"]]
        assert sizes == sorted(sizes, reverse=True)
        assert {**basic, "importance": None} == {**full, "importance": None}


def test_a_confidence_counts_as_a_probability(session, rules):
    signal = KnnCl(min_train_bins=300, stride_bins=1)
    result = batch(signal, session, rules)
    found = diagnose(signal, session, rules, result)
    values, y, _ = out_of_sample(result.state, result.values[session.valid])
    assert values.min() < 0.0
    assert found["brier"][0] == pytest.approx(((values + 1) / 2 - y).__pow__(2).mean())
    assert found["auc"][0] == pytest.approx(auc(values, y))


def test_importance_names_the_feature_that_decides(session, rules):
    signal = Logit(min_train_bins=300, stride_bins=1)
    result = batch(signal, session, rules)
    model = result.state.model
    at = signal.features.names.index("touch_20")
    model.weights[:] = 0.0
    model.weights[at] = 1.0
    found = diagnose(signal, session, rules, result)
    lost = {item["feature"]: item["auc_lost"] for item in found["importance"]}
    assert lost["touch_20"] != 0.0
    assert all(value == 0.0 for name, value in lost.items() if name != "touch_20")


def test_a_session_without_a_fit(session, rules):
    found = diagnose(Logit(), session, rules)
    assert (found["n"], found["auc"], found["retrains"], found["importance"]) == (0, [None] * 3, [], [])
    empty = diagnose(Logit(), session.slice(0, 50), rules)
    assert empty["drift"] == []


def test_the_interval_of_a_share_stays_a_share() -> None:
    """The bounds were once -0.090 and 0.872."""
    value, lo, hi = Estimate(0.391, 0.2454).share_interval
    assert value == 0.391
    assert 0.0 < lo < value < hi < 1.0
    odds, step = math.log(0.391 / 0.609), 1.96 * 0.2454 / (0.391 * 0.609)
    assert (math.log(lo / (1 - lo)), math.log(hi / (1 - hi))) == pytest.approx((odds - step, odds + step))
    near = Estimate(0.55, 0.001)
    assert near.share_interval == pytest.approx(near.interval, abs=1e-6)
    assert [math.isnan(bound) for bound in Estimate(1.0, 0.1).share_interval] == [False, True, True]
