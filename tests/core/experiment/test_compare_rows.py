"""Two rows side by side."""

from __future__ import annotations

import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
import pytest
from sweep_workspace import add_dataset

import vpcore as vp
from vpcore.experiment.compare_rows import _common
from vpcore.experiment.run import harness_config, run_experiment

MINUTE = 60 * 10**9


def naive(one: pl.DataFrame, two: pl.DataFrame, start: int, stop: int) -> dict[str, Any]:
    keys = [{(t["entry_time"], t["side"]) for t in each.to_dicts()} for each in (one, two)]
    shared = keys[0] & keys[1]
    nets = [
        [t["net_pnl_ticks"] for t in each.to_dicts() if ((t["entry_time"], t["side"]) in shared) == both]
        for each in (one, two)
        for both in (True, False)
    ]
    minutes = -(-(stop - start) // MINUTE)
    paid = np.zeros((2, minutes))
    for i, each in enumerate((one, two)):
        for ns, net in zip(each["entry_time"].dt.epoch("ns"), each["net_pnl_ticks"], strict=True):
            paid[i, (ns - 1 - start) // MINUTE] += net
    means = [sum(some) / len(some) if some else math.nan for some in nets]
    return {
        "n_shared": len(shared), "n_only_a": len(keys[0]) - len(shared), "n_only_b": len(keys[1]) - len(shared),
        "net_shared_a": means[0], "net_only_a": means[1], "net_shared_b": means[2], "net_only_b": means[3],
        "minutes": minutes, "difference": 60 * (paid[0] - paid[1]).mean(), "correlation": np.corrcoef(paid)[0, 1],
    }  # fmt: skip


@pytest.mark.slow
def test_two_rows_are_compared_trade_by_trade(ws: vp.Workspace) -> None:
    run_experiment(ws, "sweep")
    board = vp.leaderboard(ws, "sweep")
    traded = board.frame.filter((pl.col("trades") > 10) & (pl.col("signal_name") == "plain")).to_dicts()
    data = ws.datasets.open(harness_config(ws, "sweep").dataset_id)
    start = int(data.bin("bin_start_ns")[0])
    a = traded[0]
    others = [row for row in traded[1:] if row["trades_digest"] != a["trades_digest"]]
    b = next(row for row in others if row["cooldown_bins"] != a["cooldown_bins"] and row["threshold"] == a["threshold"])
    found = vp.compare_rows(ws, a["row"], board.ranked_row(b))
    one, two = vp.trades(ws, a["row"]), vp.trades(ws, b["row"])
    expected = naive(one, two, start, start + data.n_bins * data.cell_width_ns)
    for name, value in expected.items():
        assert getattr(found, name) == pytest.approx(value, nan_ok=True), name
    assert found.n_shared > 0
    assert found.difference_lo <= found.difference <= found.difference_hi
    assert "cooldown_bins" in {setting.name for setting in found.settings}
    assert {setting.name: (setting.a, setting.b) for setting in found.settings}["cooldown_bins"] == (
        a["cooldown_bins"], b["cooldown_bins"],
    )  # fmt: skip
    assert found.plain() == vp.compare_rows(ws, a["row"], b["row"]).plain()
    turned = vp.compare_rows(ws, b["row"], a["row"])
    assert (turned.difference, turned.n_only_a) == (-found.difference, found.n_only_b)

    same = vp.compare_rows(ws, a["row"], a["row"])
    assert (same.settings, same.n_only_a, same.difference) == ((), 0, 0.0)
    assert math.isnan(same.difference_lo)


@pytest.mark.slow
def test_rows_without_common_time_have_no_difference(ws: vp.Workspace, edit: Callable[..., None]) -> None:
    edit(("gain: [1, 2, 3]", "gain: [1]"), name="sweep")
    edit(("gain: [1, 2, 3]", "gain: [1]"), ("serving: base\n", "serving: base\ndates: [2023-12-26]\n"), name="later")
    name = harness_config(ws, "later").dataset_id
    add_dataset(ws, name, 11, 900)
    run_experiment(ws, "sweep")
    run_experiment(ws, "later")
    rows = ws.results.query_runs().filter(pl.col("n_signals") - pl.col("n_dropped") > 0)
    a, b = (rows.filter((pl.col("dataset_id") == name) == late)["row"][0] for late in (False, True))
    found = vp.compare_rows(ws, a, b)
    assert "dataset_id" in {setting.name for setting in found.settings}
    assert found.minutes == 2  # 900 bins of 100 ms: the made days begin at the same time


def test_time_in_common_is_that_of_both_rows() -> None:
    def sessions(*spans: tuple[int, int]) -> Any:
        markets = [SimpleNamespace(bin_start_ns=[start], n_bins=stop - start, cell_width_ns=1) for start, stop in spans]
        return [SimpleNamespace(session=SimpleNamespace(market=market)) for market in markets]

    one = sessions((0, 10), (20, 30))
    assert _common(one, sessions((5, 25), (28, 40))) == [(5, 10), (20, 25), (28, 30)]
    assert _common(one, one) == [(0, 10), (20, 30)]
    assert _common(one, sessions((10, 20))) == []
