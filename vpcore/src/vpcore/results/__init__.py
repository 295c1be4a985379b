"""The results store: runs and their rows, appended in batches, read by everybody at any time."""

from vpcore.results.compact import CompactReport as CompactReport, compact as compact
from vpcore.results.db import ResultsDB as ResultsDB, StoredRun as StoredRun
from vpcore.results.frames import in_order as in_order, newest as newest
from vpcore.results.ledger import MarketWindow as MarketWindow, Trials as Trials
from vpcore.results.schema import (
    COMBINATION as COMBINATION,
    LOWER_IS_BETTER as LOWER_IS_BETTER,
    RESULTS_VERSION as RESULTS_VERSION,
    ROW_KEY as ROW_KEY,
    RUNS as RUNS,
    RUNS_META as RUNS_META,
    SORTABLE as SORTABLE,
    TRADES as TRADES,
    TRIAL_KEY as TRIAL_KEY,
    VECTORS as VECTORS,
    VECTORS_AT_ONCE as VECTORS_AT_ONCE,
    row_id as row_id,
    run_id as run_id,
    traded as traded,
)
from vpcore.results.writer import runs_frame as runs_frame
