"""The results store: runs and their rows, appended in batches, read by everybody at any time."""

from vpcore.results.compact import CompactReport, compact
from vpcore.results.db import ResultsDB, StoredRun
from vpcore.results.frames import in_order, newest
from vpcore.results.schema import (
    COMBINATION,
    LOWER_IS_BETTER,
    RESULTS_VERSION,
    ROW_KEY,
    RUNS,
    RUNS_META,
    SORTABLE,
    TRADES,
    TRIAL_KEY,
    VECTORS,
    row_id,
    run_id,
    traded,
)
from vpcore.results.writer import runs_frame

__all__ = [
    "COMBINATION",
    "LOWER_IS_BETTER",
    "RESULTS_VERSION",
    "ROW_KEY",
    "RUNS",
    "RUNS_META",
    "SORTABLE",
    "TRADES",
    "TRIAL_KEY",
    "VECTORS",
    "CompactReport",
    "ResultsDB",
    "StoredRun",
    "compact",
    "in_order",
    "newest",
    "row_id",
    "run_id",
    "runs_frame",
    "traded",
]
