"""``vp compare ROW ROW``."""

from __future__ import annotations

import json
from collections.abc import Callable

import polars as pl
import pytest

import vpcore as vp

Call = Callable[..., tuple[str, str]]


@pytest.mark.slow
def test_two_rows_are_compared_trade_by_trade(swept: vp.Workspace, call: Call) -> None:
    traded = vp.leaderboard(swept, "sweep").frame.filter((pl.col("trades") > 10) & (pl.col("signal_name") == "plain"))
    a, *others = traded.to_dicts()
    b = next(
        row
        for row in others
        if row["trades_digest"] != a["trades_digest"]
        and row["cooldown_bins"] != a["cooldown_bins"]
        and row["threshold"] == a["threshold"]
    )
    found = vp.compare_rows(swept, a["row"], b["row"])
    assert found.n_shared > 0

    out, said = call("compare", a["row"], b["row"])
    assert out.splitlines()[0].split() == ["name", "a", "b"]
    assert f"{found.n_shared} trades enter at the same time on the same side" in said
    assert "a less b over 4 minutes in common: " in said
    answer = json.loads(call("compare", a["row"], b["row"], "--json")[0])
    assert answer["difference"] == found.difference
    assert "The two rows have the same settings." in call("compare", a["row"], a["row"])[1]
    assert "vp compare must be an experiment or two rows, was 3 names" in call("compare", "a", "b", "c", code=2)[1]
    assert "No stored row is called 'zz'" in call("compare", a["row"], "zz", code=2)[1]
