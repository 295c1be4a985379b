"""Specs of the older harness become specs of this one."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from vpcore import ConfigError, Workspace
from vpcore.config.messages import FORMER
from vpcore_cli.app import run
from vpcore_databento.older_specs import DROPPED, RENAMED, convert_files

PIPELINE = """
name: mnq_open
pipeline_code_version: 1
capture: {product_type: future_mbo, symbol: MNQH6, dt: "2026-02-06", start_time: "09:25", end_time: "10:25"}
pipeline: {cell_width_ms: 100, c1_v_add: 1.5, c7_a_pull: 0.2, flow_rollup_weights: [1.0, 1.0], n_absolute_ticks: 8192}
"""
SERVING = """
name: baseline
pipeline: mnq_open
scoring: {zscore_window_bins: 200, neutral_threshold: 0.2}
signal: {name: erd, params: {zscore_window: 100, warmup_bins: 300}, weights: {mixed: 0.1}}
projection: {horizons_ms: [500, 1000], cubic_scale: 0.1666}
"""
EXPERIMENT = """
name: sweep
serving: baseline
eval: {tp_ticks: [4, 8], tick_size: 0.25, min_signals: 7}
sweep: {scoring: {tanh_scale: [2.0, 3.0]}, per_signal: {erd: {zscore_window: [100, 200]}}}
parallel: {max_workers: 3, timeout_seconds: 7200}
tracking: {backend: none, run_name_prefix: first, tags: {team: quant}}
"""


@pytest.fixture
def older(tmp_path: Path) -> Path:
    for folder, text in (("pipelines", PIPELINE), ("serving", SERVING), ("experiments", EXPERIMENT)):
        path = tmp_path / "older" / folder / f"{yaml.safe_load(text)['name']}.yaml"
        path.parent.mkdir(parents=True)
        path.write_text(text)
    return tmp_path / "older"


def test_a_folder_becomes_a_chain_of_valid_specs(
    tmp_path: Path, older: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    workspace, _ = Workspace.create(tmp_path / "new")
    assert run(["import-spec", str(older), "--root", str(workspace.root)]) == 0
    out, err = capsys.readouterr()
    assert sorted(Path(line).name for line in out.splitlines()) == ["baseline.yaml", "mnq_open.yaml", "sweep.yaml"]
    assert "capture.dt is now capture.date" in err
    assert "eval.tick_size is left out. The tick size belongs to the instrument" in err
    assert "erd.warmup_bins is left out: the signal 'erd' has no such parameter." in err
    assert run(["validate", "--root", str(workspace.root)]) == 0

    pipeline = workspace.pipeline("mnq_open")
    assert (pipeline.capture.date.isoformat(), pipeline.capture.timezone) == ("2026-02-06", "America/New_York")
    assert pipeline.pipeline == {"cell_width_ms": 100, "c1": 1.5, "c7": 0.2}
    serving = workspace.serving("baseline")
    assert (serving.scoring.zscore_window_bins, serving.scoring.threshold_neutral) == (200, 0.2)
    assert serving.signal.params == {"zscore_window": 100}
    experiment = workspace.experiment("sweep")
    assert experiment.select.min_signals == 7
    assert (experiment.eval.tp_ticks, experiment.eval.sl_ticks) == ((4, 8), (4,))
    assert experiment.eval.cooldown_bins == (20,), "the older default"
    assert experiment.parallel.timeout_seconds == 7200


@pytest.mark.parametrize(
    ("folder", "text", "message"),
    [
        ("pipelines", PIPELINE.replace("future_mbo", "equity_mbo"), "capture.product_type must be future_mbo, was 'equity_mbo'"),
        ("pipelines", PIPELINE.replace("c1_v_add", "c9_v_add"), "'c9_v_add' is not a field of pipeline"),
        ("serving", SERVING.replace("zscore_window_bins: 200", "zscore_window_bins: 1"), "zscore_window_bins must be at least 2, was 1"),
        ("experiments", EXPERIMENT.replace("serving: baseline", "datasets: [a]"), "'datasets' is not a field of the file"),
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_converted_leaves_nothing_behind(
    tmp_path: Path, older: Path, folder: str, text: str, message: str
) -> None:
    workspace, _ = Workspace.create(tmp_path / "new")
    (older / folder / "zz.yaml").write_text(text.replace("name: ", "name: zz_", 1))
    with pytest.raises(ConfigError, match=message):
        convert_files(workspace.specs, [older])
    assert not list(workspace.configs.rglob("*.yaml"))


def test_an_existing_spec_stays(tmp_path: Path, older: Path) -> None:
    workspace, _ = Workspace.create(tmp_path / "new")
    convert_files(workspace.specs, [older / "pipelines"])
    with pytest.raises(ConfigError, match="mnq_open.yaml is there already"):
        convert_files(workspace.specs, [older])
    assert [path.name for path in workspace.configs.rglob("*.yaml")] == ["mnq_open.yaml"]
    with pytest.raises(ConfigError, match="There is no .yaml file to convert"):
        convert_files(workspace.specs, [tmp_path / "new" / "lake"])


def test_every_converted_field_has_a_hint_for_those_who_write_it_by_hand() -> None:
    hints = set(FORMER)
    assert [name for name in (*RENAMED, *DROPPED) if not {name, name.rpartition(".")[2]} & hints] == []
