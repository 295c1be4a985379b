"""Combinations that a sampler proposes on the way: executor and interruptions change nothing, judged parts stay unseen."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import search_workspace
import sweep_workspace
from families import evidence_by_dataset
from search_workspace import N_BINS, ROWS, interrupted, rounds_of, swings, without_samplers, write

from vpcore import Workspace
from vpcore.dataset import DatasetWriter
from vpcore.engine import FrameBlock
from vpcore.errors import ConfigError, ResultsError
from vpcore.experiment import recorder
from vpcore.experiment.adaptive_search import figures, unfinished
from vpcore.experiment.leaderboard import leaderboard
from vpcore.experiment.progress import SweepProgress
from vpcore.experiment.recorder import SweepReport
from vpcore.experiment.run import harness_config, plan_experiment, run_experiment
from vpcore.experiment.runs import experiment_block

frames, make = search_workspace.frames, search_workspace.make
finished, searched = search_workspace.finished, search_workspace.searched


def figures_of(report: SweepReport) -> tuple[int, int, int, int]:
    return report.n_trials, report.n_reused, report.n_computed, report.n_failed


# -- who does it, and in how many pieces -------------------------------------------------------------------------------

_RUN = """
import os
import signal
import sys
sys.path[:0] = sys.argv[3:]
from sweep_workspace import make_plugins
import vpcore.experiment.run
from vpcore import Workspace
from vpcore.experiment import recorder
vpcore.experiment.run.pass_gate = lambda *_: {}
recorder.STORE_SECONDS = 0.0
if __name__ == "__main__":
    workspace, workers = Workspace(sys.argv[1], plugins=make_plugins()), int(sys.argv[2])
    die_at = int(os.environ["DIE_AT"])
    print("ready", flush=True)
    sys.stdin.readline()
    def told(now):
        if now.stage == "run" and now.done >= die_at:
            os.kill(os.getpid(), signal.SIGKILL)
    run = vpcore.experiment.run.run_experiment
    run(workspace, "wave", executor="local" if workers else "serial", max_workers=workers or None, on_progress=told)
"""


def start(
    workspace: Workspace, workers: int, plugin: Path, *, stdin: int = subprocess.DEVNULL, die_at: int = ROWS + 1
) -> subprocess.Popen[bytes]:
    """Start the search in a process with another hash seed, once it reads a line or the end of its input.

    The process kills itself, if asked, once so many rows are stored.
    """
    command = [
        sys.executable,
        "-c",
        _RUN,
        str(workspace.root),
        str(workers),
        str(plugin),
        str(Path(sweep_workspace.__file__).parent),
    ]
    environment = {**os.environ, "PYTHONHASHSEED": "2", "DIE_AT": str(die_at)}
    process = subprocess.Popen(command, env=environment, stdin=stdin, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    return process


def finish(process: subprocess.Popen[bytes]) -> int:
    process.communicate()
    return process.returncode


@pytest.mark.slow
def test_any_executor_proposes_and_stores_the_same(
    make: Callable[..., Workspace], searched: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    rounds = rounds_of(searched)
    assert {name: [len(each) for each in parts] for name, parts in rounds.items()} == {
        "wave": [4, 4, 4],
        "scored": [4, 4, 4],
    }
    other = make("other")
    monkeypatch.setattr(recorder, "STORE_SECONDS", 0.0)  # many parts, in any order
    monkeypatch.setenv("PYTHONHASHSEED", "2")  # of the workers
    run_experiment(other, "wave", executor="local", max_workers=2)
    assert rounds_of(other) == rounds
    assert other.results.canonical_bytes() == searched.results.canonical_bytes()


@pytest.mark.slow
def test_a_kill_in_the_middle_leaves_no_trace(
    make: Callable[..., Workspace], searched: Workspace, paths: dict[str, Any]
) -> None:
    killed = make("killed")
    assert finish(start(killed, 1, paths["plugin"], die_at=ROWS // 3)) == -signal.SIGKILL
    report = run_experiment(killed, "wave")
    assert report.n_reused + report.n_computed == report.n_trials == ROWS
    assert min(report.n_reused, report.n_computed) > 0
    assert killed.results.canonical_bytes() == searched.results.canonical_bytes()
    assert rounds_of(killed) == rounds_of(searched)


@pytest.mark.slow
@pytest.mark.parametrize("rows", [1, 30, 40, ROWS - 1])
def test_running_again_goes_on_from_any_row(make: Callable[..., Workspace], searched: Workspace, rows: int) -> None:
    other = make("other")
    interrupted(other, rows)
    before = other.results.query_runs().height
    assert rows <= before <= ROWS
    assert figures_of(run_experiment(other, "wave")) == (ROWS, before, ROWS - before, 0)
    assert other.results.canonical_bytes() == searched.results.canonical_bytes()
    assert rounds_of(other) == rounds_of(searched)


def test_a_finished_search_computes_nothing_and_needs_no_sampler(
    searched: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = searched
    before = workspace.results.canonical_bytes()
    without_samplers(workspace, monkeypatch)
    assert figures_of(run_experiment(workspace, "wave")) == (ROWS, ROWS, 0, 0)
    assert figures_of(run_experiment(workspace, "wave", force=True)) == (ROWS, 0, ROWS, 0)
    assert workspace.results.canonical_bytes() == before


def test_what_was_proposed_is_found_again_from_the_rows(searched: Workspace) -> None:
    workspace = searched
    folder = workspace.results_dir / "proposals"
    kept = {path.name: path.read_bytes() for path in folder.iterdir()}
    for path in folder.iterdir():
        path.unlink()
    seen: list[SweepProgress] = []
    assert figures_of(run_experiment(workspace, "wave", on_progress=seen.append)) == (ROWS, ROWS, 0, 0)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == kept
    some = next(folder.iterdir())
    some.write_bytes(some.read_bytes().replace(b'"rounds":', b'"rounds": ').replace(b'"signal":"', b'"signal":"x'))
    with pytest.raises(ResultsError, match=r"\.json does not hold what was proposed in this search\. Delete it:"):
        run_experiment(workspace, "wave")
    some.write_text('{"rounds": [{"points": [[0, 99]]}]}')
    with pytest.raises(ResultsError, match=r"\.json does not hold what was proposed in this search\. Delete it:"):
        run_experiment(workspace, "wave")


@pytest.mark.slow
def test_asking_for_more_goes_on_and_for_less_is_a_part(make: Callable[..., Workspace]) -> None:
    want = make("want", 17)
    run_experiment(want, "wave")
    grown = make("grown", 6)  # the second round of four is cut off after two, which the next run makes up for
    small = run_experiment(grown, "wave")
    write(grown, 17)
    more = run_experiment(grown, "wave")
    assert more.n_reused == small.n_trials
    asked = ("batch_id", "finished_utc", "config_hash")
    rows = [workspace.results.query_runs(blocks=True).drop(asked) for workspace in (grown, want)]
    assert rows[0].equals(rows[1])
    assert rounds_of(grown) == rounds_of(want)
    write(grown, 6)
    less = run_experiment(grown, "wave")
    assert (less.n_computed, sorted(less.run_ids)) == (0, sorted(small.run_ids))


@pytest.mark.slow
def test_two_at_once_propose_the_same(
    make: Callable[..., Workspace], searched: Workspace, paths: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    both = make("both")
    monkeypatch.setattr(recorder, "STORE_SECONDS", 0.0)
    other = start(both, 0, paths["plugin"], stdin=subprocess.PIPE)
    assert other.stdin is not None
    other.stdin.write(b"\n")  # now: it and this process begin at once
    other.stdin.flush()
    run_experiment(both, "wave")
    assert finish(other) == 0
    assert rounds_of(both) == rounds_of(searched)
    assert both.results.canonical_bytes() == searched.results.canonical_bytes()


def test_another_seed_round_or_row_is_another_search(searched: Workspace) -> None:
    for edit in (("seed: 0", "seed: 1"), ("round: 4", "round: 6"), ("cooldown_bins: [5, 20]", "cooldown_bins: [20]")):
        write(searched, edits=[edit])
        config = harness_config(searched, "wave")
        assert unfinished(config) == {"wave": 12, "scored": 12}


# -- what it finds, and what it looks at -------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("method", ["method: holdout, test_share: 0.4", "method: walk_forward, groups: 4"])
def test_what_is_judged_on_is_never_seen(make: Callable[..., Workspace], method: str) -> None:
    """Two markets that differ only where is judged: the same proposals. Where they differ is seen without splits."""
    rounds: dict[tuple[str, bool], Any] = {}
    for splits in (method, ""):
        for turned in (False, True):
            workspace = make(f"{len(rounds)}")
            given: dict[str, Any] = {"splits": splits} if splits else {}
            write(workspace, 16, more="dates: [2023-12-26]\n", edits=WAVE_ALONE, **given)
            # 60 bins of warm-up; 60 % of the rest, or the first of four groups, is for choosing.
            judged = 60 + (N_BINS - 60) * 6 // 10 if "holdout" in method else 60 + (N_BINS - 60) // 4
            (dataset_id,) = harness_config(workspace, "wave").dataset_ids
            store(workspace, dataset_id, swings(judged) if turned else swings())
            run_experiment(workspace, "wave")
            rounds[splits, turned] = rounds_of(workspace)["wave"]
    assert rounds[method, True] == rounds[method, False]
    assert rounds["", True] != rounds["", False]


WAVE_ALONE = (
    ("signals: [wave, scored, plain]", "signals: [wave]"),
    ("  scoring: {tanh_scale: [2.0, 3.0, 4.0]}\n", ""),
    ("    scored: {gain: [1, 2, 3, 4, 5, 6]}\n    plain: {gain: [1, 2, 3]}\n", ""),
)


def store(workspace: Workspace, dataset_id: str, frames: FrameBlock) -> None:
    form: dict[str, Any] = {"n_cells": 9, "cell_width_ns": 100_000_000, "tick_int": 250_000_000}
    with DatasetWriter(workspace.storage, dataset_id, columns=tuple(frames.grid), **form) as writer:
        writer.append(frames)
        writer.commit({"sources": [{"path": "a.dbn", "sha256": "ab" * 32, "size": 1}]})


def test_splits_that_judge_everywhere_are_refused(make: Callable[..., Workspace]) -> None:
    for method in ("kfold", "combinatorial"):
        workspace = make(method, splits=f"method: {method}")
        with pytest.raises(ConfigError, match=rf"on which nothing is judged, eval\.splits was {method}, .* holdout"):
            harness_config(workspace, "wave")


@pytest.mark.slow
def test_on_several_sessions_the_figure_is_that_of_the_leaderboard(make: Callable[..., Workspace]) -> None:
    workspace = make(more="dates: [2023-12-25, 2023-12-26]\n")
    store(workspace, harness_config(workspace, "wave").dataset_ids[1], swings(900))
    report = run_experiment(workspace, "wave")
    assert report.n_trials == 2 * ROWS
    config = harness_config(workspace, "wave")
    plan = plan_experiment(workspace, config)
    assert plan is not None
    found = figures(workspace, config, plan.runs)
    assert len(found) == 27
    rows = leaderboard(workspace, "wave").rows().to_dicts()
    best: dict[str, float] = {}
    for row in rows:
        best[row["run_id"]] = max(best.get(row["run_id"], -np.inf), row["net_pnl_ticks"])
    assert {run: value for run, value in found.items() if value > -np.inf} == best
    assert len(best) > 5


def test_the_figure_is_the_best_of_the_rows_with_enough_trades(make: Callable[..., Workspace]) -> None:
    workspace = make(edits=[("min_signals: 5", "min_signals: 60")])
    run_experiment(workspace, "wave")
    config = harness_config(workspace, "wave")
    plan = plan_experiment(workspace, config)
    assert plan is not None
    rows = workspace.results.query_runs().with_columns(trades=pl.col("n_signals") - pl.col("n_dropped"))
    want = dict.fromkeys(rows["run_id"], -np.inf)
    for run, trades, net in rows.select("run_id", "trades", "net_pnl_ticks").iter_rows():
        want[run] = max(want[run], net) if trades >= 60 else want[run]
    assert figures(workspace, config, plan.runs) == want
    assert len({value > -np.inf for value in want.values()}) == 2


def test_what_fails_is_a_row_and_the_search_goes_on(make: Callable[..., Workspace]) -> None:
    only = [("signals: [wave, scored, plain]", "signals: [breaks]"), ("  scoring: {tanh_scale: [2.0, 3.0, 4.0]}\n", ""),
            ("    scored: {gain: [1, 2, 3, 4, 5, 6]}\n    plain: {gain: [1, 2, 3]}\n", ""),
            ("wave: {phase: {from: 0, to: 63, step: 1}, period: [16, 32, 48, 64, 80, 96, 128]}",
             "breaks: {gain: {from: 0.1, to: 4, step: 0.1}}")]  # fmt: skip
    workspace = make(n=20, edits=only)
    report = run_experiment(workspace, "wave")
    assert (report.n_trials, len(report.run_ids)) == (80, 20)
    assert 0 < report.n_failed < 60  # gains above 1, three quarters of all; after the first rounds few are tried
    tried = [place for part in rounds_of(workspace)["breaks"] for ((place,),) in ([point] for point in part)]
    assert sum(place > 9 for place in tried) * 4 == report.n_failed
    assert figures_of(run_experiment(workspace, "wave")) == (80, 80, 0, 0)
    stopped = make("stopped", 20, edits=only)
    assert run_experiment(stopped, "wave", fail_fast=True).stopped
    assert len(rounds_of(stopped)["breaks"]) == 1


def test_p_adj_counts_all_that_there_was_to_choose_from(make: Callable[..., Workspace]) -> None:
    workspace = make()
    path = workspace.configs / "experiments" / "wave.yaml"
    path.write_text(path.read_text().replace("null_draws: 0", "null_draws: 199"))
    run_experiment(workspace, "wave")
    among = 64 * 7 * 2 + 6 * 3 * 4 + 3 * 4
    rows, _ = evidence_by_dataset(workspace.results, workspace.results.query_runs(blocks=True), min_trades=5)
    alone = dict(rows.select("row", "p_random").iter_rows())
    shown = dict(leaderboard(workspace, "wave").rows(min_signals=0).select("row", "p_adj").iter_rows())
    drawn = {name: p for name, p in alone.items() if p is not None and name in shown}
    assert len({round(p, 6) for p in drawn.values()}) > 3
    for name, p in drawn.items():
        assert shown[name] == pytest.approx(1 - (1 - p) ** among, abs=1e-4)
    every = leaderboard(workspace)  # of the workspace: the sampler is one of a plugin
    assert every.searched
    assert dict(every.rows(min_signals=0).select("row", "p_adj").iter_rows()) == shown


def test_the_total_is_known_from_the_start(make: Callable[..., Workspace]) -> None:
    seen: list[SweepProgress] = []
    run_experiment(make(), "wave", on_progress=seen.append)
    assert {now.total for now in seen if now.stage == "run"} == {ROWS}
    assert [now.done for now in seen if now.stage == "run"][-1] == ROWS
    bests = [now.best.value for now in seen if now.best is not None]
    assert bests == sorted(bests)
    assert len(set(bests)) > 1


def test_what_the_experiment_asks_stays_the_same_while_it_is_answered(make: Callable[..., Workspace]) -> None:
    workspace = make()
    before = experiment_block(harness_config(workspace, "wave"))
    run_experiment(workspace, "wave")
    config = harness_config(workspace, "wave")
    assert experiment_block(config) == before
    assert set(workspace.results.query_runs()["config_hash"]) == {
        workspace.results.find_run(plan_experiment(workspace, config).runs[0].run_id)["config_hash"]
    }  # type: ignore[union-attr]
    assert not any("proposed" in plan for plan in before["signals"])
