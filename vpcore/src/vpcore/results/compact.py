"""Merging the parts of the results store: the merged parts appear, their rows are counted, then their inputs go."""

from __future__ import annotations

import fcntl
import os
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from vpcore.errors import ResultsError
from vpcore.results.db import ResultsDB
from vpcore.results.frames import newest
from vpcore.results.parts import require_whole
from vpcore.results.schema import ROW_KEY
from vpcore.results.writer import TABLES, new_batch_id, put_parts, table_folder
from vpcore.storage.atomic import storage_errors

_BATCH = ["run_id", "batch_id"]


@dataclass(frozen=True, slots=True)
class CompactReport:
    """Result of a compaction."""

    parts_before: int
    parts_after: int
    rows: int
    duplicates: int


def compact(db: ResultsDB) -> CompactReport:
    """Merge the committed parts into one of each table and drop rows that others of the same key replace.

    Readers and writers may continue: every row is in the store at every moment, sometimes twice. Uncommitted parts (of
    a dead or an active writer) stay unchanged. A second compaction on
    this machine waits for the first; two machines at once leave some rows twice until the next compaction.

    Raises
    ------
    ResultsError
        If the number of rows read differs from a part's footer, or a merged part's from its inputs. Compaction then
        keeps all parts.
    """
    if not db.folder.here().is_dir():
        return CompactReport(0, 0, 0, 0)
    with storage_errors(db.root, "compact the results"):
        handle = os.open(db.root, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        return _compact(db)
    finally:
        os.close(handle)


def _compact(db: ResultsDB) -> CompactReport:
    # The rows are listed first: then each of them whose commit is missing below is not committed yet, or never will be.
    row_parts, meta_parts = db.parts("runs"), db.parts("runs_meta")
    require_whole([*row_parts, *meta_parts])
    before = len(row_parts) + len(meta_parts)
    meta = _read("runs_meta", meta_parts).unique(_BATCH, maintain_order=True)
    committed = [
        (path, frame)
        for path, frame in ((path, _read("runs", [path])) for path in row_parts)
        if not frame.join(meta, on=_BATCH, how="anti").height
    ]
    rows = pl.concat([_read("runs", []), *(frame for _, frame in committed)])
    if len(committed) < 2 and len(meta_parts) < 2:
        return CompactReport(before, before, rows.height, 0)
    dated = rows.lazy().join(meta.lazy().select(*_BATCH, "status", "finished_utc"), on=_BATCH, how="inner")
    kept = newest(dated, ROW_KEY).select(list(TABLES["runs"])).sort(ROW_KEY).collect()
    merged = new_batch_id()
    made = put_parts(db.folder, merged, kept, meta.sort(_BATCH))
    db.folder.here()
    inputs = [*(path for path, _ in committed), *meta_parts]
    for table, required in (("runs", rows.n_unique(ROW_KEY)), ("runs_meta", meta.height)):
        part = table_folder(db.root, table) / made[table]
        _require(_stored_rows(part), required, part, f"the {len(inputs)} parts before it have")
    for path in inputs:
        db.folder.remove(path.relative_to(db.root).as_posix())
    return CompactReport(before, before - len(inputs) + 2, kept.height, rows.height - kept.height)


def _read(table: str, parts: list[Path]) -> pl.DataFrame:
    """Return the rows of parts, as many of each part as its own footer states."""
    schema = TABLES[table]
    frames = [pl.DataFrame(schema=schema)]
    for path in parts:
        frames.append(pl.read_parquet(path, glob=False, schema=schema, missing_columns="insert"))
        _require(frames[-1].height, _stored_rows(path), path, "its footer states")
    return pl.concat(frames)


def _stored_rows(path: Path) -> int:
    """Return the number of rows by a part's footer, read by pyarrow, while polars reads the rows."""
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as part:
        return int(part.metadata.num_rows)


def _require(found: int, required: int, path: Path, source: str) -> None:
    if found != required:
        raise ResultsError(
            "Compaction deleted nothing: the number of rows",
            required=f"{required:,}, as {source}",
            was=f"{found:,}",
            where=str(path),
            fix="Run it again. If it stops again, keep a copy of the results folder and report this message with the "
            "version of polars.",
        )
