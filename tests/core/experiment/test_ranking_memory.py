"""A ranking of many rows keeps few of their columns, and reads the others for the rows that are shown."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest
from result_rows import made_meta, made_rows

from vpcore import Workspace, leaderboard
from vpcore.experiment.leaderboard import installed_code
from vpcore.results import ResultsDB

N_RUNS, N_THRESHOLDS = 20, 500
BYTES_PER_ROW = 140
"""A million rows in order then take 140 MB; with all columns they take three times as much."""


@pytest.fixture
def many(workspace: Workspace) -> Workspace:
    code = installed_code(workspace)
    own = {"signal_name": "plain", "code_digest": code.signals["plain"], "core_digest": code.core}
    for i in range(N_RUNS):
        trials = [(0.001 * (t + 1), 20, 4, 4) for t in range(N_THRESHOLDS)]
        rows = made_rows(f"{i:016x}", trials).with_columns(net_pnl_ticks=pl.int_range(pl.len()) * 7.0 % 100 + i)
        workspace.results.write([made_meta(f"{i:016x}", **own)], rows)
    return workspace


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
