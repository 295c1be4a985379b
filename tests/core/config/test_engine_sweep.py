"""`sweep.pipeline`: engine parameters as axes of an experiment."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from vpcore import ConfigError, Workspace

Write = Callable[[str, str], Path]

SWEEP = "name: engines\nserving: base\neval: {fee_ticks: 0}\n"


@pytest.fixture(autouse=True)
def _horizons_of_any_width(workspace: Workspace, write: Write) -> None:
    base = workspace.specs.path_of("serving", "base").read_text()
    write("serving/base", base + "projection: {horizons_ms: [60000]}\n")


TWO_DAYS = SWEEP + "dates: [2023-12-25, 2023-12-26]\n"


def test_a_point_is_the_dataset_of_a_pipeline_with_its_parameters(workspace: Workspace, write: Write) -> None:
    write("experiments/engines", SWEEP + "sweep: {pipeline: {tau_velocity: [2, 1.0], flow_windows: [[5, 10], [20]]}}\n")
    config = workspace.experiment("engines").to_harness_config()
    assert (config.n_sessions, len(config.sessions), config.engine_axes) == (1, 4, ("tau_velocity", "flow_windows"))
    alone, pipeline = [], workspace.specs.path_of("pipeline", "open").read_text()
    for tau in (2, 1):
        for windows in ("[5, 10]", "[20]"):
            text = pipeline + f"  tau_velocity: {tau}\n  flow_windows: {windows}\n"
            write("pipelines/open", text)
            alone.append(workspace.pipeline("open").dataset_id())
    assert list(config.dataset_ids) == alone
    assert config.label_of(config.sessions[1]) == "2023-12-25_1800_1859 tau_velocity=2 flow_windows=[20]"


def test_every_engine_has_every_session(workspace: Workspace, write: Write) -> None:
    write("experiments/engines", TWO_DAYS + "sweep: {pipeline: {cell_width_ms: [100, 200, 1000]}}\n")
    config = workspace.experiment("engines").to_harness_config()
    assert (config.n_sessions, len(config.sessions), config.n_runs) == (2, 6, 6)
    parts = config.by_engine()
    assert [part.pipeline.params.cell_width_ms for part in parts] == [100, 200, 1000]
    assert [name for part in parts for name in part.dataset_ids] == list(config.dataset_ids)
    assert all({session.params for session in part.sessions} == {part.pipeline.params} for part in parts)
    assert config.on_engine_of(config.dataset_ids[3]) == parts[1]
    with pytest.raises(ConfigError, match=r"Dataset x is none of experiment 'engines'"):
        config.on_engine_of("x")


def test_an_experiment_without_engines_is_its_own(workspace: Workspace) -> None:
    config = workspace.experiment("sweep").to_harness_config()
    assert config.by_engine() == (config,)
    assert config.on_engine_of("anything") is config
    assert config.label_of(config.sessions[0]) == config.sessions[0].label


def test_nothing_that_an_engine_evaluates_is_kept_back(workspace: Workspace, write: Write) -> None:
    more = "reserve: {share: 0.3333}\nsweep: {pipeline: {cell_width_ms: [1000, 12000, 60000]}}\n"
    write("experiments/engines", SWEEP + more)
    config = workspace.experiment("engines").to_harness_config()
    ends = [session.start_ns + (config.end_bin(session) or 0) * session.width_ns for session in config.sessions]
    assert len(set(ends)) > 1
    reserve = config.reserve
    assert reserve is not None
    assert reserve.windows == ((max(ends), config.sessions[0].end_ns),)


def test_whole_sessions_are_kept_back_on_every_engine(workspace: Workspace, write: Write) -> None:
    more = "reserve: {dates: [2023-12-26]}\nsweep: {pipeline: {cell_width_ms: [100, 200]}}\n"
    write("experiments/engines", TWO_DAYS + more)
    config = workspace.experiment("engines").to_harness_config()
    assert (config.n_sessions, len(config.sessions)) == (1, 2)
    assert config.reserve is not None
    assert len(config.reserve.windows) == 1
    for part in config.by_engine():
        assert part.kept_back is not None
        assert [session.params for session in part.kept_back.sessions] == [part.pipeline.params]


@pytest.mark.parametrize(
    ("axes", "message"),
    [
        (
            "symbol: [ESH4, ESM4]",
            r"sweep\.pipeline takes engine parameters, and symbol is none that changes a signal's input "
            r"\(configs/experiments/engines\.yaml:4\): sessions belong to pipelines and dates\.$",
        ),
        ("files: [[a], [b]]", r"and files is none"),
        ("date: [2023-12-25]", r"and date is none"),
        ("instrument: [ES]", r"and instrument is none"),
        ("columns: [[v_add]]", r"and columns is none"),
        ("tau_velocty: [1]", r"sweep\.pipeline\.tau_velocty' names no parameter.* Did you mean 'tau_velocity'\?"),
        ("tau_velocity: [1, 5]", r"tau_velocity and tau_acceleration must differ by at least 1 %"),
        ("tau_velocity: [1, 1.0]", r"must name every value once"),
        ("cell_width_ms: [100, 700]", r"whole number of bins of 700 ms.*engines\.yaml:4"),
        (
            "grid_radius_ticks: {from: 20, to: 84, step: 1}",
            r"sweep\.pipeline has 65 combinations \(.*:4\), at most 64 are possible: each is a dataset per session",
        ),
    ],
)
def test_a_wrong_axis_is_refused(workspace: Workspace, write: Write, axes: str, message: str) -> None:
    write("experiments/engines", SWEEP + f"sweep: {{pipeline: {{{axes}}}}}\n")
    with pytest.raises(ConfigError, match=message):
        workspace.experiment("engines").to_harness_config()


def test_horizons_are_whole_bins_of_every_engine(workspace: Workspace, write: Write) -> None:
    base = workspace.specs.path_of("serving", "base").read_text()
    write("serving/base", base.replace("60000", "300"))
    write("experiments/engines", SWEEP + "sweep: {pipeline: {cell_width_ms: [100, 200]}}\n")
    with pytest.raises(ConfigError, match=r"(?s)300.*engines\.yaml:4"):
        workspace.experiment("engines").to_harness_config()


def test_a_search_has_one_engine_and_a_design_has_all(workspace: Workspace, write: Write) -> None:
    axes = "pipeline: {tau_velocity: [1, 2]}, per_signal: {scored: {window: [10, 20, 30]}}"
    write("experiments/engines", SWEEP + f"sweep: {{{axes}, sample: {{method: optuna, n: 2}}}}\n")
    with pytest.raises(ConfigError, match=r"sample\.method must be .*lhs.* with sweep\.pipeline, was optuna"):
        workspace.experiment("engines").to_harness_config()
    write("experiments/engines", SWEEP + f"sweep: {{{axes}, sample: {{method: lhs, n: 2}}}}\n")
    assert workspace.experiment("engines").to_harness_config().n_runs == 2 * 2
