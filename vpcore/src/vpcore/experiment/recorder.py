"""Store the workers' results, then call hooks and the tracker."""

from __future__ import annotations

import platform
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import polars as pl

from vpcore.config import ExperimentConfig
from vpcore.experiment.plan import Plan
from vpcore.experiment.progress import Leader
from vpcore.experiment.reporting import Reporter
from vpcore.experiment.runs import Run
from vpcore.experiment.worker import Outcome, key_columns
from vpcore.results import MarketWindow, runs_frame
from vpcore.tracker import Tracker

if TYPE_CHECKING:
    from vpcore.workspace import Workspace

STORE_SECONDS = 1.0
"""Finished runs are stored at least this often, so that a crash loses little and parts stay few."""

STORE_ROWS = 50_000


@dataclass(slots=True)
class SweepReport:
    """Outcome of an experiment.

    Attributes
    ----------
    experiment : str
    dataset_ids : list of str
        One per session, in order of time.
    run_ids : list of str
        All runs of the experiment, stored before or now.
    n_trials, n_reused, n_computed, n_failed : int
        Trials of the experiment; in the results before; evaluated now; of runs that failed now.
    n_silent : int
        Runs evaluated now without a value in any open bin: nothing was proved of them.
    n_failed_before : int
        Trials of earlier failed runs, which stayed as they were.
    failed_before : list of str
        Those runs.
    failures : list of (run id, signal, error)
    tracker_failures : list of str
    hook_failures : int
    warnings : tuple of str
        Of the dataset's generation.
    stopped : bool
        `fail_fast` ended it.
    elapsed_seconds : float
    """

    experiment: str
    dataset_ids: list[str]
    run_ids: list[str] = field(default_factory=list)
    n_trials: int = 0
    n_reused: int = 0
    n_computed: int = 0
    n_failed: int = 0
    n_silent: int = 0
    n_failed_before: int = 0
    failed_before: list[str] = field(default_factory=list)
    failures: list[tuple[str, str, str]] = field(default_factory=list)
    tracker_failures: list[str] = field(default_factory=list)
    hook_failures: int = 0
    warnings: tuple[str, ...] = ()
    stopped: bool = False
    elapsed_seconds: float = 0.0

    @property
    def dataset_id(self) -> str | None:
        """Id of the dataset of an experiment on one session, else None."""
        return self.dataset_ids[0] if len(self.dataset_ids) == 1 else None

    def take(self, plan: Plan) -> None:
        """Take in a plan: its work and its stored rows."""
        self.run_ids += [run.run_id for run in plan.runs]
        self.n_trials += plan.n_trials
        self.n_reused += plan.n_trials - plan.n_missing
        self.n_failed_before += plan.n_failed
        self.failed_before += plan.failed

    def summary(self) -> dict[str, Any]:
        """Return the report as JSON holds it."""
        return {**asdict(self), "dataset_id": self.dataset_id, "warnings": list(self.warnings)}


def failed_outcome(run: Run, error: str) -> Outcome:
    """Return the outcome of a run whose evaluation was skipped."""
    return Outcome(run.run_id, key_columns(run.trials), error, None, time.time(), 0.0)


class Keeper:
    """Stores results as they arrive, then calls hooks and the tracker.

    Attributes
    ----------
    total : int
        Rows to compute, future rounds included.
    """

    def __init__(self, workspace: Workspace, config: ExperimentConfig, tracker: Tracker, report: SweepReport) -> None:
        self.workspace = workspace
        self.config = config
        self.reporter = Reporter(workspace, config, tracker, report.tracker_failures)
        self.report = report
        self.leader = Leader(config)
        self.runs: dict[str, Run] = {}
        self.total = 0
        self._asked = 0
        self._started: set[str] = set()
        self._waiting: list[tuple[dict[str, Any], pl.DataFrame]] = []
        self._stored_at = time.monotonic()
        self._sessions = {session.dataset_id(): session for session in config.sessions}
        self._listened = any("vp_run_stored" in plugin.hooks for plugin in workspace.plugins.loaded)

    def take(self, plan: Plan, to_come: int) -> None:
        """Take in a plan and the estimated number of rows after it."""
        self.leader.look_up(self.workspace, plan)
        self.runs |= {run.run_id: run for run in plan.missing}
        self._asked += plan.n_missing
        self.total = self._asked + to_come

    def started(self, *run_ids: str) -> None:
        """Tell hooks, once per run, that its work is handed over."""
        for run_id in run_ids:
            if run_id in self._started:
                continue
            self._started.add(run_id)
            self._notify("vp_run_started", self.runs[run_id].meta, meta=self.runs[run_id].meta)

    def add(self, outcomes: Iterable[Outcome]) -> None:
        """Take outcomes in; they are stored now or soon."""
        for outcome in outcomes:
            frame = runs_frame(outcome.run_id, outcome.columns)
            self._waiting.append((self._meta(outcome), frame))
            self.report.n_computed += frame.height
            self.leader.see(outcome.run_id, self.runs[outcome.run_id].signal_name, outcome.columns)
            silent = outcome.error is None and not outcome.columns["n_values"].any()
            self.report.n_silent += silent
            if outcome.error is not None:
                self.report.n_failed += frame.height
                name = self.runs[outcome.run_id].signal_name
                self.report.failures.append((outcome.run_id, name, outcome.error))
        rows = sum(frame.height for _, frame in self._waiting)
        if rows >= STORE_ROWS or time.monotonic() - self._stored_at >= STORE_SECONDS:
            self.flush()

    def _meta(self, outcome: Outcome) -> dict[str, Any]:
        started = datetime.fromtimestamp(outcome.started, UTC)
        return {
            **self.runs[outcome.run_id].meta,
            "host": platform.node(),
            "started_utc": started,
            "finished_utc": datetime.fromtimestamp(outcome.started + outcome.elapsed, UTC),
            "elapsed_seconds": outcome.elapsed,
            "status": "ok" if outcome.error is None else "failed",
            "error": outcome.error,
            "traceback": outcome.traceback,
        }

    def flush(self) -> None:
        """Store the waiting outcomes as one batch, then report them."""
        waiting, self._waiting = self._waiting, []
        self._stored_at = time.monotonic()
        if not waiting:
            return
        metas = [meta for meta, _ in waiting]
        windows = {meta["dataset_id"]: self._window(meta) for meta in metas}
        self.workspace.results.write(metas, pl.concat([frame for _, frame in waiting]), windows)
        for meta, frame in waiting:
            if meta["status"] == "ok" and self._listened:
                self._notify("vp_run_stored", meta, rows=frame.to_dicts(), meta=meta)
            self._notify("vp_run_finished", meta, status=meta["status"], error=meta["error"])
        self.reporter.report(metas)

    def _window(self, meta: Mapping[str, Any]) -> MarketWindow:
        session = self._sessions[meta["dataset_id"]]
        n_bins = session.n_bins if meta["end_bin"] is None else meta["end_bin"]
        return MarketWindow(session.instrument.root, session.start_ns, session.start_ns + n_bins * session.width_ns)

    def _notify(self, hook: str, about: Mapping[str, Any], **arguments: Any) -> None:
        self.workspace.plugins.notify(
            hook, workspace=self.workspace, experiment=self.config.name, run_id=about["run_id"], **arguments
        )
