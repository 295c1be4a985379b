"""The figures are those of scikit-learn and of resampling, and the report of a run is whole and plain."""

from __future__ import annotations

import json
import math
import re

import numpy as np
import pytest
from auc_across import auc_across
from trade_rules import rules_of

from vpcore.signal import batch, refit_series
from vpcore_signals_ml.diagnostics import _distance, diagnose, out_of_sample
from vpcore_signals_ml.figures import Estimate, auc, auc_estimate, mean_estimate
from vpcore_signals_ml.signals import KnnCl, Logit


def sample(n=400, seed=0):
    rng = np.random.default_rng(seed)
    y = (rng.random(n) < 0.4).astype(float)
    return np.clip(np.round(0.5 + 0.2 * (y - 0.5) + 0.2 * rng.standard_normal(n), 1), 0.01, 0.99), y


def test_the_auc_is_that_of_scikit_learn():
    from sklearn.metrics import roc_auc_score  # here, so that tests are collected fast

    p, y = sample()
    assert auc(p, y) == pytest.approx(roc_auc_score(y, p))


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


def placements(p, y):
    ups, downs = p[y == 1], p[y == 0]
    won = (ups[:, None] > downs) + (ups[:, None] == downs) / 2
    return won.mean(axis=1), won.mean(axis=0)


def test_without_blocks_the_error_is_that_of_delong():
    p, y = sample()
    of_ups, of_downs = placements(p, y)
    expected = np.sqrt(of_ups.var(ddof=1) / len(of_ups) + of_downs.var(ddof=1) / len(of_downs))
    found = auc_estimate(p, y, np.arange(len(y)))
    # One example per block: the sums over blocks count all blocks, the variances each class.
    assert found == (pytest.approx(of_ups.mean()), pytest.approx(expected, rel=2e-3))


def test_the_errors_are_those_of_drawing_blocks_anew():
    rng = np.random.default_rng(1)
    block = np.repeat(np.arange(80), 15)
    shared = rng.standard_normal(80)[block]
    y = (0.8 * shared + rng.standard_normal(1200) > 0).astype(float)
    p = 1 / (1 + np.exp(-(0.5 * y + 0.7 * shared + rng.standard_normal(1200))))
    losses = (p - y) ** 2
    rows = [np.flatnonzero(block == b) for b in range(80)]
    drawn = [np.concatenate([rows[b] for b in rng.integers(0, 80, 80)]) for _ in range(1500)]
    for found, measure in (
        (auc_estimate(p, y, block * 7), lambda keep: auc(p[keep], y[keep])),
        (mean_estimate(losses, block * 7), lambda keep: losses[keep].mean()),
    ):
        assert found.error == pytest.approx(np.std([measure(keep) for keep in drawn]), rel=0.08)
    # Independent rows would claim far less.
    assert auc_estimate(p, y, np.arange(1200)).error < 0.8 * auc_estimate(p, y, block).error


def test_the_error_of_a_mean_is_its_standard_error():
    p, y = sample(50)
    losses = (p - y) ** 2
    value, error = mean_estimate(losses, np.arange(50))
    assert (value, error) == (pytest.approx(losses.mean()), pytest.approx(losses.std(ddof=1) / np.sqrt(50)))
    assert Estimate(0.1, 0.1).interval == (0.1, 0.0, pytest.approx(0.296))


def test_the_distance_is_that_of_kolmogorov_and_smirnov():
    rng = np.random.default_rng(2)
    a, b = rng.standard_normal((90, 3)), np.round(rng.standard_normal((70, 3)) + np.array([0, 1, 0.3]), 1)
    a[:, 2] = np.round(a[:, 2], 1)  # ties between and within
    from scipy.stats import ks_2samp  # here, so that tests are collected fast

    expected = [ks_2samp(a[:, j], b[:, j]).statistic for j in range(3)]
    assert _distance(a, b) == pytest.approx(expected)


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


@pytest.mark.slow
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
        assert {item["feature"] for item in found["importance"]} == set(signal.feature_names)
        assert {item["feature"] for item in found["drift"]} == set(signal.feature_names)
        lost = [item["auc_lost"] for item in found["importance"]]
        assert lost == sorted(lost, reverse=True)
        assert max(lost) > 0.0


def test_what_costs_little_is_said_without_shuffling(small_signals, session, rules):
    own = {"Logit": "weight", "SvmSp": "weight", "LsvmDer": "weight", "GbmMf": "gain", "GbmSnap": "gain"}
    for signal in small_signals:
        result = batch(signal, session, rules)
        basic, full = (signal.diagnose(session, rules, result, full=extent) for extent in (False, True))
        kind = own.get(type(signal).__name__)
        assert [set(item) for item in basic["importance"]] == ([{"feature", kind}] * len(full["drift"]) if kind else [])
        sizes = [abs(item[kind]) for item in basic["importance"]]
        assert sizes == sorted(sizes, reverse=True)
        assert {**basic, "importance": None} == {**full, "importance": None}
        used = [fit["used"] for fit in basic["retrains"]]
        series = refit_series(basic)
        assert [at for at, _ in series["examples"]] == [fit["bin_seq"] for fit in basic["retrains"]]
        drift = [value for name, found in series.items() if name.startswith("drift/") for _, value in found]
        assert max(drift) == basic["drift"][0]["distance"]
        for fit in basic["retrains"]:
            assert [name for name, _ in fit["importance"]] == fit["used"]
            assert not fit["used"] or 0 < sum(share for _, share in fit["importance"]) <= 1 + 1e-9
        assert [len(names) for names in used] == [5 if kind else 0] * len(used)
        if kind and not signal.update_interval_bins:
            assert used[-1] == [item["feature"] for item in basic["importance"][:5]]


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
    at = signal.feature_names.index("touch_20")
    model.linear[:] = 0.0
    model.linear[at] = 1.0
    found = diagnose(signal, session, rules, result)
    lost = {item["feature"]: item["auc_lost"] for item in found["importance"]}
    assert lost["touch_20"] != 0.0
    assert all(value == 0.0 for name, value in lost.items() if name != "touch_20")


def test_drift_names_the_feature_that_moved(session, rules):
    signal = Logit(min_train_bins=300, retrain_interval_bins=300, stride_bins=1)
    result = batch(signal, session, rules)
    state = result.state
    second = int(np.flatnonzero(state.seq[: state.n] == state.retrains[-1].bin_seq)[0])
    at = signal.feature_names.index("touch")
    state.x[second + 1 : state.n, at] += 5.0
    first = diagnose(signal, session, rules, result)["drift"][0]
    assert first["feature"] == "touch"
    assert first["distance"] == pytest.approx(1.0)
    assert first["shift"] > 3.0


def test_a_session_without_a_fit_says_why(session, rules):
    found = diagnose(Logit(), session, rules)
    assert (found["n"], found["auc"], found["retrains"], found["importance"]) == (0, [None] * 3, [], [])
    assert found["drift"] == []
    n = int(session.valid.sum())
    text = f"Nothing was fitted: the first fit is due after 3100 valid bins, the session has {n}. Lower min_train_bins"
    assert found["note"].startswith(text)
    far = rules_of(50, 50, 40)
    found = diagnose(Logit(min_train_bins=300, retrain_interval_bins=300, stride_bins=1), session, far)
    assert [set(item) for item in found["unfit"]] == [{"bin_seq", "n_up", "n_down"}] * 2
    text = (
        "a fit needs 10 examples of each side, bin .* had 0 in which the long paid and 0 in which the short did. Bring"
    )
    assert re.search(text, found["note"])
    assert diagnose(Logit(min_train_bins=300, stride_bins=1), session, rules)["note"] is None


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
