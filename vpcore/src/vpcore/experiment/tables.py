"""Rows as a table for people: names, order and rounding of the columns."""

from __future__ import annotations

import numpy as np
import polars as pl

from vpcore.results import TRADES
from vpcore.statistics.intervals import wilson

HEADINGS = {
    "run": "run_id", "cooldown": "cooldown_bins", "tp": "tp_ticks", "sl": "sl_ticks", "net": "net_pnl_ticks",
    "net in": "net_in_sample", "net out": "net_out_of_sample", "trades out": "trades_out_of_sample",
    "timeouts": "timeout_rate", "resolved": "tp_resolved", "breakeven": "breakeven_rate", "driftless": "driftless_rate",
    "mean": "mean_pnl_ticks", "worst": "worst_session_net", "paid": "sessions_paid",
}  # fmt: skip
"""What a heading of the table is called in the store, where that is another name."""

SEARCHED = (
    "A search chose these combinations from earlier results (sweep.sample): p_adj counts all combinations on the axes, "
    "tried or not. The search did not see the part of the time that eval.splits keeps for judging."
)
"""Note on the rows of an experiment with an adaptive search."""


def session_of(dataset_id: str) -> str:
    """Return the date and the times in the id of a dataset, ``2023-12-25 1800-1859``; another id as it is."""
    symbol, _, window = dataset_id.partition("__")[0].partition("_")
    date, *times = window.split("_")
    return f"{date} {'-'.join(times)}" if symbol and len(times) == 2 else dataset_id


def with_rates(rows: pl.DataFrame) -> pl.DataFrame:
    """Return rows with the columns ``trades``, ``tp_resolved``, ``tp_resolved_lo`` and ``tp_resolved_hi``.

    ``tp_resolved`` is the share of take-profits among the trades that reached a barrier, with its Wilson interval.
    """
    trades = rows.select(TRADES.cast(pl.Float64)).to_series().fill_null(0.0).to_numpy()
    hits, stops = (
        np.rint(rows[name].cast(pl.Float64).fill_null(0.0).fill_nan(0.0).to_numpy() * trades)
        for name in ("tp_rate", "sl_rate")
    )
    resolved = hits + stops
    share = np.divide(hits, resolved, out=np.full(len(trades), np.nan), where=resolved > 0.0)
    lo, hi = (np.where(resolved > 0.0, bound, np.nan) for bound in wilson(hits, resolved))
    rates = {"tp_resolved": share, "tp_resolved_lo": lo, "tp_resolved_hi": hi}
    return rows.with_columns(TRADES, *(pl.Series(name, values).fill_nan(None) for name, values in rates.items()))
