"""Models are those of the libraries, the same for a row alone and among others, and come back from their files."""

from __future__ import annotations

import importlib
import json
import os
import pickle
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from ml_examples import saved, training
from threadpoolctl import threadpool_info

from vpcore import SignalContext, SignalError
from vpcore.signal import batch, stream
from vpcore_signals_ml import LearningSignal, ValidatedParams, artifact
from vpcore_signals_ml.artifact import model_files, model_of, write_artifact
from vpcore_signals_ml.models import CLIP, Fitted, predict_rows, standardise
from vpcore_signals_ml.selection import Training
from vpcore_signals_ml.signals import GbmMf, KnnCl, Logit, LsvmDer, PcaAd, SvmSp

# scikit-learn and skops are imported in the tests: every process collects all tests, and few run these.

SMALL = {"min_train_bins": 300, "retrain_interval_bins": 150, "stride_bins": 1}


def values_of(signal, model, x):
    return signal.values(model, x)


def z_of(data, x):
    mean = np.average(data.x, axis=0, weights=data.weight)
    scale = np.sqrt(np.average((data.x - mean) ** 2, axis=0, weights=data.weight))
    return np.clip((x - mean) / scale, -CLIP, CLIP)


# -- the seven ---------------------------------------------------------------------------------------------------------


def test_a_linear_model_scores_as_scikit_learn_does():
    from sklearn.linear_model import LogisticRegression

    data = training(m=48)
    model = Logit(c=3.0).fit_model(data)
    theirs = LogisticRegression(C=3.0 / len(data.y), tol=1e-10, max_iter=1000)
    theirs.fit(z_of(data, data.x), data.y, sample_weight=data.weight)
    expected = theirs.predict_proba(z_of(data, data.x_valid))[:, 1]
    assert values_of(Logit(), model, data.x_valid) == pytest.approx(expected, abs=1e-5)


def test_the_calibration_is_that_of_scikit_learn():
    from sklearn.calibration import CalibratedClassifierCV
    from sklearn.frozen import FrozenEstimator
    from sklearn.svm import LinearSVC

    data = training(m=31)
    model = SvmSp().fit_model(data)
    machine = LinearSVC(C=1.0 / len(data.y), dual=False, tol=0.05).fit(z_of(data, data.x), data.y, data.weight)
    theirs = CalibratedClassifierCV(FrozenEstimator(machine), method="sigmoid", cv=3)
    with pytest.warns(UserWarning, match="FrozenEstimator does not appear to accept sample_weight"):
        theirs.fit(z_of(data, data.x_valid), data.y_valid, sample_weight=data.weight_valid)
    expected = theirs.predict_proba(z_of(data, data.x))[:, 1]
    assert values_of(SvmSp(), model, data.x) == pytest.approx(expected, abs=5e-4)


def test_a_fit_leaves_the_global_generator_alone():
    before = pickle.dumps(np.random.get_state())  # noqa: NPY002  # the global one
    for signal in (Logit(), SvmSp(), LsvmDer(), KnnCl(), PcaAd()):
        signal.fit_model(training())
    assert pickle.dumps(np.random.get_state()) == before  # noqa: NPY002


def test_scaling_and_estimator_see_the_training_part_alone():
    data = training(m=31)
    other = Training(data.x, data.y, data.weight, data.x_valid * 100, data.y_valid, data.weight_valid)
    for name in ("mean", "scale", "linear"):
        ours, theirs = (getattr(SvmSp().fit_model(d), name) for d in (data, other))
        assert ours.tobytes() == theirs.tobytes()


def test_a_direction_that_validation_denies_says_nothing():
    data = training(m=31)
    for denied in (1.0 - data.y_valid, np.ones(data.n_valid)):
        turned = Training(data.x, data.y, data.weight, data.x_valid, denied, data.weight_valid)
        found = values_of(SvmSp(), SvmSp().fit_model(turned), data.x)
        assert 0.0 < np.abs(found - 0.5).max() < 0.03
    assert np.abs(values_of(SvmSp(), SvmSp().fit_model(data), data.x) - 0.5).max() > 0.2


def test_extreme_and_missing_features():
    signal = Logit()
    weights = np.append(np.full(48, 1e6), 0.0)
    model = Fitted(None, np.zeros(48), np.full(48, 1e-300), weights, np.array([1.0, 0.0]))
    x = np.array([[1e300] * 48, [-1e300] * 48, [np.nan, *[0.0] * 47]])
    assert values_of(signal, model, x) == pytest.approx([1.0, 0.0, np.nan], nan_ok=True)
    boosted = GbmMf(rounds=3, min_leaf=5).fit_model(training(m=48))
    found = values_of(GbmMf(), boosted, np.vstack([training(m=48).x[:2], x[2:]]))
    assert np.isnan(found).tolist() == [False, False, True]


def test_a_booster_stops_early_and_repeats():
    data = training(seed=3, m=48)
    first, again = (GbmMf(rounds=200, patience=5, min_leaf=5).fit_model(data) for _ in range(2))
    assert first.estimator.model_to_string() == again.estimator.model_to_string()
    assert 1 <= first.estimator.num_trees() < 200
    lone = Training(data.x, data.y, data.weight, data.x_valid, np.ones(data.n_valid), data.weight_valid)
    assert GbmMf(rounds=12, min_leaf=5).fit_model(lone).estimator.num_trees() == 12


@pytest.mark.slow
def test_a_machine_learns_on_without_touching_the_old_one():
    data = training(n=600, valid=100, m=42)
    signal = LsvmDer(eta=0.05)
    model = signal.fit_model(data)
    z = standardise(data.x, model.mean, model.scale, True)
    before = artifact.model_files(model)
    whole = signal.update(model.estimator, z, 1.0 - data.y)
    for _ in range(10):
        whole = signal.update(whole, z, 1.0 - data.y)
    assert artifact.model_files(model) == before
    right = data.y == 1.0
    old, new = (estimator.decision_function(z) for estimator in (model.estimator, whole))
    assert old[right].mean() > old[~right].mean() + 0.1
    assert new[right].mean() < new[~right].mean() - 0.1


def test_partial_fits_happen_between_full_ones(session, rules):
    schedule = {"min_train_bins": 300, "retrain_interval_bins": 10_000, "stride_bins": 1}
    never = batch(LsvmDer(**schedule, update_interval_bins=10_000), session, rules)
    often = batch(LsvmDer(**schedule, update_interval_bins=50), session, rules)
    rows = np.flatnonzero(session.valid)
    due = never.state.warmup + 300 - 1
    assert often.values[: rows[due] + 1].tobytes() == never.values[: rows[due] + 1].tobytes()
    differs = np.flatnonzero((often.values != never.values) & ~np.isnan(never.values))
    assert (differs[0] - rows[due]) % 50 < 25  # at one of the updates, which count valid bins
    assert len(often.state.retrains) == len(never.state.retrains) == 1


def test_the_vote_is_that_of_the_nearest():
    rng = np.random.default_rng(3)
    n, k, m = 300, 15, 10
    y, weight = rng.choice([0.0, 0.5, 1.0], n), rng.uniform(0.5, 2.0, n)
    sizes = np.arange(1, m + 1) ** 2
    x, queries = rng.standard_normal((n, m)) * sizes, rng.standard_normal((50, m)) * sizes
    none = np.empty(0)
    data = Training(x, y, weight, np.empty((0, m)), none, none)
    signal = KnnCl(k=k)
    found = values_of(signal, signal.fit_model(data), queries)
    z, q = z_of(data, x), z_of(data, queries)
    for i in range(50):
        nearest = np.argsort(((z - q[i]) ** 2).sum(axis=1))[:k]
        assert found[i] == pytest.approx(np.average(2 * y[nearest] - 1, weights=weight[nearest]))
    every = values_of(KnnCl(k=1000), KnnCl(k=1000).fit_model(data), queries)
    assert every == pytest.approx(np.average(2 * y - 1, weights=weight))


def test_an_unusual_profile_lets_the_direction_speak():
    from sklearn.decomposition import PCA

    rng = np.random.default_rng(4)
    x = np.column_stack([rng.standard_normal((500, 40)) @ rng.standard_normal((40, 40)), np.ones(500)])
    none = np.empty(0)
    signal = PcaAd(components=4, quantile=0.7)
    model = signal.fit_model(Training(x, np.zeros(500), np.ones(500), x[:0], none, none))
    z = (x[:, :40] - x[:, :40].mean(axis=0)) / x[:, :40].std(axis=0)
    theirs = PCA(4).fit(z)
    scores = theirs.transform(z)
    within = (scores**2 / theirs.explained_variance_).sum(axis=1)
    left = ((z - theirs.inverse_transform(scores)) ** 2).sum(axis=1)
    unusual = np.maximum(within / np.quantile(within, 0.7), left / np.quantile(left, 0.7))
    expected = np.where(unusual > 1, 1 - 1 / unusual, 0.0)
    assert values_of(signal, model, x) == pytest.approx(expected, abs=1e-9)
    x[:, 40] = -0.5
    assert values_of(signal, model, x) == pytest.approx(-0.5 * expected, abs=1e-9)


def test_a_profile_that_never_moves_is_usual():
    x = np.ones((50, 41))
    none = np.empty(0)
    signal = PcaAd()
    model = signal.fit_model(Training(x, np.zeros(50), np.ones(50), x[:0], none, none))
    assert (values_of(signal, model, x) == 0.0).all()


# -- any estimator -----------------------------------------------------------------------------------------------------


def sklearn(name, *arguments, **named):
    """Make an estimator of scikit-learn."""
    module, _, kind = name.partition(".")
    return getattr(importlib.import_module(f"sklearn.{module}"), kind)(*arguments, **named)


def pipeline():
    scaler = sklearn("preprocessing.StandardScaler")
    return sklearn("pipeline.make_pipeline", scaler, sklearn("linear_model.LogisticRegression", C=0.1))


ESTIMATORS = {
    "pipeline": (pipeline, False),
    "forest": (lambda: sklearn("ensemble.RandomForestClassifier", 5, n_jobs=2), True),
    "boosting": (lambda: sklearn("ensemble.HistGradientBoostingClassifier", max_iter=5, min_samples_leaf=5), True),
    "bayes": (lambda: sklearn("naive_bayes.GaussianNB"), False),
    "network": (lambda: sklearn("neural_network.MLPClassifier", (4,), max_iter=20), False),
    "regressor": (lambda: sklearn("linear_model.LinearRegression"), False),
}
TRUSTED = (
    "sklearn.tree._tree.Tree",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn._loss.link.Interval",
    "sklearn._loss.link.LogitLink",
    "sklearn._loss.loss.HalfBinomialLoss",
    "sklearn.ensemble._hist_gradient_boosting.binning._BinMapper",
    "sklearn._loss._loss.CyHalfBinomialLoss",
    "sklearn._loss.loss.BaseLoss",
    "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
)


def predicted_together(signal, model, x):
    """Return whether rows are predicted at once."""
    sizes = []

    def predict(z):
        sizes.append(len(z))
        return signal.predict(model.estimator, z)

    predict_rows(predict, standardise(x, model.mean, model.scale, True), model.estimator, signal.rows_alone)
    return max(sizes) > 1


def signal_with(make):
    class Own(LearningSignal):
        features = ("touch", "touch_20", "spot_3", "flow_20", "return_5", "deviation_20")
        trusted_types = TRUSTED

        def make_model(self):
            return make()

    return Own(**SMALL)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
@pytest.mark.parametrize("name", ESTIMATORS)
def test_any_estimator_streams_what_it_computes(name, session, rules, tmp_path):
    make, in_batch = ESTIMATORS[name]
    signal, part = signal_with(make), session.slice(0, 580)
    result = batch(signal, part, rules)
    assert len(result.state.retrains) > 1
    assert stream(signal, part, rules).values.tobytes() == result.values.tobytes()
    found = result.values[~np.isnan(result.values)]
    assert len(found) > 100
    assert np.ptp(found) > 0.01
    assert 0 <= found.min() <= found.max() <= 1
    model = result.state.model
    assert not len(model.linear)
    signal.save_model(result.state, tmp_path)
    loaded = signal.load_model(tmp_path, SignalContext.of(part, rules))
    x = result.state.x[result.state.warmup : result.state.n]
    assert predicted_together(signal, model, x) == in_batch
    assert signal.values(loaded.model, x).tobytes() == signal.values(result.state.model, x).tobytes()
    assert model_files(loaded.model) == model_files(model)


def test_a_lightgbm_estimator_is_kept_as_text(session, rules):
    lightgbm = pytest.importorskip("lightgbm")
    signal = signal_with(lambda: lightgbm.LGBMClassifier(n_estimators=5, min_child_samples=5, verbosity=-1))
    model = signal.fit_model(training())
    assert sorted(model_files(model)) == ["booster.txt", "model.skops"]
    assert predicted_together(signal, model, training().x)


def test_what_gives_no_probability_needs_calibration(session, rules):
    plain = signal_with(lambda: sklearn("svm.LinearSVC"))
    text = "A LinearSVC gives no probabilities. Set calibrate = True, and let Params derive"
    with pytest.raises(SignalError, match=text):
        plain.fit_model(training())
    with pytest.raises(
        SignalError, match="Signal 'Bare' sets calibrate = True, which needs a validation part. Let its"
    ):
        type("Bare", (LearningSignal,), {"features": ("touch",), "calibrate": True})

    class Calibrated(type(plain)):
        calibrate = True
        Params = ValidatedParams

    found = Calibrated(**SMALL).fit_model(training())
    assert found.sigmoid[0] > 0.5
    assert len(found.linear) == 7


def test_a_linear_model_gets_raw_features_where_it_was_fitted_on_them():
    """Predictions once clipped them at 8."""
    plain = signal_with(lambda: sklearn("linear_model.LogisticRegression"))
    signal = type("Raw", (type(plain),), {"standardised": False})()
    data = training()
    model = signal.fit_model(data)
    assert np.abs(data.x).max() > 2 * CLIP
    assert values_of(signal, model, data.x) == pytest.approx(model.estimator.predict_proba(data.x)[:, 1])


def test_a_signal_without_a_model_says_so():
    class Empty(LearningSignal):
        features = ("touch",)

    with pytest.raises(SignalError, match="Signal 'Empty' defines neither make_model nor fit"):
        Empty().fit_model(training(m=1))


def test_an_estimator_that_mixes_rows_predicts_row_by_row():
    class Mixing(LearningSignal):
        features = ("touch", "spread")
        rows_alone = True

        def fit(self, training):
            return {}

        def predict(self, model, x):
            return x[:, 0] - x.mean()

    data = training(m=2)
    model = Mixing().fit_model(data)
    both = values_of(Mixing(), model, data.x[:9])
    assert both.tobytes() == b"".join(values_of(Mixing(), model, data.x[i : i + 1]).tobytes() for i in range(9))


# -- files -------------------------------------------------------------------------------------------------------------


def test_nothing_is_pickled(session, rules, tmp_path, monkeypatch):
    def refuse(*arguments, **keywords):
        raise AssertionError("pickle was used")

    importlib.import_module("skops.io")  # what it imports pickles while it is imported
    signal = SvmSp(min_train_bins=300, stride_bins=1)
    state = batch(signal, session, rules).state
    for name in ("dump", "dumps", "load", "loads", "Unpickler"):
        monkeypatch.setattr(pickle, name, refuse)
    signal.save_model(state, tmp_path)
    signal.load_model(tmp_path, SignalContext.of(session, rules))


@pytest.fixture
def kept(session, rules, tmp_path):
    """A signal, its context, and a folder with its model."""
    signal = Logit(min_train_bins=300, stride_bins=1)
    signal.save_model(batch(signal, session, rules).state, tmp_path)
    return signal, SignalContext.of(session, rules), tmp_path


def rewrite(folder, files=None, **changes):
    """Change facts or files of a kept model, its digests made right again."""
    content = json.loads((folder / "model.json").read_text())
    names = content.pop("files")
    content.pop("digest")
    kept = {name: (folder / name).read_bytes() for name in names if (folder / name).exists()}
    write_artifact(folder, content | changes, kept if files is None else files)


def test_a_foreign_model_is_refused(kept):
    signal, context, folder = kept
    names = list(signal.feature_names)
    rewrite(folder, features=[*names[:-1], "moon"])
    text = "has other features than signal 'Logit': number 48 is 'moon', not 'volume_100'"
    with pytest.raises(SignalError, match=text):
        signal.load_model(folder, context)
    rewrite(folder, features=names[:-1])
    with pytest.raises(SignalError, match="48 are required, 47 was found"):
        signal.load_model(folder, context)
    rewrite(folder, features=names, version=2)
    with pytest.raises(SignalError, match="is no model for signal 'Logit': its version is 2, not 1"):
        signal.load_model(folder, context)
    rewrite(folder, version=1, format=1)
    with pytest.raises(SignalError, match="is no model for signal 'Logit': its format is 1, not 3"):
        signal.load_model(folder, context)
    rewrite(folder, format=3)
    signal.load_model(folder, context)
    other = replace(context, rules=context.rules.at(3, 5))
    with pytest.raises(SignalError, match="its labels is .*'tp_ticks': 2.* not .*'tp_ticks': 3"):
        signal.load_model(folder, other)
    halt = context.rules.model_copy(update={"daily_halt": ("17:00", "18:00", "America/New_York")})
    with pytest.raises(SignalError, match="its labels is .*'daily_halt': None.* not .*'17:00'"):
        signal.load_model(folder, replace(context, rules=halt))


def test_other_library_versions_are_named(kept):
    signal, context, folder = kept
    rewrite(folder, libraries={**artifact.versions(), "scikit-learn": "1.0.2"})
    text = r"The model of signal 'Logit' was fitted with scikit-learn 1\.0\.2 \(here \d+\.\d+\.\d+\)\."
    with pytest.warns(UserWarning, match=text):
        signal.load_model(folder, context)


def test_a_changed_model_is_refused(kept):
    signal, context, folder = kept
    data = bytearray((folder / "model.skops").read_bytes())
    data[-30] ^= 1
    (folder / "model.skops").write_bytes(bytes(data))
    with pytest.raises(SignalError, match=r"model.skops was changed after it was saved: its sha256"):
        signal.load_model(folder, context)
    (folder / "model.json").write_text((folder / "model.json").read_text().replace('"n_train"', '"n_grain"'))
    with pytest.raises(SignalError, match=r"model.json was changed after it was saved: its digest does not match"):
        signal.load_model(folder, context)
    (folder / "model.json").write_text("{}")
    with pytest.raises(SignalError, match="is no model of signal 'Logit'"):
        signal.load_model(folder, context)
    (folder / "model.json").unlink()
    with pytest.raises(SignalError, match=r"is no model of signal 'Logit': .*No such file"):
        signal.load_model(folder, context)


@pytest.mark.parametrize(
    ("files", "why"),
    [
        ({}, "holds no model: KeyError"),
        ({"model.skops": b"PK nonsense"}, "holds no model: BadZipFile"),
        ({"../out.skops": b""}, "names a file outside its folder: '../out.skops'"),
        ({"model.skops": {"mean": 1}}, "holds no model: TypeError"),
        ({"model.skops": [1]}, "holds no model: TypeError"),
    ],
)
def test_files_that_are_no_model_are_refused(kept, files, why):
    import skops.io

    signal, context, folder = kept
    (folder / "model.skops").unlink()
    rewrite(folder, {name: data if isinstance(data, bytes) else skops.io.dumps(data) for name, data in files.items()})
    with pytest.raises(SignalError, match=why):
        signal.load_model(folder, context)


class Evil:
    """A type that no signal names."""

    def __init__(self):
        self.done = True


def test_an_unknown_type_is_refused_before_it_is_loaded(kept):
    import skops.io

    signal, context, folder = kept
    for evil in (Evil(), subprocess.Popen, print):
        rewrite(folder, {"model.skops": skops.io.dumps({"estimator": evil})})
        with pytest.raises(
            SignalError, match=r"model.skops holds the type \S+, which the signal does not name. If its"
        ):
            signal.load_model(folder, context)


def test_arrays_that_do_not_fit_are_refused():
    signal = Logit()
    model = signal.fit_model(training(m=48))
    for name, value in (
        ("mean", np.zeros(47)),
        ("scale", np.full(48, np.inf)),
        ("sigmoid", np.zeros(2, dtype=np.float32)),
        ("linear", np.zeros(48)),
    ):
        with pytest.raises(SignalError, match=f"m holds no model: '{name}' must be finite float64 of shape"):
            model_of(model_files(model._replace(**{name: value})), 48, (), "m")
    boosted = model_files(GbmMf(rounds=3, min_leaf=5).fit_model(training(m=48)))
    with pytest.raises(SignalError, match="m holds no model: ValueError: the booster has 48 features"):
        model_of(boosted, 47, (), "m")


@pytest.mark.slow
def test_another_process_makes_the_same_bytes():
    """One with another hash seed and another number of threads, whatever those of this process are."""
    seed = "1" if os.environ.get("PYTHONHASHSEED") == "0" else "0"
    threads = "1" if max(pool["num_threads"] for pool in threadpool_info()) > 1 else "2"
    other = {"PYTHONHASHSEED": seed, "OMP_NUM_THREADS": threads, "OPENBLAS_NUM_THREADS": threads}
    code = f"import sys; sys.path[:0] = {sys.path!r}; from ml_examples import saved; print(*saved())"
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | other, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == saved()
    assert len(saved()) == 5
