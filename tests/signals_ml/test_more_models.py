"""The incremental machine, the neighbours and the components are what their formulas and the libraries say."""

from __future__ import annotations

import numpy as np
import pytest
from ml_examples import training
from trade_rules import rules_of

from vpcore.signal import batch
from vpcore_signals_ml.anomaly_signal import PcaAd
from vpcore_signals_ml.incremental import Path, descend, fit_incremental, learn, shuffle
from vpcore_signals_ml.linear import predict_linear, standardise
from vpcore_signals_ml.linear_signals import LsvmDer
from vpcore_signals_ml.neighbour_signal import KnnCl
from vpcore_signals_ml.neighbours import Neighbours, fit_neighbours, predict_nearest
from vpcore_signals_ml.principal import fit_principal, jacobi, measure, predict_gated
from vpcore_signals_ml.selection import Training

SETTINGS = {"alpha": 1e-2, "eta": 0.05, "epochs": 20, "seed": 1}

# -- stochastic gradient descent ---------------------------------------------------------------------------------------


def hinge(z, s, v, alpha, weights, b0):
    return alpha / 2 * weights @ weights + np.mean(v * np.maximum(0, 1 - s * (z @ weights + b0)))


def test_the_fit_is_near_the_minimum_of_the_hinge_loss():
    svm = pytest.importorskip("sklearn.svm")
    data = training(n=1500, valid=0)
    model = fit_incremental(data, **SETTINGS)
    z, s = standardise(data.x, model.linear.mean, model.linear.scale), np.where(data.y == 1, 1.0, -1.0)
    theirs = svm.SVC(kernel="linear", C=1 / (SETTINGS["alpha"] * len(z))).fit(z, data.y, sample_weight=data.weight)
    best = hinge(z, s, data.weight, SETTINGS["alpha"], theirs.coef_[0], theirs.intercept_[0])
    ours = hinge(z, s, data.weight, SETTINGS["alpha"], model.linear.weights, model.linear.rest[0])
    assert best <= ours + 1e-3
    assert ours < 1.02 * best


def test_the_steps_are_those_of_the_formula():
    rng = np.random.default_rng(2)
    z, s, v = rng.standard_normal((30, 3)), rng.choice([-1.0, 1.0], 30), rng.uniform(0.5, 1.5, 30)
    order = rng.permutation(30)
    iterate, average, counters = np.zeros(4), np.zeros(4), np.array([5.0, 0.0, 10.0, 1.0, 1.0])
    descend(z, s, v, order, 0.1, 0.2, Path(iterate, average, counters))
    b, b0, kept = np.zeros(3), 0.0, []
    for t, i in enumerate(order):
        rate = 0.2 / (1 + 0.1 * 0.2 * (5 + t))
        wrong = s[i] * (b @ z[i] + b0) < 1
        b = (1 - rate * 0.1) * b + wrong * rate * v[i] * s[i] * z[i]
        b0 += wrong * rate * v[i] * s[i]
        kept.append(np.append(b, b0))
    expected = np.mean(kept[:10], axis=0)
    for step in kept[10:]:
        expected = expected + (step - expected) / 10
    assert iterate == pytest.approx(kept[-1])
    assert average == pytest.approx(expected)
    assert counters.tolist() == [35.0, 10.0, 10.0, 1.0, 1.0]


def test_learning_in_one_go_and_in_pieces_is_the_same():
    data = training(n=400, valid=200)
    model = fit_incremental(data, **SETTINGS)
    whole = learn(model, data.x, data.y, alpha=1e-2, eta=0.05)
    pieces = model
    for part in np.array_split(np.arange(len(data.y)), 7):
        pieces = learn(pieces, data.x[part], data.y[part], alpha=1e-2, eta=0.05)
    assert [array.tobytes() for array in (*whole.linear, whole.iterate, whole.counters)] == [
        array.tobytes() for array in (*pieces.linear, pieces.iterate, pieces.counters)
    ]
    assert whole.linear.weights.tobytes() != model.linear.weights.tobytes()
    assert whole.linear.mean.tobytes() == model.linear.mean.tobytes()


def test_new_examples_turn_a_model_that_has_become_wrong():
    data = training(n=600, valid=100)
    model = fit_incremental(data, **SETTINGS)
    before, after = np.empty(len(data.x)), np.empty(len(data.x))
    predict_linear(model.linear, data.x, before)
    for _ in range(10):
        model = learn(model, data.x, 1.0 - data.y, alpha=1e-2, eta=0.05)
    predict_linear(model.linear, data.x, after)
    right = data.y == 1.0
    assert before[right].mean() > before[~right].mean() + 0.1
    assert after[right].mean() < after[~right].mean() - 0.1


def test_an_order_holds_every_example_once():
    from vpcore.kernels.random import seeded

    order, again = np.arange(500), np.arange(500)
    shuffle(order, seeded(1, 1))
    shuffle(again, seeded(1, 1))
    assert sorted(order) == list(range(500))
    assert order.tolist() == again.tolist()
    assert abs(np.corrcoef(order, np.arange(500))[0, 1]) < 0.2


def test_partial_fits_happen_between_full_ones(session, rules):
    schedule = {"min_train_bins": 300, "retrain_interval_bins": 10_000, "stride_bins": 1}
    never = batch(LsvmDer(**schedule, update_interval_bins=10_000), session, rules)
    often = batch(LsvmDer(**schedule, update_interval_bins=50), session, rules)
    rows = np.flatnonzero(session.valid)
    first = rows[LsvmDer.features.warmup + 300 - 1]
    assert often.values[: first + 1].tobytes() == never.values[: first + 1].tobytes()
    differs = np.flatnonzero((often.values != never.values) & ~np.isnan(never.values))
    assert differs[0] == rows[LsvmDer.features.warmup + 300 - 1 + 50]
    assert len(often.state.retrains) == len(never.state.retrains) == 1


# -- neighbours --------------------------------------------------------------------------------------------------------


def test_the_vote_is_that_of_the_nearest():
    rng = np.random.default_rng(3)
    n, k = 300, 15
    y = rng.choice([0.0, 0.5, 1.0], n)
    weight = rng.uniform(0.5, 2.0, n)
    x = rng.standard_normal((n, 4)) * [1, 10, 0.1, 5]
    none = np.empty(0)
    model = fit_neighbours(Training(x, y, weight, np.empty((0, 4)), none, none))
    queries = rng.standard_normal((50, 4)) * [1, 10, 0.1, 5]
    out = np.empty(50)
    predict_nearest(model, k, queries, out)
    mean = np.average(x, axis=0, weights=weight)
    scale = np.sqrt(np.average((x - mean) ** 2, axis=0, weights=weight))
    z, q = np.clip((x - mean) / scale, -8, 8), np.clip((queries - mean) / scale, -8, 8)
    for i in range(50):
        nearest = np.argsort(((z - q[i]) ** 2).sum(axis=1))[:k]
        assert out[i] == pytest.approx(np.average(2 * y[nearest] - 1, weights=weight[nearest]))


def test_of_equally_distant_examples_the_later_one_is_nearer():
    none, one = np.empty(0), np.ones(4)
    model = fit_neighbours(Training(np.ones((4, 1)), np.array([0.0, 0.0, 1.0, 1.0]), one, np.empty((0, 1)), none, none))
    out = np.empty(1)
    for k, expected in ((1, 1.0), (2, 1.0), (3, 1 / 3), (4, 0.0), (9, 0.0)):
        predict_nearest(model, k, np.ones((1, 1)), out)
        assert out[0] == pytest.approx(expected)


def test_neighbours_whose_weight_has_decayed_say_nothing():
    model = Neighbours(np.zeros(1), np.ones(1), np.zeros((3, 1)), np.ones(3), np.zeros(3))
    out = np.empty(1)
    predict_nearest(model, 2, np.ones((1, 1)), out)
    assert out[0] == 0.0


def test_examples_without_a_side_vote_for_neither(session, rules):
    """Confidences are P(up) - P(down): with neutral examples their sizes shrink."""
    schedule = {"min_train_bins": 300, "retrain_interval_bins": 10_000, "stride_bins": 1, "k": 25}

    class Sided(KnnCl):
        neutral_examples = False

    with_them, without = (batch(signal(**schedule), session, rules) for signal in (KnnCl, Sided))
    assert len(with_them.state.model.z) > len(without.state.model.z)
    assert set(np.unique(with_them.state.model.side)) == {-1.0, 0.0, 1.0}
    values = with_them.values[~np.isnan(with_them.values)]
    assert np.abs(values).max() <= 1.0
    assert np.abs(values).mean() < np.nanmean(np.abs(without.values))


# -- principal components ----------------------------------------------------------------------------------------------


def test_rotations_end_with_the_eigenvectors_of_lapack():
    rng = np.random.default_rng(4)
    half = rng.standard_normal((12, 40))
    a = half.T @ half + np.eye(40)
    values, vectors = a.copy(), np.empty((40, 40))
    jacobi(values, vectors)
    found = np.diag(values)
    expected, theirs = np.linalg.eigh(a)
    assert np.sort(found) == pytest.approx(expected)
    assert vectors @ vectors.T == pytest.approx(np.eye(40), abs=1e-12)
    assert vectors.T @ np.diag(found) @ vectors == pytest.approx(a, abs=1e-10)
    largest = int(np.argmax(found))
    assert abs(vectors[largest] @ theirs[:, -1]) == pytest.approx(1.0)


def test_distances_are_those_of_scikit_learn():
    decomposition = pytest.importorskip("sklearn.decomposition")
    rng = np.random.default_rng(5)
    x = rng.standard_normal((400, 6)) @ rng.standard_normal((6, 6))
    model = fit_principal(x, np.ones(400), components=3, quantile=0.9)
    z = standardise(x, model.mean, model.scale)
    found = np.empty((400, 2))
    measure(model, z, found)
    pca = decomposition.PCA(3, svd_solver="full").fit(z)
    scores = pca.transform(z)
    variance = (scores**2).mean(axis=0)
    assert model.values == pytest.approx(variance)
    assert found[:, 0] == pytest.approx((scores**2 / variance).sum(axis=1))
    assert found[:, 1] == pytest.approx(((z - pca.inverse_transform(scores)) ** 2).sum(axis=1))
    assert model.limits == pytest.approx(np.quantile(found, 0.9, axis=0))


def test_only_an_unusual_profile_lets_the_direction_speak():
    rng = np.random.default_rng(6)
    usual = np.outer(rng.standard_normal(500), np.ones(5)) + 0.1 * rng.standard_normal((500, 5))
    model = fit_principal(usual, np.ones(500), components=1, quantile=0.99)
    along, beside = np.full(5, 8.0), np.array([3.0, -3.0, 3.0, -3.0, 3.0])
    out = np.empty(5)
    profiles = np.array([np.zeros(5), along, along, beside, usual[0]])
    predict_gated(model, np.column_stack([profiles, [1.0, 1.0, -0.5, 1.0, 1.0]]), out)
    assert out[0] == out[4] == 0.0
    assert 0.5 < out[1] < 1.0
    assert out[2] == -0.5 * out[1]
    assert 0.5 < out[3] < 1.0


def test_profiles_that_do_not_vary_are_no_problem():
    model = fit_principal(np.ones((50, 4)), np.ones(50), components=3, quantile=0.8)
    assert len(model.values) == 0
    out = np.empty(2)
    predict_gated(model, np.array([[1.0, 1, 1, 1, 0.7], [1.0, 1, 2, 1, 0.7]]), out)
    assert out[0] == 0.0
    assert out[1] == pytest.approx(0.7)


def test_the_window_rolls_and_labels_do_not_matter(session, rules):
    signal = PcaAd(min_train_bins=300, retrain_interval_bins=100, train_window_bins=200, stride_bins=1)
    result = batch(signal, session, rules)
    assert max(fit.n_train for fit in result.state.retrains) <= 200
    assert len(result.state.retrains) > 3
    other = batch(signal, session, rules_of(9, 9, 5, "mid"))
    assert other.values.tobytes() == result.values.tobytes()
    strict, lax = (
        batch(PcaAd(signal.params, train_window_bins=0, quantile=q), session, rules).values for q in (0.99, 0.2)
    )
    assert (lax == 0.0).sum() < (strict == 0.0).sum() < np.isfinite(strict).sum()
