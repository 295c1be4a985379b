"""The section of a maker's row: its tables show what `vp execution` computes."""

from __future__ import annotations

import math
from pathlib import Path

import polars as pl
import pytest

from vpcore import Workspace
from vpcore_report.execution import HORIZONS_MS, Execution
from vpcore_report.execution_page import add
from vpcore_report.page import Page, Table
from vpcore_report.write import write_report

A, B = "ESH4_2023-12-25_1800_1859__first__00000000", "ESH4_2023-12-26_1800_1859__first__00000000"


def entry(dataset_id: str, name: str, fill_rate: float, net: float) -> dict[str, object]:
    return {
        "dataset_id": dataset_id, "entry": name, "n_signals": 1200, "n_placed": 1100, "trades": 400,
        "fill_rate": fill_rate, "net_pnl_ticks": net, "net_pnl_lo": -1.5, "net_pnl_hi": math.nan,
        "net_per_signal": net / 3, "mean_pnl_ticks": net, "tp_rate": 0.5, "sl_rate": 0.5,
    }  # fmt: skip


def moves(dataset_id: str, kind: str, first: float, *, paid: bool) -> list[dict[str, object]]:
    return [
        {"dataset_id": dataset_id, "kind": kind, "horizon_ms": horizon, "n": 400 - i, "mid_move_ticks": first - i,
         "markout_ticks": first + i if paid else None}
        for i, horizon in enumerate(HORIZONS_MS)
    ]  # fmt: skip


def tables(*datasets: str) -> list[Table]:
    entries = [entry(name, *one) for name in datasets for one in (("taker", 1.0, -0.75), ("maker", 0.3636, 0.25))]
    after = []
    for name in datasets:
        after += moves(name, "taker entry", 0.5, paid=True) + moves(name, "maker fill", -0.25, paid=True)
        after += moves(name, "order without a fill", 1.0, paid=False)
    page = Page("", "")
    page.section("Taker and maker")
    add(page, Execution("1234abcd", 50, pl.DataFrame(entries), pl.DataFrame(after, infer_schema_length=None)))
    return [block.content for block in page.sections[0].blocks if block.kind == "table"]


def test_entries_stand_beside_each_other_and_the_mid_by_horizon() -> None:
    entries, adverse, markout = tables(A)
    assert entries.columns[0] == "entry"
    assert entries.rows == (
        ("taker", "1,200", "1,100", "400", "100.0%", "-0.750", "–", "-0.250"),
        ("maker", "1,200", "1,100", "400", "36.4%", "+0.250", "–", "+0.083"),
    )
    assert adverse.columns == ("", "number", *(f"after {time}\u00a0s" for time in ("0.1", "1", "5", "30")))
    assert adverse.rows == (
        ("taker entry", "400", "+0.500", "-0.500", "-1.500", "-2.500"),
        ("maker fill", "400", "-0.250", "-1.250", "-2.250", "-3.250"),
        ("order without a fill", "400", "+1.000", "+0.000", "-1.000", "-2.000"),
    )
    assert [row[0] for row in markout.rows] == ["taker entry", "maker fill"]
    assert markout.rows[1][2:] == ("-0.250", "+0.750", "+1.750", "+2.750")


def test_of_several_sessions_each_line_names_its_own() -> None:
    for table, per_session in zip(tables(A, B), (2, 3, 2), strict=True):
        assert table.columns[0] == "session"
        names = [row[0] for row in table.rows]
        assert len(set(names)) == 2
        assert names == sorted(names)
        assert names.count(names[0]) == per_session


@pytest.mark.slow
def test_the_report_of_a_taker_has_no_such_section(swept: Workspace, tmp_path: Path) -> None:
    assert "Taker and maker" not in write_report(swept, "sweep", tmp_path / "a.html").read_text()
