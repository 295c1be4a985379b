"""The verdict on a row, and what is weak in its evidence."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl

from vpcore.inference.summaries import Evidence
from vpcore.results import TRADES

LEVEL = 0.05
"""A p-value up to this counts as evidence."""

MIN_TRADES = 30
"""Least number of trades of a promoted row, whatever an experiment requires: intervals of fewer mean little."""

STATED = ("net_pnl_ticks", "net_pnl_lo", "net_pnl_hi", "p_random", "p_adj", "dsr")
"""Figures that state what a row is worth."""


def passes(p_confirm: float, net_pnl_ticks: float | None) -> bool:
    """Return True if a row beats random entry on the reserve, and earns money there."""
    return p_confirm <= LEVEL and (net_pnl_ticks or 0.0) > 0.0


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
    trials = adjusted_for(evidence)
    if by_chance is None:
        timing = "was not held against random entry"
    elif by_chance <= LEVEL:
        timing = "beats random entry"
    else:
        timing = f"is no better than random entry ({percent(by_chance)} of random entries pay as much)"
    across = _across(row)
    if net <= 0.0:
        if by_chance is not None and by_chance <= LEVEL and p_adj is not None and p_adj > LEVEL:
            timing += f", as some of {trials} do by luck ({percent(p_adj)} of experiments this size)"
        joint = ", but" if by_chance is not None and by_chance <= LEVEL else " and"
        return f"{timing}{joint} loses {-net:.2f} ticks a trade after costs{across}"
    if p_adj is not None and p_adj > LEVEL:
        draws = f"the best of {n:,} lucky draws" if n > 1 else "a lucky draw"
        size = "experiments this size" if n > 1 else "such trials"
        return f"{timing}, and may be {draws}: {percent(p_adj)} of {size} on pure noise do better{across}"
    if by_chance is None or p_adj is None:
        return f"{timing}: what it pays may be luck{across}"
    survives = f"survives {trials}"
    if by_chance > LEVEL:
        return f"{survives}, but {timing}: what pays may be the market's drift and not the timing{across}"
    if lo is None or lo <= 0.0:
        between = f"{_ticks(lo)} to {_ticks(row['net_pnl_hi'])} ticks"
        return f"{timing}, {survives}, but its mean may be 0 (95 %: {between}){across}"
    return f"{timing}, {survives}{across}"


def adjusted_for(evidence: Evidence) -> str:
    """Return what `p_adj` is adjusted for: the rows of the first batch on a market, or all distinct trials."""
    n = evidence.n_adjusted
    unit = "row" if evidence.first else "trial"
    return f"{n:,} {unit}{'s' if n != 1 else ''}"


def mark(row: Mapping[str, Any]) -> str:
    """Return the verdict on a row as one or two words: the first of `MARKS` that applies."""
    net, by_chance, p_adj, lo = (row.get(name) for name in ("net_pnl_ticks", "p_random", "p_adj", "net_pnl_lo"))
    if net is None:
        return "no trade"
    if net <= 0.0:
        return "loses"
    if p_adj is not None and p_adj > LEVEL:
        return "luck?"
    if by_chance is None or p_adj is None:
        return "untested"
    if by_chance > LEVEL:
        return "drift?"
    return "mean 0?" if lo is None or lo <= 0.0 else "holds"


MARKS = {
    "no trade": "no signal became a trade",
    "loses": "the net PnL is 0 or below",
    "luck?": f"p_adj is above {LEVEL:g}",
    "untested": "the row was not held against random entry",
    "drift?": f"p_random is above {LEVEL:g}",
    "mean 0?": "the interval of the net PnL reaches 0",
    "holds": "none of these",
}
"""Marks of `mark` with their meaning, in the order in which they apply."""


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
    """Explain an empty table: the largest number of trades, or the cause of the silence and its remedy."""
    most: Any = rows.select(TRADES.max()).item()
    if most is None:
        return f"No row has {min_trades} trades."
    if (rows["n_signals"] > 0).any():
        return f"No row has {min_trades} trades: the most is {most}."
    return f"No row has {min_trades} trades: none has any. {_silence(rows)}"


def _silence(rows: pl.DataFrame) -> str:
    """Return the cause of the silence of rows without a signal, with its figure and the remedy."""
    known = rows.filter(pl.col("open_bins").is_not_null())
    open_bins, n_values = (int(known[name].max() or 0) for name in ("open_bins", "n_values"))  # type: ignore[arg-type]
    if known.height and not open_bins:
        return (
            "No bin after the warm-up is open: the session is shorter than eval.warmup_bins, or its book is invalid or "
            "without events. Lower eval.warmup_bins, or see the data: vp list-datasets."
        )
    if known.height and not n_values:
        return (
            f"The signals have no value in {open_bins:,} open bins: a window is longer than the session, or a model "
            "was never fitted because a class had too few labels. Use a longer session, smaller windows, or nearer "
            "barriers."
        )
    lowest: Any = rows["threshold"].abs().min()
    reached: Any = known["largest_value"].max() if known.height else None
    least = "" if reached is None else f" (the largest value is {reached:.4g})"
    if reached is not None and reached >= lowest:
        return (
            f"Values reach the lowest threshold, {lowest:g}, but never cross it{least}: they begin beyond it and stay "
            "there. Choose thresholds inside their range with eval.threshold_quantiles."
        )
    return (
        f"No signal reached its threshold, of which the lowest is {lowest:g}{least}. Lower eval.thresholds, or take "
        "them from the signal's own values with eval.threshold_quantiles."
    )


def _across(row: Mapping[str, Any]) -> str:
    """Return the number of sessions on which a pooled row earns money, as a clause."""
    if row.get("sessions") is None:
        return ""
    worst = row["worst_session_net"]
    return f"; it pays in {row['sessions_paid']} of {row['sessions']} sessions, {worst:+.2f} ticks a trade in the worst"


def percent(p: float) -> str:
    """Return a p-value in percent, as verdicts name it."""
    return f"{100 * p:.0f} %" if p >= 0.095 else f"{100 * p:.1f} %"


def _ticks(value: float | None) -> str:
    return "?" if value is None else f"{value:.2f}"
