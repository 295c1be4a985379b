"""Rows as a table for people: names, order and rounding of the columns."""

from __future__ import annotations

import json as json_module
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any

import polars as pl

from vpcore.errors import ResultsError, did_you_mean, listed
from vpcore.experiment.tables import HEADINGS, session_of
from vpcore.inference.blocks import ENGINES, JOINT, datasets_of
from vpcore.inference.evidence import MARKS, mark
from vpcore.results import VECTORS
from vpcore.tracker.summary import SETTINGS, settings_of

TABLE = (
    "row", "run", "signal", "threshold", "cooldown", "tp", "sl", "trades", "n_eff", "net", "net 95 %", "p_random",
    "p_adj", "q_random", "n_trials", "dsr", "resolved", "resolved 95 %", "breakeven", "driftless", "timeouts", "mean",
    "varied",
)  # fmt: skip
"""Columns for people; JSON and CSV have the names of the store."""

SHORT = ("row", "signal", "trades", "net [95 %]", "p_adj", "verdict")
"""Columns that fit 80 characters."""

EXPORTED = (
    "row", "run_id", "signal", "dataset_id", "varied", "threshold", "cooldown_bins", "tp_ticks", "sl_ticks", "trades",
    "n_eff", "net_pnl_ticks", "net_pnl_lo", "net_pnl_hi", "p_random", "p_adj", "q_random", "n_trials", "dsr", "tp_rate",
    "tp_rate_lo", "tp_rate_hi", "timeout_rate", "tp_resolved", "tp_resolved_lo", "tp_resolved_hi", "breakeven_rate",
    "driftless_rate", "mean_pnl_ticks", "net_pnl_sd", "net_pnl_skew", "net_pnl_kurtosis", "block_length",
    "events_per_hour", "sl_rate", "tie_rate",
    "median_time_to_outcome_ms", "max_concurrent", "n_signals", "n_up", "n_down", "n_dropped", "n_placed", "fill_rate",
    "experiment_name", "code_digest", "in_sample", "net_in_sample", "net_out_of_sample", "trades_out_of_sample",
    "sessions", "sessions_paid", "worst_session_net", "threshold_quantile", "pbo",
)  # fmt: skip
"""Columns of a CSV."""

_IN_TABLE = frozenset(
    {
        "net_pnl_ticks", "net_pnl_lo", "net_pnl_hi", "mean_pnl_ticks", "n_eff", "timeout_rate", "breakeven_rate",
        "driftless_rate", "threshold", "p_random", "p_adj", "q_random", "n_trials", "dsr", "evidence", "net_in_sample",
        "net_out_of_sample", "trades", "tp_resolved", "trades_out_of_sample", "sessions_paid", "worst_session_net",
    }
)  # fmt: skip

LEGEND = "\n".join(
    (
        "row: short name of the row, for vp trades, plot, audit, confirm and promote.",
        "thr, cd, tp, sl: threshold, cooldown in bins, take-profit and stop in ticks; only those that vary.",
        "varied: settings of the run that vary, where the terminal has room.",
        "trades: number of trades; n_eff: number of independent trades that they are worth.",
        "net [95 %]: net PnL per trade in ticks, after spread and fee, with its interval.",
        "mean: the same trades from mid to mid, without costs, in ticks.",
        "p_random: share of random entries (the same trades shifted in time) with at least this net PnL.",
        "p_adj: share of random times at which the best row of the experiment does as well; of a later experiment on "
        "the market and of a search, the chance that the best of all its n_trials random trials does.",
        "q_random: expected share of rows no better than random among the rows with this p_random or a lower one.",
        "n_trials: trials on this market so far. A trial is a row with trades of its own.",
        "dsr: probability that the row is better than the best of n_trials lucky rows.",
        "resolved: take-profit rate of the trades that reached a barrier, to compare with breakeven and driftless. Its "
        "interval treats trades as independent.",
        "breakeven, driftless: the take-profit rate with a net PnL of 0; the rate of a market without drift.",
        "timeouts: share of trades that reached no barrier.",
        "fill_rate: share of the orders placed that were filled, of makers (eval.entry); 1 of takers.",
        "verdict: the first of these that applies: "
        + ", ".join(f"{name} ({why})" for name, why in MARKS.items())
        + ".",
    )
)
"""Meaning of the columns."""


def people_columns(
    sort: str, *, alone: bool = False, pooled: bool = False, split: bool = False, sessions: bool = False
) -> tuple[str, ...]:
    """Return the columns of the table, with the figure it is sorted by if that is another one.

    `alone` drops the figures that depend on other rows; `pooled` adds the figures of sessions; `split` adds the figures
    in-sample and out of sample; `sessions` adds the session of each row.
    """
    columns = tuple(name for name in TABLE if not (alone and name in ("p_adj", "q_random", "n_trials", "dsr")))
    at = columns.index("net 95 %") + 1
    if split:
        columns = (*columns[:at], "net in", "net out", "trades out", *columns[at:])
    if pooled:
        columns = (*columns[:at], "paid", "worst", *columns[at:])
    if sessions:
        columns = (*columns[:3], "session", *columns[3:])
    return columns if sort in _IN_TABLE else (*columns[:-1], sort, columns[-1])


def short_columns(
    sort: str, *, alone: bool = False, pooled: bool = False, split: bool = False, sessions: bool = False
) -> tuple[str, ...]:
    """Return the columns of a table of 80 characters; parameters as in `people_columns`."""
    if alone:
        columns: tuple[str, ...] = ("row", "threshold", "cooldown", "tp", "sl", "trades", "net [95 %]", "p_random")
    else:
        columns = SHORT
    if split:
        at = columns.index("net [95 %]")
        columns = (*columns[:at], "net", "net in", "net out", *columns[at + 1 :])
    if pooled:
        columns = (*columns[:-2], "paid", *columns[-2:])
    if sessions:
        columns = (*columns[:2], "date", *columns[2:])
    heading = next((name for name, column in HEADINGS.items() if column == sort), sort)
    known = {"net_pnl_ticks", "net_pnl_lo", "net_pnl_hi", "evidence", "net_in_sample", "net_out_of_sample"}
    return columns if sort in known or heading in columns else (*columns[:-2], heading, *columns[-2:])


def axes_column(rows: Sequence[Mapping[str, Any]], among: pl.DataFrame) -> tuple[str, list[str]]:
    """Return heading and cells of one narrow column with the settings of trials that vary, as ``thr/cd/tp``.

    Parameters
    ----------
    rows : sequence of mappings
        Rows of `for_people` to describe.
    among : DataFrame
        Rows among which settings may vary. The heading is empty if none does.
    """
    names = [name for name in _AXES if among[HEADINGS.get(name, name)].n_unique() > 1]
    cells = ["/".join(f"{v:g}" if isinstance(v := row[name], float) else str(v) for name in names) for row in rows]
    return "/".join(_AXES[name] for name in names), cells


_AXES = {"threshold": "thr", "cooldown": "cd", "tp": "tp", "sl": "sl"}
"""Headings of the settings of trials, with their names in one column."""


def chosen_columns(names: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """Return the columns that a reader names: headings of the tables, or figures of the store.

    Raises
    ------
    ResultsError
        If a name is unknown.
    """
    known = [*dict.fromkeys((*TABLE, *SHORT, *HEADINGS, *EXPORTED))]
    known += [name for row in rows[:1] for name in row if name not in known]
    for name in names:
        if name not in known:
            raise ResultsError(f"There is no column '{name}'.{did_you_mean(name, known)} Columns: {listed(known)}.")
    return tuple(dict.fromkeys(names))


def for_people(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return rows of `ranked` with short names beside those of the store, rounded, the interval in one cell."""

    def rounded(value: float | None, digits: int) -> float | None:
        return None if value is None else round(value, digits)

    def interval(lo: float | None, hi: float | None, between: str = "-") -> str | None:
        return None if lo is None or hi is None else f"{lo:.3f}{between}{hi:.3f}"

    return [
        {
            **row,
            "row": row["row"],
            "run": row["run_id"][:8],
            "signal": row["signal"],
            "session": session_of(row["dataset_id"]),
            "threshold": row["threshold"] if row.get("threshold_quantile") is None else _quantile(row),
            "cooldown": row["cooldown_bins"],
            "tp": row["tp_ticks"],
            "sl": row["sl_ticks"],
            "trades": row["trades"],
            "n_eff": rounded(row["n_eff"], 1),
            "net": rounded(row["net_pnl_ticks"], 3),
            "net [95 %]": _signed(row["net_pnl_ticks"], row["net_pnl_lo"], row["net_pnl_hi"]),
            "date": session_of(row["dataset_id"]).partition(" ")[0],
            "verdict": mark(row),
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


def _signed(net: float | None, lo: float | None, hi: float | None) -> str | None:
    if net is None:
        return None
    return f"{net:+.2f}" if lo is None or hi is None else f"{net:+.2f} [{lo:.2f}, {hi:.2f}]"


def _quantile(row: Mapping[str, Any]) -> str:
    return f"q {row['threshold_quantile']:g}"


def ranked(rows: pl.DataFrame, among: pl.DataFrame) -> list[dict[str, Any]]:
    """Return rows as they are shown; see `each_ranked`."""
    return list(each_ranked(rows, among))


def each_ranked(rows: pl.DataFrame, among: pl.DataFrame) -> Iterator[dict[str, Any]]:
    """Yield rows as they are shown: with parsed settings, and which settings vary among the runs of a signal.

    Parameters
    ----------
    rows, among : DataFrame
        Rows of `with_rates` to return, and the rows among which settings may vary.
    """
    seen: dict[tuple[str, str], set[str]] = {}
    # Of ten thousand runs most differ in one of the three texts: each of them is read once.
    read = cache(lambda text: {name: repr(value) for name, value in json_module.loads(text or "{}").items()})
    scopes = {scope: column for scope, column in SETTINGS.items() if column in among.columns}
    for name_of_signal, *texts in among.select("signal_name", *scopes.values()).unique().iter_rows():
        for scope, text in zip(scopes, texts, strict=True):
            for name, value in read(text).items():
                seen.setdefault((name_of_signal, f"{scope}.{name}"), set()).add(value)
    for row in rows.iter_rows(named=True):
        varied = {name: v for name, v in settings_of(row).items() if len(seen.get((row["signal_name"], name), ())) > 1}
        yield {
            **{name: v for name, v in row.items() if not name.endswith("_json") and name not in VECTORS},
            "signal": row["signal_name"],
            "varied": " ".join(f"{name}={_short(value)}" for name, value in varied.items()),
            "signal_params": json_module.loads(row["signal_params_json"]),
            "scoring": json_module.loads(row["scoring_json"]) if row["scoring_json"] else None,
            "eval": json_module.loads(row["eval_json"]),
            **({"pipeline": json_module.loads(row["pipeline_json"] or "{}")} if "pipeline_json" in row else {}),
            "finished_utc": row["finished_utc"].isoformat(),
        }


def _short(value: Any) -> str:
    return value if isinstance(value, str) else json_module.dumps(value, separators=(",", ":"))


NAMED = 3
"""Sessions of a family that a sentence names one by one."""


def described(dataset_id: str) -> str:
    """Return the datasets of a family in words: of many sessions the first and the last, of engines the number."""
    first, *others = dataset_id.split(ENGINES)
    names = [name.rpartition("__")[0] if others else name for name in datasets_of(first)]
    sessions = JOINT.join(names) if len(names) <= NAMED else f"{len(names)} sessions from {names[0]} to {names[-1]}"
    return f"{sessions} ({len(others) + 1} engines)" if others else sessions
