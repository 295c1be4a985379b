"""Selection of the promoted row: the experiment must still make its run, and the request must name one row."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from vpcore.canonical import canonical_json
from vpcore.config import ExperimentConfig, ExperimentSpec
from vpcore.dataset import Dataset
from vpcore.errors import ResultsError, did_you_mean, listed
from vpcore.experiment.adaptive_search import with_proposals
from vpcore.experiment.leaderboard import Leaderboard, RankedRow, experiment_of
from vpcore.signal import Signal, code_digest, core_digest, distribution_of

if TYPE_CHECKING:
    from vpcore.workspace import Workspace

# -- which experiment? -------------------------------------------------------------------------------------------------


def asked_for(
    workspace: Workspace, experiment: str | Path | ExperimentSpec, row: str | None
) -> tuple[ExperimentSpec, ExperimentConfig, str | None]:
    """Return the spec and the configuration of an experiment, and the row; a row's short name stands for both."""
    if isinstance(experiment, ExperimentSpec):
        spec = experiment
    else:
        name, row = experiment_of(workspace, experiment, row)
        spec = workspace.experiment(name)
    return spec, with_proposals(workspace, spec.to_harness_config()), row


# -- does the run belong to the experiment? ----------------------------------------------------------------------------


def signal_of(
    workspace: Workspace, config: ExperimentConfig, meta: Mapping[str, Any], datasets: Mapping[str, Dataset]
) -> Signal:
    """Return the run's signal, after checking that the experiment, as it is now, would make this very run."""
    name = meta["signal_name"]
    names = [plan.name for plan in config.signals]

    def differs(what: str, was: Any, now: Any) -> ResultsError:
        return ResultsError(
            f"Experiment '{config.name}' would not make run {meta['run_id']} now: {what}",
            required=now,
            was=was,
            fix=f"Run the experiment again (vp run {config.name}) and promote one of its runs.",
        )

    if meta["dataset_id"] not in datasets:
        raise differs("its dataset", meta["dataset_id"], listed(datasets))
    if name not in names:
        raise differs("its signal", f"'{name}'", listed(names))
    cls: type[Signal] = workspace.plugins.load("signal", name)
    distribution, _ = distribution_of(cls)
    checks = (
        (
            "the digest of its source files",
            json.loads(meta["sources_json"]),
            list(datasets[meta["dataset_id"]].source_digests),
        ),
        ("the number of its bins before a reserve", meta["end_bin"], datasets[meta["dataset_id"]].end_bin),
        ("the distribution of its signal", meta["signal_distribution"], distribution),
        ("the version of its signal", meta["signal_version"], cls.version),
        ("the digest of its signal's code", meta["code_digest"], code_digest(cls)),
        ("the digest of the core's code", meta["core_digest"], core_digest()),
        ("its evaluation", json.loads(meta["eval_json"]), config.eval.run_settings()),
    )
    for what, was, now in checks:
        if canonical_json(was) != canonical_json(now):
            raise differs(what, *_apart(was, now))
    (plan,) = (plan for plan in config.signals if plan.name == name)
    params = json.loads(meta["signal_params_json"])
    possible = [cls.Params.parse(values, name).plain() for values in plan.params]
    if plan.search is None and canonical_json(params) not in map(canonical_json, possible):
        raise differs("its parameters", *_nearest(params, possible))
    scorings = [None if item is None else item.model_dump(mode="json") for item in config.scorings_of(plan)]
    scoring = None if meta["scoring_json"] is None else json.loads(meta["scoring_json"])
    if plan.search is None and canonical_json(scoring) not in map(canonical_json, scorings):
        raise differs("its scoring", *_nearest(scoring, scorings))
    if plan.sampled is not None or plan.search is not None:
        pairs = [
            [cls.Params.parse(values, name).plain(), None if item is None else item.model_dump(mode="json")]
            for values, item in config.points_of(plan)
        ]
        if canonical_json([params, scoring]) not in map(canonical_json, pairs):
            raise differs("its combination of scoring and parameters", "another", f"one of its {len(pairs)} now")
    return cls(cls.Params.parse(params, name))


def _short(value: Any) -> str:
    text = canonical_json(value).decode()
    return text if len(text) <= 300 else text[:300] + "..."


def _apart(was: Any, now: Any) -> tuple[str, str]:
    """Return two values as text; of two mappings only the keys that differ."""
    if not (isinstance(was, Mapping) and isinstance(now, Mapping)):
        return _short(was), _short(now)
    absent = "absent"
    keys = sorted({*was, *now}, key=str)
    keys = [key for key in keys if canonical_json(was.get(key, absent)) != canonical_json(now.get(key, absent))]
    first, second = (
        ", ".join(f"{key} {_short(value[key]) if key in value else absent}" for key in keys) for value in (was, now)
    )
    return first, second


def _nearest(was: Any, possible: Sequence[Any]) -> tuple[str, str]:
    """Return the old settings and the nearest of the new settings: with the fewest different keys."""
    apart = min((_apart(was, now) for now in possible), key=lambda pair: (pair[0].count(", "), pair))
    more = f" (the nearest of {len(possible)})" if len(possible) > 1 else ""
    return apart[0], apart[1] + more


# -- which row? --------------------------------------------------------------------------------------------------------


def choose(
    board: Leaderboard, experiment: str, run_id: str | None, row: str | None
) -> tuple[RankedRow, tuple[str, ...]]:
    """Return the selected row and its tied rows.

    Parameters
    ----------
    board : Leaderboard
        Of the experiment.
    experiment : str
        Its name, for messages.
    run_id : str or None
        Only rows of this run. On several sessions, any run of a combination identifies the combination.
    row : str or None
        Short name of a row, or a prefix; on several sessions of any session. By default the best row, of tied rows the
        first by key.

    Raises
    ------
    ResultsError
        If zero or several rows match, or every row has too few trades.
    """
    rows = board.frame
    if "session_rows" not in rows.columns:
        rows = rows.with_columns(session_rows=pl.concat_list("row"), session_runs=pl.concat_list("run_id"))
    place = f"experiment '{experiment}'"
    if run_id is not None:
        rows, place = rows.filter(pl.col("session_runs").list.contains(run_id)), f"run {run_id}"
    if row is not None:
        return board.ranked_row(_named(rows, row, place, experiment)), ()
    metric, least = board.select, board.min_signals
    ranked = rows.filter((pl.col("trades") >= least) & pl.col(metric).is_not_null())
    if ranked.is_empty():
        most: Any = rows["trades"].max()
        raise ResultsError(
            f"No row of {place} has {least} signals that traded and a {metric}",
            where=f"select.min_signals of '{experiment}'",
            fix=f"The largest number among its {len(rows)} rows is {most or 0}. Name a row with --row to promote it.",
        )
    tied = ranked.filter(pl.col(metric) == ranked[metric][0])["row"].to_list()
    return board.ranked_row(ranked.row(0, named=True)), tuple(tied[1:])


def _named(rows: pl.DataFrame, row: str, place: str, experiment: str) -> dict[str, Any]:
    named = pl.col("session_rows").list.eval(pl.element().str.starts_with(row)).list.any()
    found = rows.filter(named)
    if len(found) == 1:
        return found.row(0, named=True)
    known = rows["row"].to_list()
    if len(found) > 1:
        raise ResultsError(
            f"'{row}' begins {len(found)} rows of {place}: {listed(found['row'])}", fix="Write more digits."
        )
    shown = listed(known[:10]) + (", ..." if len(known) > 10 else "")
    raise ResultsError(
        f"{place[0].upper()}{place[1:]} has no row '{row}' that experiment '{experiment}' would make now",
        fix=f"{did_you_mean(row, known)} It has {len(known)}: {shown}.",
    )
