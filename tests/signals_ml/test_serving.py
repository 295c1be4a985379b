"""From the sweep to the server: the model of the last fit is kept, published, checked and predicts at once."""

from __future__ import annotations

import json
import math
import shutil
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import yaml
from learning_world import EXPERIMENT, SMALL, make_learning_workspace
from trade_rules import rules_of

from vpcore import LivePipeline, SignalContext, SignalError
from vpcore.experiment.run import run_experiment
from vpcore.signal import DIAGNOSTICS, batch, frames, keep_model, model_folder, read_diagnostics
from vpcore_cli.app import run
from vpcore_serving.models import pack_model, unpack_model
from vpcore_serving.promote import promote
from vpcore_serving.registry import registry_of
from vpcore_serving.spec import published
from vpcore_signals_ml.diagnostics import diagnose
from vpcore_signals_ml.signals import Logit


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A workspace in which logit was run, and promoted for a take-profit of two ticks."""
    workspace = make_learning_workspace(tmp_path_factory.mktemp("ml") / "ws")
    report = run_experiment(workspace, "learn")
    assert report.n_failed == 0
    (run_id,) = report.run_ids
    rows = workspace.results.query_runs(run_id=[run_id])
    row = rows.filter(rows["tp_ticks"] == 2)["row"][0]
    promote(workspace, "learn", run_id, alias="best", row=row, force=True, why="a test")
    return workspace, run_id, workspace.datasets.open(workspace.pipeline("open").dataset_id())


def test_every_run_keeps_a_model_per_pair_of_barriers(world):
    workspace, run_id, _ = world
    folders = [model_folder(workspace.results_dir / "models", run_id, tp, 5) for tp in (1, 2)]
    for folder in folders:
        assert sorted(path.name for path in folder.iterdir()) == ["model.json", "model.skops"]
    assert pack_model(folders[0]).sha256 != pack_model(folders[1]).sha256
    assert [path.name for path in (workspace.results_dir / "models").iterdir()] == [run_id]


def test_every_run_says_how_right_it_was(world, capsys):
    workspace, run_id, dataset = world
    looks = read_diagnostics(workspace.results_dir / DIAGNOSTICS / run_id)
    assert [(look["tp_ticks"], look["sl_ticks"]) for look in looks] == [(1, 5), (2, 5)]
    signal = workspace.plugins.load("signal", "logit")(**SMALL)
    rules = rules_of(2, 5, 40)
    expected = diagnose(signal, dataset, rules, full=False)
    assert {name: value for name, value in looks[1].items() if name in expected and name != "circumstances"} == {
        name: value for name, value in expected.items() if name != "circumstances"
    }
    fit_ms = looks[1]["circumstances"]["fit_ms"]
    assert len(fit_ms) == len(looks[1]["retrains"]) > 1
    assert min(fit_ms) > 0
    assert run(["results", "show", run_id, "--root", str(workspace.root)]) == 0
    shown = capsys.readouterr().out
    value, low, high = expected["brier"]
    assert f"{value:.3f} ({low:.3f} to {high:.3f})" in shown
    assert expected["importance"][0]["feature"] in shown
    assert run(["results", "show", run_id, "--json", "--root", str(workspace.root)]) == 0
    assert json.loads(capsys.readouterr().out)["diagnostics"] == looks


def test_how_much_is_said_changes_no_result(world):
    workspace, run_id, _ = world
    before = workspace.results.canonical_bytes()
    folder = workspace.results_dir / DIAGNOSTICS / run_id
    spec = workspace.configs / "experiments" / "learn.yaml"
    for extent in ("none", "full"):
        shutil.rmtree(folder)
        spec.write_text(yaml.safe_dump({**EXPERIMENT, "diagnostics": extent}))
        assert run_experiment(workspace, "learn", force=True).run_ids == [run_id]
        assert workspace.results.canonical_bytes() == before
        assert folder.exists() == (extent == "full")
        folder.mkdir(exist_ok=True)
    assert "auc_lost" in read_diagnostics(folder)[0]["importance"][0]
    spec.write_text(yaml.safe_dump(EXPERIMENT))


def test_a_server_predicts_with_the_published_model_at_once(world):
    workspace, _, dataset = world
    live = LivePipeline.from_serving(workspace, "best")
    stream = live.stages.stream
    rules = stream.context.rules
    assert (rules.tp_ticks, rules.sl_ticks) == (2, 5)
    trained = batch(live.signal, dataset, rules).state
    values = [stream.push(frame) for frame in frames(live.signal, dataset.slice(0, 300))]
    assert stream.state.retrain_ns == []
    warm = np.flatnonzero(dataset.valid)[stream.state.warmup]
    assert all(math.isnan(value) for value in values[:warm])
    rows = np.flatnonzero(dataset.valid[:300])
    expected = np.full(len(rows), math.nan)
    matrix = live.signal.feature_set.matrix(dataset.slice(0, 300))
    expected[100:] = live.signal.values(trained.model, matrix[100:])
    assert np.array(values)[rows].tobytes() == expected.tobytes()
    assert not math.isnan(values[warm])


def vp(world, capsys, *arguments, code=0):
    """Run ``vp online-sim`` in the world; return what it printed as JSON, or the message of the error."""
    done = run(["online-sim", *arguments, "--json", "--root", str(world[0].root), "--bin-budget-ms", "10000"])
    found = capsys.readouterr()
    assert done == code, found.err
    answer = json.loads(found.out)
    return answer if code == 0 else answer["error"]["message"]


def test_a_run_is_simulated_with_the_barriers_that_are_meant(world, capsys):
    _, run_id, dataset = world
    found = vp(world, capsys, "--run-id", run_id, "--tp-ticks", "2")
    expected = batch(Logit(**SMALL), dataset, rules_of(2, 5, 40)).state
    assert found["stream_equals_batch"]
    assert found["retrain"] == "inline"
    assert found["late_fits"] == []
    assert found["retrains"] == len(found["retrain_us"]) == len(expected.retrains) > 1
    said = "'logit' has a model for each take-profit and stop of its run. Choose one: --tp-ticks 1 --sl-ticks 5, --tp"
    assert said in vp(world, capsys, "--run-id", run_id, code=2)
    assert said in vp(world, capsys, "--run-id", run_id, "--tp-ticks", "3", code=2)


def test_a_signal_is_simulated_with_the_trades_of_a_plain_experiment(world, capsys):
    *_, dataset = world
    parameters = ("--params-json", json.dumps({**SMALL, "min_train_bins": 200}))
    found = vp(world, capsys, "--signal", "logit", "--dataset-id", "open", *parameters, "--sl-ticks", "6")
    rules = rules_of(4, 6, 1200)
    expected = batch(Logit(**{**SMALL, "min_train_bins": 200}), dataset, rules)
    assert found["stream_equals_batch"]
    assert found["retrains"] == len(expected.state.retrains)
    error = vp(world, capsys, "--signal", "ads", "--dataset-id", "open", "--tp-ticks", "2", code=2)
    assert "'ads' does not learn from trades. Leave out --tp-ticks and --sl-ticks." in error


@pytest.mark.slow
def test_fits_in_the_background_are_told_of(world, capsys):
    _, run_id, _ = world
    found = vp(world, capsys, "--run-id", run_id, "--tp-ticks", "2", "--retrain", "background")
    assert not found["stream_equals_batch"]
    assert found["retrains"] == len(found["late_fits"]) > 1
    first, second = found["late_fits"][:2]
    assert (first["why"], second["why"]) == (
        "there was no model until it was ready",
        "the model before it served until it was ready",
    )
    assert first["due_bin"] == first["first_differs"] < first["ready_bin"] == first["settled_bin"]
    assert run(["online-sim", "--serving", "best", "--retrain", "background", "--root", str(world[0].root)]) in (0, 1)
    shown = capsys.readouterr().out
    assert "byte for byte, but for fits that were not ready in their bins" in shown
    assert "the model before it served until it was ready" in shown
    assert "in the background" in shown


def test_what_cannot_be_simulated_is_refused(world, capsys):
    error = vp(world, capsys, "--serving", "best", "--retrain", "backgroud", code=2)
    assert "--retrain must be inline or background, was 'backgroud'. Did you mean 'background'?" in error
    error = vp(world, capsys, "--serving", "best", "--tp-ticks", "2", code=2)
    assert "--tp-ticks and --sl-ticks belong to --signal and --run-id: a serving version has its own." in error
    error = vp(world, capsys, "--signal", "microprice", "--dataset-id", "open", "--retrain", "background", code=2)
    assert "does not learn, so there is nothing to retrain. Leave out --retrain." in error


def test_a_server_may_have_its_fits_made_elsewhere(world):
    workspace, _, dataset = world
    with ThreadPoolExecutor(1) as fits:
        live = LivePipeline.from_serving(workspace, "best", fits=fits)
        stream = live.stages.stream
        model = stream.state.model
        assert model is not None  # the published one, not the made-up one of the rehearsal
        values = [stream.push(frame) for frame in frames(live.signal, dataset)]
    assert len(stream.state.background) > 1
    assert stream.state.background[0].ready_bin > stream.state.background[0].due_bin
    assert not np.isnan(np.array(values)[np.flatnonzero(dataset.valid)[stream.state.warmup :]]).any()


def test_a_published_model_that_was_changed_is_refused(world):
    workspace, _, _ = world
    runtime = published(registry_of(workspace), "best").spec.runtime
    load = workspace.plugins.load
    changed = runtime.model_copy(update={"model": runtime.model.model_copy(update={"sha256": "0" * 64})})
    with pytest.raises(SignalError, match="The published model was changed: its sha256 was 000"):
        LivePipeline.from_runtime(changed, load)
    files = {**runtime.model.files, "model.skops": "????"}
    changed = runtime.model_copy(update={"model": runtime.model.model_copy(update={"files": files})})
    with pytest.raises(SignalError, match="The published model cannot be read"):
        LivePipeline.from_runtime(changed, load)
    changed = runtime.model_copy(update={"rules": runtime.rules.model_copy(update={"tp_ticks": 3})})
    with pytest.raises(SignalError, match="is no model for signal 'Logit': its labels is"):
        LivePipeline.from_runtime(changed, load)
    without = runtime.model_copy(update={"model": None})
    assert LivePipeline.from_runtime(without, load).stages.stream.state.model is None


def test_only_a_signal_that_learns_takes_a_model(world):
    workspace, _, _ = world
    runtime = published(registry_of(workspace), "best").spec.runtime
    stat = workspace.plugins.load("signal", "ads")
    live = LivePipeline.from_runtime(runtime, workspace.plugins.load)
    live.signal = stat()
    with pytest.raises(SignalError, match="Signal 'Ads' was published with a model, but does not learn"):
        live._load_model(runtime.model)


@pytest.mark.parametrize("name", ["../out", "/etc/out", "", ".."])
def test_a_packed_model_stays_in_its_folder(tmp_path, name):
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "a").write_bytes(b"1")
    packed = pack_model(folder)
    packed = packed.model_copy(update={"files": {name: packed.files["a"]}})
    with pytest.raises(SignalError, match="The published model names a file outside its folder"):
        unpack_model(packed, folder)


def test_a_packed_model_comes_back(tmp_path):
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    out.mkdir()
    (folder / "a").write_bytes(b"\x00" * 1000)
    (folder / "b.txt").write_bytes(b"text")
    packed = pack_model(folder)
    unpack_model(packed, out)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == {"a": b"\x00" * 1000, "b.txt": b"text"}
    packed = packed.model_copy(update={"files": {**packed.files, "a": packed.files["a"][:8]}})
    with pytest.raises(SignalError, match="The published model cannot be read"):
        unpack_model(packed, out)


def test_what_was_never_fitted_is_not_kept(session, rules, tmp_path):
    signal = Logit()
    folder = tmp_path / "models" / "m"
    assert not keep_model(signal, None, folder)
    assert not keep_model(signal, signal.start(SignalContext.of(session, rules)), folder)
    assert not folder.exists()
    signal = Logit(**SMALL)
    state = batch(signal, session, rules).state
    assert keep_model(signal, state, folder)
    first = pack_model(folder)
    assert keep_model(signal, state, folder)  # again: the same bytes
    assert pack_model(folder) == first
    assert [path.name for path in folder.parent.iterdir()] == ["m"]
