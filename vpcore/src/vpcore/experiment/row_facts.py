"""What a report tells: rows, their evidence, the dataset, and where everything came from."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import polars as pl

from vpcore.config import ExperimentConfig, SignalPlan
from vpcore.errors import ResultsError
from vpcore.experiment.adaptive_search import choices
from vpcore.experiment.run import harness_config, plan_experiment
from vpcore.experiment.session_members import pooled_rows
from vpcore.experiment.tables import SEARCHED
from vpcore.inference.blocks import datasets_of
from vpcore.inference.evidence import too_few, verdict
from vpcore.inference.out_of_sample import OutOfSample, out_of_sample
from vpcore.inference.ranking import Evidence, weigh
from vpcore.results import ROW_KEY, in_order

if TYPE_CHECKING:
    from vpcore.workspace import Workspace

TRIAL_AXES = ("threshold", "cooldown_bins", "tp_ticks", "sl_ticks")


class NothingToReport(ResultsError):
    """No row has enough trades."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known before anything is computed anew.

    Attributes
    ----------
    title : str
    question : dict of str to str
        What was asked, in the order of reading.
    rows : DataFrame
        Ranked rows with enough trades, with what `vpcore.inference.ranking` adds; best first.
    n_few : int
        Rows with too few trades.
    select, min_signals
        How rows are ranked.
    evidence : Evidence
        Of the rows on the leader's dataset.
    verdict : str
        Of the leader, one sentence.
    manifest : dict
        Of the leader's dataset.
    meta : dict
        Row of `runs_meta` of the leader.
    until : datetime
        When the last of the ranked rows was computed. The same stored results make the same report, byte for byte.
    splits : OutOfSample or None
        What choosing in-sample comes to, of an experiment with `eval.splits`.
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
    splits: OutOfSample | None = None

    @property
    def leader(self) -> dict[str, Any]:
        """The best row."""
        return self.rows.row(0, named=True)


def _computed(workspace: Workspace, rows: pl.DataFrame) -> datetime:
    ids = rows["run_id"].unique().to_list()
    metas = workspace.results.read(lambda: workspace.results.meta(pl.col("run_id").is_in(ids)))
    latest: datetime = metas["finished_utc"].max()  # type: ignore[assignment]
    return latest


def gather(workspace: Workspace, target: str | ExperimentConfig) -> Facts:
    """Return the facts of an experiment (name or path) or of a run (its id or the beginning of it).

    Raises
    ------
    ResultsError
        If nothing is stored of it, or no row has enough trades.
    ConfigError
        If the experiment's specs are wrong.
    """
    if isinstance(target, ExperimentConfig):
        return _of_experiment(workspace, target)
    if target in workspace.specs.names("experiment") or os.sep in target or target.endswith((".yaml", ".yml")):
        return _of_experiment(workspace, harness_config(workspace, target))
    meta = workspace.results.find_run(target)
    rows = workspace.results.query_runs(run_ids=[meta["run_id"]], sort="net_pnl_ticks", blocks=True)
    question = {"Run": meta["run_id"], "Of experiment": meta["experiment_name"], "Signal": meta["signal_name"]}
    question |= _settings_lines(meta)
    return _facts(workspace, f"{meta['signal_name']} {meta['run_id'][:8]}", question, rows, "net_pnl_ticks", 1)


def _of_experiment(workspace: Workspace, config: ExperimentConfig) -> Facts:
    plan = plan_experiment(workspace, config)
    runs = plan.runs if plan is not None else ()
    keys = [(run.run_id, trial) for run in runs for trial in run.trials]
    if len(config.sessions) > 1:
        rows, _ = pooled_rows(workspace, config, runs)
        rows = in_order(rows, config.select_metric)
    else:
        rows = workspace.results.query_runs(keys=keys, sort=config.select_metric, blocks=True)
    if rows.is_empty():
        raise ResultsError(f"Nothing of experiment '{config.name}' is stored. Run: vp run {config.name}")
    shown, n_sessions = config.eval, len(config.sessions)
    stored = (
        f"{rows.height:,} of them are stored"
        if n_sessions == 1
        else f"{rows.height:,} combinations are stored on all {n_sessions} sessions"
    )
    question = {
        "Experiment": f"{config.name}, over serving spec {config.serving_name}",
        "Signals": ", ".join(_planned(config, plan) for plan in config.signals),
        "Combinations": f"{len(keys):,} rows of {config.n_runs:,} runs; {stored}",
        "Take-profit / stop": f"{_listed(shown.tp_ticks)} / {_listed(shown.sl_ticks)} ticks",
        "Longest hold": f"{shown.max_hold_bins} bins",
        "Cooldown": f"{_listed(shown.cooldown_bins)} bins",
        "Entry": f"{_counted(shown.latency_bins, 'bin')} after the decision, at {shown.price} prices",
        "Fee": f"{shown.fee_ticks:g} ticks per round trip",
        "Ranked by": f"{config.select_metric}, rows with at least {config.min_signals} trades",
    }
    if config.searched:
        question["Proposed"] = SEARCHED
    splits = None
    if shown.splits is not None:
        question["Ranked by"] += f"; chosen in-sample by {shown.splits.method}"
        rows, splits = out_of_sample(rows, shown.splits, metric=config.select_metric, min_trades=config.min_signals)
        if config.ranked_by == "in_sample":
            order = ["in_sample", *ROW_KEY]
            rows = rows.sort(order, descending=[True] + [False] * len(ROW_KEY), nulls_last=True)
    least, among = config.min_signals, choices(config, runs)
    return _facts(workspace, config.name, question, rows, config.ranked_by, least, splits, among)


def _planned(config: ExperimentConfig, plan: SignalPlan) -> str:
    runs = _counted(len(config.points_of(plan)), "run")
    proposed = "" if plan.search is None else f" of {plan.search.n:,} that {plan.search.sampler} proposes"
    return f"{plan.name} ({runs}{proposed})"


def _settings_lines(meta: Mapping[str, Any]) -> dict[str, str]:
    found = {}
    for title, column in (("Parameters", "signal_params_json"), ("Scoring", "scoring_json"), ("Trades", "eval_json")):
        values = json.loads(meta[column] or "{}")
        if values:
            found[title] = ", ".join(f"{name} {_plain(value)}" for name, value in values.items())
    return found


def _facts(
    workspace: Workspace,
    title: str,
    question: dict[str, str],
    rows: pl.DataFrame,
    select: str,
    least: int,
    splits: OutOfSample | None = None,
    n_choices: int = 0,
) -> Facts:
    weighed, evidence = weigh(workspace.results, rows, min_trades=least, n_choices=n_choices)
    enough = weighed.filter(
        (pl.col("n_signals") - pl.col("n_dropped") >= least) & pl.col(select).is_not_null()
    )  # in the order of the query: the best first
    if enough.is_empty():
        raise NothingToReport(f"There is nothing to report of '{title}'. {too_few(weighed, least)}")
    best = enough.row(0, named=True)
    about = evidence[best["dataset_id"]]
    return Facts(
        title=title,
        question=question,
        rows=enough,
        n_few=weighed.height - enough.height,
        select=select,
        min_signals=least,
        evidence=about,
        verdict=verdict(best, about),
        manifest=workspace.datasets.open(datasets_of(best["dataset_id"])[-1]).manifest,
        meta=workspace.results.find_run(best["run_id"]),
        until=_computed(workspace, enough),
        splits=splits,
    )


def varied(rows: pl.DataFrame) -> tuple[pl.DataFrame, list[str]]:
    """Return rows with every setting that varies among them as a column of text or numbers, and its names.

    Settings of runs come first, then those of trials; in each group the one with the most values first.
    """
    runs = rows.unique("run_id", keep="any").sort("run_id")
    settings = {
        row["run_id"]: {
            name: _plain(value)
            for column in ("signal_params_json", "scoring_json")
            for name, value in json.loads(row[column] or "{}").items()
        }
        for row in runs.iter_rows(named=True)
    }
    names = sorted({name for values in settings.values() for name in values} - set(TRIAL_AXES))
    count = {name: len({values.get(name) for values in settings.values()}) for name in names}
    own = sorted((name for name in names if count[name] > 1), key=lambda name: (-count[name], name))
    for name in own:
        column = [settings[run].get(name) for run in rows["run_id"].to_list()]
        rows = rows.with_columns(pl.Series(name, column, strict=False, dtype=_type_of(column)))
    unique = {name: rows[name].n_unique() for name in TRIAL_AXES}
    trial = sorted((name for name in TRIAL_AXES if unique[name] > 1), key=lambda name: -unique[name])
    return rows.sort(ROW_KEY), [*own, *trial]


def _type_of(column: Sequence[Any]) -> Any:
    numbers = all(
        value is None or (isinstance(value, (int, float)) and not isinstance(value, bool)) for value in column
    )
    return pl.Float64 if numbers else pl.String


def _plain(value: Any) -> Any:
    return value if isinstance(value, (int, float, str)) else json.dumps(value, separators=(",", ":"))


def _counted(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def _listed(values: Sequence[Any]) -> str:
    return ", ".join(f"{value:g}" for value in values)
