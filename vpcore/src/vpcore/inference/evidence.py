"""The verdict on a row, and the reasons against its promotion."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl

from vpcore.inference.ranking import Evidence
from vpcore.results import TRADES

LEVEL = 0.05
"""A p-value up to this counts as evidence."""

MIN_TRADES = 30
"""Least number of trades of a promoted row, whatever an experiment requires: intervals of fewer mean little."""

STATED = ("net_pnl_ticks", "net_pnl_lo", "net_pnl_hi", "p_random", "p_adj", "dsr")
"""Figures that `statement` names."""


def verdict(row: Mapping[str, Any], evidence: Evidence) -> str:
    """Return the verdict on a row as a clause.

    Parameters
    ----------
    row : mapping
        A row of `vpcore.experiment.leaderboard.Leaderboard.frame`.
    evidence : Evidence
        Evidence of its family.
    """
    net, by_chance, p_adj, lo = (row[name] for name in ("net_pnl_ticks", "p_random", "p_adj", "net_pnl_lo"))
    if net is None:
        return "did not trade"
    n = evidence.n_adjusted
    trials = f"{n:,} trial{'s' if n != 1 else ''}"
    if by_chance is None:
        timing = "was not held against random entry"
    elif by_chance <= LEVEL:
        timing = "beats random entry"
    else:
        timing = f"is no better than random entry ({_percent(by_chance)} of random entries pay as much)"
    across = _across(row)
    if net <= 0.0:
        if by_chance is not None and by_chance <= LEVEL and p_adj is not None and p_adj > LEVEL:
            timing += f", as some of {trials} do by luck ({_percent(p_adj)} of experiments this size)"
        joint = ", but" if by_chance is not None and by_chance <= LEVEL else " and"
        return f"{timing}{joint} loses {-net:.2f} ticks a trade after costs{across}"
    if p_adj is not None and p_adj > LEVEL:
        draws = f"the best of {n:,} lucky draws" if n > 1 else "a lucky draw"
        size = "experiments this size" if n > 1 else "such trials"
        return f"{timing}, and may be {draws}: {_percent(p_adj)} of {size} on pure noise do better{across}"
    if by_chance is None or p_adj is None:
        return f"{timing}: what it pays may be luck{across}"
    survives = f"survives {trials}"
    if by_chance > LEVEL:
        return f"{survives}, but {timing}: what pays may be the market's drift and not the timing{across}"
    if lo is None or lo <= 0.0:
        between = f"{_ticks(lo)} to {_ticks(row['net_pnl_hi'])} ticks"
        return f"{timing}, {survives}, but its mean may be 0 (95 %: {between}){across}"
    return f"{timing}, {survives}{across}"


def overfitting(evidence: Evidence, rows: pl.DataFrame) -> str:
    """Return the probability of backtest overfitting as a sentence; empty if undefined.

    The probability judges the choice among `rows`, apart from earnings: if all rows lose, the least bad row may be the
    same in every half of the time.
    """
    if evidence.pbo is None:
        return ""
    text = f"Probability of backtest overfitting: {evidence.pbo:.0%}"
    if (rows["net_pnl_ticks"] > 0.0).any():
        return f"{text}."
    return f"{text}. Every row loses money; this is the stability of the least bad one."


def too_few(rows: pl.DataFrame, min_trades: int) -> str:
    """Explain an empty table: the largest number of trades, or that all signals stayed below their thresholds."""
    most: Any = rows.select(TRADES.max()).item()
    if most is None:
        return f"No row has {min_trades} trades."
    if not (rows["n_signals"] > 0).any():
        lowest: Any = rows["threshold"].abs().min()
        return (
            f"No row has {min_trades} trades: none has any, because no signal reached its threshold, of which the "
            f"lowest is {lowest:g}. Lower eval.thresholds, or take them from the signal's own values with "
            "eval.threshold_quantiles."
        )
    return f"No row has {min_trades} trades: the most is {most}."


def _across(row: Mapping[str, Any]) -> str:
    """Return the number of sessions on which a pooled row earns money, as a clause."""
    if row.get("sessions") is None:
        return ""
    worst = row["worst_session_net"]
    return f"; it pays in {row['sessions_paid']} of {row['sessions']} sessions, {worst:+.2f} ticks a trade in the worst"


def gate_failures(row: Mapping[str, Any], evidence: Evidence, *, min_trades: int, required_by: str) -> list[str]:
    """Return the reasons against a promotion, each with its figure and the required value.

    Parameters
    ----------
    row, evidence
        As in `verdict`.
    min_trades : int
        Trades that the experiment requires. At least `MIN_TRADES` are always required.
    required_by : str
        Name of the setting behind `min_trades`, for messages.
    """
    found, name = [], f"row {row['row']}"
    traded = row["trades"] or 0
    if traded < min_trades:
        found.append(f"{name} has {traded} signals that traded; {required_by} requires {min_trades}.")
    elif traded < MIN_TRADES:
        found.append(f"{name} has {traded} trades; at least {MIN_TRADES} are required.")
    lo = row["net_pnl_lo"]
    if lo is None:
        found.append(
            f"{name} has no interval of its net PnL (eval.bootstrap_draws is 0, or its trades all paid the same)."
        )
    elif lo <= 0.0:
        found.append(
            f"the net PnL of {name} is {row['net_pnl_ticks']:.3f} ticks a trade, 95 % from {lo:.3f} to "
            f"{row['net_pnl_hi']:.3f}; the lower end must be above 0."
        )
    if row["p_adj"] is None:
        found.append(f"{name} was not held against random entry (eval.null_draws is 0): it has no p_adj.")
    elif row["p_adj"] > LEVEL:
        found.append(
            f"p_adj of {name} is {row['p_adj']:.3f} and must be at most {LEVEL}: of "
            f"{evidence.n_adjusted} trials on pure noise, that share of times one does as well."
        )
    return found


def statement(row: Mapping[str, Any], evidence: Evidence) -> str:
    """Return the verdict on a row with the figures behind it, as sentences."""
    figures = (f"{name} {'none' if row[name] is None else format(row[name], '.4g')}" for name in STATED)
    return (
        f"Row {row['row']} {verdict(row, evidence)}. {', '.join(figures)}; {evidence.n_rows} rows in its experiment, "
        f"{evidence.n_trials} trials on this market in all."
    )


def _percent(p: float) -> str:
    return f"{100 * p:.0f} %" if p >= 0.095 else f"{100 * p:.1f} %"


def _ticks(value: float | None) -> str:
    return "?" if value is None else f"{value:.2f}"
