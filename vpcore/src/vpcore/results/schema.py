"""The two tables of the results store: columns, types, keys. A version has fixed columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import polars as pl

from vpcore.canonical import bytes_digest, canonical_json, digest

RESULTS_VERSION = 7
"""Version of the tables and of what a run id is made of."""

TRIAL_KEY = ("threshold", "cooldown_bins", "tp_ticks", "sl_ticks")
"""What tells the rows of one run apart."""

ROW_KEY = ("run_id", *TRIAL_KEY)
"""What tells all rows apart."""

COMBINATION = (
    "signal_name", "signal_distribution", "signal_version", "code_digest", "signal_params_json", "scoring_json",
    "eval_json", *TRIAL_KEY,
)  # fmt: skip
"""What a row is on whatever dataset: rows of several datasets that agree in it are one thing that was tried."""

RUNS: dict[str, Any] = {
    "run_id": pl.String,
    "threshold": pl.Float64,
    "cooldown_bins": pl.Int64,
    "tp_ticks": pl.Int64,
    "sl_ticks": pl.Int64,
    "row": pl.String,
    "n_signals": pl.Int64,
    "n_up": pl.Int64,
    "n_down": pl.Int64,
    "tp_rate": pl.Float64,
    "sl_rate": pl.Float64,
    "timeout_rate": pl.Float64,
    "mean_pnl_ticks": pl.Float64,
    "net_pnl_ticks": pl.Float64,
    "events_per_hour": pl.Float64,
    "median_time_to_outcome_ms": pl.Float64,
    "tie_rate": pl.Float64,
    "max_concurrent": pl.Int64,
    "n_dropped": pl.Int64,
    "n_placed": pl.Int64,
    "fill_rate": pl.Float64,
    "tp_rate_lo": pl.Float64,
    "tp_rate_hi": pl.Float64,
    "n_eff": pl.Float64,
    "breakeven_rate": pl.Float64,
    "driftless_rate": pl.Float64,
    "net_pnl_lo": pl.Float64,
    "net_pnl_hi": pl.Float64,
    "p_random": pl.Float64,
    "net_pnl_sd": pl.Float64,
    "net_pnl_skew": pl.Float64,
    "net_pnl_kurtosis": pl.Float64,
    "block_length": pl.Float64,
    "open_bins": pl.Int64,
    "n_values": pl.Int64,
    "largest_value": pl.Float64,
    "trades_digest": pl.String,
    "block_pnl_ticks": pl.List(pl.Float64),
    "rotated_net": pl.List(pl.Int32),
    "group_trades": pl.List(pl.Int64),
    "group_tp": pl.List(pl.Int64),
    "group_net_ticks": pl.List(pl.Float64),
    "group_net_ticks2": pl.List(pl.Float64),
    "group_gross_ticks": pl.List(pl.Float64),
    "train_trades": pl.List(pl.Int64),
    "train_tp": pl.List(pl.Int64),
    "train_net_ticks": pl.List(pl.Float64),
    "train_gross_ticks": pl.List(pl.Float64),
    "batch_id": pl.String,
}
"""One row per trial. `row` is the short name of its key; `batch_id` joins it to the row of `RUNS_META` it came with. A
figure is null where there was no trade, and all are null in a row of a run that failed. Since version 2: `rotated_net`,
and what splits cut (null in runs without). Since version 3: `trades_digest`. Since version 4:
`open_bins`, `n_values`, `largest_value`. Since version 7: `n_placed`, `fill_rate`."""

VECTORS = tuple(name for name, dtype in RUNS.items() if isinstance(dtype, pl.List))
"""Columns of lists, which are most of the data; what they hold is said by `vpcore.backtest.metrics.trial_figures`."""

VECTORS_AT_ONCE = 16_384
"""Rows whose vectors are read at once: some 32 MB. A merged part has row groups of this size."""

TRADES = (pl.col("n_signals") - pl.col("n_dropped")).alias("trades")
"""Number of trades of a row: signals that entered the market. Null in a row of a failed run."""

RUNS_META: dict[str, Any] = {
    "run_id": pl.String,
    "experiment_name": pl.String,
    "dataset_id": pl.String,
    "sources_json": pl.String,
    "end_bin": pl.Int64,
    "signal_name": pl.String,
    "signal_distribution": pl.String,
    "signal_version": pl.Int64,
    "code_digest": pl.String,
    "core_digest": pl.String,
    "signal_params_json": pl.String,
    "scoring_json": pl.String,
    "eval_json": pl.String,
    "config_hash": pl.String,
    "packages_json": pl.String,
    "host": pl.String,
    "started_utc": pl.Datetime("us", "UTC"),
    "finished_utc": pl.Datetime("us", "UTC"),
    "elapsed_seconds": pl.Float64,
    "status": pl.String,
    "error": pl.String,
    "traceback": pl.String,
    "batch_id": pl.String,
}
"""One row per run and batch. `scoring_json` is null for a signal that does not read the score. Since
version 3: `core_digest`. Since version 5: `end_bin`, the number of evaluated bins before a reserve; null for all."""

CIRCUMSTANCES = ("host", "started_utc", "finished_utc", "elapsed_seconds", "traceback", "batch_id")
"""Columns that say how a result came about, not what it is. The canonical read leaves them out."""

LOWER_IS_BETTER = frozenset(
    {
        "sl_rate",
        "timeout_rate",
        "tie_rate",
        "median_time_to_outcome_ms",
        "max_concurrent",
        "n_dropped",
        "breakeven_rate",
        "p_random",
        "p_adj",
        "q_random",
        "pbo",
        "n_trials",
        "net_pnl_sd",
    }
)
"""Figures of a row of which less is better, those of `vpcore.inference.ranking` included."""

SORTABLE = tuple(name for name, dtype in RUNS.items() if dtype in (pl.Float64, pl.Int64) and name not in TRIAL_KEY[1:])
"""Figures by which rows can be ranked, and the threshold."""


def traded(min_trades: int) -> pl.Expr:
    """Expression: the row has at least this number of trades; False for a failed run."""
    return TRADES.ge(min_trades).fill_null(False).alias("traded")


def row_id(run_id: str, threshold: float, cooldown_bins: int, tp_ticks: int, sl_ticks: int) -> str:
    """Return the first 8 hex digits of the sha256 of a row's key."""
    return digest([run_id, float(threshold), int(cooldown_bins), int(tp_ticks), int(sl_ticks)])[:8]


def row_ids(run_id: str, keys: Sequence[tuple[float, int, int, int]]) -> list[str]:
    """Return `row_id` of many rows of one run, several times faster."""
    head = canonical_json([run_id])[:-1]
    thresholds = {threshold: canonical_json(float(threshold)) for threshold in {key[0] for key in keys}}
    return [
        bytes_digest(b"%b,%b,%d,%d,%d]" % (head, thresholds[threshold], cooldown, tp, sl))[:8]
        for threshold, cooldown, tp, sl in keys
    ]


def run_id(parts: dict[str, Any]) -> str:
    """Return the first 16 hex digits of the sha256 of everything that decides a run's outcomes.

    Parameters
    ----------
    parts : dict
        Values for canonical JSON: dataset id and source digests, signal, parameters, digests of its code and of the
        core's, scoring if the signal reads the score, evaluation settings. The version of the tables is added.
    """
    return digest({"results_version": RESULTS_VERSION, **parts})[:16]
