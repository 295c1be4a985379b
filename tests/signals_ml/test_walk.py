"""The schedule, the kept model, and what cannot work."""

from __future__ import annotations

import json
import math
import pickle
from dataclasses import replace

import numpy as np
import pytest

from vpcore import ConfigError, PluginError, ScoringConfig, SignalContext, SignalError
from vpcore.cli.app import run
from vpcore.serving.bin_pipeline import BinStages
from vpcore.serving.online_simulator import simulate
from vpcore.signal import SignalStream, batch, frames
from vpcore_signals_ml import require
from vpcore_signals_ml.artifact import write_artifact
from vpcore_signals_ml.linear_signals import Logit
from vpcore_signals_ml.tree_signals import GbmMf


def test_fits_happen_on_the_schedule(session, rules):
    signal = Logit(min_train_bins=300, retrain_interval_bins=150, stride_bins=1)
    result = batch(signal, session, rules)
    seq = session.bin("bin_seq")[session.valid]
    due = list(range(100 + 300 - 1, len(seq), 150))
    assert [fit.bin_seq for fit in result.state.retrains] == [seq[row] for row in due]
    assert result.state.retrain_ns == [fit.ns for fit in result.state.retrains]
    first = int(np.flatnonzero(~np.isnan(result.values))[0])
    assert first == seq[due[0]]
    sizes = [fit.n_train for fit in result.state.retrains]
    assert sizes == sorted(sizes)
    rolling = batch(Logit(signal.params, train_window_bins=200), session, rules).state.retrains
    assert max(fit.n_train for fit in rolling) < 200


def test_a_fit_changes_nothing_before_it(session, rules):
    often = batch(Logit(min_train_bins=300, retrain_interval_bins=150, stride_bins=1), session, rules).values
    once = batch(Logit(min_train_bins=300, retrain_interval_bins=10_000, stride_bins=1), session, rules).values
    second = np.flatnonzero(session.valid)[100 + 300 - 1 + 150]
    assert once[:second].tobytes() == often[:second].tobytes()
    assert once[second] != often[second]


def test_features_of_a_dataset_are_made_once(session, rules, monkeypatch):
    data = session.slice(0, 600)
    made = []
    real = type(Logit.features).matrix
    monkeypatch.setattr(type(Logit.features), "matrix", lambda self, dataset: made.append(1) or real(self, dataset))
    settings = {"min_train_bins": 200, "stride_bins": 1}
    for signal in (Logit(**settings), Logit(c=1.0, **settings), GbmMf(rounds=2, **settings)):
        batch(signal, data, rules)
    assert made == [1]


@pytest.mark.slow
def test_a_saved_model_goes_on_where_it_was(small_signals, session, rules, tmp_path):
    for number, signal in enumerate(small_signals):
        folder = tmp_path / str(number)
        folder.mkdir()
        context = SignalContext.of(session, rules)
        driver = SignalStream(signal, context)
        values = [driver.push(frame) for frame in frames(signal, session)]
        signal.save_model(driver.state, folder)
        batched = tmp_path / f"{number}b"
        batched.mkdir()
        signal.save_model(batch(signal, session, rules).state, batched)
        for file in sorted(folder.iterdir()):
            assert file.read_bytes() == (batched / file.name).read_bytes()
        state = signal.load_model(folder, context)
        assert state.retrains == []
        replay = SignalStream(signal, context)
        replay.state = state
        if signal.update_interval_bins:
            # It learns from the first bins on; until then it is the model that the session ended with.
            again = [replay.push(frame) for frame in frames(signal, session.slice(0, 150))]
            rows = np.flatnonzero(session.valid[:150])[signal.features.warmup :]
            until = -(signal.features.warmup - signal._first()) % signal.update_interval_bins
            expected = np.empty(len(rows))
            signal.predict(driver.state.model, driver.state.x[signal.features.warmup :][: len(rows)].copy(), expected)
            assert np.array(again)[rows[:until]].tobytes() == expected[:until].tobytes()
            assert 0 < until < len(rows)
            assert not np.isnan(np.array(again)[rows]).any()
            assert np.array(again)[rows[-1]] != expected[-1]
            continue
        seq = driver.state.retrains[-1].bin_seq
        again = [replay.push(frame) for frame in frames(signal, session.slice(seq - 250, session.n_bins))]
        late = slice(seq, seq + 49)  # until the loaded state fits a model of its own
        assert np.array(again)[250:299].tobytes() == np.array(values)[late].tobytes()
        assert not np.isnan(again[-1])


def test_nothing_is_pickled(session, rules, tmp_path, monkeypatch):
    def refuse(*arguments, **keywords):
        raise AssertionError("pickle was used")

    signal = Logit(min_train_bins=300, stride_bins=1)
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


def rewrite(folder, **changes):
    """Change facts of a kept model, its digest made right again."""
    content = json.loads((folder / "model.json").read_text())
    names = content.pop("files")
    content.pop("digest")
    write_artifact(folder, content | changes, {name: (folder / name).read_bytes() for name in names})


def test_a_foreign_model_is_refused(kept):
    signal, context, folder = kept
    names = list(signal.features.names)
    rewrite(folder, features=[*names[:-1], "moon"])
    with pytest.raises(
        SignalError, match="has other features than signal 'Logit': number 48 is 'moon', not 'volume_100'"
    ):
        signal.load_model(folder, context)
    rewrite(folder, features=names[:-1])
    with pytest.raises(SignalError, match="48 are required, 47 was found"):
        signal.load_model(folder, context)
    rewrite(folder, features=names, version=2)
    with pytest.raises(SignalError, match="is no model for signal 'Logit': its version is 2, not 1"):
        signal.load_model(folder, context)
    rewrite(folder, version=1)
    signal.load_model(folder, context)
    other = replace(context, rules=context.rules.at(3, 5))
    with pytest.raises(SignalError, match="its labels is .*'tp_ticks': 2.* not .*'tp_ticks': 3"):
        signal.load_model(folder, other)


def test_a_changed_model_is_refused(kept):
    signal, context, folder = kept
    data = bytearray((folder / "linear.npz").read_bytes())
    data[-30] ^= 1
    (folder / "linear.npz").write_bytes(bytes(data))
    with pytest.raises(SignalError, match=r"linear.npz was changed after it was saved: its sha256"):
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
        ({}, r"linear.npz holds no model"),
        ({"linear.npz": b"PK nonsense"}, r"linear.npz holds no model"),
        ({"../out.npz": b""}, "names a file outside its folder: '../out.npz'"),
    ],
)
def test_files_that_are_no_model_are_refused(kept, files, why):
    signal, context, folder = kept
    content = json.loads((folder / "model.json").read_text())
    content.pop("digest")
    (folder / "linear.npz").unlink()
    write_artifact(folder, content, files)
    with pytest.raises(SignalError, match=why):
        signal.load_model(folder, context)


def test_arrays_with_objects_or_nan_are_refused(kept):
    signal, context, folder = kept
    content = json.loads((folder / "model.json").read_text())
    content.pop("digest")
    with np.load(folder / "linear.npz") as saved:
        arrays = dict(saved)
    for value in (np.array([{}, None], dtype=object), np.full(48, math.nan), np.zeros(48, dtype=np.float32)):
        np.savez(folder / "evil.npz", **{**arrays, "weights": value})
        write_artifact(folder, content, {"linear.npz": (folder / "evil.npz").read_bytes()})
        with pytest.raises(SignalError, match=r"holds no model: (Object arrays|'weights' must be finite float64)"):
            signal.load_model(folder, context)


def test_what_cannot_work_is_refused(session, rules, tmp_path, monkeypatch):
    signal = Logit()
    with pytest.raises(SignalError, match="its context needs TradeRules"):
        signal.start(SignalContext.of(session))
    with pytest.raises(SignalError, match="'Logit' has no model to save: nothing was fitted yet"):
        signal.save_model(signal.start(SignalContext.of(session, rules)), tmp_path)
    small = replace(SignalContext.of(session, rules), k=np.arange(-5, 6, dtype=np.int16))
    with pytest.raises(ConfigError, match="Signal 'Logit' reads cells up to 10 ticks"):
        signal.start(small)
    monkeypatch.setattr(require.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(
        PluginError,
        match=r"Signal 'GbmMf' needs lightgbm, which is not installed. Run: pip install 'vpcore-signals-ml\[models\]'",
    ):
        GbmMf().start(SignalContext.of(session, rules))
    signal.start(SignalContext.of(session, rules))  # needs none
    assert GbmMf.missing().startswith("lightgbm, which is not installed. Run: pip install")
    assert Logit.missing() == ""


def test_the_list_says_what_is_missing_and_how_to_install_it(monkeypatch, capsys):
    assert run(["list-signals", "--details", "gbm_mf", "logit"]) == 0
    assert "missing" not in capsys.readouterr().out
    monkeypatch.setattr(require.importlib.util, "find_spec", lambda name: None)
    assert run(["list-signals", "--details", "gbm_mf", "logit"]) == 0
    shown = capsys.readouterr().out
    assert (
        shown.count("missing     lightgbm, which is not installed. Run: pip install 'vpcore-signals-ml[models]'") == 1
    )
    assert run(["list-signals", "--details", "gbm_mf", "logit", "--json"]) == 0
    gbm, logit = json.loads(capsys.readouterr().out)["signals"]
    assert gbm["missing"].startswith("lightgbm, which is not installed")
    assert logit["missing"] == ""


def test_refits_are_timed_on_their_own_when_bins_are_simulated(session, rules):
    signal = Logit(min_train_bins=300, retrain_interval_bins=150, stride_bins=1)
    part = session.slice(0, 600)
    found = simulate(part, BinStages.on(part, signal, ScoringConfig(), rules), budget_ms=100.0)
    assert len(found.retrain_us) == 2
    assert min(found.retrain_us) > 0
