"""What a published version says of its row: the verdict with its figures, and what is weak in the evidence."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vpcore.backtest.config import EvalConfig
from vpcore.inference.evidence import LEVEL, MIN_TRADES, STATED, adjusted_for, percent, verdict
from vpcore.inference.out_of_sample import signed_ticks
from vpcore.inference.summaries import Evidence, OutOfSample


def screen_failures(row: Mapping[str, Any], evidence: Evidence, *, min_trades: int, required_by: str) -> list[str]:
    """Return what is weak in the evidence of a row, each with its figure and what it should be.

    Parameters
    ----------
    row, evidence
        As in `vpcore.inference.evidence.verdict`.
    min_trades : int
        Trades that the experiment requires. At least `MIN_TRADES` are always required.
    required_by : str
        Name of the setting behind `min_trades`, for messages.
    """
    found, name = [], f"row {row['row']}"
    config = EvalConfig.of_row(row["eval_json"])
    if config.price == "mid":
        found.append(f"{name} trades on the mid, where nobody trades; eval.price must be touch.")
    if config.fee_ticks == 0.0:
        found.append(f"{name} trades without a fee; eval.fee_ticks must be above 0.")
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
            f"{row['net_pnl_hi']:.3f}; the lower end should be above 0."
        )
    if row["p_adj"] is None:
        found.append(f"{name} was not held against random entry (eval.null_draws is 0): it has no p_adj.")
    elif row["p_adj"] > LEVEL:
        found.append(
            f"p_adj of {name} is {row['p_adj']:.3f} and should be at most {LEVEL}: on pure noise, the "
            f"best of {adjusted_for(evidence)} does as well in {percent(row['p_adj'])} of cases."
        )
    return found


def statement(row: Mapping[str, Any], evidence: Evidence) -> str:
    """Return the verdict on a row with the figures behind it, as sentences."""
    config = EvalConfig.of_row(row["eval_json"])
    costs = f"at {config.price} prices, with a fee of {config.fee_ticks:g} ticks per round trip"
    figures = (f"{name} {'none' if row[name] is None else format(row[name], '.4g')}" for name in STATED)
    return (
        f"Row {row['row']} {verdict(row, evidence)}, {costs}. {', '.join(figures)}; {evidence.n_rows} rows in "
        f"its experiment, {evidence.n_trials} trials on this market in all."
    )


def split_failures(row: Mapping[str, Any], summary: OutOfSample) -> list[str]:
    """Return the reasons against a promotion from the splits."""
    if not summary.choices:
        return ["in-sample no row has enough trades to be chosen (eval.splits)."]
    found = []
    if summary.method == "holdout":
        (choice,) = summary.choices
        if choice.row != row["row"]:
            found.append(
                f"row {row['row']} is not the one that is chosen in-sample, which is {choice.row} of run "
                f"{choice.run_id}: by its figures out of sample nothing may be chosen."
            )
        net, trades = row["net_out_of_sample"], row["trades_out_of_sample"]
        what = f"row {row['row']}"
    else:
        net, trades, what = summary.net_out, summary.trades_out, f"what is chosen by {summary.metric} in-sample"
    if net is None:
        found.append(f"out of sample {what} does not trade.")
    elif net <= 0.0:
        found.append(
            f"out of sample {what} pays {net:+.3f} ticks a trade in {trades} trades, and "
            f"{signed_ticks(summary.net_in)} in-sample; it must pay there."
        )
    return found
