"""``vp trades``: the trades of `vpcore.trades` in every form."""

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
from vpcore.experiment.run import harness_config, run_experiment

Call = Callable[..., tuple[str, str]]


@pytest.mark.slow
def test_trades_are_printed_in_every_form(
    ws: vp.Workspace, call: Call, edit: Callable[..., None], tmp_path: Path
) -> None:
    edit(("fee_ticks: 0}", "fee_ticks: 0.3}"), ("gain: [1, 2, 3]", "gain: [1, 3]"))  # 0.3 has no exact binary form
    run_experiment(ws, "sweep")
    rows = ws.results.query_runs().with_columns((pl.col("n_signals") - pl.col("n_dropped")).alias("trades"))
    row = rows.sort("trades").row(-1, named=True)
    made = vp.trades(ws, row["row"])
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
    file = tmp_path / "trades.parquet"
    call("trades", row["row"], "--parquet", str(file))
    assert pl.read_parquet(file).equals(made)

    assert "--parquet excludes --json and --csv" in call("trades", row["row"], "--parquet", "a", "--csv", code=2)[1]
    assert (
        "must be a file that ends in .parquet, was a.csv" in call("trades", row["row"], "--parquet", "a.csv", code=2)[1]
    )
    assert "No stored row is called 'zz'" in call("trades", "zz", code=2)[1]


@pytest.mark.slow
def test_a_row_of_several_sessions_names_them(ws: vp.Workspace, call: Call, edit: Callable[..., None]) -> None:
    edit(THREE, ("gain: [1, 2, 3]", "gain: [1]"), name="three")
    for seed, name in enumerate(harness_config(ws, "three").dataset_ids[1:], 11):
        add_dataset(ws, name, seed, 1000)
    run_experiment(ws, "three")
    best = vp.leaderboard(ws, "three").best
    assert best is not None
    out, said = call("trades", best.row)
    assert out.splitlines()[0].split()[0] == "session"
    assert "all: " in said
