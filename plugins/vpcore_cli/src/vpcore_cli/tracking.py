"""Report stored results to a tracker later, for example after an outage."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl

from vpcore.config import ExperimentConfig
from vpcore.errors import ConfigError, PluginError, ResultsError, VpError
from vpcore.experiment.leaderboard import leaderboard
from vpcore.experiment.reporting import Reporter, make_tracker
from vpcore.experiment.run import Experiment, harness_config, runs_of
from vpcore.experiment.worker import describe
from vpcore.tracker import Tracker

if TYPE_CHECKING:
    from vpcore.workspace import Workspace

_PORTION = 200


@dataclass(frozen=True, slots=True)
class TrackReport:
    """Outcome of `track_experiment`.

    Attributes
    ----------
    experiment, tracker : str
    n_runs : int
        Stored runs of the experiment.
    n_reported : int
        Number of runs that the tracker took.
    failures : tuple of str
        Of the tracker, and of hooks at the end.
    """

    experiment: str
    tracker: str
    n_runs: int
    n_reported: int
    failures: tuple[str, ...]


def track_experiment(
    workspace: Workspace,
    experiment: Experiment,
    *,
    tracker: str | None = None,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> TrackReport:
    """Report every stored run of an experiment, each row with its evidence. A second call is a no-op.

    Parameters
    ----------
    workspace : Workspace
        Where they are stored.
    experiment : str, path, ExperimentSpec or ExperimentConfig
        Whose runs, as it is specified now.
    tracker : str, optional
        Name of a tracker, instead of the experiment's own.
    on_progress : callable
        Called with runs done and in all.

    Raises
    ------
    ConfigError
        If neither the experiment nor the call names a tracker.
    PluginError
        If the tracker is unknown, missing or silent.
    ResultsError
        If the results of the experiment are empty.
    """
    config = harness_config(workspace, experiment)
    name = tracker or config.tracker
    if name == "none":
        raise ConfigError(
            f"Experiment '{config.name}' names no tracker. Set tracking.backend in its spec, or write --tracker mlflow."
        )
    ids = [run.run_id for run in runs_of(workspace, config)]
    found = workspace.results.read(lambda: workspace.results.meta(pl.col("run_id").is_in(ids)).sort("run_id"))
    if found.is_empty():
        raise ResultsError(
            f"Nothing of experiment '{config.name}' is stored, so there is nothing to report. Run: vp run {config.name}"
        )
    # Runs may be shared: another experiment stored them, and here they are reported as this one's.
    metas = found.with_columns(experiment_name=pl.lit(config.name)).to_dicts()
    reporter = Reporter(workspace, config, open_tracker(workspace, config, name))
    board = leaderboard(workspace, config, per_session=True)
    for start in range(0, len(metas), _PORTION):
        reporter.report(metas[start : start + _PORTION], board)
        on_progress(min(start + _PORTION, len(metas)), len(metas))
    before = len(workspace.plugins.hook_failures)
    reporter.finish(config, found["run_id"].to_list())
    hooks = workspace.plugins.hook_failures[before:]
    failures = (*reporter.failures, *(f"{item.hook} of plugin '{item.plugin}': {item.error}" for item in hooks))
    return TrackReport(config.name, name, len(metas), reporter.n_reported, failures)


def open_tracker(workspace: Workspace, config: ExperimentConfig, name: str) -> Tracker:
    """Make a tracker.

    Raises
    ------
    PluginError
        If the tracker is unknown, missing or silent.
    """
    try:
        return make_tracker(workspace, config, name)
    except VpError:
        raise
    except Exception as error:
        raise PluginError(
            f"Tracker '{name}' could not be opened: {describe(error)}. The results are stored; try again when it "
            "answers."
        ) from error
