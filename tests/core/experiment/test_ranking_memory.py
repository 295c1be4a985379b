"""A ranking of many rows keeps few of their columns, and reads the others for the rows that are shown."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import polars as pl
import pytest
from many_rows import N_RUNS, N_THRESHOLDS, many, written

from vpcore import Workspace, leaderboard
from vpcore.inference import ranking
from vpcore.results import RUNS, ResultsDB

__all__ = ["many", "written"]

BYTES_PER_ROW = 140
"""A million rows in order then take 140 MB; with all columns they take three times as much."""


def test_a_ranking_is_small_and_its_shown_rows_are_whole(many: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []
    read = ResultsDB.query_runs

    def watched(db: ResultsDB, **options: Any) -> pl.DataFrame:
        found = read(db, **options)
        sizes.append(found.estimated_size())
        return found

    monkeypatch.setattr(ResultsDB, "query_runs", watched)
    board = leaderboard(many)
    shown = {sort: board.rows(sort=sort, limit=20) for sort in (None, "sl_rate", "evidence", "tp_resolved")}
    n_rows = N_RUNS * N_THRESHOLDS
    assert board.ranking.height == n_rows
    assert board.ranking.estimated_size() < BYTES_PER_ROW * n_rows
    assert max(sizes) < BYTES_PER_ROW * n_rows
    monkeypatch.undo()
    # The same rows as of the whole frame, which is what is left out above.
    assert board.frame.estimated_size() > 2.5 * BYTES_PER_ROW * n_rows
    for sort, rows in shown.items():
        assert rows.equals(board.rows(sort=sort).head(20))
        assert rows.columns == board.frame.columns
        assert rows.join(board.frame, on=["run_id", "threshold"], how="semi", nulls_equal=True).height == 20
    assert shown[None].equals(board.frame.head(20))


@pytest.mark.parametrize("more", ["nothing", "other code", "failed", "again", "in part again", "another market"])
def test_the_spread_of_trials_is_that_of_the_whole_store(
    many: Workspace, more: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The ranked rows stand for the trials of their market only where the store has no others."""
    db = many.results
    meta = db.query_meta().drop("batch_id").row(3, named=True)
    rows = db.query_runs(run_id=meta["run_id"], blocks=True).select(name for name in RUNS if name != "batch_id")
    meta["finished_utc"] += timedelta(hours=1)
    rows = rows.with_columns(pl.col("net_pnl_ticks") * 3.0)
    if more in ("other code", "failed", "another market"):
        meta["run_id"] = "f" * 16
        rows = rows.with_columns(run_id=pl.lit(meta["run_id"]))
        meta |= {
            "other code": {"code_digest": "old"},
            "failed": {"status": "failed"},
            "another market": {"dataset_id": "other", "sources_json": '["other"]'},
        }[more]
    if more != "nothing":
        db.write([meta], rows.head(100) if more == "in part again" else rows)
    reads = []
    read = ResultsDB.query_runs

    def watched(db: ResultsDB, **options: Any) -> pl.DataFrame:
        reads.append(options)
        return read(db, **options)

    monkeypatch.setattr(ResultsDB, "query_runs", watched)
    ranked = leaderboard(many).ranking
    n_reads = len(reads)
    monkeypatch.setattr(ranking._Market, "_of_market", lambda *_: None)
    assert ranked.equals(leaderboard(many).ranking)
    assert ranked["dsr"].null_count() < ranked.height
    assert n_reads == (1 if more in ("nothing", "in part again", "another market") else 2)
