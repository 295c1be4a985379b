"""Datasets as polars LazyFrames."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from vpcore.dataset.columns import ParquetColumns, SlicedColumns
from vpcore.dataset.manifest import BINS_FILE, GRID_FILE
from vpcore.schema import GRID_SUMS

if TYPE_CHECKING:
    from vpcore.dataset.dataset import Dataset


def _scans(dataset: Dataset) -> bool:
    """Whether the files hold just what the dataset shows, so that polars may read them itself."""
    columns = dataset._columns
    while isinstance(columns, SlicedColumns):
        columns = columns.base
    return isinstance(columns, ParquetColumns)


def _scan(path: Path) -> pl.LazyFrame:
    # By default polars takes [ ], * and ? in a path for a pattern: it then reads another folder's file, or none.
    return pl.scan_parquet(path, glob=False)


def bins_frame(dataset: Dataset) -> pl.LazyFrame:
    """Return the bin columns, one row per bin. Read from the file by polars where there is one."""
    if dataset.path is not None:
        return _scan(dataset.path / BINS_FILE).slice(dataset._span[0], dataset.n_bins)
    return pl.DataFrame({name: dataset.bin(name) for name in dataset.bin_columns}).lazy()


def grid_frame(dataset: Dataset) -> pl.LazyFrame:
    """Return the grid, one row per bin and cell. Read from the file by polars where nothing was added to it."""
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
