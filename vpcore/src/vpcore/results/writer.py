"""Append a batch: two parts, written aside and renamed in. The second part is the commit."""

from __future__ import annotations

import io
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import polars as pl

from vpcore.errors import ResultsError
from vpcore.results.parts import part_name
from vpcore.results.schema import RESULTS_VERSION, RUNS, RUNS_META, TRIAL_KEY, VECTORS, VECTORS_AT_ONCE, row_ids
from vpcore.storage import Folder

STAGING = ".staging"
TABLES = {"runs": RUNS, "runs_meta": RUNS_META}


Place = TypeVar("Place", Path, Folder)


def table_folder(root: Place, table: str, version: int = RESULTS_VERSION) -> Place:
    """Return the directory of a table's parts."""
    return root / f"{table}.parquet" / f"v{version}"


def runs_frame(run_id: str, columns: Mapping[str, Any]) -> pl.DataFrame:
    """Return the rows of one run as a frame of the table `runs`, NaN as null, without `batch_id`.

    Parameters
    ----------
    run_id : str
        The run.
    columns : mapping of name to array of shape (n_rows,)
        The key columns, and the figures (`VECTORS` have shape (n_rows, any)); missing figures become null.
    """
    keys = list(zip(*(columns[name] for name in TRIAL_KEY), strict=True))
    data: dict[str, Any] = {"run_id": [run_id] * len(keys), "row": row_ids(run_id, keys)}
    for name, dtype in RUNS.items():
        if name in data or name == "batch_id":
            continue
        if name not in columns:
            data[name] = pl.Series(name, [None] * len(keys), dtype=dtype)
        elif name in VECTORS:
            data[name] = _lists(name, columns[name])
        else:
            data[name] = pl.Series(name, columns[name]).cast(dtype)
    return (
        pl.DataFrame(data)
        .with_columns(pl.col(pl.Float64).fill_nan(None))
        .select(name for name in RUNS if name != "batch_id")
    )


def _lists(name: str, vectors: Any) -> pl.Series:
    """Return the rows of a matrix as a column of lists."""
    n_rows, width = vectors.shape
    if n_rows == 0 or width == 0:
        return pl.Series(name, [[]] * n_rows, dtype=RUNS[name])
    return pl.Series(name, np.ascontiguousarray(vectors).ravel()).reshape((n_rows, width)).cast(RUNS[name])


def new_batch_id() -> str:
    """Return a fresh id; it names the parts of a batch and joins them."""
    return uuid.uuid4().hex


def meta_frame(meta: Sequence[Mapping[str, Any]], runs: pl.DataFrame) -> pl.DataFrame:
    """Return rows of `runs_meta` without `batch_id`, each run once, as a frame.

    Raises
    ------
    ResultsError
        If `runs` has a row of another run, or a run lacks rows.
    """
    frame = pl.DataFrame([dict(row) for row in meta], schema={k: v for k, v in RUNS_META.items() if k != "batch_id"})
    ids = frame["run_id"].to_list()
    if len(set(ids)) != len(ids) or set(ids) != set(runs["run_id"].unique().to_list()):
        raise ResultsError(
            "A batch",
            required="each run once, with rows of all its runs",
            was=f"{len(ids)} runs and rows of {runs['run_id'].n_unique()}",
        )
    return frame


def write_batch(root: Path | Folder, meta: pl.DataFrame, runs: pl.DataFrame, batch_id: str) -> str:
    """Store runs with their rows, and return the id of the batch.

    Parameters
    ----------
    root : Path or Folder
        The results directory.
    meta : DataFrame
        From `meta_frame`.
    runs : DataFrame
        Rows of `runs` without `batch_id`, of exactly these runs; from `runs_frame`.
    batch_id : str
        From `new_batch_id`.

    Raises
    ------
    StorageError
        If writing fails. Earlier batches are untouched, and this batch stays invisible.
    """
    tag = pl.lit(batch_id).alias("batch_id")
    put_parts(root, batch_id, runs.with_columns(tag), meta.with_columns(tag))
    return batch_id


def put_parts(root: Path | Folder, part: str, runs: pl.DataFrame, meta: pl.DataFrame) -> dict[str, str]:
    """Write both tables' parts, each in one atomic step: first the rows, then the commit. Return their names by table.

    Local parts are written aside: strangers read a table's directory, where a half-written file makes readers fail.
    """
    folder, parts = Folder.of(root), {}
    for table, frame in (("runs", runs), ("runs_meta", meta)):
        # Through memory: of a full disk polars tells in words of its own, not by an OSError.
        buffer = io.BytesIO()
        frame.select(list(TABLES[table])).write_parquet(
            buffer, compression="zstd", statistics=True, row_group_size=VECTORS_AT_ONCE
        )
        parts[table] = buffer.getvalue()
    names = {table: part_name(part, data) for table, data in parts.items()}
    for table, data in parts.items():
        table_folder(folder, table).put(names[table], data, "store results", aside=folder / STAGING)
    return names
