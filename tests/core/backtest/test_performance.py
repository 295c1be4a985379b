"""Ratios, drawdown, exposure and profit factor of trades, against plain loops."""

from __future__ import annotations

import math
import statistics
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, strategies as st

from vpcore.backtest.performance import OpenBins, performance, table

START = datetime(2024, 1, 2, tzinfo=UTC)
FIRST = 40
Trade = tuple[int, int, float]


def frame_of(trades: list[Trade], *, worth: float | None = None) -> pl.DataFrame:
    columns: dict[str, Any] = {
        "entry_bin": [entry + FIRST for entry, _, _ in trades],
        "exit_bin": [entry + held + FIRST for entry, held, _ in trades],
        "exit_time": pl.Series(
            [START + timedelta(seconds=entry + held) for entry, held, _ in trades], dtype=pl.Datetime("ns", "UTC")
        ),
        "net_pnl_ticks": pl.Series([net for _, _, net in trades], dtype=pl.Float64),
    }
    if worth is not None:
        columns["net_pnl_currency"] = columns["net_pnl_ticks"] * worth
    return pl.DataFrame(columns, schema_overrides={"entry_bin": pl.Int64, "exit_bin": pl.Int64})


def naive_drawdown(trades: list[Trade]) -> float:
    ordered = sorted(range(len(trades)), key=lambda i: (trades[i][0] + trades[i][1], i))
    total = peak = fall = 0.0
    for i in ordered:
        total += trades[i][2]
        peak = max(peak, total)
        fall = max(fall, peak - total)
    return fall


lists = st.lists(
    st.tuples(st.integers(0, 80), st.integers(0, 19), st.integers(-12, 12).map(lambda n: n / 4)), max_size=30
).map(lambda trades: sorted(trades, key=lambda trade: trade[0]))


@given(trades=lists, closed=st.sets(st.integers(0, 99)))
def test_figures_equal_those_of_a_plain_loop(trades: list[Trade], closed: set[int]) -> None:
    mask = np.array([i not in closed for i in range(100)])
    found = performance(frame_of(trades, worth=12.5), OpenBins(FIRST, mask))
    nets = [net for _, _, net in trades]
    assert (found.trades, found.net_ticks, found.net_currency) == (len(nets), sum(nets), 12.5 * sum(nets))
    assert found.max_drawdown_ticks == naive_drawdown(trades)
    assert found.max_drawdown_currency == 12.5 * naive_drawdown(trades)
    held = {i for entry, bins, _ in trades for i in range(entry + 1, entry + bins + 1)}
    n_open = int(mask.sum())
    assert found.exposure == pytest.approx(len(held - closed) / n_open) if n_open else math.isnan(found.exposure)
    gains, losses = (sum(abs(net) for net in nets if (net > 0) == up and net != 0) for up in (True, False))
    if losses:
        assert found.profit_factor == pytest.approx(gains / losses)
        root = math.sqrt(sum(min(net, 0.0) ** 2 for net in nets) / len(nets))
        assert found.sortino == pytest.approx(statistics.fmean(nets) / root)
    else:
        assert found.profit_factor == (math.inf if gains else pytest.approx(math.nan, nan_ok=True))
        assert math.isnan(found.sortino)
    if len(set(nets)) > 1:
        assert found.sharpe == pytest.approx(statistics.fmean(nets) / statistics.stdev(nets))
        assert found.win_rate == pytest.approx(sum(net > 0 for net in nets) / len(nets))
    else:
        assert math.isnan(found.sharpe)


def test_a_line_per_session_and_one_for_all() -> None:
    bins = OpenBins(FIRST, np.ones(100, dtype=bool))
    parts = [
        ("monday", frame_of([(0, 9, 2.0), (4, 9, -1.0)]), bins),
        ("tuesday", frame_of([(1, 9, -3.0)]), bins),
        ("friday", frame_of([]), bins),
    ]
    found = table(parts)
    assert found["session"].to_list() == ["monday", "tuesday", "friday", "all"]
    assert found["net_ticks"].to_list() == [1.0, -3.0, 0.0, -2.0]
    assert found["trades"].to_list() == [2, 1, 0, 3]
    assert found["exposure"].to_list() == pytest.approx([0.13, 0.09, 0.0, 22 / 300])
    whole = found.row(3, named=True)
    assert whole["sharpe_sessions"] == pytest.approx(statistics.fmean([1, -3, 0]) / statistics.stdev([1, -3, 0]))
    assert whole["net_currency"] is None
    # Bins repeat in every session; the order of the exits is that of time within each, and sessions follow each other.
    assert table(parts[:1]).height == 1
