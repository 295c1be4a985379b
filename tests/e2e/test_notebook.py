"""A notebook: from a file to a published version through the public API alone."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import vpcore as vp
from vpcore_cli.app import run as vp_command

SPECS = {
    "serving/market.yaml": "name: market\npipeline: market\nsignal: {name: ofi}\nprojection: {horizons_ms: [500]}\n",
    "experiments/first.yaml": (
        "name: first\nserving: market\nsignals: [ofi, microprice]\n"
        "eval: {tp_ticks: [4], sl_ticks: [4], cooldown_bins: [20], fee_ticks: 0.5}\n"
        "parallel: {executor: serial}\ntracking: {backend: none}\n"
    ),
}


@pytest.fixture(scope="module")
def ws(tmp_path_factory: pytest.TempPathFactory) -> vp.Workspace:
    root = tmp_path_factory.mktemp("notebook")
    vp.Workspace.create(root)
    assert vp_command(["synth", "--minutes", "6", "--seed", "3", "--pipeline", "market", "--root", str(root)]) == 0
    for name, text in SPECS.items():
        (root / "configs" / name).write_text(text)
    return vp.Workspace(root)


@pytest.mark.slow
def test_from_a_file_to_a_published_version(ws: vp.Workspace) -> None:
    ds = vp.generate(ws, "market")
    assert ds["pressure"].dtype == np.float32
    assert ds["pressure"].shape == (ds.n_bins, ds.n_cells)
    report = vp.run(ws, "first")
    assert report.n_failed == 0
    board = vp.leaderboard(ws, "first")
    best = board.best
    assert best is not None
    assert board.frame["p_adj"].is_not_null().any()
    made = vp.trades(ws, best)
    assert made.height == best.figures["trades"]
    assert made["net_pnl_ticks"].mean() == pytest.approx(best.figures["net_pnl_ticks"], abs=1e-12)
    assert vp.trades(ws, best.row).equals(made)
    checked = vp.audit(ws, "first", row=best.row)
    assert checked.passed
    done = vp.promote(ws, "first", alias="champion", row=best.row, force=True, why="a test of the API")
    assert vp.LivePipeline.from_serving(ws, "champion").version.serving_id == done.publication.serving_id


def test_any_vector_of_values_has_trades(ws: vp.Workspace) -> None:
    ds = vp.generate(ws, "market")
    scored = vp.score(ds, {"tanh_scale": 2.0})
    values = scored["flow_score"][:, ds.radius + 1]
    found = vp.evaluate(ds, values, vp.TradeRules(tp_ticks=4, sl_ticks=4, max_hold_bins=600), threshold=0.4)
    assert found.figures.n_trades == found.trades.height > 0
    assert found.rules.fee_ticks == ws.instrument("ESU5").fee_ticks
    assert found.rules.daily_halt == ws.instrument("ESU5").halt
    own = ws.instrument("ESU5").model_copy(update={"fee_per_side": 5.0}).model_dump(mode="json", exclude_none=True)
    path = ws.configs / "instruments" / "ES.yaml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(own))
    try:  # the fee of the workspace comes before that of the manifest, as in `vp run`
        found = vp.evaluate(ds, values, vp.TradeRules(tp_ticks=4, sl_ticks=4), threshold=0.4, draws=0)
    finally:
        path.unlink()
    assert found.rules.fee_ticks == 0.8


def test_one_name_is_one_row(ws: vp.Workspace) -> None:
    vp.run(ws, "first")
    with pytest.raises(vp.ResultsError, match=r"No stored row is called 'zzzz'"):
        vp.trades(ws, "zzzz")
    with pytest.raises(vp.ResultsError, match=r"No stored row is called ''"):
        vp.trades(ws, "")


def test_a_signal_is_checked_by_name(ws: vp.Workspace) -> None:
    assert vp.check(ws, "microprice").passed
    with pytest.raises(vp.PluginError, match=r"No signal is called 'microprize'"):
        vp.check(ws, "microprize")


def test_frames_have_times_and_prices(ws: vp.Workspace) -> None:
    ds = vp.generate(ws, "market")
    bins, grid = ds.bins(), ds.grid(columns=["bid_depth", "ask_depth"])
    assert bins.height == ds.n_bins
    assert bins["time"].dt.epoch("ns").to_list() == ds["bin_end_ns"].tolist()
    assert grid.columns == ["time", "bin_seq", "k", "price", "book_valid", "bid_depth", "ask_depth"]
    # Every cell's price lies where the depth is: the best bid and ask are the nearest cells with size on their side.
    joined = grid.join(bins.select("bin_seq", "bid", "ask", "best_bid_size", "best_ask_size"), on="bin_seq")
    valid = joined.filter("book_valid")
    for side, size, depth in (("bid", "best_bid_size", "bid_depth"), ("ask", "best_ask_size", "ask_depth")):
        at = valid.filter(pl.col("price") == pl.col(side))
        assert at["bin_seq"].to_list() == bins.filter("book_valid")["bin_seq"].to_list()
        assert at[depth].to_list() == [float(value) for value in at[size].to_list()]
    assert joined.filter(~pl.col("book_valid"))["price"].is_null().all()
    assert set(ds.grid().columns) >= {"time", "price", "pressure", "rest_depth"}


def test_the_scorer_takes_a_dataset_and_pandas(ws: vp.Workspace) -> None:
    pd = pytest.importorskip("pandas")
    ds = vp.generate(ws, "market").slice(0, 600)
    config = vp.ScoringConfig()
    of_dataset = vp.score_dataset(ds, config)
    of_pandas = vp.score_dataset(ds.grid().to_pandas(), config)
    assert isinstance(of_pandas, pd.DataFrame)
    assert of_dataset["flow_score"].to_list() == of_pandas["flow_score"].to_list()
    assert of_dataset["flow_score"].to_numpy().tobytes() == vp.score(ds, config)["flow_score"].tobytes()


def test_help_shows_types() -> None:
    text = vp.leaderboard.__doc__ or ""
    assert "Parameters" in text
    assert Path(vp.generate.__code__.co_filename).name == "api.py"
