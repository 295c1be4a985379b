"""Facts of a report: rows, their evidence, the dataset, and the origin of each."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

import polars as pl

from vpcore.config import ExperimentConfig, SignalPlan
from vpcore.errors import ResultsError
from vpcore.experiment.leaderboard import (
    Leaderboard,
    RankedRow,
    experiment_of,
    is_experiment,
    leaderboard,
    row_of,
)
from vpcore.experiment.run import harness_config
from vpcore.experiment.tables import SEARCHED
from vpcore.inference.blocks import datasets_of
from vpcore.inference.evidence import too_few
from vpcore.inference.summaries import Evidence, OutOfSample
from vpcore_cli.grouping import plain

if TYPE_CHECKING:
    from vpcore.workspace import Workspace


class NothingToReport(ResultsError):
    """Every row has too few trades."""


@dataclass(frozen=True, slots=True)
class Facts:
    """The stored facts, before any new computation.

    Attributes
    ----------
    title : str
    question : dict of str to str
        The experiment's question, in reading order.
    rows : DataFrame
        Rows of the leaderboard with enough trades, best first.
    n_few : int
        Rows with too few trades.
    select, min_signals
        How rows are ranked.
    evidence : Evidence
        Evidence of the leader's family.
    verdict : str
        Of the leader, one sentence.
    manifest : dict
        Of the leader's dataset.
    meta : dict
        Row of `runs_meta` of the leader.
    leader : dict
        The row of the page: the best one, or the one that the reader asked for.
    until : datetime
        When the last of the ranked rows was computed. Equal results make equal reports, byte for byte.
    ranked, rival : RankedRow, RankedRow or None
        The row of the page, and the row to compare it with: of the reader's choice, else the best one with other
        trades.
    splits : OutOfSample or None
        Result of choosing in-sample, of an experiment with `eval.splits`.
    """

    title: str
    question: dict[str, str]
    rows: pl.DataFrame
    n_few: int
    select: str
    min_signals: int
    evidence: Evidence
    verdict: str
    manifest: dict[str, Any]
    meta: dict[str, Any]
    until: datetime
    leader: dict[str, Any]
    ranked: RankedRow
    rival: RankedRow | None = None
    splits: OutOfSample | None = None


def _computed(workspace: Workspace, rows: pl.DataFrame) -> datetime:
    ids = rows["run_id"].unique().to_list()
    metas = workspace.results.read(lambda: workspace.results.meta(pl.col("run_id").is_in(ids)))
    latest: datetime = metas["finished_utc"].max()  # type: ignore[assignment]
    return latest


def gather(workspace: Workspace, target: str | ExperimentConfig, against: str | None = None) -> Facts:
    """Return the facts of an experiment (name or path), of a run (its id or a prefix), or of a row (its short name).

    The facts of a row are those of its experiment, where its spec still makes the row, else of its run. `against` names
    the row to compare the leader with.

    Raises
    ------
    ResultsError
        If the results hold no such row, or every row has too few trades.
    ConfigError
        If the experiment's specs are wrong.
    """
    if against is not None:
        return replace(gather(workspace, target), rival=row_of(workspace, against))
    name, row = experiment_of(workspace, target, None)
    if row is not None and isinstance(name, str):
        return _of_row(workspace, name, row)
    if isinstance(target, str) and not is_experiment(workspace, target):
        meta = workspace.results.find_run(target)
        question = {"Run": meta["run_id"], "Of experiment": meta["experiment_name"], "Signal": meta["signal_name"]}
        return _facts(workspace, leaderboard(workspace, target), question | _settings_lines(meta))
    config = harness_config(workspace, target)
    board = leaderboard(workspace, config)
    if board.ranking.is_empty():
        raise ResultsError(f"Nothing of experiment '{config.name}' is stored. Run: vp run {config.name}")
    return _facts(workspace, board, _of_experiment(config, board))


def _of_row(workspace: Workspace, experiment: str, row: str) -> Facts:
    ranked = row_of(workspace, row)
    if experiment in workspace.specs.names("experiment"):
        config = harness_config(workspace, experiment)
        board = leaderboard(workspace, config)
        if row in board.frame["row"].to_list():
            return _facts(workspace, board, _of_experiment(config, board), ranked.row)
    meta = workspace.results.find_run(ranked.run_id)
    question = {"Run": meta["run_id"], "Of experiment": experiment, "Signal": meta["signal_name"]}
    return _facts(workspace, leaderboard(workspace, meta["run_id"]), question | _settings_lines(meta), ranked.row)


def _of_experiment(config: ExperimentConfig, board: Leaderboard) -> dict[str, str]:
    shown, n_sessions = config.eval, config.n_sessions
    stored = (
        f"{board.ranking.height:,} of them are stored"
        if n_sessions == 1
        else f"{board.ranking.height:,} combinations are stored on all {n_sessions} sessions"
    )
    question = {
        **({"Description": config.description} if config.description else {}),
        "Experiment": f"{config.name}, over serving spec {config.serving_name}",
        "Signals": ", ".join(_planned(config, plan) for plan in config.signals),
        "Combinations": f"{board.n_asked:,} rows of {config.n_runs:,} runs; {stored}",
        **({"Engines": f"{len(config.engines)}, by {', '.join(config.engine_axes)}"} if config.engines else {}),
        "Take-profit / stop": f"{_listed(shown.tp_ticks)} / {_listed(shown.sl_ticks)} ticks",
        "Longest hold": f"{shown.max_hold_bins} bins",
        "Cooldown": f"{_listed(shown.cooldown_bins)} bins",
        "Entry": f"{_counted(shown.latency_bins, 'bin')} after the decision, at {shown.price} prices",
        "Fee": f"{shown.fee_ticks:g} ticks per round trip",
        "Ranked by": f"{config.select_metric}, rows with at least {_counted(config.min_signals, 'trade')}",
    }
    if config.searched:
        question["Proposed"] = SEARCHED
    if shown.splits is not None:
        question["Ranked by"] += f"; chosen in-sample by {shown.splits.method}"
    return question


def _planned(config: ExperimentConfig, plan: SignalPlan) -> str:
    runs = _counted(len(config.points_of(plan)), "run")
    proposed = "" if plan.search is None else f" of {plan.search.n:,} that {plan.search.sampler} proposes"
    return f"{plan.name} ({runs}{proposed})"


def _settings_lines(meta: Mapping[str, Any]) -> dict[str, str]:
    found = {}
    for title, column in (("Parameters", "signal_params_json"), ("Scoring", "scoring_json"), ("Trades", "eval_json")):
        values = json.loads(meta[column] or "{}")
        if values:
            found[title] = ", ".join(f"{name} {plain(value)}" for name, value in values.items())
    return found


def _facts(workspace: Workspace, board: Leaderboard, question: dict[str, str], row: str | None = None) -> Facts:
    rows = board.rows().filter(pl.col(board.select).is_not_null())
    best = board.best
    if row is not None and best is not None:
        best = board.ranked_row(board.frame.row(by_predicate=pl.col("row") == row, named=True))
    if best is None:
        why = too_few(board.frame, board.min_signals)
        raise NothingToReport(f"There is nothing to report of '{board.title}'. {why}")
    return Facts(
        title=board.title,
        question=question,
        rows=rows,
        n_few=board.ranking.height - rows.height,
        select=board.select,
        min_signals=board.min_signals,
        evidence=board.evidence_of(best.figures),
        verdict=best.verdict,
        manifest=workspace.datasets.open(datasets_of(best.dataset_id)[-1]).manifest,
        meta=workspace.results.find_run(best.run_id),
        until=_computed(workspace, rows),
        leader=best.figures,
        ranked=best,
        rival=_rival(board, best),
        splits=board.splits,
    )


def _rival(board: Leaderboard, row: RankedRow) -> RankedRow | None:
    """Return the best row whose number of trades or net PnL differs."""
    own = [pl.col(name).ne_missing(row.figures[name]) for name in ("trades", "net_pnl_ticks")]
    rows = board.rows().filter(pl.col(board.select).is_not_null(), own[0] | own[1])
    return board.ranked_row(rows.row(0, named=True)) if rows.height else None


def _counted(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def _listed(values: Sequence[Any]) -> str:
    return ", ".join(f"{value:g}" for value in values)
