"""Promotion of rows whose combinations a sampler proposed on the way."""

from __future__ import annotations

from collections.abc import Callable

import polars as pl
import pytest
import search_workspace
from search_workspace import write

from vpcore import Workspace
from vpcore.errors import ResultsError
from vpcore.experiment.leaderboard import leaderboard
from vpcore.experiment.progress import SweepProgress
from vpcore.experiment.run import plan_experiment, run_experiment
from vpcore_serving.promote import promote

frames, make = search_workspace.frames, search_workspace.make
finished, searched = search_workspace.finished, search_workspace.searched


def test_p_adj_counts_all_that_there_was_to_choose_from(make: Callable[..., Workspace]) -> None:
    workspace = make()
    path = workspace.configs / "experiments" / "wave.yaml"
    path.write_text(path.read_text().replace("null_draws: 0", "null_draws: 199"))
    run_experiment(workspace, "wave")
    board = leaderboard(workspace, "wave")
    best = board.rows(min_signals=0).drop_nulls("p_adj").sort("p_random", maintain_order=True).row(0, named=True)
    done = promote(workspace, "wave", best["run_id"], alias="a", row=best["row"], force=True, why="to see")
    among = 64 * 7 * 2 + 6 * 3 * 4 + 3 * 4
    assert done.spec.evidence.figures["p_adj"] == pytest.approx(1 - (1 - best["p_random"]) ** among, abs=1e-4)


def test_an_unfinished_search_is_promoted_without_its_sampler(
    make: Callable[..., Workspace], monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = make()

    def stop(now: SweepProgress) -> None:
        if now.stage == "run" and now.done >= 40:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_experiment(workspace, "wave", on_progress=stop)
    load = workspace.plugins.load
    monkeypatch.setattr(
        workspace.plugins, "load", lambda kind, *rest: pytest.fail("loaded") if kind == "sampler" else load(kind, *rest)
    )
    best = leaderboard(workspace, "wave").rows(signal="wave", min_signals=1).row(0, named=True)
    done = promote(workspace, "wave", best["run_id"], alias="a", row=best["row"], force=True, why="to see")
    assert "p_adj counts all combinations on the axes, tried or not" in done.spec.evidence.summary


def test_a_run_that_was_not_proposed_is_not_promoted(searched: Workspace) -> None:
    workspace = searched
    write(workspace, 12, name="other", edits=[("seed: 0", "seed: 5")])
    run_experiment(workspace, "other")
    mine = {run.run_id for run in plan_experiment(workspace, "wave").runs}  # type: ignore[union-attr]
    others = workspace.results.query_runs(signal_name="wave").filter(~pl.col("run_id").is_in(sorted(mine)))
    with pytest.raises(
        ResultsError, match=r"its combination of scoring and parameters must be one of its 12 now, was another"
    ):
        promote(workspace, "wave", others["run_id"][0], alias="a")
