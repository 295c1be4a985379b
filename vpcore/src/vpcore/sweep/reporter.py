"""Telling a tracker of stored runs. What it raises is kept and shown, and loses nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import polars as pl

from vpcore.config import ExperimentConfig
from vpcore.config.block import pipeline_block
from vpcore.results import ROW_KEY, RUNS, VECTORS
from vpcore.sweep.expand import experiment_block
from vpcore.sweep.worker import describe
from vpcore.tracker import NoTracker, Tracker

if TYPE_CHECKING:
    from vpcore.workspace import Workspace

GIVE_UP_AFTER = 3
"""Failures in a row after which a tracker is left alone: one that is down may take seconds to say so, every time."""

_FIGURES = [name for name in RUNS if name not in (*VECTORS, "batch_id")]


class Reporter:
    """Reports runs of one experiment to a tracker.

    Attributes
    ----------
    failures : list of str
        What went wrong, one text per run.
    n_reported : int
        Runs that the tracker took.
    """

    def __init__(self, workspace: Workspace, config: ExperimentConfig, tracker: Tracker) -> None:
        self.workspace = workspace
        self.config = config
        self.tracker = tracker
        self.failures: list[str] = []
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
            except Exception as error:
                self._failed(f"run {meta['run_id']}", error)
                if self._in_a_row >= GIVE_UP_AFTER:
                    self.failures.append(f"after {GIVE_UP_AFTER} failures in a row nothing more was sent")
                    return
            else:
                self.n_reported += 1
                self._in_a_row = 0

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
