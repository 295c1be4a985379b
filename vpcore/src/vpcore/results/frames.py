"""Valid rows among the stored, and their order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

import polars as pl

from vpcore.results.schema import LOWER_IS_BETTER, ROW_KEY, RUNS, TRIAL_KEY

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


ROWS_AT_ONCE = 65_536
"""Rows whose columns of numbers and texts are read at once: some 15 MB."""


def in_slices(rows: pl.LazyFrame) -> Iterator[tuple[int, pl.LazyFrame]]:
    """Yield the number of a first row and `ROWS_AT_ONCE` rows: texts of all at once would be most of the memory."""
    for first in range(0, rows.select(pl.len()).collect().item() or 1, ROWS_AT_ONCE):
        yield first, rows.slice(first, ROWS_AT_ONCE)


def rows_that_count(
    rows: pl.LazyFrame, made_by: pl.DataFrame, columns: Sequence[str], keys: pl.LazyFrame | None = None
) -> pl.DataFrame:
    """Find the row that counts of each key, in order of keys, with a few columns.

    Texts stay in the store, so that a million rows take 100 MB.

    Parameters
    ----------
    rows : LazyFrame
        Rows of `RUNS`, repeated ones too.
    made_by : DataFrame
        From `of_batches`, sorted by run, and within a run by `preferred`.
    columns : sequence of str
        Columns of numbers.
    keys : LazyFrame, optional
        Only these keys, from `key_frame`.

    Returns
    -------
    DataFrame
        ``_row`` (number in `rows`), ``_made_by`` (number in `made_by`), ``_run`` (ascends with the run id), the key of
        the trial, and `columns`.
    """
    on, key = ["run_id", "batch_id"], ["_run", *TRIAL_KEY]
    place = made_by.lazy().select(on).with_row_index("_made_by").with_columns(_run=pl.col("run_id").rle_id())
    names = [*TRIAL_KEY, *(name for name in columns if name not in TRIAL_KEY)]
    if keys is not None:
        codes = place.select("run_id", "_run").unique()
        wanted = keys.join(codes, on="run_id", how="inner").drop("run_id").collect().lazy()
    parts = []
    for first, some in in_slices(rows):
        part = some.select(*on, *names).with_row_index("_row", first).join(place, on=on, how="inner").drop(on)
        parts.append((part if keys is None else part.join(wanted, on=key, how="semi")).collect())
    stored = pl.concat(parts)
    del parts
    stored = gathered(stored, stored.select(pl.arg_sort_by(*key, "_made_by")).to_series())
    again = pl.all_horizontal(pl.col(name) == pl.col(name).shift(1) for name in key).fill_null(False)
    repeated = stored.select(again).to_series()
    return stored.filter(~repeated) if repeated.any() else stored


def gathered(frame: pl.DataFrame, rows: pl.Series) -> pl.DataFrame:
    """Return rows by their unsigned numbers. `frame` is emptied by columns: a second one would double the memory."""
    # An index and not `Series.gather`, which plans and runs a query of its own.
    return pl.DataFrame([frame.drop_in_place(name)[rows] for name in frame.columns])


def best_first(rows: pl.DataFrame, sort: str) -> pl.DataFrame:
    """Return rows in order of keys by a figure, as `in_order` does; `rows` is emptied."""
    by = pl.arg_sort_by(sort, descending=sort not in LOWER_IS_BETTER, nulls_last=True, maintain_order=True)
    return gathered(rows, rows.select(by).to_series())


def coded(texts: pl.Series) -> pl.Series:
    """Return texts as `pl.Enum` in their order: four bytes per row, and sorted as texts are."""
    return texts.cast(pl.Enum(texts.drop_nulls().unique().sort())) if texts.dtype == pl.String else texts


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
    """Keep one row per key, the first by `preferred`."""
    return preferred(frame).unique(subset=list(key), keep="first", maintain_order=True)


def preferred(frame: pl.LazyFrame, *by: str) -> pl.LazyFrame:
    """Sort by some columns, then ok before failed, then the latest finish, then by batch: the choice is certain."""
    order = [*map(pl.col, by), pl.col("status") != "ok", pl.col("finished_utc"), pl.col("batch_id")]
    return frame.sort(order, descending=[*(False for _ in by), False, True, False])
