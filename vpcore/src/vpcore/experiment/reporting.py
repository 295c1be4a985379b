"""Telling a tracker of stored runs. What it raises is kept and shown, and loses nothing."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from vpcore.config import ExperimentConfig
from vpcore.config.serialize import pipeline_block
from vpcore.experiment.runs import experiment_block
from vpcore.experiment.worker import describe
from vpcore.results import ROW_KEY, RUNS, VECTORS
from vpcore.signal import DIAGNOSTICS, MODELS
from vpcore.tracker import NoTracker, Tracker

if TYPE_CHECKING:
    from vpcore.workspace import Workspace

GIVE_UP_AFTER = 3
"""Failures in a row after which a tracker is left alone: one that is down may take seconds to say so, every time."""

REPORT = "report.html"

_FOLDERS = {"models": MODELS, "diagnostics": DIAGNOSTICS}
_FIGURES = [name for name in RUNS if name not in (*VECTORS, "batch_id")]


WriteReport = Callable[[Path], bool]
"""Writes the report of an experiment to a path; whether there was anything to report."""


def make_tracker(workspace: Workspace, config: ExperimentConfig, name: str) -> Tracker:
    """Make a tracker by its name; what it raises is not caught."""
    make = workspace.plugins.load("tracker", name)
    tracker: Tracker = make(folder=workspace.harness_dir, experiment_name=config.tracking_experiment, tags=config.tags)
    return tracker


class Reporter:
    """Reports runs of one experiment to a tracker.

    Parameters
    ----------
    workspace, config, tracker
        Where the runs are, whose they are, and who is told.
    failures : list of str, optional
        Where failures are added.

    Attributes
    ----------
    failures : list of str
        What went wrong, one text each.
    n_reported : int
        Runs that the tracker took.
    """

    def __init__(
        self, workspace: Workspace, config: ExperimentConfig, tracker: Tracker, failures: list[str] | None = None
    ) -> None:
        self.workspace = workspace
        self.config = config
        self.tracker = tracker
        self.failures: list[str] = failures if failures is not None else []
        self.n_reported = 0
        self._introduced = False
        self._in_a_row = 0

    def report(self, metas: Sequence[Mapping[str, Any]]) -> None:
        """Report runs, given by their rows of `runs_meta`, with every stored row of theirs."""
        if isinstance(self.tracker, NoTracker) or self._in_a_row >= GIVE_UP_AFTER or not metas:
            return
        if not self._introduced:
            self._introduced = True
            self._introduce()
        ids = [meta["run_id"] for meta in metas]
        rows = self.workspace.results.query_runs(run_ids=ids, status=None).sort(ROW_KEY)
        for meta in metas:
            mine = rows.filter(pl.col("run_id") == meta["run_id"]).select(_FIGURES).to_dicts()
            try:
                self.tracker.log_run(meta, mine, self.config.select_metric)
                self._send(meta["run_id"], self._files_of(meta["run_id"]))
            except Exception as error:
                self._failed(f"run {meta['run_id']}", error)
                if self._in_a_row >= GIVE_UP_AFTER:
                    self.failures.append(f"after {GIVE_UP_AFTER} failures in a row nothing more was sent")
                    return
            else:
                self.n_reported += 1
                self._in_a_row = 0

    def _send(self, run_id: str | None, files: Mapping[str, Path]) -> None:
        """Give files to a tracker that takes them (`log_files` is optional)."""
        take = getattr(self.tracker, "log_files", None)
        if take is not None and files:
            take(self.config.name, run_id, files)

    def _files_of(self, run_id: str) -> dict[str, Path]:
        """Return what a learning signal has left of a run beside its rows."""
        found: dict[str, Path] = {}
        for kind, name in _FOLDERS.items():
            if kind not in self.config.tracking_files:
                continue
            folder = self.workspace.results_dir / name / run_id
            paths = sorted(path for path in folder.rglob("*") if path.is_file())
            # What begins with a dot is being written.
            parts = {path: path.relative_to(folder).parts for path in paths}
            found |= {
                "/".join((kind, *parts[path])): path
                for path in paths
                if not any(part.startswith(".") for part in parts[path])
            }
        return found

    def finish(self, write_report: WriteReport | None) -> None:
        """Give a tracker that takes files the report of the experiment, if it took everything else, and close it."""
        if write_report is not None and self.n_reported and not self.failures:
            self._send_report(write_report)
        try:
            self.tracker.close()
        except Exception as error:
            self._failed("when it was closed", error)

    def _send_report(self, write_report: WriteReport) -> None:
        if "report" not in self.config.tracking_files or not hasattr(self.tracker, "log_files"):
            return
        try:
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / REPORT
                if write_report(path):
                    self._send(None, {REPORT: path})
        except Exception as error:
            self._failed("the report", error)

    def _introduce(self) -> None:
        """Tell a tracker that wants to know (`log_experiment` is optional) what the experiment asks."""
        introduce = getattr(self.tracker, "log_experiment", None)
        if introduce is None:
            return
        specs: dict[str, Any] = {
            "experiment": experiment_block(self.config),
            "serving": {"name": self.config.serving_name, "projection": self.config.projection.model_dump(mode="json")},
            "pipeline": pipeline_block(self.config.pipeline),
        }
        if self.config.sessions != (self.config.pipeline,):
            specs["sessions"] = [pipeline_block(session) for session in self.config.sessions]
        try:
            introduce(self.config.name, specs)
        except Exception as error:
            self._failed("the experiment's specs", error)

    def _failed(self, what: str, error: Exception) -> None:
        self._in_a_row += 1
        self.failures.append(f"{what}: {describe(error)}")
