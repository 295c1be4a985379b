"""Outcome tables against a plain loop, on random markets and on cases made by hand."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from trade_rules import rules_of

from vpcore.backtest.open_market import hours
from vpcore.backtest.triple_barrier import Market, OutcomeTable, outcome_table
from vpcore.errors import DatasetError
from vpcore.kernels import barrier
from vpcore.rules import TradeRules


def outcomes(bins: dict[str, Any], rules: TradeRules, tick_int: int) -> OutcomeTable:
    return outcome_table(Market.from_bins(bins, tick_int), rules)


def quiet(n_bins: int, bid: int = 100, ask: int = 101, tick: int = 1) -> dict[str, Any]:
    """A market in which nothing moves."""

    def full(value: int) -> Any:
        return np.full(n_bins, value, dtype=np.int64)

    seq = np.arange(n_bins, dtype=np.int64)
    return {
        "bin_seq": seq, "bin_start_ns": seq * 100, "bin_end_ns": seq * 100 + 100,
        "book_valid": np.ones(n_bins, dtype=bool),
        "best_bid_price_int": full(bid * tick), "best_ask_price_int": full(ask * tick), "spread_ticks": full(ask - bid),
        "bid_high_int": full(bid * tick), "bid_low_int": full(bid * tick), "ask_high_int": full(ask * tick),
        "ask_low_int": full(ask * tick), "mid2_high": full(bid + ask), "mid2_low": full(bid + ask),
        "bin_event_count": full(1),
    }  # fmt: skip


def invalidate(bins: dict[str, Any], i: int) -> None:
    for name, column in bins.items():
        if name not in ("bin_seq", "bin_start_ns", "bin_end_ns"):
            column[i] = 0


@settings(max_examples=50)
@given(
    seed=st.integers(0, 2**32),
    n_bins=st.integers(1, 150),
    tp=st.integers(1, 9),
    sl=st.integers(1, 9),
    hold=st.integers(1, 120),
    price=st.sampled_from(["touch", "mid"]),
    p_invalid=st.sampled_from([0.0, 0.1, 0.6]),
    spread=st.sampled_from([1, 2, 7]),
)
def test_table_equals_a_plain_loop(
    naive: SimpleNamespace,
    seed: int,
    n_bins: int,
    tp: int,
    sl: int,
    hold: int,
    price: str,
    p_invalid: float,
    spread: int,
) -> None:
    bins = naive.market(seed, n_bins, p_invalid=p_invalid, max_spread=spread)
    table = outcomes(bins, rules_of(tp, sl, hold, price), naive.tick)  # type: ignore[arg-type]
    for row, side in enumerate((1, -1)):
        for e in range(n_bins):
            want = naive.trade(bins, e, side, tp, sl, hold, price)
            if want is None:
                assert table.outcome[row, e] == barrier.NO_TRADE
                continue
            got = {
                "outcome": int(table.outcome[row, e]), "tie": bool(table.tie[row, e]), "net": table.net[row, e] / 2,
                "gross": table.gross[row, e] / 2, "exit": int(table.exit_bin[row, e]),
                "resolved": int(table.resolved_at[row, e]),
            }  # fmt: skip
            assert got == {key: want[key] for key in got}, (row, e)


def test_a_closed_market_takes_no_entry_and_gives_no_hours() -> None:
    """A halt whose last book stands there, valid and frozen: bins are closed from the stale one to the next event."""
    bins = quiet(12)
    bins["bin_start_ns"] = bins["bin_seq"] * 10**8
    bins["bin_end_ns"] = bins["bin_start_ns"] + 10**8
    bins["bin_event_count"][3:8] = 0
    market = Market.from_bins(bins, 1)

    def closed(stale_after_ms: int) -> list[int]:
        return np.flatnonzero(~market.opened(rules_of(4, 4, 3, stale_after_ms=stale_after_ms))).tolist()

    assert closed(299) == closed(200) == [5, 6, 7]
    assert closed(199) == [4, 5, 6, 7]
    assert closed(60_000) == []
    table = outcome_table(market, rules_of(4, 4, 3, stale_after_ms=200))
    assert np.flatnonzero(table.outcome[0] == barrier.NO_TRADE).tolist() == [5, 6, 7]
    assert hours(market.opened(rules_of(4, 4, 3, stale_after_ms=200)), 2, 10**8) == pytest.approx(7 / 36_000)


def test_after_a_closure_a_position_leaves_at_the_first_open_bin() -> None:
    """Not before it, which would look ahead, and not in it, where nobody trades."""
    bins = quiet(14)
    bins["bin_start_ns"] = bins["bin_seq"] * 10**8
    bins["bin_end_ns"] = bins["bin_start_ns"] + 10**8
    bins["bin_event_count"][3:8] = 0  # closed: 5, 6, 7
    for name in ("best_bid_price_int", "bid_high_int", "bid_low_int"):
        bins[name][8:] = 130
    for name in ("best_ask_price_int", "ask_high_int", "ask_low_int"):
        bins[name][8:] = 131
    table = outcomes(bins, rules_of(4, 4, 3, stale_after_ms=200), 1)
    for entry in (2, 3, 4):
        assert (table.outcome[0, entry], table.exit_bin[0, entry], table.resolved_at[0, entry]) == (0, 8, 8)
        assert table.net[0, entry] == 2 * (130 - 101)  # the touch there, not the take-profit
        assert table.net[1, entry] == 2 * (100 - 131)  # nor the stop
    assert (table.outcome[0, 1], table.exit_bin[0, 1]) == (0, 4)  # its hold is over before
    bins["bin_event_count"][8:] = 0
    endless = outcomes(bins, rules_of(4, 4, 3, stale_after_ms=200), 1)
    assert endless.resolved_at[0, 4] > 13  # the data end first: no label


def test_before_a_daily_halt_a_position_leaves_at_the_last_bin() -> None:
    bins = quiet(20)
    noon = 1_700_000_000 // 86_400 * 86_400 * 10**9 + 22 * 3600 * 10**9  # 17:00 in New York, a Tuesday in winter
    bins["bin_start_ns"] = noon + (bins["bin_seq"] - 10) * 10**8
    bins["bin_end_ns"] = bins["bin_start_ns"] + 10**8
    halt = ("17:00", "18:00", "America/New_York")
    market = Market.from_bins(bins, 1)
    rules = rules_of(4, 4, 5, daily_halt=halt)
    assert np.flatnonzero(~market.opened(rules)).tolist() == list(range(10, 20))
    table = outcome_table(market, rules)
    assert table.exit_bin[0, :10].tolist() == [5, 6, 7, 8, 9, 9, 9, 9, 9, 9]
    assert table.resolved_at[0, :10].tolist() == [5, 6, 7, 8, 9, 9, 9, 9, 9, 9]
    assert (table.outcome[:, :10] == 0).all()
    assert (table.outcome[:, 10:] == barrier.NO_TRADE).all()
    bins["bid_high_int"][10:] = 200  # what happens in the halt reaches no barrier
    assert (outcome_table(Market.from_bins(bins, 1), rules).outcome[0, :10] == 0).all()


def test_both_barriers_in_one_bin_are_the_stop_at_the_adverse_extreme() -> None:
    bins = quiet(3)
    bins["bid_high_int"][1], bins["bid_low_int"][1] = 110, 95
    table = outcomes(bins, rules_of(4, 4, 2), 1)
    assert (table.outcome[0, 0], table.tie[0, 0], table.net[0, 0]) == (-1, True, 2 * (95 - 101))


def test_take_profit_is_paid_at_the_barrier_and_reached_by_equality() -> None:
    bins = quiet(3)
    bins["bid_high_int"][2] = 105
    table = outcomes(bins, rules_of(4, 4, 2), 1)
    assert (table.outcome[0, 0], table.net[0, 0], table.exit_bin[0, 0]) == (1, 8, 2)
    bins["bid_high_int"][2] = 104
    assert outcomes(bins, rules_of(4, 4, 2), 1).outcome[0, 0] == 0


def test_the_bin_of_the_entry_itself_is_not_tested() -> None:
    bins = quiet(3)
    bins["bid_high_int"][0] = 500
    assert outcomes(bins, rules_of(4, 4, 2), 1).outcome[0, 0] == 0


def test_stop_not_wider_than_the_spread_is_no_trade_at_the_touch_only() -> None:
    bins = quiet(3, bid=100, ask=104)
    assert (outcomes(bins, rules_of(4, 4, 2), 1).outcome == barrier.NO_TRADE).all()
    assert (outcomes(bins, rules_of(4, 5, 2), 1).outcome == 0).all()
    assert (outcomes(bins, rules_of(4, 4, 2, "mid"), 1).outcome == 0).all()


def test_a_timeout_pays_the_spread_and_leaves_in_the_last_valid_bin() -> None:
    bins = quiet(6)
    invalidate(bins, 3)
    bins["best_bid_price_int"][2], bins["mid2_high"][2], bins["best_ask_price_int"][2] = 99, 199, 100
    bins["bid_low_int"][2] = bins["ask_low_int"][2] = 99
    table = outcomes(bins, rules_of(9, 9, 3), 1)
    assert (table.outcome[0, 0], table.exit_bin[0, 0], table.net[0, 0], table.gross[0, 0]) == (0, 2, 2 * (99 - 101), -2)
    assert table.resolved_at[0, 0] == 3


def test_a_trade_cut_by_the_end_of_the_data_is_never_resolved_within_it() -> None:
    table = outcomes(quiet(4), rules_of(9, 9, 3), 1)
    assert table.resolved_at[0].tolist() == [3, 4, 5, 6]
    assert table.exit_bin[0].tolist() == [3, 3, 3, 3]
    assert table.net[0, 3] == -2  # entered in the last bin: out at once, over the spread


def test_tables_cannot_be_written() -> None:
    with pytest.raises(ValueError, match="read-only"):
        outcomes(quiet(4), rules_of(9, 9, 3), 1).net[0, 0] = 1


def test_wrong_bins_are_refused() -> None:
    bins = quiet(4)
    with pytest.raises(DatasetError, match="columns mid2_low, which are missing"):
        Market.from_bins({name: column for name, column in bins.items() if name != "mid2_low"}, 1)
    with pytest.raises(DatasetError, match="must be a multiple of the tick 3"):
        Market.from_bins(bins, 3)
    with pytest.raises(DatasetError, match="must have 4 values, one per bin"):
        Market.from_bins({**bins, "mid2_low": np.zeros(3)}, 1)
    with pytest.raises(DatasetError, match="bin_seq must count up by 1, was 1 and then 3"):
        Market.from_bins({**bins, "bin_seq": np.array([0, 1, 3, 4])}, 1)
    with pytest.raises(DatasetError, match="best bid below its best ask, bin 0 has not"):
        Market.from_bins({**bins, "best_bid_price_int": bins["best_ask_price_int"]}, 1)
    with pytest.raises(DatasetError, match="tick_int must be at least 1"):
        Market.from_bins(bins, 0)


def test_an_empty_dataset_has_an_empty_table() -> None:
    table = outcomes(quiet(0), rules_of(4, 4, 5), 1)
    assert table.outcome.shape == (2, 0)
