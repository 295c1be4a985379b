"""Report stored runs to a tracker. Its errors are collected and shown; the results stay safe."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from vpcore.canonical import canonical_json
from vpcore.config import ExperimentConfig
from vpcore.config.serialize import pipeline_block
from vpcore.errors import ConfigError, lack_of_system
from vpcore.experiment.runs import experiment_block
from vpcore.experiment.worker import describe
from vpcore.inference.ranking import COMPUTED
from vpcore.results import ROW_KEY, RUNS, VECTORS
from vpcore.signal import DIAGNOSTICS, MODELS, read_diagnostics
from vpcore.tracker import NoTracker, Tracker

if TYPE_CHECKING:
    from vpcore.experiment.leaderboard import Leaderboard
    from vpcore.workspace import Workspace

GIVE_UP_AFTER = 3
"""Failures in a row after which a tracker is left alone: one that is down may take seconds to say so, every time."""

_FOLDERS = {"models": MODELS, "diagnostics": DIAGNOSTICS}
_FIGURES = [name for name in RUNS if name not in (*VECTORS, "batch_id")]


def make_tracker(workspace: Workspace, config: ExperimentConfig, name: str) -> Tracker:
    """Make a tracker by its name; its errors pass through.

    Raises
    ------
    ConfigError
        If the tracker writes files into the lake, and the lake is on an object store.
    """
    make = workspace.plugins.load("tracker", name)
    if make.needs_folder() and not workspace.folder(workspace.harness_dir).is_local:
        raise ConfigError(
            f"Tracker '{name}' appends to a file of the lake, which {workspace.storage!r} cannot hold",
            where="tracking.backend",
            fix="Name a server that all machines reach (MLFLOW_TRACKING_URI), or set tracking.backend: none.",
        )
    tracker: Tracker = make(folder=workspace.harness_dir, experiment_name=config.tracking_experiment, tags=config.tags)
    return tracker


class Reporter:
    """Reports runs of one experiment to a tracker.

    Parameters
    ----------
    workspace, config, tracker
        Place of the runs, their experiment, and the tracker.
    failures : list of str, optional
        Where failures are added.

    Attributes
    ----------
    failures : list of str
        Failures, one text each.
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

    def report(self, metas: Sequence[Mapping[str, Any]], board: Leaderboard | None = None) -> None:
        """Report runs, given by their rows of `runs_meta`, with all their stored rows.

        With `board`, rows have the figures that depend on other rows too. While an experiment runs these are unknown.
        """
        if isinstance(self.tracker, NoTracker) or self._in_a_row >= GIVE_UP_AFTER or not metas:
            return
        if not self._introduced:
            self._introduced = True
            self._introduce()
        ids = [meta["run_id"] for meta in metas]
        rows = self.workspace.results.query_runs(run_id=ids, status=None)
        names = list(_FIGURES)
        if board is not None:
            figures = board.ranking.select(*ROW_KEY, *COMPUTED).cast({"run_id": pl.String})
            rows = rows.join(figures, on=list(ROW_KEY), how="left")
            names += COMPUTED
        rows = rows.sort(ROW_KEY)
        for meta in map(self._with_engine, metas):
            mine = rows.filter(pl.col("run_id") == meta["run_id"]).select(names).to_dicts()
            try:
                self.tracker.log_run(meta, mine, self.config.select_metric)
                looks = read_diagnostics(self.workspace.results_dir / DIAGNOSTICS / meta["run_id"])
                if looks:
                    self.tracker.log_diagnostics(meta, looks)
                if files := self._files_of(meta["run_id"]):
                    self.tracker.log_files(self.config.name, meta["run_id"], files)
            except Exception as error:
                self._failed(f"run {meta['run_id']}", error)
                if self._in_a_row >= GIVE_UP_AFTER:
                    self.failures.append(f"after {GIVE_UP_AFTER} failures in a row nothing more was sent")
                    return
            else:
                self.n_reported += 1
                self._in_a_row = 0

    def _with_engine(self, meta: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return a row of `runs_meta` with the engine parameters of its dataset, if the experiment varies them."""
        if not self.config.engines:
            return meta
        engine = self.config.on_engine_of(meta["dataset_id"]).pipeline.params.model_dump(mode="json")
        return {**meta, "pipeline_json": canonical_json(engine).decode()}

    def _files_of(self, run_id: str) -> dict[str, Path]:
        """Return the models and diagnostics of a learning signal's run."""
        found: dict[str, Path] = {}
        for kind, name in _FOLDERS.items():
            if kind not in self.config.tracking_files:
                continue
            folder = (self.workspace.results.folder / name / run_id).here(anew=True)
            paths = sorted(path for path in folder.rglob("*") if path.is_file())
            # What begins with a dot is being written.
            parts = {path: path.relative_to(folder).parts for path in paths}
            found |= {
                "/".join((kind, *parts[path])): path
                for path in paths
                if not any(part.startswith(".") for part in parts[path])
            }
        return found

    @property
    def sends_files(self) -> bool:
        """True if the tracker takes the files that plugins write at the end of the experiment."""
        takes = type(self.tracker).log_files is not Tracker.log_files
        return takes and "report" in self.config.tracking_files and self.n_reported > 0 and not self.failures

    def finish(self, config: ExperimentConfig, run_ids: Sequence[str]) -> None:
        """Call `vp_experiment_finished`, give the tracker the files that plugins wrote there, and close the tracker.

        Parameters
        ----------
        config : ExperimentConfig
            With every combination that was proposed.
        run_ids : sequence of str
            The runs of the experiment.
        """
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            self.workspace.plugins.notify(
                "vp_experiment_finished",
                workspace=self.workspace,
                experiment=config.name,
                config=config,
                run_ids=tuple(run_ids),
                folder=folder if self.sends_files else None,
            )
            found = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}
            try:
                if found:
                    self.tracker.log_files(config.name, None, found)
            except Exception as error:
                self._failed(", ".join(found), error)
        try:
            self.tracker.close()
        except Exception as error:
            self._failed("when it was closed", error)

    def _introduce(self) -> None:
        """Report the experiment's question to the tracker."""
        specs: dict[str, Any] = {
            "experiment": experiment_block(self.config),
            "serving": {"name": self.config.serving_name, "projection": self.config.projection.model_dump(mode="json")},
            "pipeline": pipeline_block(self.config.pipeline),
        }
        if self.config.sessions != (self.config.pipeline,):
            specs["sessions"] = [pipeline_block(session) for session in self.config.sessions]
        if self.config.engines:
            specs["engine_axes"] = list(self.config.engine_axes)
        try:
            self.tracker.log_experiment(self.config.name, specs)
        except Exception as error:
            self._failed("the experiment's specs", error)

    def _failed(self, what: str, error: Exception) -> None:
        self._in_a_row += 1
        self.failures.append(f"{what}: {lack_of_system(str(error)) or describe(error)}")
