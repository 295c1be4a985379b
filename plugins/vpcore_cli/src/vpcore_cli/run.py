"""``vp run``: compute the missing rows of an experiment."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vpcore.errors import ConfigError, VpError
from vpcore_cli.common import (
    EXIT_INPUT,
    EXIT_REFUSED,
    ExperimentArgument,
    JsonOption,
    RootOption,
    StrictTrackingOption,
    counted,
    emit_json,
    emit_table,
    open_workspace,
    require_tracked,
    say,
)

if TYPE_CHECKING:
    from vpcore.config import ExperimentConfig, Search
    from vpcore.experiment.recorder import SweepReport
    from vpcore.experiment.runs import Run
    from vpcore.workspace import Workspace


def run(
    experiment: ExperimentArgument,
    force: Annotated[bool, typer.Option("--force", help="Compute stored rows again.")] = False,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Compute failed rows again.")] = False,
    fail_fast: Annotated[bool, typer.Option("--fail-fast", help="Stop at the first run that fails.")] = False,
    workers: Annotated[int | None, typer.Option("--workers", min=1, help="Instead of parallel.max_workers.")] = None,
    executor: Annotated[str | None, typer.Option("--executor", help="Instead of parallel.executor.")] = None,
    executor_option: Annotated[
        list[str] | None,
        typer.Option("--executor-option", metavar="NAME=VALUE", help="Over parallel.options; may be repeated."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count the rows to compute.")] = False,
    root: RootOption = None,
    json: JsonOption = False,
    strict_tracking: StrictTrackingOption = False,
) -> None:
    """Run an experiment: generate missing datasets, evaluate missing rows, and rank all rows."""
    from vpcore.experiment.adaptive_search import with_proposals
    from vpcore.experiment.run import harness_config, run_experiment
    from vpcore_cli.watch import say_report, watched

    workspace = open_workspace(root)
    config = harness_config(workspace, experiment).with_executor(executor, workers, _options(executor_option or []))
    if dry_run:
        _say_plan(workspace, config, force, retry_failed, json)
        return
    if not force:
        with suppress(VpError):  # the run itself says what is wrong
            _say_trials(workspace, config)
    with watched(config.name) as on_progress:
        report = run_experiment(
            workspace,
            config,
            force=force,
            retry_failed=retry_failed,
            fail_fast=fail_fast,
            on_progress=on_progress,
        )
    say_report(workspace, report)
    if report.n_reused and config.tracker != "none":
        say(f"Rows that were stored already were not reported again. To report all: vp track {experiment}")
    _rank(workspace, with_proposals(workspace, config), report, experiment, json)
    if strict_tracking:
        require_tracked(workspace.plugins, report.tracker_failures)
    if report.n_failed or report.n_failed_before:
        raise typer.Exit(EXIT_REFUSED)


def _say_trials(workspace: Workspace, config: ExperimentConfig) -> None:
    """Say how many trials the run adds, and how many its market has: each makes every winner more likely to be luck."""
    from vpcore.experiment.adaptive_search import unfinished
    from vpcore.experiment.preflight import without_data
    from vpcore.experiment.run import plan_experiment
    from vpcore.experiment.runs import expand

    if without_data(workspace, config):
        return  # the run stops with the reasons
    plan = plan_experiment(workspace, config)
    added = plan.n_missing if plan is not None else 0
    for session in config.sessions:
        if plan is None or session.dataset_id() in plan.absent:
            added += sum(len(run.trials) for run in expand(config, workspace.plugins, (), session=session))
    more = " and those that the search proposes" if any(unfinished(config).values()) else ""
    if added or more:
        known = workspace.results.trials().count(config.dataset_ids)
        rows = f"{counted(added, 'new row')}{more}" if added else more.removeprefix(" and ")
        market = f"which has {known:,} so far" if known else "which has none yet"
        say(f"{config.name} has {rows}. Each with trades of its own is a trial on this market, {market}.")


def _options(given: list[str]) -> dict[str, Any]:
    """Return ``NAME=VALUE`` options as a mapping. Values are YAML."""
    from vpcore.config.loader import parse_document

    found: dict[str, Any] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise ConfigError("--executor-option", required="NAME=VALUE", was=f"'{text}'")
        found |= parse_document(f"{name}: {value}", "--executor-option").data
    return found


def _say_plan(
    workspace: Workspace,
    config: ExperimentConfig,
    force: bool,
    retry_failed: bool,
    json: bool,
) -> None:
    from vpcore.config.grid import require_grid
    from vpcore.experiment.adaptive_search import searches_of, unfinished
    from vpcore.experiment.preflight import without_data
    from vpcore.experiment.reserve import open_sessions
    from vpcore.experiment.run import expand_sessions, plan_experiment
    from vpcore.experiment.runs import expand
    from vpcore_cli.disk import disk_space
    from vpcore_cli.work import shared_work, stand_ins

    plan = plan_experiment(workspace, config, force=force, retry_failed=retry_failed)
    runs, todo = (list(plan.runs), list(plan.missing)) if plan is not None else ([], [])
    absent = [s for s in config.sessions if plan is None or s.dataset_id() in plan.absent]
    require_grid(workspace.plugins, config)
    lacking = without_data(workspace, config)
    space = disk_space(workspace, config.sessions)
    undecided, others = unfinished(config), stand_ins(config)
    added: list[
        Run
    ] = []  # runs on absent datasets, and stand-ins for the combinations of a search: their results are unknown
    if undecided and plan is not None:
        added += expand_sessions(workspace, others, open_sessions(workspace, config), signals=undecided)
    for session in absent:
        added += expand(config, workspace.plugins, (), session=session)
        if undecided:
            added += expand(others, workspace.plugins, (), session=session, signals=undecided)
    runs, todo = [*runs, *added], [*todo, *added]
    missing = {run.run_id: len(run.trials) for run in todo}
    n_trials, n_missing = sum(len(run.trials) for run in runs), sum(missing.values())
    rows = []
    for name in sorted({run.signal_name for run in runs}):
        mine = [run for run in runs if run.signal_name == name]
        left = sum(missing.get(run.run_id, 0) for run in mine)
        trials = sum(len(run.trials) for run in mine)
        open_ = {"undecided": undecided.get(name, 0) * config.n_sessions} if config.searched else {}
        rows.append(
            {"signal": name, "runs": len(mine), **open_, "rows": trials, "stored": trials - left, "to_compute": left}
        )
    shared = [asdict(level) for level in shared_work(todo)] if todo else []
    if json:
        emit_json(
            {
                "experiment": config.name,
                "dataset_id": config.dataset_id if len(config.sessions) == 1 else None,
                "dataset_ids": list(config.dataset_ids),
                "dataset_exists": not absent,
                "absent": [session.dataset_id() for session in absent],
                "disk": space.plain(),
                "without_data": lacking,
                "n_runs": len(runs),
                "n_trials": n_trials,
                "n_stored": n_trials - n_missing,
                "n_to_compute": n_missing,
                "signals": rows,
                "shared": shared,
            }
        )
        _stop_if(lacking)
        return
    emit_table(rows, list(rows[0]), title=config.name)
    if shared:
        print()
        emit_table(shared, ("name", "made", "unshared"), title="What is left, and what it would be with nothing shared")
    for session in config.sessions:
        say(f"Dataset {session.dataset_id()} {'would be generated first' if session in absent else 'is there'}.")
    if config.engines:
        axes = ", ".join(config.engine_axes)
        say(f"{len(config.engines)} engines ({axes}) x {config.n_sessions} sessions: {len(config.sessions)} datasets.")
    say(space.words())
    for name, search in searches_of(config).items():
        say(_searching(name, search, undecided.get(name, 0)))
    say(f"{n_missing} of {n_trials} rows are left to compute.")
    _stop_if(lacking)


def _stop_if(lacking: list[str]) -> None:
    """Name the sessions that lack data, and exit like ``vp run``."""
    for text in lacking:
        say(f"Error: {text}")
    if lacking:
        raise typer.Exit(EXIT_INPUT)


def _searching(name: str, search: Search, undecided: int) -> str:
    text = (
        f"Of {search.n_points:,} combinations of {name} {search.sampler} proposes {search.n:,}, {search.round} at a "
        "time"
    )
    if not undecided:
        return f"{text}; all of them are known."
    return (
        f"{text}, from the results of those before: {undecided:,} are decided on the way. Here as many others, drawn "
        "at random, stand in their place, as if none were stored."
    )


def _rank(workspace: Workspace, config: ExperimentConfig, report: SweepReport, name: str, json: bool) -> None:
    from vpcore.experiment.leaderboard import leaderboard
    from vpcore_cli.compare import View, evidence_json, show
    from vpcore_cli.tables import ranked

    board = leaderboard(workspace, config)
    if json:
        rows = board.rows()
        emit_json(
            {
                **report.summary(),
                "sort": board.select,
                "best": ranked(rows.head(10), rows.head(10)),
                **evidence_json(board, rows),
            }
        )
        return
    show(board, View(limit=10))
    say(f"More: vp compare {name}")
