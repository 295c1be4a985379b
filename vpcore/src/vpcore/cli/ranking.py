"""Rows as commands show them: what they are called, in which order, for people and for programs."""

from __future__ import annotations

import json as json_module
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import polars as pl

    from vpcore.config import ExperimentConfig
    from vpcore.evaluation import SplitSpec
    from vpcore.evidence import Evidence, OutOfSample
    from vpcore.workspace import Workspace

EXPORTED = (
    "row", "run_id", "signal", "dataset_id", "varied", "threshold", "cooldown_bins", "tp_ticks", "sl_ticks", "trades",
    "n_eff", "net_pnl_ticks", "net_pnl_lo", "net_pnl_hi", "p_random", "p_adj", "q_random", "n_trials", "dsr", "tp_rate",
    "tp_rate_lo", "tp_rate_hi", "timeout_rate", "tp_resolved", "tp_resolved_lo", "tp_resolved_hi", "breakeven_rate",
    "driftless_rate", "mean_pnl_ticks", "net_pnl_sd", "net_pnl_skew", "net_pnl_kurtosis", "block_length",
    "events_per_hour", "sl_rate", "tie_rate",
    "median_time_to_outcome_ms", "max_concurrent", "n_signals", "n_up", "n_down", "n_dropped",
    "experiment_name", "code_digest", "in_sample", "net_in_sample", "net_out_of_sample", "trades_out_of_sample",
    "sessions", "sessions_paid", "worst_session_net", "threshold_quantile",
)  # fmt: skip
"""Columns of a CSV."""

TABLE = (
    "row", "run", "signal", "threshold", "cooldown", "tp", "sl", "trades", "n_eff", "net", "net 95 %", "p_random",
    "p_adj", "q_random", "n_trials", "dsr", "resolved", "resolved 95 %", "breakeven", "driftless", "timeouts", "mean",
    "varied",
)  # fmt: skip
"""Columns for people; JSON and CSV have the names of the store."""

SPARE = (
    "driftless", "timeouts", "mean", "resolved 95 %", "n_trials", "dsr", "n_eff", "breakeven", "resolved", "net 95 %",
    "run",
)  # fmt: skip
"""Those that a narrow terminal goes without, in this order."""

HEADINGS = {
    "run": "run_id", "cooldown": "cooldown_bins", "tp": "tp_ticks", "sl": "sl_ticks", "net": "net_pnl_ticks",
    "net in": "net_in_sample", "net out": "net_out_of_sample", "trades out": "trades_out_of_sample",
    "timeouts": "timeout_rate", "resolved": "tp_resolved", "breakeven": "breakeven_rate", "driftless": "driftless_rate",
    "mean": "mean_pnl_ticks", "worst": "worst_session_net", "paid": "sessions_paid",
}  # fmt: skip
"""What a heading of the table is called in the store, where that is another name."""

_SETTINGS = ("signal_params_json", "scoring_json", "eval_json")
"""Columns that hold the settings of a run; of one name the last counts."""

_IN_TABLE = frozenset(
    {
        "net_pnl_ticks", "net_pnl_lo", "net_pnl_hi", "mean_pnl_ticks", "n_eff", "timeout_rate", "breakeven_rate",
        "driftless_rate", "threshold", "p_random", "p_adj", "q_random", "n_trials", "dsr", "evidence", "net_in_sample",
        "net_out_of_sample", "trades", "tp_resolved", "trades_out_of_sample", "sessions_paid", "worst_session_net",
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Ranking:
    """Rows in order, weighed against each other.

    Attributes
    ----------
    rows : DataFrame
        Those with enough trades.
    n_few : int
        How many have fewer.
    evidence : dict
        By dataset.
    n_incomplete : int
        Combinations on several sessions that are not stored on all of them, and therefore not ranked.
    splits : OutOfSample or None
        What choosing in-sample comes to, of an experiment with `eval.splits`.
    """

    rows: pl.DataFrame
    n_few: int
    evidence: dict[str, Evidence]
    n_incomplete: int = 0
    splits: OutOfSample | None = None

    @property
    def pooled(self) -> bool:
        """Whether a row is a combination over several sessions."""
        return "sessions" in self.rows.columns


def rank_experiment(
    workspace: Workspace,
    config: ExperimentConfig,
    *,
    sort: str,
    min_signals: int,
    signal: str | None = None,
    per_session: bool = False,
) -> Ranking:
    """Return the rows of an experiment as it is now, ranked; of one on several sessions its combinations.

    Parameters
    ----------
    workspace : Workspace
        Where they are stored.
    config : ExperimentConfig
        The experiment.
    sort, min_signals, signal
        As in `rank`.
    per_session : bool
        Rows and not combinations.
    """
    from vpcore.sweep import plan_experiment
    from vpcore.sweep.combine import pooled_rows

    plan = plan_experiment(workspace, config)
    runs = plan.runs if plan is not None else ()
    cut = None if config.eval.splits is None else (config.eval.splits, config.select_metric)
    if len(config.sessions) == 1 or per_session:
        keys = [(run.run_id, trial) for run in runs for trial in run.trials]
        filters = {"keys": keys, "signal": signal}
        whole = len(config.sessions) == 1
        return rank(workspace, filters, sort=sort, min_signals=min_signals, cut=cut if whole else None)
    family, n_incomplete = pooled_rows(workspace, config, runs)
    found = rank(workspace, {"signal": signal}, sort=sort, min_signals=min_signals, family=family, cut=cut)
    return replace(found, n_incomplete=n_incomplete)


def rank(
    workspace: Workspace,
    filters: Mapping[str, Any],
    *,
    sort: str,
    min_signals: int,
    family: pl.DataFrame | None = None,
    cut: tuple[SplitSpec, str] | None = None,
) -> Ranking:
    """Return the rows of a query, or of `family`, ranked, with what depends on the other rows.

    A filter by signal is applied after weighing: leaving rows out does not make the others less lucky. `cut` says how
    they were split, and by which figure is chosen in-sample.

    Raises
    ------
    ResultsError
        If `sort` is neither a figure nor ``evidence``.
    """
    import polars as pl

    from vpcore.errors import ResultsError, did_you_mean, listed
    from vpcore.evidence import COMPUTED, EVIDENCE, SPLIT_FIGURES, by_evidence, out_of_sample, weigh
    from vpcore.results import ROW_KEY, SORTABLE, in_order

    derived = {
        "trades": pl.col("n_signals") - pl.col("n_dropped"),
        "tp_resolved": pl.col("tp_rate") / (pl.col("tp_rate") + pl.col("sl_rate")),
    }
    pooled = ("sessions_paid", "worst_session_net") if family is not None else ()
    weighed_figures = (*COMPUTED, EVIDENCE, *(SPLIT_FIGURES if cut is not None else ()), *derived, *pooled)
    if sort not in (*SORTABLE, *weighed_figures):
        names = (*SORTABLE, *weighed_figures)
        near = did_you_mean(sort, (*names, *(name for name, column in HEADINGS.items() if column in names)))
        raise ResultsError(f"Rows cannot be sorted by '{sort}'.{near} Figures: {listed(names)}.")
    stored = None if sort in weighed_figures else sort
    if family is None:
        others = {name: value for name, value in filters.items() if name != "signal"}
        found = workspace.results.query_runs(**others, sort=stored, blocks=cut is not None)
    else:
        found = in_order(family, stored)
    splits = None
    if cut is not None:
        found, splits = out_of_sample(found, cut[0], metric=cut[1], min_trades=min_signals)
    kept = workspace.cache_dir
    weighed, evidence = weigh(workspace.results, found, min_trades=min_signals, cache_dir=kept)
    if filters.get("signal") is not None:
        weighed = weighed.filter(pl.col("signal_name") == filters["signal"])
    if sort == EVIDENCE:
        weighed = by_evidence(weighed)
    elif sort in weighed_figures:
        if sort in derived:
            weighed = weighed.with_columns(derived[sort].fill_nan(None).alias(sort))
        order, low = [sort, *ROW_KEY], sort in ("p_adj", "q_random", "n_trials")
        weighed = weighed.sort(order, descending=[not low] + [False] * len(ROW_KEY), nulls_last=True)
    enough = weighed.filter(weighed["n_signals"] - weighed["n_dropped"] >= min_signals)
    return Ranking(enough, weighed.height - enough.height, evidence, splits=splits)


def people_columns(sort: str, *, alone: bool = False, pooled: bool = False, split: bool = False) -> tuple[str, ...]:
    """Return the columns of the table, with the figure it is sorted by if that is another one.

    With `alone`, without the figures that depend on other rows; with `pooled`, with those of sessions; with
    `split`, with those in-sample and out of sample.
    """
    columns = tuple(name for name in TABLE if not (alone and name in ("p_adj", "q_random", "n_trials", "dsr")))
    at = columns.index("net 95 %") + 1
    if split:
        columns = (*columns[:at], "net in", "net out", "trades out", *columns[at:])
    if pooled:
        columns = (*columns[:at], "paid", "worst", *columns[at:])
    return columns if sort in _IN_TABLE else (*columns[:-1], sort, columns[-1])


def for_people(rows: Sequence[Mapping[str, Any]], sort: str) -> list[dict[str, Any]]:
    """Return rows of `ranked` under short names, rounded, the interval in one cell."""

    def rounded(value: float | None, digits: int) -> float | None:
        return None if value is None else round(value, digits)

    def interval(lo: float | None, hi: float | None, between: str = "-") -> str | None:
        return None if lo is None or hi is None else f"{lo:.3f}{between}{hi:.3f}"

    return [
        {
            sort: row.get(sort),
            "row": row["row"],
            "run": row["run_id"][:8],
            "signal": row["signal"],
            "threshold": row["threshold"] if row.get("threshold_quantile") is None else _quantile(row),
            "cooldown": row["cooldown_bins"],
            "tp": row["tp_ticks"],
            "sl": row["sl_ticks"],
            "trades": row["trades"],
            "n_eff": rounded(row["n_eff"], 1),
            "net": rounded(row["net_pnl_ticks"], 3),
            "net 95 %": interval(row["net_pnl_lo"], row["net_pnl_hi"], " to "),
            "net in": rounded(row.get("net_in_sample"), 3),
            "net out": rounded(row.get("net_out_of_sample"), 3),
            "trades out": row.get("trades_out_of_sample"),
            "paid": f"{row['sessions_paid']} of {row['sessions']}" if row.get("sessions") else None,
            "worst": rounded(row.get("worst_session_net"), 3),
            "p_random": rounded(row["p_random"], 4),
            "p_adj": rounded(row.get("p_adj"), 4),
            "q_random": rounded(row.get("q_random"), 4),
            "n_trials": row.get("n_trials"),
            "dsr": rounded(row.get("dsr"), 3),
            "timeouts": rounded(row["timeout_rate"], 3),
            "resolved": rounded(row["tp_resolved"], 3),
            "resolved 95 %": interval(row["tp_resolved_lo"], row["tp_resolved_hi"]),
            "breakeven": rounded(row["breakeven_rate"], 3),
            "driftless": rounded(row["driftless_rate"], 3),
            "mean": rounded(row["mean_pnl_ticks"], 3),
            "varied": row["varied"],
        }
        for row in rows
    ]


def _quantile(row: Mapping[str, Any]) -> str:
    return f"q {row['threshold_quantile']:g}"


def ranked(rows: pl.DataFrame, among: pl.DataFrame) -> list[dict[str, Any]]:
    """Return rows as they are shown: with trades, parsed settings, and which settings vary among the runs of a signal.

    Parameters
    ----------
    rows, among : DataFrame
        Rows of `ResultsDB.query_runs`: those to return, and those among which settings may vary.
    """
    from vpcore.evaluation import wilson
    from vpcore.results import VECTORS

    seen: dict[tuple[str, str], set[str]] = {}
    # Of ten thousand runs most differ in one of the three texts: each of them is read once.
    read = cache(lambda text: {name: _short(value) for name, value in json_module.loads(text or "{}").items()})
    for name_of_signal, *texts in among.select("signal_name", *_SETTINGS).unique().iter_rows():
        for name, value in {name: value for text in texts for name, value in read(text).items()}.items():
            seen.setdefault((name_of_signal, name), set()).add(value)
    result = []
    for row in rows.to_dicts():
        varied = {name: v for name, v in _settings(row).items() if len(seen.get((row["signal_name"], name), ())) > 1}
        trades = None if row["n_signals"] is None else row["n_signals"] - row["n_dropped"]
        hits = round(row["tp_rate"] * trades) if trades else 0
        resolved = hits + round(row["sl_rate"] * trades) if trades else 0
        lo, hi = (float(bound) for bound in wilson(hits, resolved))
        result.append(
            {
                **{name: v for name, v in row.items() if not name.endswith("_json") and name not in VECTORS},
                "signal": row["signal_name"],
                "varied": " ".join(f"{name}={_short(value)}" for name, value in varied.items()),
                "trades": trades,
                "tp_resolved": hits / resolved if resolved else None,
                "tp_resolved_lo": lo if resolved else None,
                "tp_resolved_hi": hi if resolved else None,
                "signal_params": json_module.loads(row["signal_params_json"]),
                "scoring": json_module.loads(row["scoring_json"]) if row["scoring_json"] else None,
                "eval": json_module.loads(row["eval_json"]),
                "finished_utc": row["finished_utc"].isoformat(),
            }
        )
    return result


def _settings(row: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for column in _SETTINGS:
        found |= json_module.loads(row[column] or "{}")
    return found


def _short(value: Any) -> str:
    return value if isinstance(value, str) else json_module.dumps(value, separators=(",", ":"))
