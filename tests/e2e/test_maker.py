"""Maker entries through every command: run, compare, trades, promote, and a live pipeline that leaves where they leave."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import vpcore as vp
from vpcore.generation.sources import open_source
from vpcore.rules import TradeRules
from vpcore.workspace import Workspace
from vpcore_cli.app import run
from vpcore_report.facts import gather

EXPERIMENT = """
name: waits
serving: waits
signals: [ofi]
eval: {tp_ticks: [2, 4], sl_ticks: [3], max_hold_bins: 100, warmup_bins: 100, cooldown_bins: [5], fee_ticks: 0.25,
       thresholds: [0.2], entry: maker, patience_bins: 40, null_draws: 99, bootstrap_draws: 99}
select: {metric: net_pnl_ticks, min_signals: 1}
parallel: {executor: local, max_workers: 2}
"""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("maker")
    workspace, _ = Workspace.create(folder)
    assert run(["synth", "--minutes", "4", "--seed", "3", "--pipeline", "waits", "--root", str(folder)]) == 0
    (workspace.configs / "serving" / "waits.yaml").write_text("name: waits\npipeline: waits\nsignal: {name: ofi}\n")
    (workspace.configs / "experiments" / "waits.yaml").write_text(EXPERIMENT)
    assert run(["run", "waits", "--root", str(folder)]) == 0
    return folder


def output(capsys: pytest.CaptureFixture[str], root: Path, *arguments: str) -> str:
    capsys.readouterr()
    assert run([*arguments, "--root", str(root)]) == 0
    return capsys.readouterr().out


@pytest.mark.slow  # a whole experiment, promoted and streamed
def test_a_maker_experiment_from_run_to_live(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    workspace = Workspace(root)
    rows = workspace.results.query_runs().sort("tp_ticks")
    assert rows["fill_rate"].is_between(0.01, 0.99).all()
    assert (rows["n_placed"] >= rows["n_signals"] - rows["n_dropped"]).all()
    assert json.loads(rows["eval_json"][0])["entry"] == "maker"
    table = output(capsys, root, "compare", "waits", "--columns", "row,fill_rate,trades", "--min-signals", "1")
    assert "fill_rate" in table
    row = rows["row"][0]
    trades = vp.trades(workspace, row)
    assert len(trades) == rows["n_signals"][0] - rows["n_dropped"][0]
    assert trades["pnl_ticks"].sum() / len(trades) - 0.25 == rows["net_pnl_ticks"][0]
    assert (trades["fill_time"] > trades["order_time"]).all()
    assert (trades["fill_time"] < trades["entry_time"]).all()
    for kept in workspace.cache_dir.glob("*/fills.*"):
        kept.unlink()
    assert vp.trades(workspace, row).equals(trades)  # replayed anew
    assert vp.run(workspace, "waits").n_computed == 0
    dataset = workspace.datasets.open(trades["dataset_id"][0])
    rules = TradeRules(tp_ticks=2, sl_ticks=3, max_hold_bins=100, entry="maker", patience_bins=40)
    figures = vp.evaluate(dataset, np.sin(np.arange(dataset.n_bins)), rules, 0.5, draws=0).figures
    assert 0 < figures.fill_rate < 1

    both = vp.execution(workspace, row)
    maker = both.entries.row(by_predicate=pl.col("entry") == "maker", named=True)
    assert {name: maker[name] for name in ("n_placed", "fill_rate", "net_pnl_ticks")} == {
        name: rows[name][0] for name in ("n_placed", "fill_rate", "net_pnl_ticks")
    }
    fills = both.after.filter(pl.col("kind") == "maker fill").sort("horizon_ms")
    last = fills.row(-1, named=True)
    at = trades["entry_bin"].to_numpy() + last["horizon_ms"] // 100
    inside = at < dataset.n_bins
    mid, side = dataset.bin("mid_price"), trades["side"].to_numpy()[inside]
    paid = trades["entry_price"].to_numpy()[inside]
    assert last["n"] == inside.sum() > 0
    assert last["markout_ticks"] == pytest.approx((side * (mid[at[inside]] - paid)).mean() / 0.25)
    lost = both.after.filter(pl.col("kind") == "order without a fill")["n"].max()
    assert lost == maker["n_placed"] - maker["trades"]
    table = output(capsys, root, "execution", row)
    assert "order without a fill" in table
    assert json.loads(output(capsys, root, "execution", row, "--patience-bins", "5", "--json"))["patience_bins"] == 5

    from vpcore_report.write import make_page  # here, so that tests are collected fast

    page = make_page(workspace, gather(workspace, row))
    (section,) = (section for section in page.sections if section.title == "Taker and maker")
    entries, adverse, markout = (block.content.rows for block in section.blocks if block.kind == "table")
    shown = {line[0]: line for line in entries}
    assert shown["maker"][4] == f"{maker['fill_rate']:.1%}"
    assert shown["maker"][5] == f"{maker['net_pnl_ticks']:+.3f}"
    assert {line[0]: line[-1] for line in markout}["maker fill"] == f"{last['markout_ticks']:+.3f}"
    assert {line[0]: line[-1] for line in adverse}["maker fill"] == f"{last['mid_move_ticks']:+.3f}"

    version = vp.promote(workspace, "waits", row=row, alias="champion").spec
    pipeline = vp.LivePipeline.from_serving(workspace, "champion")
    resolved = workspace.pipeline("waits").resolve()
    exits = []
    with open_source(workspace, resolved) as stream:
        for chunk in stream:
            exits += [e for made in pipeline.push(chunk.records.copy()) for e in made.exits]
    exits += [e for made in pipeline.advance(resolved.end_ns + 10**9) for e in made.exits]
    found = pl.DataFrame([(e.decided_bin, e.entry_bin, e.exit_bin, e.net_pnl_ticks) for e in exits], orient="row")
    known = trades.filter(pl.col("entry_bin") + 100 < pl.col("entry_bin").max())
    wanted = known.select("bin", "entry_bin", "exit_bin", "net_pnl_ticks")
    assert set(wanted.rows()) <= set(found.rows())
    assert version.runtime.rules.entry == "maker"


@pytest.mark.slow
def test_mistakes_are_sentences_before_any_work(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = root / "configs" / "experiments" / "wrong.yaml"
    text = EXPERIMENT.replace("name: waits", "name: wrong", 1)
    for change, words in (
        (("entry: maker", "entry: makr"), "makr"),
        (("entry: maker", "entry: maker, price: mid"), "price must be touch, was mid"),
        (("entry: maker", "entry: taker"), "patience_bins belongs to entry: maker, was 40"),
        (("patience_bins: 40", "patience_bins: 0"), "patience_bins"),
    ):
        file.write_text(text.replace(*change))
        capsys.readouterr()
        assert run(["validate", str(file), "--root", str(root)]) == 2
        assert words in " ".join(capsys.readouterr().err.split())
