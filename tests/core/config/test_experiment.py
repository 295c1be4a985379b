from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import pytest

from vpcore import ConfigError, PluginError, SignalParams, VpError, Workspace
from vpcore.config import ExperimentSpec, ServingSpec, SignalRef
from vpcore.config.experiment import Metric

Write = Callable[[str, str], Path]


def test_the_flat_configuration(workspace: Workspace) -> None:
    config = workspace.experiment("sweep").to_harness_config()
    assert config.dataset_id == workspace.pipeline("open").dataset_id()
    assert [(s.zscore_window_bins, s.tanh_scale) for s in config.scorings] == [(200, 2.0), (200, 3.0)]
    scored, plain = config.signals
    assert (scored.name, scored.reads_score, scored.params) == ("scored", True, ({"window": 50, "gain": 1.0},))
    assert (plain.name, plain.reads_score) == ("plain", False)
    assert [(p["window"], p["gain"]) for p in plain.params] == [(10, 1.0), (10, 2.5), (20, 1.0), (20, 2.5)]
    assert config.scorings_of(scored) == config.scorings
    assert config.scorings_of(plain) == (None,)
    assert config.n_runs == 2 + 4
    assert (config.eval.tp_ticks, config.eval.sl_ticks) == ((4, 8), (4,))
    assert (config.executor, config.tracker, config.tracking_experiment) == ("local", "none", "vp/sweep")
    assert config.select_metric == "net_pnl_ticks"


def test_the_configuration_is_frozen(workspace: Workspace) -> None:
    config = workspace.experiment("sweep").to_harness_config()
    with pytest.raises(ValueError, match="frozen"):
        config.name = "other"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("line", "names"),
    [
        ("", ["scored"]),
        ("signals: all\n", ["plain", "scored"]),
        ("signals: [all]\n", ["plain", "scored"]),
        ("signals: plain\n", ["plain"]),
    ],
)
def test_which_signals(workspace: Workspace, write: Write, line: str, names: list[str]) -> None:
    write("experiments/few", "name: few\nserving: base\n" + line)
    config = workspace.experiment("few").to_harness_config()
    assert [plan.name for plan in config.signals] == names
    assert [plan.params[0]["window"] for plan in config.signals] == [50 if name == "scored" else 30 for name in names]


def test_a_serving_spec_resolves(workspace: Workspace) -> None:
    resolved = workspace.serving("base").resolve()
    assert resolved.signal_params == {"window": 50, "gain": 1.0}
    assert resolved.pipeline == workspace.pipeline("open").resolve()


@pytest.mark.parametrize(
    ("place", "old", "new", "error", "message"),
    [
        ("serving/base", "pipeline: open", "pipeline: opn", ConfigError,
         "No pipeline is called 'opn' (configs/serving/base.yaml:2, pipeline). Did you mean 'open'? There are: open."),
        ("serving/base", "name: scored", "name: scord", PluginError,
         "No signal is called 'scord' (configs/serving/base.yaml:5, signal.name). Did you mean 'scored'? Installed: plain, scored."),
        ("serving/base", "window: 50", "window: 1", ConfigError,
         "signal.params.window must be at least 2, was 1 (configs/serving/base.yaml:6). Bins. Allowed: 2 to 500."),
        ("serving/base", "window: 50", "windw: 50", ConfigError,
         "'windw' is not a field of signal.params (configs/serving/base.yaml:6). Did you mean 'window'? Fields: window, gain."),
        ("serving/base", "window: 50", "window: '50'", ConfigError,
         "signal.params.window must be a whole number, was '50' (configs/serving/base.yaml:6). Leave out the quotes."),
        ("serving/base", "{zscore_window_bins: 200}", "{zscore_window_bins: 1}", ConfigError,
         "scoring.zscore_window_bins must be at least 2, was 1 (configs/serving/base.yaml:3)."),
        ("serving/base", "pipeline: open", "pipeline: open\nprojection: {horizons_ms: [150]}", ConfigError,
         "(configs/serving/base.yaml:3, projection.horizons_ms)"),
        ("experiments/sweep", "serving: base", "serving: bas", ConfigError,
         "No serving spec is called 'bas' (configs/experiments/sweep.yaml:2, serving). Did you mean 'base'? There are: base."),
        ("experiments/sweep", "[scored, plain]", "[scored, plan]", PluginError,
         "No signal is called 'plan' (configs/experiments/sweep.yaml:3, signals[1]). Did you mean 'plain'?"),
        ("experiments/sweep", "tanh_scale: [", "tanh_scal: [", ConfigError,
         "The axis 'sweep.scoring.tanh_scal' names no parameter (configs/experiments/sweep.yaml:6). Did you mean 'tanh_scale'? Parameters: derivative_weights,"),
        ("experiments/sweep", "[2.0, 3.0]", "[2.0, 0]", ConfigError,
         "sweep.scoring.tanh_scale must be greater than 0, was 0 (configs/experiments/sweep.yaml:6)."),
        ("experiments/sweep", "[2.0, 3.0]", "[2.0, 2]", ConfigError,
         "sweep.scoring.tanh_scale must name every value once, 2 stands there twice (configs/experiments/sweep.yaml:6)."),
        ("experiments/sweep", "gain: [", "gian: [", ConfigError,
         "The axis 'sweep.per_signal.plain.gian' names no parameter (configs/experiments/sweep.yaml:8). Did you mean 'gain'? Parameters: gain, window."),
        ("experiments/sweep", "[10, 20]", "[10, 501]", ConfigError,
         "sweep.per_signal.plain.window must be at most 500, was 501 (configs/experiments/sweep.yaml:8). Bins. Allowed: 2 to 500."),
        ("experiments/sweep", "    plain:", "    plane:", ConfigError,
         "'plane' is not one of the signals of this experiment (configs/experiments/sweep.yaml:8, sweep.per_signal.plane). Did you mean 'plain'? Signals: scored, plain."),
        ("experiments/sweep", "[scored, plain]", "[plain]", ConfigError,
         "sweep.scoring varies tanh_scale (configs/experiments/sweep.yaml:6), but no signal of this experiment reads the score: plain. Signals that would respond: scored."),
        ("experiments/sweep", "serving: base", "serving: base\nparallel: {executor: seril}", PluginError,
         "No executor is called 'seril' (configs/experiments/sweep.yaml:3, parallel.executor). Did you mean 'serial'? Installed: local, serial."),
        ("experiments/sweep", "serving: base", "serving: base\ntracking: {backend: json}", PluginError,
         "No tracker is called 'json' (configs/experiments/sweep.yaml:3, tracking.backend). Did you mean 'jsonl'?"),
        ("experiments/sweep", "name: sweep", "name: swoop", ConfigError,
         "name must be the name of its file, was 'swoop' (configs/experiments/sweep.yaml:1). Write name: sweep, or call the file swoop.yaml."),
        ("experiments/sweep", "[10, 20]", "[" + ", ".join(map(str, range(2, 402))) + "]", None, ""),
    ],
)  # fmt: skip
def test_what_is_wrong_in_a_chain(
    workspace: Workspace, place: str, old: str, new: str, error: type[VpError] | None, message: str
) -> None:
    path = workspace.configs / f"{place}.yaml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    if error is None:
        assert workspace.experiment("sweep").to_harness_config().n_runs == 2 + 400 * 2
        return
    with pytest.raises(error, match=re.escape(message)):
        workspace.experiment("sweep").to_harness_config()


def test_a_parameter_without_a_default_can_come_from_an_axis(
    workspace: Workspace, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    import config_test_signals  # type: ignore[import-not-found]

    class Demanding(config_test_signals.Plain):  # type: ignore[misc]
        class Params(SignalParams):
            level: int

    monkeypatch.setattr(config_test_signals, "Plain", Demanding)
    write("experiments/without", "name: without\nserving: base\nsignals: [plain]\n")
    with pytest.raises(ConfigError, match="sweep.per_signal.plain.level is missing"):
        workspace.experiment("without").to_harness_config()
    write(
        "experiments/with",
        "name: with\nserving: base\nsignals: [plain]\nsweep: {per_signal: {plain: {level: [1, 2]}}}\n",
    )
    (plan,) = workspace.experiment("with").to_harness_config().signals
    assert plan.params == ({"level": 1}, {"level": 2})


def test_too_many_combinations_are_refused(workspace: Workspace, write: Write) -> None:
    values = [i / 1000 for i in range(1, 400)]
    write(
        "experiments/big",
        f"name: big\nserving: base\nsweep: {{per_signal: {{scored: {{window: {list(range(2, 402))}, gain: {values}}}}}}}\n",
    )
    with pytest.raises(
        ConfigError, match=r"sweep.per_signal.scored has 159600 combinations .* at most 100000 are possible"
    ):
        workspace.experiment("big").to_harness_config()


def test_a_path_outside_the_workspace(workspace: Workspace, tmp_path: Path) -> None:
    path = tmp_path / "anything.yaml"
    path.write_text("name: mine\nserving: base\n")
    assert workspace.experiment(path).to_harness_config().name == "mine"
    with pytest.raises(ConfigError, match="There is no file .*nothing.yaml"):
        workspace.experiment(tmp_path / "nothing.yaml")


def test_specs_made_in_python(workspace: Workspace) -> None:
    serving = ServingSpec(name="py", pipeline="open", signal=SignalRef(name="plain", params={"window": 1}))
    with pytest.raises(ConfigError, match=r"signal.params.window must be at least 2, was 1\. Bins"):
        workspace.serving(serving).resolve()
    experiment = ExperimentSpec(name="py", serving="base")
    assert workspace.experiment(experiment).to_harness_config().n_runs == 1
    with pytest.raises(ConfigError, match="Experiment 'py' belongs to no workspace"):
        experiment.to_harness_config()
    with pytest.raises(ConfigError, match="Serving spec 'py' belongs to no workspace"):
        serving.resolve()


def test_every_metric_to_select_by_is_a_column_of_the_results() -> None:
    from vpcore.results import SORTABLE

    assert set(get_args(Metric)) <= set(SORTABLE)
