"""The trades of stored rows: their sums are the figures of the rows."""

from __future__ import annotations

from collections.abc import Callable

import polars as pl
import pytest
from sweep_workspace import THREE, add_dataset

import vpcore as vp
from vpcore.experiment.leaderboard import row_of
from vpcore.experiment.run import harness_config, run_experiment
from vpcore.experiment.trades import Leader, trades_of


def assert_sums(found: pl.DataFrame, row: dict[str, object], fee: float) -> None:
    n = found.height
    assert n == row["trades"] > 0  # type: ignore[operator]
    assert found["pnl_ticks"].sum() / n - fee == row["net_pnl_ticks"]
    assert found["mid_pnl_ticks"].sum() / n == row["mean_pnl_ticks"]
    for reason, rate in (("take-profit", "tp_rate"), ("stop", "sl_rate"), ("timeout", "timeout_rate")):
        assert (found["reason"] == reason).sum() / n == row[rate]
    assert found["overlap"].max() + 1 == row["max_concurrent"]  # type: ignore[operator]
    assert set(found["fee_ticks"]) == {fee}


@pytest.mark.slow
def test_sums_of_trades_equal_the_figures_of_every_row(ws: vp.Workspace, edit: Callable[..., None]) -> None:
    edit(("fee_ticks: 0}", "fee_ticks: 0.3}"), ("gain: [1, 2, 3]", "gain: [1, 3]"))  # 0.3 has no exact binary form
    run_experiment(ws, "sweep")
    rows = ws.results.query_runs().with_columns((pl.col("n_signals") - pl.col("n_dropped")).alias("trades"))
    traded = rows.filter(pl.col("trades") > 0)
    assert traded.height > 10
    leaders = {each["row"]: Leader(ws, each) for each in ws.results.find_rows(traded["row"].to_list())}
    for row in traded.to_dicts():
        assert_sums(trades_of(leaders[row["row"]]), row, 0.3)
    row = traded.sort("trades").row(-1, named=True)
    made = vp.trades(ws, row["row"])
    assert made.equals(trades_of(leaders[row["row"]]))
    assert made["session"][0] == "2023-12-25 1800-1859"
    figures = vp.performance(ws, row["row"])
    assert figures["net_ticks"][0] == pytest.approx(row["trades"] * row["net_pnl_ticks"])
    assert 0 < figures["exposure"][0] <= 1


@pytest.mark.slow
def test_a_row_of_several_sessions_has_the_trades_of_all(ws: vp.Workspace, edit: Callable[..., None]) -> None:
    edit(THREE, ("gain: [1, 2, 3]", "gain: [1]"), name="three")
    for seed, name in enumerate(harness_config(ws, "three").dataset_ids[1:], 11):
        add_dataset(ws, name, seed, 1000)
    run_experiment(ws, "three")
    board = vp.leaderboard(ws, "three")
    best = board.best
    assert best is not None
    found = vp.trades(ws, best.row)
    assert found.equals(vp.trades(ws, best))
    assert found.height == best.figures["trades"]
    assert found["session"].n_unique() == 3
    assert found["pnl_ticks"].mean() == pytest.approx(best.figures["net_pnl_ticks"])
    assert row_of(ws, best.figures["session_rows"][0]).row == best.row
    assert row_of(ws, best.row, per_session=True).figures["trades"] < found.height
    figures = vp.performance(ws, best)
    assert figures["session"].to_list() == [*found["session"].unique(maintain_order=True), "all"]
    assert figures["trades"].to_list()[-1] == found.height
