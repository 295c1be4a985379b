"""Where the arrays of a dataset come from: Parquet files, the cache of workers, memory, a part of another.

Every array that leaves here is read-only.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from vpcore.dataset.cache import ColumnCache
from vpcore.dataset.local_copy import FarFile
from vpcore.dataset.manifest import BINS_FILE, GRID_FILE, require_whole
from vpcore.errors import DatasetError
from vpcore.schema import BIN_COLUMNS, GRID_SUMS
from vpcore.storage.folder import touch, trim

Array = npt.NDArray[Any]


def frozen(array: Array) -> Array:
    """Return a read-only view."""
    view = array.view()
    view.flags.writeable = False
    return view


class Columns(Protocol):
    """Named arrays of one dataset."""

    grid_names: tuple[str, ...]
    """The grid columns there are, sums and scores included."""

    def bin(self, name: str) -> Array:
        """Return a bin column, shape (n_bins,)."""
        ...

    def grid(self, name: str) -> Array:
        """Return a grid column, shape (n_bins, n_cells)."""
        ...


def with_sums(stored: tuple[str, ...]) -> tuple[str, ...]:
    """Return the stored grid columns and the sums of two stored columns."""
    return stored + tuple(name for name, parts in GRID_SUMS.items() if set(parts) <= set(stored))


def sum_of(columns: Columns, name: str) -> Array:
    """Return a column of `GRID_SUMS`, float64[n_bins, n_cells]."""
    first, second = (columns.grid(part) for part in GRID_SUMS[name])
    return np.add(first, second, dtype=np.float64)


class ParquetColumns:
    """Columns read from a dataset's files, each once; later reads return the same array.

    Parameters
    ----------
    path : Path
        Folder of the dataset.
    dataset_id : str
    n_bins, n_cells : int
    stored : tuple of str
        Grid columns of the file.
    cache : ColumnCache, optional
        Grid columns are then memory-mapped from it, and put there on first use.
    far : FarFile, optional
        The grid, where another machine has it.
    """

    def __init__(
        self,
        path: Path,
        dataset_id: str,
        n_bins: int,
        n_cells: int,
        stored: tuple[str, ...],
        cache: ColumnCache | None = None,
        far: FarFile | None = None,
    ) -> None:
        self.path = path
        self.far = far
        self.dataset_id = dataset_id
        self.shape = (n_bins, n_cells)
        self.grid_names = with_sums(stored)
        self.cache = cache
        self._bins: dict[str, Array] = {}
        self._grid: dict[str, Array] = {}
        self._lock = threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        # A worker reads, or maps, its own columns: nothing large is ever pickled.
        return {**self.__dict__, "_bins": {}, "_grid": {}, "_lock": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._lock = threading.Lock()

    def bin(self, name: str) -> Array:
        """Return a bin column. The first call reads all of them: they are small beside one grid column."""
        with self._lock:
            if not self._bins:
                names = list(BIN_COLUMNS)
                table = self._read(BINS_FILE, names, self.shape[0])
                for column in names:
                    values = numpy_of(table.column(column))
                    self._bins[column] = frozen(values.astype(BIN_COLUMNS[column], copy=False))
            return self._bins[name]

    def grid(self, name: str) -> Array:
        """Return a grid column, from memory, from the cache or from the file. Cost of the last: its decompression."""
        found = self._grid.get(name)
        if found is None:
            if self.cache is not None:
                array = self.cache.get_or_make(name, lambda: self._make(name))
                if self.far is not None and isinstance(array, np.memmap):
                    place = Path(str(array.filename))
                    touch(place)
                    trim(self.far.storage, place)
            else:
                array = self._make(name)
            found = self._grid.setdefault(name, frozen(array))
        return found

    def _make(self, name: str) -> Array:
        if name in GRID_SUMS:
            return sum_of(self, name)
        table = self._read(GRID_FILE, [name], self.shape[0] * self.shape[1])
        return numpy_of(table.column(0)).reshape(self.shape)

    def _read(self, file: str, names: list[str], rows: int) -> pa.Table:
        path, source = self.path / file, None
        if file == GRID_FILE and self.far is not None:
            source = self.far.open(names)
        else:
            require_whole(path, self.dataset_id)
        try:
            # One file handle per read keeps the object picklable and safe to use from several threads.
            with pq.ParquetFile(source or path) as reader:
                table = reader.read(columns=names, use_threads=len(names) > 1)
        except FileNotFoundError:
            raise DatasetError(f"Dataset '{self.dataset_id}' is not complete: {path} is missing.") from None
        except (OSError, pa.ArrowException) as error:
            raise DatasetError(
                f"{path} cannot be read ({' '.join(str(error).split())[:200]}). If it was changed since it was "
                f"written, this shows it: vp verify {self.dataset_id}"
            ) from error
        if table.num_columns != len(names) or table.num_rows != rows:
            raise DatasetError(
                f"{path} has {table.num_rows:,} rows where its manifest requires {rows:,}. It was changed since it was "
                f"written: vp verify {self.dataset_id}"
            )
        return table.combine_chunks()


class ArrayColumns:
    """Columns that are in memory already."""

    def __init__(self, bins: Mapping[str, Array], grid: Mapping[str, Array]) -> None:
        self._bins = {name: frozen(array) for name, array in bins.items()}
        self._grid = {name: frozen(array) for name, array in grid.items()}
        self.grid_names = with_sums(tuple(self._grid))
        self._sums: dict[str, Array] = {}

    def bin(self, name: str) -> Array:
        """Return a bin column."""
        return self._bins[name]

    def grid(self, name: str) -> Array:
        """Return a grid column."""
        if name in self._grid:
            return self._grid[name]
        if name not in self._sums:
            self._sums[name] = frozen(sum_of(self, name))
        return self._sums[name]


class OverlayColumns:
    """The columns of another with grid columns added."""

    def __init__(self, base: Columns, added: Mapping[str, Array]) -> None:
        self.base = base
        self.added = {name: frozen(array) for name, array in added.items()}
        self.grid_names = tuple(name for name in base.grid_names if name not in added) + tuple(self.added)

    def bin(self, name: str) -> Array:
        """Return a bin column."""
        return self.base.bin(name)

    def grid(self, name: str) -> Array:
        """Return a grid column; an added one goes first."""
        return self.added[name] if name in self.added else self.base.grid(name)


class SlicedColumns:
    """Consecutive bins of another's columns, as views."""

    def __init__(self, base: Columns, start: int, stop: int) -> None:
        self.base = base
        self.start = start
        self.stop = stop
        self.grid_names = base.grid_names

    def bin(self, name: str) -> Array:
        """Return a view of a bin column."""
        return self.base.bin(name)[self.start : self.stop]

    def grid(self, name: str) -> Array:
        """Return a view of a grid column."""
        return self.base.grid(name)[self.start : self.stop]


def numpy_of(column: pa.ChunkedArray) -> Array:
    """Return a column of numbers or truth values as an array, without a copy of numbers.

    `pyarrow.ChunkedArray.to_numpy` imports pandas where it is installed, which takes longer than reading an hour.
    """
    if column.num_chunks != 1 or not len(column) or column.null_count or not _is_plain(column.type):
        return np.asarray(column.to_numpy(zero_copy_only=False))
    (chunk,) = column.chunks
    start, stop = chunk.offset, chunk.offset + len(chunk)
    data = chunk.buffers()[1]
    if pa.types.is_boolean(column.type):
        bits = np.frombuffer(data, dtype=np.uint8)[: -(-stop // 8)]
        return np.unpackbits(bits, bitorder="little")[start:stop].astype(np.bool_)
    return np.frombuffer(data, dtype=_DTYPES[column.type])[start:stop]


_DTYPES = {
    getattr(pa, name)(): np.dtype(name)
    for name in ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float32", "float64")
}
"""Types whose values lie in memory as numpy has them."""


def _is_plain(kind: pa.DataType) -> bool:
    return pa.types.is_boolean(kind) or kind in _DTYPES
