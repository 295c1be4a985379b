"""Progress of a running experiment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from vpcore.backtest.trial import Trial
from vpcore.config import ExperimentConfig
from vpcore.experiment.plan import Plan

if TYPE_CHECKING:
    from vpcore.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Best:
    """The best row so far with enough trades, by the `select` figure of the experiment."""

    metric: str
    value: float
    signal: str
    run_id: str
    trial: Trial


@dataclass(frozen=True, slots=True)
class SweepProgress:
    """Progress of an experiment.

    Attributes
    ----------
    stage : {"dataset", "proof", "run", "report"}
    done, total : float
        Datasets, with fractions; proven signals; computed trials; reports. A search counts its future rounds in the
        total, at full size.
    failed : int
        Trials of runs that failed.
    reused : int
        Trials that were stored before.
    best : Best or None
    sessions : tuple of str
        Sessions whose datasets are in work.
    """

    stage: Literal["dataset", "proof", "run", "report"]
    done: float
    total: float
    failed: int = 0
    reused: int = 0
    best: Best | None = None
    sessions: tuple[str, ...] = ()


class Leader:
    """Keeps the best row; of equal rows the first. It is for display only."""

    def __init__(self, config: ExperimentConfig) -> None:
        self.metric = config.select_metric
        self.min_signals = config.min_signals
        self.best: Best | None = None

    def look_up(self, workspace: Workspace, plan: Plan) -> None:
        """Take in the best of the rows that were stored before."""
        left = {(run.run_id, trial) for run in plan.missing for trial in run.trials}
        keys = [(run.run_id, trial) for run in plan.runs for trial in run.trials if (run.run_id, trial) not in left]
        if not keys:
            return
        found = workspace.results.query_best(self.metric, min_signals=self.min_signals, limit=1, keys=keys)
        for row in found.iter_rows(named=True):
            if row[self.metric] is not None and row[self.metric] > (self.best.value if self.best else -np.inf):
                trial = Trial(*(row[name] for name in Trial._fields))
                self.best = Best(self.metric, row[self.metric], row["signal_name"], row["run_id"], trial)

    def see(self, run_id: str, signal: str, columns: dict[str, Any]) -> None:
        """Take in the rows of a run, as `vpcore.backtest.metrics.trial_figures` gives them."""
        if self.metric not in columns:  # the run failed
            return
        figures = np.asarray(columns[self.metric], dtype=np.float64)
        traded = columns["n_signals"] - columns["n_dropped"] >= self.min_signals
        figures = np.where(traded & ~np.isnan(figures), figures, -np.inf)
        i = int(np.argmax(figures)) if len(figures) else 0
        if len(figures) and figures[i] > (self.best.value if self.best is not None else -np.inf):
            trial = Trial(*(columns[name][i].item() for name in Trial._fields))
            self.best = Best(self.metric, float(figures[i]), signal, run_id, trial)
