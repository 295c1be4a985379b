"""The steps of an experiment as functions for notebooks: file to dataset, dataset to rows, rows to trades."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy.typing as npt
import polars as pl

from vpcore.backtest import evaluate as backtest
from vpcore.backtest.session import Session
from vpcore.errors import DatasetError
from vpcore.experiment.leaderboard import RankedRow
from vpcore.experiment.run import Experiment, run_experiment
from vpcore.experiment.tables import session_of
from vpcore.experiment.trades import leaders_of, trades_of
from vpcore.generation.fills import fill_table
from vpcore.generation.generate import generate_dataset
from vpcore.rules import TradeRules
from vpcore.scoring import CHANNELS, ScoringConfig, score_arrays
from vpcore.workspace import Workspace

if TYPE_CHECKING:
    from vpcore.config import PipelineSpec
    from vpcore.dataset import Dataset
    from vpcore.experiment.recorder import SweepReport
    from vpcore.signal import SignalResult
    from vpcore.signal.conformance.check import CheckReport


def generate(workspace: Workspace, pipeline: str | Path | PipelineSpec) -> Dataset:
    """Generate a pipeline's dataset and return it. An existing dataset is verified and left unchanged.

    Parameters
    ----------
    workspace : Workspace
        Its lake receives the dataset.
    pipeline : str, Path or PipelineSpec
        Name or path of a spec in the workspace, or the spec.

    Raises
    ------
    ConfigError, SourceError, EngineError, StorageError
        If the spec, its source files or the storage are unusable.
    DatasetError
        If the existing dataset was changed, or comes from other source files.
    """
    return generate_dataset(workspace, pipeline).dataset


def run(
    workspace: Workspace,
    experiment: Experiment,
    *,
    force: bool = False,
    executor: str | None = None,
    max_workers: int | None = None,
) -> SweepReport:
    """Compute and store the missing rows of an experiment; generate missing datasets first.

    Parameters
    ----------
    workspace : Workspace
        Holds specs, datasets and results.
    experiment : str, Path, ExperimentSpec or ExperimentConfig
        Name or path of a spec in the workspace, or the spec.
    force : bool
        Compute stored rows again.
    executor, max_workers : optional
        Override `parallel` of the experiment. In a notebook, signals of the notebook itself need ``"serial"``.

    Returns
    -------
    SweepReport
        Counts of rows, failures and warnings. `vpcore.leaderboard` ranks the rows.

    Raises
    ------
    CausalityError
        If a signal looks ahead, or its streamed and batch values differ.
    """
    return run_experiment(workspace, experiment, force=force, executor=executor, max_workers=max_workers)


def evaluate(
    dataset: Dataset | Session,
    values: npt.ArrayLike | SignalResult,
    rules: TradeRules,
    threshold: float,
    **options: Any,
) -> backtest.Evaluation:
    """Return the trades and figures of a vector of values, in memory: `vpcore.backtest.evaluate.evaluate`.

    Without `fee_ticks` or `daily_halt` in the rules those of the instrument hold, as in ``vp run``: of the workspace in
    which the dataset lies, else of the dataset's manifest.

    Of makers (``TradeRules(entry="maker")``) a dataset needs its workspace: the first evaluation replays the sources
    of the dataset, which costs about as much as generating it without frames, and keeps the fills in ``lake/cache``.

    Parameters
    ----------
    dataset, values, rules, threshold, **options
        As of `vpcore.backtest.evaluate.evaluate`.

    Raises
    ------
    ConfigError
        Unless there is one number per bin, threshold, cooldown and draws are in range, and the fee is known.
    DatasetError
        If the dataset lacks a price column; of makers, if its sources are out of reach.
    """
    plain = dataset.dataset if isinstance(dataset, Session) else dataset
    workspace = _workspace_of(plain)
    if workspace is not None and not {"fee_ticks", "daily_halt"} <= rules.model_fields_set:
        instrument = workspace.instrument(plain.manifest["pipeline"]["resolved"]["symbol"])
        rules = backtest.with_instrument(rules, instrument.fee_ticks, instrument.halt, plain.dataset_id)
    if rules.entry == "maker" and not isinstance(dataset, Session):
        if workspace is None:
            raise DatasetError(
                f"entry: maker follows orders through the sources of a dataset, and '{plain.dataset_id}' lies in no "
                "workspace",
                fix="Give Session(dataset, fills=vpcore.generation.fills.fill_table(workspace, dataset)) instead.",
            )
        dataset = Session(dataset, fills=fill_table(workspace, dataset))
    return backtest.evaluate(dataset, values, rules, threshold, **options)


def _workspace_of(dataset: Dataset) -> Workspace | None:
    """Return the workspace in whose lake a dataset lies; None outside a workspace."""
    for folder in dataset.path.parents if dataset.path is not None else ():
        if folder.name == "lake" and (folder.parent / "configs").is_dir():
            return Workspace(folder.parent)
    return None


def trades(workspace: Workspace, row: str | RankedRow) -> pl.DataFrame:
    """Return the trades of a stored row, computed anew from its dataset: one line per trade, in order of decision.

    Parameters
    ----------
    workspace : Workspace
        Holds the row, its dataset and its signal.
    row : str or RankedRow
        Short name of a row, its beginning, or a row of a leaderboard. A row of an experiment on several sessions has
        the trades of its combination on all sessions.

    Returns
    -------
    DataFrame
        ``dataset_id``, ``session``, the columns of `vpcore.Evaluation.trades` (times, side, value, prices, reason,
        bins held, PnL), and ``fee_ticks``. Number of trades, sum of ``pnl_ticks``, rates and largest ``overlap`` equal
        the figures of the row exactly: ``pnl_ticks.sum() / n - fee_ticks`` is ``net_pnl_ticks``.

    Raises
    ------
    ResultsError
        If the name is unknown or ambiguous.
    SignalError, DatasetError
        If the code of the row has changed, or its dataset is gone.
    """
    return pl.concat([trades_of(leader) for leader in leaders_of(workspace, row)], how="diagonal_relaxed")


def performance(workspace: Workspace, row: str | RankedRow) -> pl.DataFrame:
    """Return Sharpe and Sortino ratio, drawdown, exposure and profit factor of a stored row, computed from its trades.

    Parameters
    ----------
    workspace, row
        As of `trades`.

    Returns
    -------
    DataFrame
        One line per session and, of several sessions, one line for all. Columns: ``session`` and the attributes of
        `vpcore.backtest.performance.Performance`.

    Raises
    ------
    ResultsError, SignalError, DatasetError
        As of `trades`.
    """
    from vpcore.backtest.performance import table

    leaders = leaders_of(workspace, row)
    return table([(session_of(one.dataset.dataset_id), trades_of(one), one.open_bins) for one in leaders])


def score(dataset: Dataset, scoring: ScoringConfig | Mapping[str, Any] | None = None) -> Dataset:
    """Return a dataset with the score of every cell attached: ``flow_score`` float64, ``flow_state_code`` int8.

    Parameters
    ----------
    dataset : Dataset
        With the three channels ``composite_d1``, ``composite_d2``, ``composite_d3``.
    scoring : ScoringConfig or mapping, optional
        Settings of the scorer; by default its defaults.

    Raises
    ------
    DatasetError
        If a channel is missing.
    """
    config = scoring if isinstance(scoring, ScoringConfig) else ScoringConfig.model_validate(scoring or {})
    d1, d2, d3 = (dataset.grid(name) for name in CHANNELS)
    values, states = score_arrays(d1, d2, d3, dataset.valid, config)
    return dataset.with_grid({"flow_score": values, "flow_state_code": states})


def check(workspace: Workspace, signal: str, **params: Any) -> CheckReport:
    """Check an installed signal: causality, batch equals stream, mirror antisymmetry, dead parameters, and the rest.

    Parameters
    ----------
    workspace : Workspace
        Its plugins hold the signal.
    signal : str
        Name of the signal.
    **params
        Parameters that differ from the defaults.

    Raises
    ------
    PluginError
        If the signal is unknown.
    ConfigError
        If a parameter is unknown or out of range.
    """
    from vpcore.signal.conformance.check import check_signal

    cls = workspace.plugins.load("signal", signal)
    return check_signal(cls(cls.Params.parse(params, signal)), name=signal)
