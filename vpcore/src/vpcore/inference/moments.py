"""Moments of the trades of several rows together, computed from the moments of each row."""

from __future__ import annotations

import polars as pl


def pooled_moments(long: pl.DataFrame, *by: str) -> pl.DataFrame:
    """Return mean, deviation (n - 1), skewness and kurtosis of all trades of each group of rows.

    Parameters
    ----------
    long : DataFrame
        ``trades`` and four figures of `vpcore.backtest.metrics.trial_figures`: ``net_pnl_ticks``, ``net_pnl_sd``,
        ``net_pnl_skew``, ``net_pnl_kurtosis``. Undefined figures are null.
    by : str
        Columns that identify a group; null is a value.

    Returns
    -------
    DataFrame
        One line per group, in the order of first rows. Exact up to rounding; undefined figures are null.
    """
    n, mean = pl.col("trades").cast(pl.Float64), pl.col("net_pnl_ticks")
    known = long.filter((pl.col("trades") > 0) & mean.is_not_null())
    second = (pl.col("net_pnl_sd") ** 2 * (n - 1)).fill_null(0.0)
    variance = second / n
    off = mean - (mean * n).sum().over(by) / n.sum().over(by)
    sums = (
        known.with_columns(
            _n=n,
            _m=mean,
            _d=off,
            _2=second,
            _3=(pl.col("net_pnl_skew") * n * variance**1.5).fill_null(0.0),
            _4=(pl.col("net_pnl_kurtosis") * n * variance**2).fill_null(0.0),
        )
        .group_by(by, maintain_order=True)
        .agg(
            pl.col("_n").sum().alias("n"),
            ((pl.col("_m") * pl.col("_n")).sum() / pl.col("_n").sum()).alias("net_pnl_ticks"),
            (pl.col("_2") + pl.col("_n") * pl.col("_d") ** 2).sum().alias("s2"),
            (pl.col("_3") + 3 * pl.col("_d") * pl.col("_2") + pl.col("_n") * pl.col("_d") ** 3).sum().alias("s3"),
            (
                pl.col("_4")
                + 4 * pl.col("_d") * pl.col("_3")
                + 6 * pl.col("_d") ** 2 * pl.col("_2")
                + pl.col("_n") * pl.col("_d") ** 4
            )
            .sum()
            .alias("s4"),
        )
    )
    n, second = pl.col("n"), pl.col("s2")
    varies = second > 0.0
    found = sums.select(
        *by,
        "net_pnl_ticks",
        pl.when(n > 1).then((second / (n - 1)).sqrt()).alias("net_pnl_sd"),
        pl.when(varies).then(pl.col("s3") / n / (second / n) ** 1.5).alias("net_pnl_skew"),
        pl.when(varies).then(pl.col("s4") / n / (second / n) ** 2).alias("net_pnl_kurtosis"),
    )
    every = long.select(by).unique(maintain_order=True)
    return every.join(found, on=list(by), how="left", nulls_equal=True, maintain_order="left")
