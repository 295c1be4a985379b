"""`Dataset`: a session's bins and grid as arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np
import numpy.typing as npt

from vpcore.dataset.cache import ColumnCache
from vpcore.dataset.columns import ArrayColumns, Columns, OverlayColumns, ParquetColumns, SlicedColumns
from vpcore.dataset.local_copy import FarFile
from vpcore.dataset.manifest import (
    CHECKSUMS_FILE,
    GRID_FILE,
    MANIFEST_FILE,
    check_manifest,
    read_json,
    require_whole,
    shape_block,
    source_digests,
)
from vpcore.dataset.reserve import Reserves
from vpcore.errors import DatasetError, did_you_mean, listed
from vpcore.schema import BIN_COLUMNS, FORMAT_VERSION, GRID_SUMS, GRID_VALUES, SCORE_COLUMNS

if TYPE_CHECKING:
    import polars as pl

Array = npt.NDArray[Any]

LEDGER_BELOW = Path("vp_harness") / "ledger"
"""Place of the ledger, from the folder that holds datasets and results."""


class Dataset:
    """Consecutive time bins and, for each, one value per price cell and grid column.

    Made by `open`, `from_arrays`, `slice` and `with_grid`. Columns are read on first use and kept. Every array is
    read-only. Instances from files pickle as a path only.

    Attributes
    ----------
    dataset_id : str
    path : Path or None
        Folder of the files, None for a dataset in memory.
    manifest : dict
        Content of ``manifest.json``.
    n_bins, n_cells, radius : int
        ``n_cells == 2 * radius + 1``.
    cell_width_ns, tick_int : int
        Width of a bin in ns; tick size in 1e-9.
    symbol : str
    end_bin : int or None
        Number of bins before a reserve, where the dataset ends; None if it is whole.
    k : int16[n_cells]
        Signed distance of a cell from the mid, ``-radius .. radius``.
    """

    def __init__(
        self,
        columns: Columns,
        manifest: dict[str, Any],
        *,
        path: Path | None = None,
        span: tuple[int, int] | None = None,
        end: int | None = None,
    ) -> None:
        shape = manifest["shape"]
        whole = (0, int(shape["n_bins"]) if end is None else end)
        start, stop = span if span is not None else whole
        self._columns = columns
        self._span = (start, stop)
        self.end_bin = end
        self.manifest = manifest
        self.path = path
        self.dataset_id: str = manifest["dataset_id"] + ("" if (start, stop) == whole else f"[{start}:{stop}]")
        self.n_bins = stop - start
        self.n_cells = int(shape["n_cells"])
        self.radius = self.n_cells // 2
        self.cell_width_ns = int(shape["cell_width_ns"])
        self.tick_int = int(shape["tick_int"])
        self.symbol: str = manifest.get("symbol", "")
        self.k = np.arange(-self.radius, self.radius + 1, dtype=np.int16)
        self.k.flags.writeable = False

    def __repr__(self) -> str:
        return f"Dataset({self.dataset_id!r}, n_bins={self.n_bins}, n_cells={self.n_cells})"

    def __len__(self) -> int:
        return self.n_bins

    # -- making --------------------------------------------------------------------------------------------------------

    @classmethod
    def open(
        cls,
        path: str | Path,
        *,
        cache_dir: str | Path | None = None,
        reserves: Reserves | None = None,
        grid: FarFile | None = None,
    ) -> Dataset:
        """Open a dataset's folder. Reads the manifest; columns are read on first use.

        The dataset ends where a reserve in force begins.

        Parameters
        ----------
        path : path
            ``lake/research/vp_immutable/<dataset_id>``.
        cache_dir : path, optional
            ``lake/cache``: grid columns are kept there uncompressed and memory-mapped, so that several workers share
            them. By default they are held in memory.
        reserves : Reserves, optional
            By default those in the ledger of the lake that holds the folder.
        grid : FarFile, optional
            The grid, where it is no file of the folder.

        Raises
        ------
        DatasetError
            Unless the folder is a complete dataset of this format version.
        StorageError
            If the file of a reserve is damaged.
        """
        folder = Path(path).absolute()
        dataset = open_whole(folder, cache_dir=cache_dir, grid=grid)
        found = reserves if reserves is not None else Reserves(folder.parent.parent / LEDGER_BELOW)
        first_ns = int(dataset.manifest.get("first_ns") or 0)
        return dataset.until(found.open_bins(dataset.symbol, first_ns, dataset.n_bins, dataset.cell_width_ns))

    def until(self, n_bins: int | None) -> Dataset:
        """Return the first bins under the id of the whole, as before a reserve; all of them for None or a greater
        number.
        """
        if n_bins is None or n_bins >= self.n_bins:
            return self
        first, end = self._span[0], self._span[0] + n_bins
        columns = SlicedColumns(self._columns, 0, n_bins)
        return Dataset(columns, self.manifest, path=self.path, span=(first, end), end=end)

    @classmethod
    def from_arrays(
        cls,
        bins: Mapping[str, Array],
        grid: Mapping[str, Array],
        *,
        dataset_id: str,
        cell_width_ns: int,
        tick_int: int,
        symbol: str = "",
        manifest: Mapping[str, Any] | None = None,
    ) -> Dataset:
        """Return a dataset in memory. Arrays of the right dtype are shared, others are converted.

        Parameters
        ----------
        bins : mapping of str to ndarray[n_bins]
            Some or all of `vpcore.schema.BIN_COLUMNS`, ``bin_seq`` and ``book_valid`` among them.
        grid : mapping of str to ndarray[n_bins, n_cells]
            At least one; columns of `GRID_VALUES` become float32, score columns keep their dtype.
        dataset_id, symbol : str
            Its names.
        cell_width_ns, tick_int : int
            Width of a bin in ns; tick size in 1e-9.
        manifest : mapping, optional
            Further entries of the manifest.

        Raises
        ------
        DatasetError
            If a column is unknown, a shape is another, or ``bin_seq`` or ``book_valid`` is missing.
        """
        checked_bins = {}
        for name, array in bins.items():
            if name not in BIN_COLUMNS:
                raise DatasetError(
                    f"No bin column is called '{name}'.{did_you_mean(name, BIN_COLUMNS)} Columns: "
                    f"{listed(BIN_COLUMNS)}."
                )
            checked_bins[name] = np.asarray(array).astype(BIN_COLUMNS[name], copy=False)
        for name in ("bin_seq", "book_valid"):
            if name not in checked_bins:
                raise DatasetError(f"Dataset '{dataset_id}' needs the bin column '{name}'.")
        n_bins = len(checked_bins["bin_seq"])
        if not grid:
            raise DatasetError(
                f"Dataset '{dataset_id}' needs at least one grid column: they say how many cells it has."
            )
        widths = {np.asarray(array).shape[-1] for array in grid.values() if np.ndim(array) == 2}
        n_cells = min(widths, default=0)
        if n_cells % 2 == 0:
            raise DatasetError(f"Dataset '{dataset_id}' must have an odd number of cells, 2 R + 1, had {n_cells}.")
        types = {**dict.fromkeys(GRID_VALUES, "float32"), **SCORE_COLUMNS}
        checked_grid = {name: _grid_array(name, array, (n_bins, n_cells), types) for name, array in grid.items()}
        for name, array in checked_bins.items():
            if array.shape != (n_bins,):
                raise DatasetError(f"Bin column '{name}' must have the shape ({n_bins},), had {array.shape}.")
        stored = tuple(name for name in GRID_VALUES if name in grid)
        full = {
            **(manifest or {}),
            "dataset_id": dataset_id,
            "format_version": FORMAT_VERSION,
            "symbol": symbol,
            "shape": shape_block(
                n_bins=n_bins, n_cells=n_cells, cell_width_ns=cell_width_ns, tick_int=tick_int, columns=stored
            ),
        }
        return cls(ArrayColumns(checked_bins, checked_grid), full)

    def slice(self, start: int, stop: int) -> Dataset:
        """Return bins ``start`` to ``stop - 1`` as a dataset of views. ``bin_seq`` keeps its values.

        Its id is the id of the whole with ``[start:stop]`` appended, so that the two stay distinct.

        Raises
        ------
        DatasetError
            If the range exceeds the dataset.
        """
        if not 0 <= start <= stop <= self.n_bins:
            raise DatasetError(
                f"A slice of dataset '{self.dataset_id}' must lie within its bins 0 to {self.n_bins}, was {start} to "
                f"{stop}."
            )
        first = self._span[0]
        return Dataset(
            SlicedColumns(self._columns, start, stop),
            self.manifest,
            path=self.path,
            span=(first + start, first + stop),
            end=self.end_bin,
        )

    def with_grid(self, columns: Mapping[str, Array]) -> Dataset:
        """Return this dataset with additional grid columns, of the scorer or for a trial.

        Parameters
        ----------
        columns : mapping of str to ndarray[n_bins, n_cells]
            Score columns are converted to their dtype; a new column hides a stored column of its name.
        """
        checked = {
            name: _grid_array(name, array, (self.n_bins, self.n_cells), SCORE_COLUMNS)
            for name, array in columns.items()
        }
        overlaid = OverlayColumns(self._columns, checked)
        return Dataset(overlaid, self.manifest, path=self.path, span=self._span, end=self.end_bin)

    # -- reading -------------------------------------------------------------------------------------------------------

    @property
    def grid_columns(self) -> tuple[str, ...]:
        """Names that `grid` serves: stored columns, their sums, and added columns."""
        return self._columns.grid_names

    @property
    def bin_columns(self) -> tuple[str, ...]:
        """Names that `bin` serves."""
        columns = self._columns
        while isinstance(columns, (SlicedColumns, OverlayColumns)):
            columns = columns.base
        return tuple(columns._bins) if isinstance(columns, ArrayColumns) else tuple(BIN_COLUMNS)

    @property
    def columns(self) -> tuple[str, ...]:
        """Every name that a signal may declare: bin columns, then grid columns."""
        return self.bin_columns + tuple(name for name in self.grid_columns if name not in BIN_COLUMNS)

    @property
    def source_digests(self) -> tuple[str, ...]:
        """sha256 of the source files, in reading order; empty for a dataset in memory."""
        return source_digests(self.manifest)

    @property
    def cold_start(self) -> bool:
        """True if the book began empty, without a snapshot."""
        return bool(self.manifest.get("cold_start", False))

    @property
    def valid(self) -> npt.NDArray[np.bool_]:
        """bool[n_bins]: the book had both sides, uncrossed, at the end of the bin."""
        return self.bin("book_valid")

    def bin(self, name: str) -> Array:
        """Return a bin column, shape (n_bins,), in its dtype of `vpcore.schema.BIN_COLUMNS`.

        Raises
        ------
        DatasetError
            If the name is unknown, or the file is damaged.
        """
        if name not in self.bin_columns:
            self._unknown("bin", name, self.bin_columns)
        return self._columns.bin(name)

    def __getitem__(self, name: str) -> Array:
        """Return a column: shape (n_bins,) of a bin column, (n_bins, n_cells) of a grid column.

        Raises
        ------
        DatasetError
            If the name is unknown, or the file is damaged.
        """
        return self.bin(name) if name in self.bin_columns else self.grid(name)

    @overload
    def grid(self, name: str) -> Array: ...

    @overload
    def grid(self, name: None = None, *, columns: Sequence[str] | None = None) -> pl.DataFrame: ...

    def grid(self, name: str | None = None, *, columns: Sequence[str] | None = None) -> Array | pl.DataFrame:
        """Return a grid column as an array, or by default the whole grid as a Polars frame.

        The frame has one row per bin and cell, sorted by ``bin_seq, k``: ``time`` (end of the bin), ``bin_seq``, ``k``,
        ``price`` (of the cell, null in invalid bins and at the mid of an odd spread), ``book_valid`` and `columns`, by
        default all of `grid_columns`: some 100 bytes per row.

        An array has the shape (n_bins, n_cells), C-contiguous; cell `k` is at index ``k + radius``. Stored columns are
        float32, the columns of `vpcore.schema.GRID_SUMS` float64 sums of two stored columns. Values are finite; 0 in
        invalid bins. The first call costs about the decompression of the column; the array is kept.

        Raises
        ------
        DatasetError
            If the name is unknown, or the file is damaged.
        """
        if name is None:
            from vpcore.dataset.frames import timed_grid

            for column in columns or ():
                if column not in self._columns.grid_names:
                    self._unknown("grid", column, self._columns.grid_names)
            return timed_grid(self, columns)
        if name not in self._columns.grid_names:
            self._unknown("grid", name, self._columns.grid_names)
        return self._columns.grid(name)

    def _unknown(self, kind: str, name: str, names: tuple[str, ...]) -> None:
        other = self.grid_columns if kind == "bin" else self.bin_columns
        if name in other:
            hint = f" It is a {'grid' if kind == 'bin' else 'bin'} column."
        elif name in SCORE_COLUMNS:
            hint = " It comes from the scorer: attach it with with_grid."
        elif name in GRID_VALUES or name in GRID_SUMS:
            hint = " This dataset was generated without it: see pipeline.columns."
        else:
            hint = did_you_mean(name, names)
        raise DatasetError(f"Dataset '{self.dataset_id}' has no {kind} column '{name}'.{hint} It has: {listed(names)}.")

    # -- frames --------------------------------------------------------------------------------------------------------

    def bins(self) -> pl.DataFrame:
        """Return the bin columns as a Polars frame, one row per bin.

        Before them ``time`` (end of the bin, UTC), ``bid`` and ``ask`` (prices, null in invalid bins).
        """
        from vpcore.dataset.frames import timed_bins

        return timed_bins(self)

    def bins_frame(self) -> pl.LazyFrame:
        """Return the bin columns as a polars LazyFrame, one row per bin."""
        from vpcore.dataset.frames import bins_frame

        return bins_frame(self)

    def grid_frame(self) -> pl.LazyFrame:
        """Return the grid as a polars LazyFrame: one row per bin and cell, sorted by ``bin_seq, k``.

        Columns: ``bin_seq``, ``k``, ``book_valid`` and every name of `grid_columns`.
        """
        from vpcore.dataset.frames import grid_frame

        return grid_frame(self)


def open_whole(folder: Path, *, cache_dir: str | Path | None = None, grid: FarFile | None = None) -> Dataset:
    """Open a dataset's folder with its reserved bins: for `vp confirm`, and for a caller that cuts it itself.

    A figure of reserved bins, once seen, proves nothing any more.

    Raises
    ------
    DatasetError
        Unless the folder is a complete dataset of this format version.
    """
    if not (folder / MANIFEST_FILE).is_file():
        raise DatasetError(f"There is no dataset in {folder}: it has no {MANIFEST_FILE}. Datasets: vp list-datasets")
    manifest = read_json(folder / MANIFEST_FILE, folder.name)
    check_manifest(manifest, folder.name)
    require_whole(folder / MANIFEST_FILE, folder.name)
    shape = manifest["shape"]
    cache = None
    if cache_dir is not None:
        tag = read_json(folder / CHECKSUMS_FILE, folder.name).get(GRID_FILE, "unknown")
        cache = ColumnCache(Path(cache_dir) / folder.name, str(tag))
    columns = ParquetColumns(
        folder, folder.name, shape["n_bins"], shape["n_cells"], tuple(shape["grid_columns"]), cache, grid
    )
    return Dataset(columns, manifest, path=folder)


def _grid_array(name: str, array: Array, shape: tuple[int, int], types: Mapping[str, str]) -> Array:
    value = np.asarray(array)
    if value.shape != shape:
        raise DatasetError(f"Grid column '{name}' must have the shape {shape} (bins, cells), had {value.shape}.")
    return np.ascontiguousarray(value.astype(types.get(name, value.dtype), copy=False))
