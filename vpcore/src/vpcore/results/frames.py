"""Valid rows among the stored, and their order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import polars as pl

from vpcore.results.schema import LOWER_IS_BETTER, ROW_KEY, RUNS

WITH_A_ROW = (
    "status", "error", "experiment_name", "dataset_id", "signal_name", "signal_distribution", "signal_version",
    "code_digest", "core_digest", "signal_params_json", "scoring_json", "eval_json", "config_hash", "finished_utc",
    "end_bin",
)  # fmt: skip
"""Columns of `runs_meta` that queries add to a row."""


def of_batches(meta: pl.LazyFrame, where: pl.Expr | None) -> pl.LazyFrame:
    """Return the columns of `runs_meta` that queries add to a row, once per run and batch."""
    if where is not None:
        meta = meta.filter(where)
    return meta.select("run_id", "batch_id", *WITH_A_ROW).unique(["run_id", "batch_id"], maintain_order=True)


def committed(rows: pl.LazyFrame, meta: pl.DataFrame) -> pl.LazyFrame:
    """Join rows to their runs, and of each key keep the row that counts."""
    # Most runs are stored in one batch: then a row can only be there twice as a copy (while parts are merged), and
    # dropping copies is cheaper than choosing.
    on, batches = ["run_id", "batch_id"], pl.len().over("run_id")
    parts = []
    for several in (False, True):
        some = meta.filter((batches > 1) == several)
        if not several or some.height:
            joined = rows.join(some.lazy(), on=on, how="inner")
            parts.append(newest(joined, ROW_KEY) if several else joined.unique(list(ROW_KEY), keep="any"))
    return pl.concat(parts)


def key_frame(names: Sequence[str], keys: Sequence[tuple[Any, ...]]) -> pl.LazyFrame:
    """Return keys, or combinations, as a frame to join with."""
    return pl.LazyFrame(list(keys), schema={name: RUNS[name] for name in names}, orient="row")


_Frame = TypeVar("_Frame", pl.LazyFrame, pl.DataFrame)


def in_order(rows: _Frame, sort: str | None) -> _Frame:
    """Return rows by a figure, the best first, null last; by default, and for equal rows, by key."""
    if sort is None:
        return rows.sort(ROW_KEY)
    by, descending = [sort, *ROW_KEY], [sort not in LOWER_IS_BETTER] + [False] * len(ROW_KEY)
    return rows.sort(by, descending=descending, nulls_last=True)


def newest(frame: pl.LazyFrame, key: Sequence[str]) -> pl.LazyFrame:
    """Keep one row per key: ok before failed, then the latest finish, then by batch so that the choice is certain."""
    order = [pl.col("status") != "ok", pl.col("finished_utc"), pl.col("batch_id")]
    return frame.sort(order, descending=[False, True, False]).unique(
        subset=list(key), keep="first", maintain_order=True
    )
