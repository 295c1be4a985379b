"""One combination over several sessions: the rows it has there, as one row.

Sessions of an experiment do not overlap in time, so that trades add up and none is counted twice.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from vpcore.backtest.cross_validation import SplitSpec
from vpcore.backtest.trades_digest import DIGITS
from vpcore.canonical import digest
from vpcore.dataset import DatasetRegistry
from vpcore.inference.blocks import JOINT, lists, pnl_matrix
from vpcore.inference.moments import pooled_moments
from vpcore.inference.out_of_sample import split_vectors
from vpcore.results import ROW_KEY, RUNS, TRADES
from vpcore.statistics.intervals import Z_95, wilson
from vpcore.statistics.permutation import p_random

POOLED = (
    "sessions", "sessions_paid", "worst_session_net", "session_net_pnl_ticks", "session_trades", "session_rows",
    "session_runs", "threshold_quantile",
)  # fmt: skip
"""Columns that only pooled rows have."""

_NS_PER_HOUR = 3600 * 10**9

_SUMMED = ("n_signals", "n_up", "n_down", "n_dropped", "n_eff")
_AVERAGED = (
    "tp_rate", "sl_rate", "timeout_rate", "mean_pnl_ticks", "tie_rate", "median_time_to_outcome_ms", "driftless_rate",
    "block_length",
)  # fmt: skip
_AS_LAST = (
    "run_id", "threshold", "cooldown_bins", "tp_ticks", "sl_ticks", "row", "breakeven_rate", "batch_id", "status",
    "error", "experiment_name", "signal_name", "signal_distribution", "signal_version", "code_digest",
    "core_digest", "signal_params_json", "scoring_json", "eval_json", "config_hash",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class MemberTable:
    """Which rows make up the combinations of an experiment on several sessions.

    Attributes
    ----------
    dataset_ids : tuple of str
        Of all sessions, in order of time.
    frame : DataFrame
        One line per combination and session: ``combination`` and ``session`` (places), the columns of
        `vpcore.results.ROW_KEY`, and ``threshold_quantile``, null where thresholds are numbers.
    """

    dataset_ids: tuple[str, ...]
    frame: pl.DataFrame


def pool(
    rows: pl.DataFrame, members: MemberTable, datasets: DatasetRegistry, *, splits: SplitSpec | None = None
) -> tuple[pl.DataFrame, int]:
    """Return one row per combination that is stored on every session, and how many lack one.

    Parameters
    ----------
    rows : DataFrame
        From `ResultsDB.query_runs` with ``blocks=True``.
    members : MemberTable
        Which of them belong together.
    datasets : DatasetRegistry
        Says how long sessions are.
    splits : SplitSpec, optional
        How the experiment is cut into in-sample and out-of-sample parts.

    Returns
    -------
    rows : DataFrame
        The columns of `rows` and `POOLED`, by combination. A combination goes by the name of its row on the latest
        session (`run_id`, `row`, the threshold if it is a quantile), so that whatever takes a row takes it.
        `dataset_id` names all of them. Counts are summed; rates and means are of all trades; the median time and the
        block length are averages over trades; the moments are exactly those of all trades together. See the notes for
        what cannot be had from rows exactly.
    n_incomplete : int
        Combinations of which a session is not stored, or failed.

    Notes
    -----
    - ``net_pnl_lo``, ``net_pnl_hi``: the intervals of the sessions are put together by their distances from the means
      (Zou and Donner 2008), which needs independent sessions and no normality.
    - ``rotated_net``: the sums of the sessions, draw by draw: in each draw every session is rotated by a share of its
      own. ``p_random`` is that of these sums. Null where a session has no draws.
    - ``block_pnl_ticks``: the vectors one after the other.
    - ``trades_digest``: a digest of the sessions' digests.
    """
    n_sessions = len(members.dataset_ids)
    key = list(ROW_KEY)
    long = members.frame.join(rows, on=key, how="inner").with_columns(TRADES)
    counted = long.group_by("combination").agg(pl.len().alias("found"))
    complete = counted.filter(pl.col("found") == n_sessions).select("combination")
    n_incomplete = members.frame["combination"].n_unique() - complete.height
    long = long.join(complete, on="combination", how="semi").sort("combination", "session")
    pooled = _figures(long).join(pooled_moments(long, "combination"), on="combination").sort("combination")
    sums = _rotated(long, n_sessions)
    hours = _hours(long, members, datasets)
    lo, hi = (
        wilson((pooled["tp_rate"] * pooled["trades"]).round().fill_null(0).to_numpy(), pooled["trades"].to_numpy())
        if pooled.height
        else (np.empty(0), np.empty(0))
    )
    pooled = pooled.with_columns(
        dataset_id=pl.lit(JOINT.join(members.dataset_ids)),
        net_pnl_lo=pl.col("net_pnl_ticks") - pl.col("_below"),
        net_pnl_hi=pl.col("net_pnl_ticks") + pl.col("_above"),
        tp_rate_lo=pl.Series(lo, dtype=pl.Float64).fill_nan(None),
        tp_rate_hi=pl.Series(hi, dtype=pl.Float64).fill_nan(None),
        events_per_hour=pl.col("n_signals") / hours if hours > 0.0 else pl.lit(None, dtype=pl.Float64),
        p_random=pl.Series([p_random(row) for row in sums], dtype=pl.Float64).fill_nan(None),
        rotated_net=lists(sums, RUNS["rotated_net"]),
        block_pnl_ticks=lists(
            np.concatenate([pnl_matrix(_of(long, i, "block_pnl_ticks")) for i in range(n_sessions)], axis=1),
            RUNS["block_pnl_ticks"],
        ),
        trades_digest=pl.Series([_joint(found) for found in pooled["trades_digest"]], dtype=pl.String),
    ).with_columns(split_vectors(long, n_sessions, splits))
    return pooled.select(*rows.columns, *POOLED), n_incomplete


def _joint(digests: pl.Series) -> str | None:
    """Return one digest of the sessions' digests, in order of time; None if a session has none."""
    return None if digests.null_count() else digest(digests.to_list())[:DIGITS]


def _weighted(name: str) -> pl.Expr:
    total = pl.col("trades").filter(pl.col(name).is_not_null()).sum()
    return pl.when(total > 0).then((pl.col(name) * pl.col("trades")).sum() / total).alias(name)


def _figures(long: pl.DataFrame) -> pl.DataFrame:
    """Return what can be summed or averaged; the interval's distances need the deviation of all trades."""
    traded = pl.col("trades") > 0
    net = pl.col("net_pnl_ticks")
    total = pl.col("trades").sum().over("combination")
    deviation = pooled_moments(long, "combination").select("combination", pl.col("net_pnl_sd").alias("_sd"))
    share = pl.col("trades") / total
    # A session with one trade has no interval of its own: it gets that of a trade of all of them.
    instead = Z_95 * pl.col("_sd") / pl.col("trades").sqrt()
    below, above = (net - pl.col("net_pnl_lo")).fill_null(instead), (pl.col("net_pnl_hi") - net).fill_null(instead)
    some = pl.col("net_pnl_lo").is_not_null().any()
    return (
        long.join(deviation, on="combination", how="left", maintain_order="left")
        .with_columns(_lo2=pl.when(traded).then((share * below) ** 2), _hi2=pl.when(traded).then((share * above) ** 2))
        .group_by("combination", maintain_order=True)
        .agg(
            *(pl.col(name).last() for name in _AS_LAST),
            *(pl.col(name).sum() for name in _SUMMED),
            *(_weighted(name) for name in _AVERAGED),
            pl.col("finished_utc").max(),
            pl.col("max_concurrent").max(),
            pl.col("trades").sum(),
            pl.col("threshold_quantile").last(),
            pl.when(some).then(pl.col("_lo2").sum().sqrt()).alias("_below"),
            pl.when(some).then(pl.col("_hi2").sum().sqrt()).alias("_above"),
            pl.len().cast(pl.Int64).alias("sessions"),
            (net > 0.0).sum().cast(pl.Int64).alias("sessions_paid"),
            net.min().alias("worst_session_net"),
            net.alias("session_net_pnl_ticks"),
            pl.col("trades").alias("session_trades"),
            pl.col("row").alias("session_rows"),
            pl.col("trades_digest"),
            pl.col("run_id").alias("session_runs"),
        )
    )


def _of(long: pl.DataFrame, session: int, column: str) -> pl.Series:
    return long.filter(pl.col("session") == session)[column]


def _rotated(long: pl.DataFrame, n_sessions: int) -> npt.NDArray[np.int64]:
    """Return the rotation sums of each combination, added over its sessions draw by draw.

    Of sessions with more and fewer draws, those count that all have; without draws in one, there are none.
    """
    width = int(long["rotated_net"].list.len().fill_null(0).min() or 0)  # type: ignore[arg-type]
    parts = [_of(long, session, "rotated_net").list.head(width) for session in range(n_sessions)]
    total = np.zeros((len(parts[0]), width), dtype=np.int64)
    for part in parts if width else ():
        total += part.explode().to_numpy().reshape(-1, width)
    return total


def _hours(long: pl.DataFrame, members: MemberTable, datasets: DatasetRegistry) -> float:
    """Return how long the sessions are after their warm-up, in hours; 0 if that is not known of all of them."""
    warmup = {int(json.loads(text)["warmup_bins"]) for text in long["eval_json"].unique()}
    if len(warmup) != 1 or not all(datasets.exists(name) for name in members.dataset_ids):
        return 0.0
    (first,) = warmup
    opened = [datasets.open(name) for name in members.dataset_ids]
    return sum(max(data.n_bins - first, 0) * data.cell_width_ns for data in opened) / _NS_PER_HOUR
