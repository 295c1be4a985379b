"""Evidence of rows whose family is their dataset."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from vpcore.inference.ranking import FAMILY, Family, with_evidence
from vpcore.inference.summaries import Evidence
from vpcore.results import ResultsDB


def evidence_by_dataset(
    db: ResultsDB, rows: pl.DataFrame, *, min_trades: int, cache_dir: Path | None = None
) -> tuple[pl.DataFrame, dict[str, Evidence]]:
    """Return rows with their evidence, and the evidence by dataset."""
    families = {name: Family("sweep", name, min_trades, config_hash="h") for name in rows["dataset_id"].unique()}
    named = rows.with_columns(pl.col("dataset_id").alias(FAMILY))
    found, evidence = with_evidence(db, named, families, cache_dir=cache_dir)
    return found.drop(FAMILY), evidence
