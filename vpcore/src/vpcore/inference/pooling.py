"""Pooling: the rows of one combination on several sessions become one row.

Sessions of an experiment are disjoint in time, so each trade counts once.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from vpcore.backtest.cross_validation import SplitSpec
from vpcore.backtest.open_market import NS_PER_HOUR
from vpcore.backtest.trades_digest import DIGITS
from vpcore.canonical import digest
from vpcore.inference.blocks import JOINT, lists, pnl_matrix
from vpcore.inference.moments import pooled_moments
from vpcore.inference.out_of_sample import split_vectors
from vpcore.results import ROW_KEY, RUNS, TRADES
from vpcore.statistics.intervals import Z_95, wilson
from vpcore.statistics.permutation import p_joint

POOLED = (
    "sessions", "sessions_paid", "worst_session_net", "session_net_pnl_ticks", "session_trades", "session_rows",
    "session_runs", "threshold_quantile",
)  # fmt: skip
"""Additional columns of pooled rows."""


_SUMMED = ("n_signals", "n_up", "n_down", "n_dropped", "n_placed", "n_eff", "open_bins", "n_values")
_AVERAGED = (
    "tp_rate", "sl_rate", "timeout_rate", "mean_pnl_ticks", "tie_rate", "median_time_to_outcome_ms", "driftless_rate",
    "block_length",
)  # fmt: skip
_AS_LAST = (
    "run_id", "threshold", "cooldown_bins", "tp_ticks", "sl_ticks", "row", "breakeven_rate", "batch_id", "status",
    "end_bin",
    "error", "experiment_name", "signal_name", "signal_distribution", "signal_version", "code_digest",
    "core_digest", "signal_params_json", "scoring_json", "eval_json", "config_hash",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class MemberTable:
    """Rows of each combination of an experiment on several sessions.

    Attributes
    ----------
    dataset_ids : tuple of str
        Datasets of the sessions, in order of time.
    frame : DataFrame
        One line per combination and session: ``combination`` and ``session`` (places), the columns of
        `vpcore.results.ROW_KEY`, and ``threshold_quantile``, null for thresholds given as numbers.
    """

    dataset_ids: tuple[str, ...]
    frame: pl.DataFrame


def pool(
    rows: pl.DataFrame, members: MemberTable, width_ns: int, *, splits: SplitSpec | None = None
) -> tuple[pl.DataFrame, int]:
    """Return one row per combination with rows on every session, and the number of incomplete combinations.

    Parameters
    ----------
    rows : DataFrame
        From `ResultsDB.query_runs` with ``blocks=True``.
    members : MemberTable
        Rows of each combination.
    width_ns : int
        Width of a bin.
    splits : SplitSpec, optional
        In-sample and out-of-sample parts of the experiment.

    Returns
    -------
    rows : DataFrame
        The columns of `rows` and `POOLED`, by combination. `run_id`, `row` and the threshold of a quantile come from
        the row on the latest session, so a pooled row is accepted wherever a row is. `dataset_id` names all sessions.
        Counts are sums; rates, means and moments cover all trades and are exact; the median time and the block length
        are averages over trades. The notes describe the approximations.
    n_incomplete : int
        Combinations with a missing or failed session.

    Notes
    -----
    - ``net_pnl_lo``, ``net_pnl_hi``: combined from the distances of the sessions' bounds to their means (Zou and
      Donner 2008). The method requires independent sessions; the distribution may have any shape.
    - ``rotated_net``: the sums of the sessions, draw by draw; in each draw every session has its own rotation.
      ``p_random``: from these sums, and where few do as well from combinations of draws; see
      `vpcore.statistics.permutation.p_joint`. Null if a session lacks draws.
    - ``block_pnl_ticks``: the concatenated vectors.
    - ``trades_digest``: a digest of the sessions' digests.
    """
    n_sessions = len(members.dataset_ids)
    key = list(ROW_KEY)
    # Vectors are most of the data: they are copied once, when it is known which rows, in which order.
    found = members.frame.join(rows.select(key).with_row_index("_at"), on=key, how="inner")
    found = found.filter(pl.len().over("combination") == n_sessions).sort("combination", "session")
    n_incomplete = members.frame["combination"].n_unique() - found["combination"].n_unique()
    long = found.drop("_at").hstack(rows.drop(key)[found["_at"]]).with_columns(TRADES)
    pooled = _figures(long).join(pooled_moments(long, "combination"), on="combination").sort("combination")
    parts = _rotated(long, n_sessions)
    sums = sum(parts, np.zeros(parts[0].shape, dtype=np.int64))
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
        fill_rate=pl.when(pl.col("n_placed") > 0).then(pl.col("trades") / pl.col("n_placed")),
        events_per_hour=pl.when(pl.col("open_bins") > 0).then(
            pl.col("n_signals") / (pl.col("open_bins") * width_ns / NS_PER_HOUR)
        ),
        p_random=pl.Series(
            [p_joint(np.stack([part[i] for part in parts])) for i in range(len(sums))], dtype=pl.Float64
        ).fill_nan(None),
        rotated_net=lists(sums, RUNS["rotated_net"]),
        block_pnl_ticks=lists(
            np.concatenate(
                [pnl_matrix(long["block_pnl_ticks"].gather_every(n_sessions, i)) for i in range(n_sessions)], axis=1
            ),
            RUNS["block_pnl_ticks"],
        ),
        trades_digest=pl.Series([_joint(found) for found in pooled["trades_digest"]], dtype=pl.String),
    ).with_columns(split_vectors(long, n_sessions, splits))
    return pooled.select(*rows.columns, *POOLED), n_incomplete


def _joint(digests: pl.Series) -> str | None:
    """Return the digest of the sessions' digests, in order of time; None if one is missing."""
    return None if digests.null_count() else digest(digests.to_list())[:DIGITS]


def _weighted(name: str) -> pl.Expr:
    total = pl.col("trades").filter(pl.col(name).is_not_null()).sum()
    return pl.when(total > 0).then((pl.col(name) * pl.col("trades")).sum() / total).alias(name)


def _figures(long: pl.DataFrame) -> pl.DataFrame:
    """Return sums and averages of each combination, with the distances of the interval's bounds to the mean."""
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
            pl.col("largest_value").max(),
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


def _rotated(long: pl.DataFrame, n_sessions: int) -> list[npt.NDArray[np.int32]]:
    """Return the rotation sums of each combination, int32[n_combinations, 1 + draws] per session.

    The session with the fewest draws sets the number of draws.
    """
    width = int(long["rotated_net"].list.len().fill_null(0).min() or 0)  # type: ignore[arg-type]
    parts = [long["rotated_net"].gather_every(n_sessions, session).list.head(width) for session in range(n_sessions)]
    if not width:
        return [np.zeros((len(part), 0), dtype=np.int32) for part in parts]
    return [part.explode().to_numpy().reshape(-1, width) for part in parts]
