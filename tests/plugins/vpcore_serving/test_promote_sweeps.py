"""Promotion of rows with parts out of sample, and of combinations over several sessions."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from sweep_workspace import THREE, add_dataset

from vpcore import Workspace
from vpcore.errors import RefusedError
from vpcore.experiment.leaderboard import leaderboard
from vpcore.experiment.run import harness_config, run_experiment
from vpcore_serving.bin_pipeline import BinStages
from vpcore_serving.live_pipeline import build_signal
from vpcore_serving.online_simulator import simulate
from vpcore_serving.promote import promote
from vpcore_serving.spec import PublishedPipeline

Edit = Callable[..., None]


def require_proven(workspace: Workspace) -> None:
    (workspace.configs / "workspace.yaml").write_text("promotion: {require: proven}\n")


def test_the_gate_asks_for_the_choice_and_that_it_pays(make_proven: Callable[[str], Workspace], edit: Edit) -> None:
    workspace = make_proven("ws")
    edit(("eval: {", "eval: {splits: {method: holdout}, "), name="cut")
    require_proven(workspace)
    run_experiment(workspace, "cut")
    rows = leaderboard(workspace, "cut").rows().to_dicts()
    best, other = rows[0], rows[3]
    with pytest.raises(
        RefusedError, match=f"row {other['row']} is not the one that is chosen in-sample, which is {best['row']}"
    ):
        promote(workspace, "cut", other["run_id"], alias="a", row=other["row"])
    done = promote(workspace, "cut", best["run_id"], alias="a", force=True, why="to see")
    evidence = done.spec.evidence
    assert evidence.row == best["row"]  # the run's best in-sample
    assert evidence.out_of_sample.choices[0].row == best["row"]
    assert evidence.figures["net_out_of_sample"] == best["net_out_of_sample"]
    assert "Out of sample it" in evidence.summary
    assert any("out of sample" in text for text in evidence.weaknesses) == (best["net_out_of_sample"] <= 0)


@pytest.mark.slow
def test_a_combination_is_promoted_with_the_evidence_of_all_sessions(
    make_proven: Callable[[str], Workspace], edit: Edit
) -> None:
    workspace = make_proven("ws")
    edit(THREE, name="three")
    config = harness_config(workspace, "three")
    for seed, (name, n_bins) in enumerate(zip(config.dataset_ids[1:], (4000, 1000), strict=True), 11):
        add_dataset(workspace, name, seed, n_bins)
    run_experiment(workspace, "three")
    config = harness_config(workspace, "three")
    require_proven(workspace)
    best = leaderboard(workspace, "three").rows(min_signals=0, limit=1).row(0, named=True)
    with pytest.raises(RefusedError, match=f"row {best['row']}"):
        promote(workspace, "three", best["run_id"], alias="a", row=best["row"])
    done = promote(workspace, "three", best["run_id"], alias="a", row=best["row"], force=True, why="to see")
    for run, row in zip(best["session_runs"], best["session_rows"], strict=True):  # any of its rows names it
        again = promote(workspace, "three", run, alias="a", row=row, force=True, why="to see")
        assert again.publication.serving_id == done.publication.serving_id
    runtime, evidence = done.spec.runtime, done.spec.evidence
    assert runtime.dataset.dataset_id == config.dataset_ids[-1]
    assert [item.dataset_id for item in runtime.sessions] == list(config.dataset_ids)
    assert runtime.pipeline == PublishedPipeline.of(config.pipeline)
    assert evidence.figures["session_rows"] == best["session_rows"]
    assert evidence.figures["p_adj"] == pytest.approx(best["p_adj"])
    assert evidence.among.n_rows == 40
    assert set(evidence.dataset_files) == set(config.dataset_ids)
    assert f"it pays in {best['sessions_paid']} of 3 sessions" in evidence.summary
    dataset = workspace.datasets.open(runtime.dataset.dataset_id)
    signal = build_signal(runtime, workspace.plugins.load)
    assert (
        simulate(dataset, BinStages.on(dataset, signal, runtime.scoring), budget_ms=1000).n_bins
        == dataset.n_bins
        == 1000
    )
