"""`DatasetWriter`: blocks of frames in, an immutable dataset out, in constant memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from vpcore.dataset.manifest import (
    BINS_FILE,
    CHECKSUMS_FILE,
    DATA_FILES,
    DATASETS_PREFIX,
    GRID_FILE,
    MANIFEST_FILE,
    META_FORMAT,
    META_ID,
    checksums,
    json_bytes,
    shape_block,
)
from vpcore.errors import DatasetError
from vpcore.schema import BIN_COLUMNS, FORMAT_VERSION, GRID_KEYS, GRID_VALUES
from vpcore.storage.atomic import storage_errors
from vpcore.storage.protocol import Storage

Array = npt.NDArray[Any]

GROUP_ROWS = 1 << 18
"""Rows of a row group of the grid, at most, and a whole number of bins: 1 MB per float column, 30 MB for all."""

_BINS_GROUP = 1 << 16
_ZSTD_LEVEL = 1
"""Of byte-stream-split floats, level 3 makes nothing smaller and costs a fifth more."""


class Block(Protocol):
    """Frames of the engine; see `vpcore.engine.FrameBlock`."""

    @property
    def bins(self) -> Mapping[str, Array]:
        """Bin columns, shape (n_bins,)."""
        ...

    @property
    def grid(self) -> Mapping[str, Array]:
        """Grid columns, float32[n_bins, n_cells]."""
        ...

    def __len__(self) -> int: ...


def _schema(types: Mapping[str, str], dataset_id: str) -> pa.Schema:
    # Not nullable: there are no nulls, and readers then decode values without definition levels.
    fields = [pa.field(name, pa.from_numpy_dtype(np.dtype(kind)), nullable=False) for name, kind in types.items()]
    return pa.schema(fields, metadata={META_ID: dataset_id.encode(), META_FORMAT: str(FORMAT_VERSION).encode()})


class _Group:
    """Buffers of one row group: bins are copied in until it is full."""

    def __init__(self, capacity: int, n_cells: int, columns: Sequence[str]) -> None:
        self.n = 0
        self.seq = np.empty(capacity, np.int64)
        self.valid = np.empty(capacity, np.bool_)
        self.values = {name: np.empty((capacity, n_cells), np.float32) for name in columns}


class DatasetWriter:
    """Writes a dataset into a staged folder and publishes it.

    The bytes depend on the bins alone, whatever the blocks. A thread encodes a full row group while the caller makes
    the next. A context manager: leaving it aborts an uncommitted dataset.

    Parameters
    ----------
    storage : Storage
        The lake.
    dataset_id : str
    n_cells : int
    cell_width_ns, tick_int : int
    columns : sequence of str
        Grid columns that the blocks carry, in file order.
    prefix : str
        Folder of the datasets in the storage.

    Raises
    ------
    StorageError
        If writing fails.
    """

    def __init__(
        self,
        storage: Storage,
        dataset_id: str,
        *,
        n_cells: int,
        cell_width_ns: int,
        tick_int: int,
        columns: Sequence[str] = GRID_VALUES,
        prefix: str = DATASETS_PREFIX,
    ) -> None:
        self.dataset_id = dataset_id
        self.columns = tuple(columns)
        self.n_bins = 0
        self.n_valid = 0
        self.first_ns: int | None = None
        self.last_ns: int | None = None
        self._storage = storage
        self._key = f"{prefix}/{dataset_id}"
        self._form = {"n_cells": n_cells, "cell_width_ns": cell_width_ns, "tick_int": tick_int}
        self._k = np.arange(-(n_cells // 2), n_cells // 2 + 1, dtype=np.int16)
        self._capacity = max(1, GROUP_ROWS // n_cells)
        self._groups = [_Group(self._capacity, n_cells, self.columns) for _ in range(2)]
        self._bins: list[dict[str, Array]] = []
        self._bins_rows = 0
        self._next_seq: int | None = None
        self._pending: Future[None] | None = None
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="dataset-writer")
        self._writers: list[pq.ParquetWriter] = []
        self._stage = storage.stage(self._key)
        try:
            with self._errors():
                grid_types = {**GRID_KEYS, **dict.fromkeys(self.columns, "float32")}
                self._grid_schema = _schema(grid_types, dataset_id)
                self._bins_schema = _schema(BIN_COLUMNS, dataset_id)
                self._grid_file = self._open(GRID_FILE, self._grid_schema, ("bin_seq", "k"), self.columns)
                floats = [name for name, kind in BIN_COLUMNS.items() if kind == "float64"]
                integers = [name for name, kind in BIN_COLUMNS.items() if kind.startswith("int")]
                self._bins_file = self._open(BINS_FILE, self._bins_schema, (), floats, integers)
        except BaseException:
            self.abort()
            raise

    def _open(
        self,
        name: str,
        schema: pa.Schema,
        dictionary: Sequence[str],
        floats: Sequence[str],
        integers: Sequence[str] = (),
    ) -> pq.ParquetWriter:
        encoding = {**dict.fromkeys(floats, "BYTE_STREAM_SPLIT"), **dict.fromkeys(integers, "DELTA_BINARY_PACKED")}
        writer = pq.ParquetWriter(
            self._stage.path / name,
            schema,
            version="2.6",
            compression="zstd",
            compression_level=_ZSTD_LEVEL,
            use_dictionary=list(dictionary) or False,
            column_encoding=encoding,
            store_schema=False,  # the metadata holds no copy of an Arrow schema: the Parquet types say it all
        )
        writer.add_key_value_metadata(schema.metadata)
        self._writers.append(writer)
        return writer

    def _errors(self) -> Any:
        return storage_errors(self._stage.path.parent, f"write dataset '{self.dataset_id}'")

    @property
    def path(self) -> Path:
        """The staged folder."""
        return self._stage.path

    def __enter__(self) -> DatasetWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.abort()

    # -- writing -------------------------------------------------------------------------------------------------------

    def append(self, block: Block) -> None:
        """Add consecutive bins. The arrays are copied: the caller may reuse them.

        Raises
        ------
        DatasetError
            If the block starts elsewhere than at the end of its predecessor, or has other columns.
        StorageError
            If the disk is full or read-only; then `abort` removes all files.
        """
        n = len(block)
        if n == 0:
            return
        self._check(block, n)
        self._add_bins(block, n)
        done = 0
        while done < n:
            group = self._groups[0]
            take = min(n - done, self._capacity - group.n)
            here, there = slice(group.n, group.n + take), slice(done, done + take)
            group.seq[here] = block.bins["bin_seq"][there]
            group.valid[here] = block.bins["book_valid"][there]
            for name in self.columns:
                group.values[name][here] = block.grid[name][there]
            group.n += take
            done += take
            if group.n == self._capacity:
                self._flush_grid()
        self.n_bins += n

    def _check(self, block: Block, n: int) -> None:
        missing = [name for name in BIN_COLUMNS if name not in block.bins] + [
            c for c in self.columns if c not in block.grid
        ]
        if missing:
            raise DatasetError(f"Dataset '{self.dataset_id}': a block of frames lacks the column '{missing[0]}'.")
        seq = block.bins["bin_seq"]
        expected = int(seq[0]) if self._next_seq is None else self._next_seq
        if int(seq[0]) != expected or not np.array_equal(seq, np.arange(seq[0], seq[0] + n)):
            raise DatasetError(
                f"Dataset '{self.dataset_id}': bins must follow each other without a gap; bin {expected} was due, "
                f"a block had {int(seq[0])} to {int(seq[-1])}."
            )
        shape = (n, len(self._k))
        for name in self.columns:
            if block.grid[name].shape != shape:
                raise DatasetError(
                    f"Dataset '{self.dataset_id}': grid column '{name}' must have the shape {shape} (bins, cells), "
                    f"had {block.grid[name].shape}."
                )
        self._next_seq = expected + n

    def _add_bins(self, block: Block, n: int) -> None:
        self._bins.append({name: np.array(block.bins[name], kind) for name, kind in BIN_COLUMNS.items()})
        self._bins_rows += n
        self.n_valid += int(np.count_nonzero(block.bins["book_valid"]))
        if self.first_ns is None:
            self.first_ns = int(block.bins["bin_start_ns"][0])
        self.last_ns = int(block.bins["bin_end_ns"][-1])
        if self._bins_rows >= 2 * _BINS_GROUP:
            self._flush_bins(final=False)

    def _flush_bins(self, *, final: bool) -> None:
        if not self._bins:
            return
        columns = {name: np.concatenate([part[name] for part in self._bins]) for name in BIN_COLUMNS}
        whole = self._bins_rows if final else self._bins_rows - self._bins_rows % _BINS_GROUP
        self._bins = [] if final else [{name: array[whole:].copy() for name, array in columns.items()}]
        self._bins_rows -= whole
        self._settle()
        with self._errors():
            # One table per row group: the encoders' bytes depend on where in a table a group begins.
            for start in range(0, whole, _BINS_GROUP):
                part = slice(start, min(start + _BINS_GROUP, whole))
                arrays = [pa.array(columns[name][part]) for name in BIN_COLUMNS]
                self._bins_file.write_table(pa.Table.from_arrays(arrays, schema=self._bins_schema))

    def _flush_grid(self) -> None:
        """Hand the full group to the thread and continue with the other buffer, once the thread has released it."""
        self._settle()
        full, self._groups = self._groups[0], self._groups[::-1]
        self._groups[0].n = 0
        self._pending = self._thread.submit(self._write_group, full)

    def _write_group(self, group: _Group) -> None:
        n, n_cells = group.n, len(self._k)
        keys = [np.repeat(group.seq[:n], n_cells), np.tile(self._k, n), np.repeat(group.valid[:n], n_cells)]
        values = [group.values[name][:n].reshape(-1) for name in self.columns]
        table = pa.Table.from_arrays([pa.array(array) for array in (*keys, *values)], schema=self._grid_schema)
        self._grid_file.write_table(table, row_group_size=n * n_cells)

    def _settle(self) -> None:
        """Wait for the thread and raise its error."""
        pending, self._pending = self._pending, None
        if pending is not None:
            with self._errors():
                pending.result()

    # -- finishing -----------------------------------------------------------------------------------------------------

    def commit(self, manifest: Mapping[str, Any]) -> bool:
        """Finish the files, write manifest and checksums, and publish the dataset.

        Parameters
        ----------
        manifest : mapping
            Entries from outside the writer: spec, versions, sources, data quality. The writer adds id, format version,
            shape, rows and span.

        Returns
        -------
        bool
            True if this writer published the dataset, False if another writer published the same id first. Either way
            the dataset exists.

        Raises
        ------
        DatasetError
            If the dataset is empty.
        StorageError
            If the disk is full or read-only. All files are removed.
        """
        if self.n_bins == 0:
            self.abort()
            raise DatasetError(f"Dataset '{self.dataset_id}' has no bins: no record reached the end of its first bin.")
        try:
            if self._groups[0].n:
                self._flush_grid()
            self._flush_bins(final=True)
            self._settle()
            folder = self._stage.path
            with self._errors():
                for writer in self._writers:
                    writer.close()
                self._writers.clear()
                (folder / MANIFEST_FILE).write_bytes(json_bytes(self._manifest(manifest)))
                (folder / CHECKSUMS_FILE).write_bytes(json_bytes(checksums(folder)))
                for name in (*DATA_FILES, MANIFEST_FILE, CHECKSUMS_FILE):
                    (folder / name).chmod(0o444)  # a dataset is never changed
            return self._storage.commit(self._key, self._stage, MANIFEST_FILE)
        finally:
            self.abort()

    def _manifest(self, given: Mapping[str, Any]) -> dict[str, Any]:
        form = self._form
        return {
            **given,
            "dataset_id": self.dataset_id,
            "format_version": FORMAT_VERSION,
            "shape": shape_block(n_bins=self.n_bins, columns=self.columns, **form),
            "rows": {BINS_FILE: self.n_bins, GRID_FILE: self.n_bins * form["n_cells"]},
            "valid_bins": self.n_valid,
            "first_ns": self.first_ns,
            "last_ns": self.last_ns,
        }

    def abort(self) -> None:
        """Remove unpublished files. Safe to call again, and after `commit`."""
        self._thread.shutdown(wait=True, cancel_futures=True)
        for writer in self._writers:
            try:
                writer.close()
            except (OSError, pa.ArrowException):
                continue  # the disk that was full for the data is full for the footer too; the file goes anyway
        self._writers.clear()
        self._stage.discard()
