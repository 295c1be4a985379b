"""Rows as a table of people: what the columns are called, in which order, rounded to what can be read."""

from __future__ import annotations

import json as json_module
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import polars as pl

from vpcore.results import VECTORS
from vpcore.statistics.intervals import wilson

TABLE = (
    "row", "run", "signal", "threshold", "cooldown", "tp", "sl", "trades", "n_eff", "net", "net 95 %", "p_random",
    "p_adj", "q_random", "n_trials", "dsr", "resolved", "resolved 95 %", "breakeven", "driftless", "timeouts", "mean",
    "varied",
)  # fmt: skip
"""Columns for people; JSON and CSV have the names of the store."""

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

LEGEND = (
    "net is what a trade pays, mean the same trades from mid to mid without costs; both in ticks. p_random: how often "
    "random entry, the same trades shifted in time, pays as much. p_adj: how often the best of these rows does as well "
    "at random times. q_random: of the rows with this p_random or a lower one, the share that is expected to be no "
    "better than random. dsr: how sure one may be that the row is better than the best of n_trials lucky ones. "
    "'resolved' is the take-profit rate of trades that reached a barrier, and so are breakeven and driftless: hold its "
    "interval against them. That interval takes trades as independent; n_eff says how many they are worth."
)
"""What the columns mean, below a table."""

SEARCHED = (
    "Which combinations were tried depended on the results of others (sweep.sample, an adaptive method): p_adj is "
    "raised to what it would be among all that there were to choose from. What eval.splits keeps for judging the "
    "search did not see."
)
"""What else is to be said of the rows of an experiment whose combinations were proposed."""


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
    seen: dict[tuple[str, str], set[str]] = {}
    # Of ten thousand runs most differ in one of the three texts: each of them is read once.
    read = cache(lambda text: {name: repr(value) for name, value in json_module.loads(text or "{}").items()})
    for name_of_signal, *texts in among.select("signal_name", *_SETTINGS).unique().iter_rows():
        settings: dict[str, str] = {}
        for text in texts:
            settings |= read(text)
        for name, value in settings.items():
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
