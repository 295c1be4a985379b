"""Datasets as polars LazyFrames."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from vpcore.dataset.columns import ParquetColumns, SlicedColumns
from vpcore.dataset.manifest import BINS_FILE, GRID_FILE, require_whole
from vpcore.schema import GRID_SUMS
from vpcore.units import PRICE_SCALE

if TYPE_CHECKING:
    from vpcore.dataset.dataset import Dataset


def _scans(dataset: Dataset) -> bool:
    """True if the files hold exactly the dataset's columns, so that polars may read them itself."""
    columns = dataset._columns
    while isinstance(columns, SlicedColumns):
        columns = columns.base
    return isinstance(columns, ParquetColumns) and columns.far is None


def _scan(path: Path) -> pl.LazyFrame:
    require_whole(path, path.parent.name)
    # By default polars takes [ ], * and ? in a path for a pattern: it then reads another folder's file, or none.
    return pl.scan_parquet(path, glob=False)


def bins_frame(dataset: Dataset) -> pl.LazyFrame:
    """Return the bin columns, one row per bin. Read from the file by polars where there is one."""
    if dataset.path is not None:
        return _scan(dataset.path / BINS_FILE).slice(dataset._span[0], dataset.n_bins)
    return pl.DataFrame({name: dataset.bin(name) for name in dataset.bin_columns}).lazy()


def grid_frame(dataset: Dataset) -> pl.LazyFrame:
    """Return the grid, one row per bin and cell. Polars reads an unextended grid from the file."""
    if dataset.path is not None and _scans(dataset):
        n_cells = dataset.n_cells
        frame = _scan(dataset.path / GRID_FILE).slice(dataset._span[0] * n_cells, dataset.n_bins * n_cells)
        sums = [name for name in dataset.grid_columns if name in GRID_SUMS]
        return frame.with_columns(
            (pl.col(GRID_SUMS[name][0]).cast(pl.Float64) + pl.col(GRID_SUMS[name][1]).cast(pl.Float64)).alias(name)
            for name in sums
        )
    keys = {
        "bin_seq": np.repeat(dataset.bin("bin_seq"), dataset.n_cells),
        "k": np.tile(dataset.k, dataset.n_bins),
        "book_valid": np.repeat(dataset.valid, dataset.n_cells),
    }
    values = {name: dataset.grid(name).reshape(-1) for name in dataset.grid_columns}
    return pl.DataFrame({**keys, **values}).lazy()


def timed_bins(dataset: Dataset) -> pl.DataFrame:
    """Return the bin columns after ``time``, ``bid`` and ``ask``; see `Dataset.bins`."""
    valid = pl.col("book_valid")
    prices = {"bid": "best_bid_price_int", "ask": "best_ask_price_int"}
    return (
        bins_frame(dataset)
        .select(
            _time("bin_end_ns"),
            *(pl.when(valid).then(pl.col(column) / PRICE_SCALE).alias(name) for name, column in prices.items()),
            pl.all(),
        )
        .collect()
    )


def timed_grid(dataset: Dataset, columns: Sequence[str] | None) -> pl.DataFrame:
    """Return grid columns after ``time``, ``bin_seq``, ``k``, ``price`` and ``book_valid``; see `Dataset.grid`."""
    names = dataset.grid_columns if columns is None else columns
    mid2 = (dataset.bin("best_bid_price_int") + dataset.bin("best_ask_price_int")) // dataset.tick_int
    k = dataset.k.astype(np.int64)
    odd = (mid2 % 2)[:, None]
    # The inverse of k = sign(d) * ceil(|d| / 2): levels lie at even or odd half-ticks from the mid, as the spread does.
    half_ticks = 2 * k[None, :] - odd * np.sign(k)[None, :]
    known = dataset.valid[:, None] & ((odd == 0) | (k[None, :] != 0))
    price = np.where(known, (mid2[:, None] + half_ticks) // 2 * (dataset.tick_int / PRICE_SCALE), np.nan)
    grid = grid_frame(dataset).select(*(name for name in ("bin_seq", "k", "book_valid") if name not in names), *names)
    return (
        grid.collect()
        .with_columns(
            pl.Series("bin_end_ns", np.repeat(dataset.bin("bin_end_ns"), dataset.n_cells)),
            pl.Series("price", price.reshape(-1)).fill_nan(None),
        )
        .select(_time("bin_end_ns"), "bin_seq", "k", "price", "book_valid", *names)
    )


def _time(column: str) -> pl.Expr:
    return pl.from_epoch(column, time_unit="ns").dt.replace_time_zone("UTC").alias("time")
