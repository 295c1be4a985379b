"""A ranking of many rows keeps few of their columns, and reads the others for the rows that are shown."""

from __future__ import annotations

import contextlib
import os
import shutil
import tracemalloc
from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from result_rows import made_meta, made_rows
from sweep_workspace import build, importable_signals, make_plugins

from vpcore import Workspace, leaderboard
from vpcore.cli.app import run
from vpcore.engine import FrameBlock
from vpcore.experiment.leaderboard import installed_code
from vpcore.inference import ranking
from vpcore.results import RUNS, ResultsDB

N_RUNS, N_THRESHOLDS = 20, 500
BYTES_PER_ROW = 140
"""A million rows in order then take 140 MB; with all columns they take three times as much."""


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory, frames: FrameBlock) -> Path:
    """The folder of a workspace with many rows."""
    with importable_signals():
        workspace = build(tmp_path_factory.mktemp("many") / "ws", frames)
        write_rows(workspace)
    return workspace.root


@pytest.fixture
def many(written: Path, tmp_path: Path) -> Workspace:
    return Workspace(shutil.copytree(written, tmp_path / "ws"), plugins=make_plugins())


def write_rows(workspace: Workspace) -> None:
    code = installed_code(workspace)
    own = {"signal_name": "plain", "code_digest": code.signals["plain"], "core_digest": code.core}
    for i in range(N_RUNS):
        trials = [(0.001 * (t + 1), 20, 4, 4) for t in range(N_THRESHOLDS)]
        rows = made_rows(f"{i:016x}", trials).with_columns(
            net_pnl_ticks=pl.int_range(pl.len()) * 7.0 % 100 + i,
            net_pnl_sd=pl.lit(2.0 + i),
            net_pnl_skew=pl.lit(0.0),
            net_pnl_kurtosis=pl.lit(3.0),
            n_eff=pl.lit(20.0),
        )
        workspace.results.write([made_meta(f"{i:016x}", **own)], rows)


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


@pytest.mark.slow
def test_csv_of_many_rows_is_written_row_by_row(many: Workspace) -> None:
    arguments = ["compare", "--root", str(many.root), "--min-signals", "0", "--csv", "--limit"]
    peaks = []
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
        for limit in (10, N_RUNS * N_THRESHOLDS):
            tracemalloc.start()
            assert run([*arguments, str(limit)]) == 0
            peaks.append(tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()
    assert peaks[1] - peaks[0] < 500 * N_RUNS * N_THRESHOLDS  # all rows as dictionaries take ten times as much


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
