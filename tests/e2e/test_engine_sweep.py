"""An experiment that sweeps engine parameters: a dataset per combination, one family, and the version of its own."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import vpcore as vp
import vpcore.experiment.run as run_module
import vpcore_serving.promote as promote_module
from vpcore.experiment.run import harness_config
from vpcore.inference.ranking import adjusted
from vpcore.results import ROW_KEY
from vpcore_cli.app import run as vp_command
from vpcore_serving.registry import registry_of
from vpcore_serving.spec import published

pytestmark = pytest.mark.slow  # each asks commands about four datasets of a market that is replayed for them

SERVING = "name: market\npipeline: market\nsignal: {name: ofi}\nprojection: {horizons_ms: [600]}\n"
EXPERIMENT = """\
name: {name}
serving: market
signals: [ofi, microprice]
eval: {{tp_ticks: [2], sl_ticks: [2, 3], cooldown_bins: [20], max_hold_bins: 50, bootstrap_draws: 99}}
select: {{min_signals: 1}}
reserve: {{share: 0.4, confirmations: 2}}
parallel: {{executor: serial}}
{more}
"""
ENGINES = "sweep: {pipeline: {tau_velocity: [1, 2.0], cell_width_ms: [100, 200]}}"
VALUES = [(tau, width) for tau in (1, 2.0) for width in (100, 200)]


@pytest.fixture(autouse=True)
def _without_proofs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Causality has tests of its own."""
    monkeypatch.setattr(run_module, "pass_gate", lambda *_: {})
    monkeypatch.setattr(promote_module, "prove", lambda *_, **__: None)


def write(ws: vp.Workspace, name: str, more: str = "") -> str:
    (ws.configs / "experiments" / f"{name}.yaml").write_text(EXPERIMENT.format(name=name, more=more))
    return name


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> vp.Workspace:
    """A workspace in which the sweep ran."""
    root = tmp_path_factory.mktemp("engines")
    vp.Workspace.create(root)
    assert vp_command(["synth", "--minutes", "4", "--seed", "3", "--pipeline", "market", "--root", str(root)]) == 0
    ws = vp.Workspace(root)
    (ws.configs / "serving" / "market.yaml").write_text(SERVING)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run_module, "pass_gate", lambda *_: {})
        assert vp.run(ws, write(ws, "engines", ENGINES)).n_failed == 0
    return ws


@pytest.fixture
def ask(swept: vp.Workspace, capsys: Any) -> Callable[..., Any]:
    def answer(*arguments: str, code: int = 0) -> Any:
        capsys.readouterr()
        assert vp_command([*arguments, "--json", "--root", str(swept.root)]) == code
        return json.loads(capsys.readouterr().out)

    return answer


def test_rows_are_those_of_single_experiments(swept: vp.Workspace, tmp_path: Path) -> None:
    ws, _ = vp.Workspace.create(tmp_path / "singles")
    shutil.copytree(swept.datasets_dir, ws.datasets_dir, copy_function=os.link)
    ws.raw.rmdir()
    ws.raw.symlink_to(swept.raw)
    (ws.configs / "serving" / "market.yaml").write_text(SERVING)
    pipeline = (swept.configs / "pipelines" / "market.yaml").read_text()
    config = harness_config(swept, "engines")
    for (tau, width), dataset_id in zip(VALUES, config.dataset_ids, strict=True):
        assert "pipeline:" not in pipeline
        more = f"pipeline: {{tau_velocity: {tau}, cell_width_ms: {width}}}\n"
        (ws.configs / "pipelines" / "market.yaml").write_text(pipeline + more)
        report = vp.run(ws, write(ws, f"single-{tau:.0f}-{width}"))
        assert report.dataset_ids == [dataset_id]
    one, other = (each.results.canonical() for each in (swept, ws))
    assert one[0]["run_id"].n_unique() == 4 * 2
    assert one[0].equals(other[0])
    apart = ["experiment_name", "config_hash"]
    assert one[1].drop(apart).equals(other[1].drop(apart))


def test_one_family_counts_the_rows_of_every_engine(swept: vp.Workspace) -> None:
    board = vp.leaderboard(swept, "engines")
    frame = board.frame
    assert frame["dataset_id"].n_unique() == 4
    assert frame["family"].n_unique() == 1
    (evidence,) = board.evidence.values()
    assert (evidence.n_rows, evidence.first) == (frame.height, True)
    assert frame["n_trials"].unique().to_list() == [evidence.n_trials]
    assert evidence.n_trials > frame.filter(pl.col("dataset_id") == frame["dataset_id"][0])["trades_digest"].n_unique()
    assert frame["pbo"].n_unique() == 1
    # Of each width, twice the step-down over the rows of this width.
    with_vectors = swept.results.with_vectors(frame)
    width = pl.col("pipeline_json").str.json_path_match("$.cell_width_ms")
    for part in with_vectors.with_columns(width=width).partition_by("width"):
        alone = adjusted(part["rotated_net"])
        assert part["p_adj"].to_list() == [min(1.0, 2 * p) for p in alone]
    # Whatever leads to a row, it has one value of each figure.
    for row in frame.sort(ROW_KEY).head(3).to_dicts():
        of_run = vp.leaderboard(swept, row["run_id"]).frame.filter(pl.col("row") == row["row"]).to_dicts()[0]
        of_all = vp.leaderboard(swept).frame.filter(pl.col("row") == row["row"]).to_dicts()[0]
        for name in ("p_adj", "q_random", "dsr", "pbo", "n_trials", "family", "pipeline_json"):
            assert row[name] == of_run[name] == of_all[name], name


def test_compare_groups_by_an_engine_parameter(swept: vp.Workspace, ask: Callable[..., Any]) -> None:
    groups = ask("compare", "engines", "--by", "pipeline.tau_velocity", "--min-signals", "0")["groups"]
    assert sorted(group["pipeline.tau_velocity"] for group in groups) == [1.0, 2.0]
    assert {group["rows"] for group in groups} == {vp.leaderboard(swept, "engines").frame.height // 2}
    settings = {line["setting"] for line in ask("compare", "engines", "--marginals")["marginals"]}
    assert any(name.endswith("pipeline.cell_width_ms") for name in settings)
    row = ask("compare", "engines")["rows"][0]
    assert row["pipeline"]["tau_velocity"] in (1.0, 2.0)
    assert "pipeline.tau_velocity=" in row["varied"]
    names = [one["row"] for one in ask("compare", "engines")["rows"]]
    by_engine = vp.leaderboard(swept, "engines").frame.unique("dataset_id", keep="first", maintain_order=True)["row"]
    assert len(names) > 1
    two = vp.compare_rows(swept, by_engine[0], by_engine[1])
    assert any(setting.name.startswith("pipeline.") for setting in two.settings)


def test_a_dry_run_counts_datasets_and_disk(swept: vp.Workspace, ask: Callable[..., Any]) -> None:
    write(swept, "more", "sweep: {pipeline: {tau_velocity: [1, 2, 4]}}")
    try:
        plan = ask("run", "more", "--dry-run")
        there = [name for name in plan["dataset_ids"] if name not in plan["absent"]]
        assert (len(plan["absent"]), len(there)) == (1, 2)
        disk = plan["disk"]
        assert (disk["n_there"], disk["n_missing"]) == (2, 1)
        assert disk["bytes_there"] == sum(swept.datasets.info(name).size_bytes for name in there)
        assert 0.5 < disk["bytes_missing"] / (disk["bytes_there"] / 2) < 2.0
    finally:
        (swept.configs / "experiments" / "more.yaml").unlink()


def test_every_row_is_published_with_the_engine_of_its_dataset(swept: vp.Workspace, ask: Callable[..., Any]) -> None:
    config = harness_config(swept, "engines")
    board = vp.leaderboard(swept, "engines")
    for place, dataset_id in enumerate(config.dataset_ids):
        rows = board.rows(dataset_id=dataset_id)
        if place in (0, 3):
            done = vp.promote(swept, rows["row"][0], alias=f"engine{place}")
            runtime = published(registry_of(swept), f"engine{place}").spec.runtime
            assert runtime.dataset.dataset_id == dataset_id
            assert runtime.pipeline.engine == config.sessions[place].params
            assert swept.datasets.manifest(dataset_id)["pipeline"]["resolved"]["engine"] == (
                runtime.pipeline.engine.model_dump(mode="json")
            )
            assert done.spec.runtime.pipeline == runtime.pipeline
            for more in ((), ("--from-raw",)):
                simulated = ask("online-sim", "--serving", f"engine{place}", "--bin-budget-ms", "10000", *more)
                assert simulated["dataset_id"] == dataset_id
                assert simulated["stream_equals_batch"]
    ids = {published(registry_of(swept), f"engine{place}").serving_id for place in (0, 3)}
    assert len(ids) == 2


def test_a_row_is_confirmed_and_audited_on_its_engine(swept: vp.Workspace) -> None:
    config = harness_config(swept, "engines")
    board = vp.leaderboard(swept, "engines")
    same = pl.col("signal_name") == board.frame["signal_name"][0]
    of = [board.frame.filter(same & (pl.col("dataset_id") == name)) for name in config.dataset_ids[:2]]
    key = ["signal_name", "signal_params_json", "cooldown_bins", "tp_ticks", "sl_ticks", "threshold"]
    pairs = of[0].filter(pl.col("trades") > 0).join(of[1].filter(pl.col("trades") > 0), on=key, suffix="_other")
    first, second = (vp.confirm(swept, "engines", pairs[name][0]) for name in ("row", "row_other"))
    assert (first.repeated, second.repeated, second.left) == (False, False, 0)  # one setting on two engines is two rows
    assert vp.confirm(swept, "engines", pairs["row"][0]).repeated
    report = vp.audit(swept, "engines", row=pairs["row_other"][0])
    assert report.dataset_id == config.dataset_ids[1]
    assert report.passed
    assert vp.trades(swept, pairs["row_other"][0])["dataset_id"].unique().to_list() == [config.dataset_ids[1]]
