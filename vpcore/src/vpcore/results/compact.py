"""Merging the parts of the results store: first the merged parts appear, then their inputs go."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from vpcore.results.db import ResultsDB
from vpcore.results.frames import newest
from vpcore.results.schema import ROW_KEY
from vpcore.results.writer import TABLES, new_batch_id, put_parts

_BATCH = ["run_id", "batch_id"]


@dataclass(frozen=True, slots=True)
class CompactReport:
    """What a compaction did."""

    parts_before: int
    parts_after: int
    rows: int
    duplicates: int


def compact(db: ResultsDB) -> CompactReport:
    """Merge the committed parts into one of each table and drop rows that others of the same key replace.

    Readers and writers may go on meanwhile: every row is in the store at every moment, if need be twice. Parts without
    a commit (a writer that died, or is just writing) are left as they are.
    """
    try:
        return _compact(db)
    except FileNotFoundError:  # another compaction was faster and has removed an input
        return _compact(db)


def _compact(db: ResultsDB) -> CompactReport:
    # The rows are listed first: then each of them whose commit is missing below is not committed yet, or never will be.
    row_parts, meta_parts = db.parts("runs"), db.parts("runs_meta")
    before = len(row_parts) + len(meta_parts)
    meta = _read("runs_meta", meta_parts).unique(_BATCH, maintain_order=True)
    committed = [
        (path, frame)
        for path, frame in ((path, _read("runs", [path])) for path in row_parts)
        if not frame.join(meta, on=_BATCH, how="anti").height
    ]
    rows = _read("runs", []) if not committed else pl.concat([frame for _, frame in committed])
    if len(committed) < 2 and len(meta_parts) < 2:
        return CompactReport(before, before, rows.height, 0)
    dated = rows.lazy().join(meta.lazy().select(*_BATCH, "status", "finished_utc"), on=_BATCH, how="inner")
    kept = newest(dated, ROW_KEY).select(list(TABLES["runs"])).sort(ROW_KEY).collect()
    put_parts(db.root, new_batch_id(), kept, meta.sort(_BATCH))
    inputs = [*(path for path, _ in committed), *meta_parts]
    for path in inputs:
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
    return CompactReport(before, before - len(inputs) + 2, kept.height, rows.height - kept.height)


def _read(table: str, parts: list[Path]) -> pl.DataFrame:
    schema = TABLES[table]
    empty = pl.DataFrame(schema=schema)
    return pl.concat([empty, *(pl.read_parquet(path, schema=schema, missing_columns="insert") for path in parts)])
