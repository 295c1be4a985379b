"""Datasets and vectors of a row."""

from __future__ import annotations

import mmap
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from vpcore.results import VECTORS_AT_ONCE
from vpcore.statistics.permutation import STORED_DRAWS
from vpcore.storage.atomic import storage_errors

JOINT = " + "
"""Separator of dataset ids in the `dataset_id` of a pooled row."""


ENGINES = " | "
"""Separator of the datasets of several engines in the `dataset_id` of a family."""

MOST_IN_MEMORY = 1 << 28
"""Bytes of the rotation sums of a `VectorTable` beyond which all of it lies on disk."""

_ROWS_ON_DISK = 32
"""Rows that are read at once from a table on disk: the system may map 2 MB around each."""


def datasets_of(name: str) -> list[str]:
    """Return the dataset ids in the `dataset_id` of a row; a pooled row has several."""
    return name.split(JOINT)


def engines_of(name: str) -> list[list[str]]:
    """Return the dataset ids in the `dataset_id` of a family: of each engine those of its sessions."""
    return [datasets_of(one) for one in name.split(ENGINES)]


def pnl_matrix(blocks: pl.Series) -> npt.NDArray[np.float64]:
    """Return lists of numbers as float64[n_rows, longest]; zeros fill shorter lists."""
    return padded(blocks)[0].astype(np.float64, copy=False)


def padded(lists: pl.Series) -> tuple[npt.NDArray[Any], npt.NDArray[np.int64]]:
    """Return lists of numbers as rows of a matrix, zeros after shorter ones, and the length of each; null is empty."""
    n = lists.list.len().fill_null(0).cast(pl.Int64).to_numpy()
    width = int(n.max(initial=0))
    numbers = lists.filter(lists.list.len() > 0).explode().to_numpy()
    if numbers.size == len(n) * width:
        return numbers.reshape(len(n), width), n
    matrix = np.zeros((len(n), width), dtype=numbers.dtype)
    matrix[np.arange(width) < n[:, None]] = numbers
    return matrix, n


class RowsOf:
    """Some rows of a table, made from their first columns when they are asked for.

    Parameters
    ----------
    table : ndarray[n, m]
        In memory or on disk.
    rows : int64[n_rows]
        Their numbers.
    width : int
        Number of columns.
    make : callable, optional
        From these columns of some rows to what `RowsOf` gives; by default as they are.
    n_columns : int, optional
        Number of columns of that; by default `width`.
    """

    def __init__(
        self,
        table: npt.NDArray[Any],
        rows: npt.NDArray[np.int64],
        width: int,
        make: Callable[[npt.NDArray[Any]], npt.NDArray[Any]] = lambda part: part,
        n_columns: int | None = None,
    ) -> None:
        self._table, self._rows, self._width, self._make = table, rows, width, make
        self.shape = (len(rows), width if n_columns is None else n_columns)

    def __getitem__(self, rows: Any) -> npt.NDArray[Any]:
        wanted = self._rows[rows]
        if not isinstance(self._table, np.memmap):
            return self._make(self._table[wanted, : self._width])
        part = np.empty((len(wanted), self._width), self._table.dtype)
        for start in range(0, len(wanted), _ROWS_ON_DISK):
            some = slice(start, start + _ROWS_ON_DISK)
            part[some] = self._table[wanted[some], : self._width]
            _forget(self._table)
        return self._make(part)

    def all(self) -> npt.NDArray[Any]:
        """Return every row, made `VECTORS_AT_ONCE` at a time."""
        starts = range(0, len(self._rows), VECTORS_AT_ONCE)
        # A copy, because what is made may be a view of the much larger part.
        return np.concatenate([self[start : start + VECTORS_AT_ONCE].copy() for start in starts])


class VectorTable:
    """Block PnL and rotation sums of many rows: in memory, or beyond `MOST_IN_MEMORY` in a temporary file.

    Attributes
    ----------
    sums : int32[n_rows, 1 + STORED_DRAWS]
        Of each row the first `n_sums` count.
    n_sums : int64[n_rows]
    """

    columns = ("block_pnl_ticks", "rotated_net")

    def __init__(self, n_rows: int) -> None:
        self._on_disk = 4 * n_rows * (1 + STORED_DRAWS) > MOST_IN_MEMORY
        self.sums = self._make((n_rows, 1 + STORED_DRAWS), np.int32)
        self.n_sums, self._n_blocks = np.zeros((2, n_rows), dtype=np.int64)
        self._blocks = np.zeros((n_rows, 0))

    def _make(self, shape: tuple[int, int], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
        if not self._on_disk:
            return np.zeros(shape, dtype)
        folder = tempfile.gettempdir()
        with (
            storage_errors(Path(folder), "keep the vectors of so many rows"),
            tempfile.TemporaryFile(dir=folder) as file,
        ):
            return np.memmap(file, dtype, shape=shape)  # sparse zeros; the map keeps the file

    def put(self, frame: pl.DataFrame) -> None:
        """Take the vectors of some rows: ``_at``, the number of a row, and `columns`."""
        at = frame["_at"].to_numpy()
        sums, self.n_sums[at] = padded(frame["rotated_net"])
        blocks, self._n_blocks[at] = padded(frame["block_pnl_ticks"])
        if blocks.shape[1] > self._blocks.shape[1]:
            wider = self._make((len(self._blocks), blocks.shape[1]), np.float64)
            wider[:, : self._blocks.shape[1]] = self._blocks
            self._blocks = wider
        for table, part in ((self.sums, sums), (self._blocks, blocks)):
            table[at, : part.shape[1]] = part
            _forget(table)

    def blocks(self, rows: npt.NDArray[np.int64]) -> RowsOf:
        """Return the block PnL of some rows, float64[len(rows), longest]; zeros fill shorter ones."""
        return RowsOf(self._blocks, rows, int(self._n_blocks[rows].max(initial=0)))


def _forget(table: npt.NDArray[Any]) -> None:
    """Drop the pages of a table on disk from this process; the system keeps them as long as it likes."""
    if isinstance(table, np.memmap):
        table._mmap.madvise(mmap.MADV_DONTNEED)  # type: ignore[attr-defined]


def lists(matrix: npt.NDArray[Any], dtype: pl.DataType) -> pl.Series:
    """Return the rows of a matrix as a column of lists."""
    if not matrix.size:
        return pl.Series([[]] * matrix.shape[0], dtype=dtype)
    return pl.Series(np.ascontiguousarray(matrix).ravel()).reshape(matrix.shape).cast(dtype)
