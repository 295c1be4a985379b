"""The compiled models are those of the libraries, to rounding, and refuse what is none."""

from __future__ import annotations

import numpy as np
import pytest
from ml_examples import training

from vpcore import SignalError
from vpcore_signals_ml.linear import (
    LOGISTIC,
    SQUARED_HINGE,
    Linear,
    fit_linear,
    newton,
    predict_linear,
    sigmoid,
    standardise,
)
from vpcore_signals_ml.selection import Training
from vpcore_signals_ml.trees import fit_trees, gains_of, parse_trees, predict_trees


def test_logistic_regression_is_that_of_scikit_learn():
    linear_model = pytest.importorskip("sklearn.linear_model")
    data = training()
    model = fit_linear(data, LOGISTIC, 3.0)
    z = standardise(data.x, model.mean, model.scale)
    theirs = linear_model.LogisticRegression(C=3.0 / len(z), tol=1e-10, max_iter=1000)
    theirs.fit(z, data.y, sample_weight=data.weight)
    assert model.weights == pytest.approx(theirs.coef_[0], abs=1e-5)
    assert model.rest[0] == pytest.approx(theirs.intercept_[0], abs=1e-5)
    out = np.empty(len(data.x_valid))
    predict_linear(model, data.x_valid, out)
    expected = theirs.predict_proba(standardise(data.x_valid, model.mean, model.scale))[:, 1]
    assert out == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("loss", [LOGISTIC, SQUARED_HINGE])
def test_newton_ends_where_the_gradient_is_zero(loss):
    rng = np.random.default_rng(1)
    z, w = rng.standard_normal((300, 4)), rng.uniform(0.5, 1.5, 300)
    s = np.where(z[:, 0] + rng.standard_normal(300) > 0, 1.0, -1.0)
    beta = newton(loss, z, s, w, 5.0)
    sf = s * (z @ beta[:4] + beta[4])
    slope = -1 / (1 + np.exp(sf)) if loss == LOGISTIC else -2 * np.maximum(0, 1 - sf)
    gradient = 5.0 / 300 * (w * slope * s) @ np.column_stack([z, np.ones(300)]) + np.append(beta[:4], 0.0)
    assert np.abs(gradient).max() < 1e-5
    assert beta[0] > 0.1


def test_the_scaler_sees_the_training_part_only():
    data = training()
    other = Training(data.x, data.y, data.weight, data.x_valid * 100, data.y_valid, data.weight_valid)
    for name in ("mean", "scale", "weights"):
        ours, theirs = (getattr(fit_linear(d, SQUARED_HINGE, 1.0), name) for d in (data, other))
        assert ours.tobytes() == theirs.tobytes()
    model = fit_linear(data, LOGISTIC, 1.0)
    assert model.mean == pytest.approx(np.average(data.x, axis=0, weights=data.weight))


def test_a_direction_that_validation_denies_says_nothing():
    data = training()
    turned = Training(data.x, data.y, data.weight, data.x_valid, 1.0 - data.y_valid, data.weight_valid)
    assert fit_linear(data, SQUARED_HINGE, 1.0).rest[1] > 0.5
    model = fit_linear(turned, SQUARED_HINGE, 1.0)
    out = np.empty(len(data.x))
    predict_linear(model, data.x, out)
    assert np.abs(out - 0.5).max() < 0.03
    assert (np.argsort(out) == np.argsort(data.x @ (model.weights / model.scale))).mean() > 0.9


def test_a_row_alone_and_among_others_has_the_same_bits():
    data = training()
    text = fit_trees(data, tuple("abcdef"), rounds=30, patience=5, seed=1, settings={"min_data_in_leaf": 5})
    for predict, model in ((predict_linear, fit_linear(data, LOGISTIC, 1.0)), (predict_trees, parse_trees(text, 6))):
        out, one = np.empty(len(data.x)), np.empty(1)
        predict(model, data.x, out)
        for i in range(len(data.x)):
            predict(model, data.x[i : i + 1], one)
            assert one[0] == out[i]


def test_extreme_features_do_not_overflow():
    model = Linear(np.zeros(1), np.full(1, 1e-300), np.full(1, 1e6), np.array([0.0, 1.0, 0.0]))
    out = np.empty(2)
    predict_linear(model, np.array([[1e300], [-1e300]]), out)
    assert out == pytest.approx([1.0, 0.0])
    assert [sigmoid(-1e9), sigmoid(0.0), sigmoid(1e9)] == [pytest.approx(0.0), 0.5, 1.0]


def test_trees_are_those_of_lightgbm():
    lightgbm = pytest.importorskip("lightgbm")
    data = training(seed=3)
    text = fit_trees(data, tuple("abcdef"), rounds=60, patience=10, seed=1, settings={"min_data_in_leaf": 5})
    theirs = lightgbm.Booster(model_str=text).predict(data.x, num_threads=1)
    out = np.empty(len(data.x))
    predict_trees(parse_trees(text, 6), data.x, out)
    assert out == pytest.approx(theirs, abs=1e-14)
    assert out.std() > 0.1
    assert text == fit_trees(data, tuple("abcdef"), rounds=60, patience=10, seed=1, settings={"min_data_in_leaf": 5})


def test_gains_are_those_of_lightgbm():
    lightgbm = pytest.importorskip("lightgbm")
    text = fit_trees(training(), tuple("abcdef"), rounds=20, patience=5, seed=1, settings={"min_data_in_leaf": 5})
    theirs = lightgbm.Booster(model_str=text).feature_importance("gain")
    assert gains_of(text, 6) == pytest.approx(theirs)
    assert theirs.max() > 0


def test_a_tree_of_one_leaf():
    data = training(n=40)
    text = fit_trees(data, tuple("abcdef"), rounds=3, patience=5, seed=1, settings={"min_data_in_leaf": 100})
    out = np.empty(len(data.x))
    predict_trees(parse_trees(text, 6), data.x, out)
    assert np.ptp(out) == 0


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda text: text.replace("max_feature_idx=5", "max_feature_idx=6"), "it has 7 features"),
        (lambda text: text.replace("objective=binary", "objective=regression"), "its objective is regression"),
        (lambda text: text.replace("decision_type=2 ", "decision_type=1 ", 1), "a split is not numerical"),
        (lambda text: text.replace("left_child=", "left_child=0 ", 1), "do not fit together"),
        (lambda text: text.replace("left_child=1 ", "left_child=0 ", 1), "links lead nowhere"),
        (lambda text: text.replace("leaf_value=", "leaf_value=nan ", 1), "missing or not finite"),
        (lambda text: text.split("\nTree=")[0], "it has no trees"),
        (lambda text: "", "max_feature_idx"),
    ],
)
def test_a_text_that_was_tampered_with_is_refused(change, why):
    text = fit_trees(training(), tuple("abcdef"), rounds=3, patience=5, seed=1, settings={"min_data_in_leaf": 5})
    changed = change(text)
    assert changed != text
    with pytest.raises(SignalError, match=f"is no binary LightGBM model of 6 features: .*{why}"):
        parse_trees(changed, 6)
