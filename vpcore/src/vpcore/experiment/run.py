"""Run an experiment: resolve, generate missing datasets, prove, evaluate, store, report."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import BrokenExecutor
from contextlib import ExitStack, closing
from dataclasses import replace
from typing import TYPE_CHECKING

from vpcore.config import ExperimentConfig, ExperimentSpec
from vpcore.config.grid import require_grid
from vpcore.dataset import Dataset
from vpcore.errors import VpError
from vpcore.executor import Executor
from vpcore.experiment.adaptive_search import Searches, require_samplers, with_proposals
from vpcore.experiment.causality import PROOFS, pass_gate
from vpcore.experiment.dispatch import dispatch
from vpcore.experiment.plan import Plan, make_plan, tasks
from vpcore.experiment.preflight import require_data
from vpcore.experiment.progress import SweepProgress
from vpcore.experiment.recorder import Keeper, SweepReport, failed_outcome
from vpcore.experiment.reporting import Reporter, make_tracker
from vpcore.experiment.reserve import declare_reserve, open_session, open_sessions
from vpcore.experiment.runs import Run, expand
from vpcore.experiment.sessions import generate_sessions
from vpcore.experiment.worker import DatasetUnseen, Outcome, Task, describe, run_task
from vpcore.experiment.workers import check_workers, make_pool
from vpcore.generation.fills import fill_table, fills_tag
from vpcore.signal import DIAGNOSTICS, MODELS, require_importable
from vpcore.tracker import NoTracker, Tracker

if TYPE_CHECKING:
    from vpcore.workspace import Workspace

Experiment = str | os.PathLike[str] | ExperimentSpec | ExperimentConfig


def harness_config(workspace: Workspace, experiment: Experiment) -> ExperimentConfig:
    """Return the flat configuration of an experiment, given by name, path, spec or as it is.

    Includes the combinations proposed so far. An `ExperimentConfig` is returned unchanged.
    """
    if isinstance(experiment, ExperimentConfig):
        return experiment
    return with_proposals(workspace, workspace.experiment(experiment).to_harness_config())  # type: ignore[arg-type]


def plan_experiment(
    workspace: Workspace, experiment: Experiment, *, force: bool = False, retry_failed: bool = False
) -> Plan | None:
    """Return the stored and the remaining work of an experiment; None before its first dataset exists.

    Reads only. `Plan.absent` names the missing datasets.
    """
    config = harness_config(workspace, experiment)
    absent = tuple(name for name in config.dataset_ids if not workspace.datasets.exists(name))
    if len(absent) == len(config.dataset_ids):
        return None
    runs = runs_of(workspace, config)
    return replace(make_plan(runs, workspace.results, force=force, retry_failed=retry_failed), absent=absent)


def runs_of(workspace: Workspace, config: ExperimentConfig) -> tuple[Run, ...]:
    """Return the runs of an experiment on the sessions whose datasets have been generated."""
    return expand_sessions(workspace, config, open_sessions(workspace, config))


def expand_sessions(
    workspace: Workspace,
    config: ExperimentConfig,
    datasets: Sequence[Dataset],
    *,
    signals: Collection[str] | None = None,
) -> tuple[Run, ...]:
    """Return the runs of an experiment, of all or of some signals, session by session."""
    of = {session.dataset_id(): session for session in config.sessions}
    return tuple(
        run
        for dataset in datasets
        for run in expand(
            config,
            workspace.plugins,
            dataset.source_digests,
            dataset,
            session=of[dataset.dataset_id],
            signals=signals,
        )
    )


def run_experiment(
    workspace: Workspace,
    experiment: Experiment,
    *,
    force: bool = False,
    retry_failed: bool = False,
    fail_fast: bool = False,
    max_workers: int | None = None,
    executor: str | None = None,
    on_progress: Callable[[SweepProgress], None] = lambda progress: None,
) -> SweepReport:
    """Compute and store the missing rows of an experiment.

    A run that raises is stored with its error and the others go on. Finished runs are stored about once a second, so
    that an interruption loses little; running again computes the rest.

    Parameters
    ----------
    workspace : Workspace
        Where everything is.
    experiment : str, path, ExperimentSpec or ExperimentConfig
        Experiment to run.
    force : bool
        Compute again what is stored.
    retry_failed : bool
        Compute the failed rows again.
    fail_fast : bool
        Stop at the first run that fails.
    max_workers : int, optional
        Instead of the experiment's own.
    executor : str, optional
        Name of an executor, instead of the experiment's own. Its options: `ExperimentConfig.with_executor`.
    on_progress : callable
        Called with a `SweepProgress`.

    Returns
    -------
    SweepReport

    Raises
    ------
    CausalityError
        If a signal looks ahead, or streaming and batch differ. The evaluation stops.
    ConfigError, PluginError, DatasetError, SourceError, StorageError
        As the stages say.
    """
    began = time.perf_counter()
    config = harness_config(workspace, experiment).with_executor(executor, max_workers)
    workspace.plugins.load("executor", config.executor)  # one that is missing is noticed at once
    report = SweepReport(config.name, list(config.dataset_ids))
    tracker: Tracker | None = None
    if not all(workspace.datasets.exists(name) for name in config.dataset_ids):
        # A tracker or a sampler that is not installed shall not be noticed after the generation.
        tracker = _tracker(workspace, config, report)
        require_samplers(workspace, config)
    require_grid(workspace.plugins, config)
    require_data(workspace, config)
    report.warnings += tuple(declare_reserve(workspace, config))
    with ExitStack() as opened:
        pool: Executor | None = None

        def the_pool() -> Executor:
            nonlocal pool
            if pool is None:
                pool = make_pool(workspace, config)
                opened.enter_context(pool)
            return pool

        datasets = _datasets(workspace, config, report, the_pool, on_progress)
        searches = Searches(workspace, config, datasets)
        config = searches.config
        require_samplers(workspace, config)
        failed_hooks = len(workspace.plugins.hook_failures)
        keeper: Keeper | None = None
        for plan in _plans(workspace, searches, datasets, force, retry_failed):
            report.take(plan)
            if plan.missing:
                if keeper is None:
                    tracker = tracker or _tracker(workspace, config, report)
                    workers = the_pool()
                    keeper = Keeper(workspace, config, tracker, report)
                    fills = _fill_tables(workspace, config, datasets)
                keeper.take(plan, searches.rows_to_come(plan))
                if not workers.in_process:
                    for run in plan.missing:
                        require_importable(type(run.signal))
                _work(keeper, plan, workers, datasets, fills, fail_fast, on_progress)
            if report.stopped:
                break
    if keeper is not None:
        reporter = keeper.reporter
    else:
        reporter = Reporter(workspace, config, tracker or _no_tracker(workspace, config), report.tracker_failures)
    if reporter.sends_files:
        on_progress(SweepProgress("report", 0.0, 1.0))
    reporter.finish(with_proposals(workspace, config), report.run_ids)
    report.hook_failures = len(workspace.plugins.hook_failures) - failed_hooks
    report.elapsed_seconds = time.perf_counter() - began
    return report


def _plans(
    workspace: Workspace, searches: Searches, datasets: Sequence[Dataset], force: bool, retry_failed: bool
) -> Iterator[Plan]:
    """Yield the work; of a search, each round after its predecessor is stored."""
    searches.ask(first=True)
    config, asked = searches.config, None
    seen: set[str] = set()
    while asked is None or asked:
        # A round is planned by itself: what was computed before it shall not be computed again by force.
        found = expand_sessions(workspace, config, datasets, signals=asked)
        runs = [run for run in found if run.run_id not in seen]
        seen |= {run.run_id for run in runs}
        yield make_plan(runs, workspace.results, force=force, retry_failed=retry_failed)
        searches.learn(runs)
        asked = searches.ask()
        config = config.with_proposed(asked)


def _datasets(
    workspace: Workspace,
    config: ExperimentConfig,
    report: SweepReport,
    make: Callable[[], Executor],
    on_progress: Callable[[SweepProgress], None],
) -> list[Dataset]:
    """Return the datasets of all sessions, generated where they are missing, in order of time."""
    warnings: dict[str, tuple[str, ...]] = {}
    for session, made, _ in generate_sessions(workspace, config, make, on_progress):
        warnings[session.dataset_id()] = made.warnings
    several = len(config.sessions) > 1
    for session in config.sessions:
        for text in warnings[session.dataset_id()]:
            report.warnings += (f"{config.label_of(session)}: {text}" if several else text,)
    return [open_session(workspace, config, session) for session in config.sessions]


def _work(
    keeper: Keeper,
    plan: Plan,
    pool: Executor,
    datasets: Sequence[Dataset],
    fills: Mapping[str, str],
    fail_fast: bool,
    on_progress: Callable[[SweepProgress], None],
) -> None:
    """Prove, evaluate and store. Finished work is stored before this returns or raises."""
    workspace, report = keeper.workspace, keeper.report
    check_workers(pool, workspace.datasets, [dataset.dataset_id for dataset in datasets])
    folder = workspace.results.folder / PROOFS
    began = report.n_computed > 0

    def proving(done: int, total: int) -> None:
        if not began:  # between two rounds the count of rows stays in sight
            on_progress(SweepProgress("proof", done, total))

    def show() -> None:
        done, best = report.n_computed, keeper.leader.best
        on_progress(SweepProgress("run", done, keeper.total, report.n_failed, report.n_reused, best))

    refused = pass_gate(plan.missing, folder, pool, proving)

    try:
        for run in plan.missing:
            if run.run_id in refused:
                keeper.started(run.run_id)
                keeper.add([failed_outcome(run, refused[run.run_id])])
        if fail_fast and refused:
            report.stopped = True
            return
        left = [run for run in plan.missing if run.run_id not in refused]
        models, looks = (workspace.results.folder / name for name in (MODELS, DIAGNOSTICS))
        work = [
            replace(
                task,
                models=models,
                diagnostics=looks,
                proofs=folder,
                extent=keeper.config.diagnostics,
                keep_mb=keeper.config.keep_mb,
                timeout_seconds=keeper.config.timeout_seconds,
                fills_tag=fills.get(task.dataset_id, ""),
            )
            for task in tasks(left, workspace.datasets, pool.max_workers)
        ]
        show()
        died = _run_all(keeper, pool, work, fail_fast, show)
        # Which run of a task its worker died of is only seen when each has a worker to itself; where a death is held
        # against what merely waited there, nothing else may wait.
        alone = [replace(task, items=(item,)) for task in died for item in task.items]
        at_once = None if pool.isolates else 1
        if not report.stopped:
            _run_all(keeper, pool, alone, fail_fast, show, at_once=at_once)
    finally:
        keeper.flush()


def _fill_tables(workspace: Workspace, config: ExperimentConfig, datasets: Sequence[Dataset]) -> dict[str, str]:
    """Make the fill tables of makers and return their tags in the cache, by dataset; nothing for takers."""
    if config.eval.entry == "taker":
        return {}
    for dataset in datasets:
        fill_table(workspace, dataset)
    return {dataset.dataset_id: fills_tag(dataset) for dataset in datasets}


def _run_all(
    keeper: Keeper,
    pool: Executor,
    work: Sequence[Task],
    fail_fast: bool,
    show: Callable[[], None],
    *,
    at_once: int | None = None,
) -> list[Task]:
    """Run tasks; return the tasks whose worker died while it held several.

    Raises
    ------
    DatasetUnseen
        If a worker fails to open the dataset, which concerns all runs.
    PluginError
        If the executor is lost.
    """

    def announce(index: int) -> None:
        keeper.started(*(item.run_id for item in work[index].items))

    died = []
    isolated = at_once == 1 or pool.isolates
    with closing(dispatch(pool, run_task, [(task,) for task in work], announce, at_once=at_once)) as results:
        for index, result in results:
            task = work[index]
            if isinstance(result, DatasetUnseen):
                raise result
            exact = isolated and len(task.items) == 1
            if isinstance(result, BrokenExecutor) and not exact:
                died.append(task)
                continue
            keeper.add(_outcomes(keeper, task, result))
            show()
            if fail_fast and keeper.report.n_failed:
                keeper.report.stopped = True
                break
    return died


def _outcomes(keeper: Keeper, task: Task, result: list[Outcome] | BaseException) -> list[Outcome]:
    if isinstance(result, BaseException):
        return [failed_outcome(keeper.runs[item.run_id], describe(result)) for item in task.items]
    return result


def _tracker(workspace: Workspace, config: ExperimentConfig, report: SweepReport) -> Tracker:
    """Make the tracker. A missing tracker raises; a silent server becomes a reported failure."""
    try:
        return make_tracker(workspace, config, config.tracker)
    except VpError:
        raise
    except Exception as error:
        report.tracker_failures.append(f"'{config.tracker}' could not be opened: {describe(error)}")
        return _no_tracker(workspace, config)


def _no_tracker(workspace: Workspace, config: ExperimentConfig) -> NoTracker:
    return NoTracker(folder=workspace.harness_dir, experiment_name=config.tracking_experiment, tags=config.tags)
