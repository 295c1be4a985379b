"""The trades of stored rows: their sums are the figures of the rows."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from sweep_workspace import THREE, add_dataset

import vpcore as vp
from vpcore.experiment.leaderboard import row_of
from vpcore.experiment.run import harness_config, run_experiment

Call = Callable[..., tuple[str, str]]


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
def test_sums_of_trades_equal_the_figures_of_every_row(
    ws: vp.Workspace, call: Call, edit: Callable[..., None], tmp_path: Path
) -> None:
    edit(("fee_ticks: 0}", "fee_ticks: 0.3}"), ("gain: [1, 2, 3]", "gain: [1, 3]"))  # 0.3 has no exact binary form
    run_experiment(ws, "sweep")
    rows = ws.results.query_runs().with_columns((pl.col("n_signals") - pl.col("n_dropped")).alias("trades"))
    traded = rows.filter(pl.col("trades") > 0)
    assert traded.height > 10
    for row in traded.to_dicts():
        assert_sums(vp.trades(ws, row["row"]), row, 0.3)
    row = traded.sort("trades").row(-1, named=True)
    made = vp.trades(ws, row["row"])
    assert made["session"][0] == "2023-12-25 1800-1859"

    # The command prints the same trades in every form.
    shown, said = call("trades", row["row"])
    assert len(shown.splitlines()) == made.height + 1
    assert f"2023-12-25 1800-1859: {made.height} trades" in said
    assert "profit factor" in said
    lines = list(csv.DictReader(io.StringIO(call("trades", row["row"][:6], "--csv")[0])))
    assert list(lines[0]) == made.columns
    assert [float(line["net_pnl_ticks"]) for line in lines] == made["net_pnl_ticks"].to_list()
    answer = json.loads(call("trades", row["row"], "--json")[0])
    assert [trade["exit_price"] for trade in answer["trades"]] == made["exit_price"].to_list()
    figures = vp.performance(ws, row["row"])
    assert answer["performance"][0]["sharpe"] == figures["sharpe"][0]
    assert figures["net_ticks"][0] == pytest.approx(row["trades"] * row["net_pnl_ticks"])
    assert 0 < figures["exposure"][0] <= 1
    file = tmp_path / "trades.parquet"
    call("trades", row["row"], "--parquet", str(file))
    assert pl.read_parquet(file).equals(made)

    assert "--parquet excludes --json and --csv" in call("trades", row["row"], "--parquet", "a", "--csv", code=2)[1]
    assert (
        "must be a file that ends in .parquet, was a.csv" in call("trades", row["row"], "--parquet", "a.csv", code=2)[1]
    )
    assert "No stored row is called 'zz'" in call("trades", "zz", code=2)[1]


@pytest.mark.slow
def test_a_row_of_several_sessions_has_the_trades_of_all(
    ws: vp.Workspace, call: Call, edit: Callable[..., None]
) -> None:
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
    out, said = call("trades", best.row)
    assert out.splitlines()[0].split()[0] == "session"
    assert "all: " in said
