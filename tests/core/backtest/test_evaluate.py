"""Any vector of values gives trades and figures; the figures are sums over the trades, and those of stored rows."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings, strategies as st
from trade_rules import rules_of

import vpcore as vp
from vpcore.backtest.metrics import trial_figures
from vpcore.backtest.session import Session
from vpcore.backtest.trial import Trial
from vpcore.testing import synthetic_dataset

INSTRUMENT = {"pipeline": {"instrument": {"multiplier": 50.0}}}


def dataset_of(naive: SimpleNamespace, seed: int, n_bins: int, **others: Any) -> vp.Dataset:
    """A random market of the oracle as a dataset; its tick is a quarter point."""
    bins = naive.market(seed, n_bins)
    grid = {"v_add": np.zeros((n_bins, 3), np.float32)}
    return vp.Dataset.from_arrays(
        bins, grid, dataset_id="random", cell_width_ns=naive.width, tick_int=naive.tick, **others
    )


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    price=st.sampled_from(["touch", "mid"]),
    latency=st.integers(0, 2),
    fee=st.sampled_from([0.0, 0.25, 1.5]),
)
def test_trades_equal_the_oracles_and_sum_to_the_figures(
    naive: SimpleNamespace, seed: int, price: Any, latency: int, fee: float
) -> None:
    data = dataset_of(naive, seed, 140)
    bins = naive.market(seed, 140)
    rng = np.random.default_rng(seed)
    values = np.where(rng.random(140) < 0.1, np.nan, rng.normal(size=140))
    rules = rules_of(3, 4, 30, price, latency, warmup_bins=5, fee_ticks=fee)
    found = vp.evaluate(data, values, rules, threshold=0.5, cooldown_bins=4, draws=99)
    signals = naive.detect(values, bins["book_valid"], bins["bin_seq"], 0.5, 4, 5, "value")
    wanted = [(i, side, naive.trade(bins, i + latency, side, 3, 4, 30, price)) for i, side in signals]
    wanted = [(i, side, trade) for i, side, trade in wanted if trade]
    rows = found.trades.rows(named=True)
    assert found.figures.n_trades == len(rows) == len(wanted)
    assert found.figures.n_signals == len(signals)
    for row, (i, side, trade) in zip(rows, wanted, strict=True):
        assert (row["bin"], row["side"], row["value"]) == (bins["bin_seq"][i], side, values[i])
        assert row["entry_bin"] - row["bin"] == latency
        assert row["bins_held"] == row["exit_bin"] - row["entry_bin"]
        assert row["net_pnl_ticks"] == trade["net"] - fee
        assert row["pnl_ticks"] == trade["net"]
        assert row["mid_pnl_ticks"] == trade["gross"]
        # The prices themselves pay what the trade says.
        assert side * (row["exit_price"] - row["entry_price"]) / 0.25 == pytest.approx(trade["net"], abs=1e-9)
        assert row["reason"] == {1: "take-profit", -1: "stop", 0: "timeout"}[trade["outcome"]]
    # Sums of quarters are exact in any order.
    if rows:
        assert found.trades["pnl_ticks"].sum() / len(rows) - fee == found.figures.net_pnl_ticks
        assert found.trades["overlap"].max() + 1 == found.figures.max_concurrent  # type: ignore[operator]
        assert found.trades["mid_pnl_ticks"].sum() / len(rows) == found.figures.mean_pnl_ticks
        assert (found.trades["reason"] == "stop").sum() / len(rows) == found.figures.sl_rate
    session = Session(data)
    (row,) = zip(*trial_figures(session.market, values, [Trial(0.5, 4, 3, 4)], rules).values(), strict=True)
    names = list(trial_figures(session.market, values, [Trial(0.5, 4, 3, 4)], rules))
    for name in ("n_signals", "n_dropped", "tp_rate", "net_pnl_ticks", "n_eff", "driftless_rate", "net_pnl_sd"):
        np.testing.assert_array_equal(getattr(found.figures, name), row[names.index(name)])


def naive_levels(
    values: Any, bins: dict[str, Any], opened: list[bool], threshold: float, cooldown: int, warmup: int
) -> Any:
    accepted: list[tuple[int, int]] = []
    for i, value in enumerate(values):
        side = 1 if value >= threshold else -1 if value <= -threshold else 0  # NaN is neither
        if side and opened[i] and i >= warmup and (not accepted or i - accepted[-1][0] >= cooldown):
            accepted.append((i, side))
    return accepted


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    entry_rule=st.sampled_from(["crossing", "level"]),
    positions=st.sampled_from(["overlapping", "one"]),
    latency=st.integers(0, 2),
)
def test_levels_and_single_positions_are_the_oracles(
    naive: SimpleNamespace, seed: int, entry_rule: Any, positions: Any, latency: int
) -> None:
    n = 140
    data, bins = dataset_of(naive, seed, n), naive.market(seed, n)
    rng = np.random.default_rng(seed)
    values = np.where(rng.random(n) < 0.1, np.nan, rng.normal(size=n).cumsum() / 4)
    rules = rules_of(3, 4, 9, "touch", latency, warmup_bins=5, entry_rule=entry_rule, positions=positions)
    found = vp.evaluate(data, values, rules, threshold=0.5, cooldown_bins=3, draws=99)
    opened = naive.opened(bins, 600)
    signals = (
        naive_levels(values, bins, opened, 0.5, 3, 5)
        if entry_rule == "level"
        else naive.detect(values, bins["book_valid"], bins["bin_seq"], 0.5, 3, 5, "value", opened)
    )
    wanted, free = [], -1
    for i, side in signals:
        if positions == "one" and i <= free:
            continue
        trade = naive.trade(bins, i + latency, side, 3, 4, 9, "touch")
        free = trade["resolved"] if trade else i + latency
        if trade:
            wanted.append((bins["bin_seq"][i], side, trade["net"]))
    assert found.trades.select("bin", "side", "net_pnl_ticks").rows() == wanted
    assert (found.figures.n_signals, found.figures.n_trades) == (len(signals), len(wanted))
    assert found.figures.n_up == sum(side > 0 for _, side in signals)
    if positions == "one":
        assert found.figures.max_concurrent <= 1
    session = Session(data)
    trials = [Trial(threshold, cooldown, 3, 4) for threshold in (0.3, 0.5) for cooldown in (0, 3)]
    many = trial_figures(session.market, values, trials, rules, mode="value")
    assert many["n_dropped"][3] == found.figures.n_dropped
    np.testing.assert_array_equal(many["net_pnl_ticks"][3], found.figures.net_pnl_ticks)


def test_rules_of_today_leave_ids_as_they_were() -> None:
    assert set(rules_of(3, 4, 30).model_dump()) & {"entry_rule", "positions"} == set()
    assert rules_of(3, 4, 30, positions="one").model_dump()["positions"] == "one"
    with pytest.raises(vp.ConfigError, match="TradeRules.positions must be 'overlapping' or 'one', was 'two'"):
        rules_of(3, 4, 30, positions="two")
    with pytest.raises(vp.ConfigError, match="TradeRules.entry_rule must be 'crossing' or 'level', was 'cross'"):
        rules_of(3, 4, 30, entry_rule="cross")


def test_times_and_currency(naive: SimpleNamespace) -> None:
    values = np.random.default_rng(3).normal(size=200)
    rules = rules_of(3, 4, 30, fee_ticks=0.5)
    plain = vp.evaluate(dataset_of(naive, 3, 200), values, rules, threshold=0.5, cooldown_bins=0)
    assert "net_pnl_currency" not in plain.trades.columns
    assert plain.trades.schema["time"] == pl.Datetime("ns", "UTC")
    data = dataset_of(naive, 3, 200, manifest=INSTRUMENT)
    found = vp.evaluate(data, values, rules, threshold=0.5, cooldown_bins=0).trades
    assert found.height > 5
    assert (found["net_pnl_currency"] == found["net_pnl_ticks"] * 12.5).all()  # a quarter point of 50 dollars
    ends = data.bin("bin_end_ns") - data.bin("bin_end_ns")[0]
    first = data.bin("bin_seq")[0]
    for column, of in (("time", "bin"), ("entry_time", "entry_bin"), ("exit_time", "exit_bin")):
        ns = found[column].dt.epoch("ns").to_numpy() - data.bin("bin_end_ns")[0]
        assert (ns == ends[found[of].to_numpy() - first]).all()


def test_rules_without_a_fee_pay_the_instruments(naive: SimpleNamespace) -> None:
    values = np.random.default_rng(3).normal(size=200)
    rules = vp.TradeRules(tp_ticks=3, sl_ticks=4, max_hold_bins=30, warmup_bins=0)
    data = dataset_of(naive, 3, 200, manifest={"pipeline": {"instrument": {"multiplier": 50.0, "fee_per_side": 1.38}}})
    found = vp.evaluate(data, values, rules, threshold=0.5, draws=0)
    free = vp.evaluate(data, values, rules_of(3, 4, 30, fee_ticks=0.0), threshold=0.5, draws=0)
    assert found.rules.fee_ticks == 0.2208
    assert found.figures.net_pnl_ticks == pytest.approx(free.figures.net_pnl_ticks - 0.2208, abs=1e-12)
    unknown = dataset_of(naive, 3, 200, manifest=INSTRUMENT)
    with pytest.raises(vp.ConfigError, match="fee_ticks is missing, and the instrument of dataset 'random' has no fee"):
        vp.evaluate(unknown, values, rules, threshold=0.5)
    assert vp.evaluate(unknown, values, rules.at(3, 5).model_copy(update={"fee_ticks": 0.0}), 0.5).figures.n_trades


def test_rules_without_a_halt_have_the_instruments(naive: SimpleNamespace) -> None:
    values = np.random.default_rng(3).normal(size=200)
    about = {"multiplier": 50.0, "fee_per_side": 0.0, "daily_halt": ["00:00", "23:59"], "timezone": "UTC"}
    data = dataset_of(naive, 3, 200, manifest={"pipeline": {"instrument": about}})
    rules = vp.TradeRules(tp_ticks=3, sl_ticks=4, max_hold_bins=30, warmup_bins=0)
    found = vp.evaluate(data, values, rules, threshold=0.5, draws=0)
    assert found.rules.daily_halt == ("00:00", "23:59", "UTC")
    assert found.trades.height == 0
    always = vp.evaluate(data, values, rules.model_copy(update={"daily_halt": None}), threshold=0.5, draws=0)
    assert always.trades.height > 0


@pytest.mark.compiled
def test_a_session_and_a_result_are_taken_as_they_are(naive: SimpleNamespace) -> None:
    data = dataset_of(naive, 5, 300)
    values = np.random.default_rng(5).random(300)
    session, rules = Session(data), rules_of(3, 4, 30)
    first = vp.evaluate(session, vp.SignalResult(values, "probability"), rules, threshold=0.7, cooldown_bins=0)
    again = vp.evaluate(data, values, rules, threshold=0.7, cooldown_bins=0, mode="probability")
    assert first.figures == again.figures
    assert first.trades.equals(again.trades)
    assert first.figures.n_trades > 5
    assert first.figures.n_down > 0  # below 0.3
    vp.evaluate(session, values, rules.model_copy(update={"fee_ticks": 1.0}), threshold=0.7)
    assert session.shared.tallies["outcome tables"].made == 1  # the fee does not decide a table


def test_draws_depend_on_the_seed_and_can_be_left_out(naive: SimpleNamespace) -> None:
    data = dataset_of(naive, 5, 300)
    values = np.random.default_rng(5).normal(size=300)
    rules = rules_of(3, 4, 30)
    one, two = (
        vp.evaluate(data, values, rules, threshold=0.7, cooldown_bins=0, draws=99, seed=seed).figures for seed in (0, 1)
    )
    assert 0 < one.p_random <= 1
    assert one.net_pnl_lo < one.net_pnl_ticks < one.net_pnl_hi
    assert (one.p_random, one.net_pnl_ticks) != (two.p_random, two.net_pnl_lo)
    none = vp.evaluate(data, values, rules, threshold=0.7, cooldown_bins=0, draws=0).figures
    assert math.isnan(none.p_random)
    assert math.isnan(none.net_pnl_lo)
    assert none.net_pnl_ticks == one.net_pnl_ticks


def test_no_trade_gives_an_empty_frame() -> None:
    data = synthetic_dataset(n_bins=50)
    found = vp.evaluate(data, np.zeros(50), rules_of(2, 5, 1200), threshold=1.0)
    assert (found.trades.height, found.figures.n_trades) == (0, 0)
    assert math.isnan(found.figures.net_pnl_ticks)
    assert {"bin", "reason", "net_pnl_ticks"} <= set(found.trades.columns)


def test_what_cannot_be_evaluated_is_refused() -> None:
    data = synthetic_dataset(n_bins=50)
    rules = rules_of(2, 5, 1200)
    with pytest.raises(vp.ConfigError, match=r"one number per bin, 50 in all, was of shape \(49,\)"):
        vp.evaluate(data, np.zeros(49), rules, threshold=1.0)
    with pytest.raises(vp.ConfigError, match="values must be numbers, one per bin, was list"):
        vp.evaluate(data, ["high"] * 50, rules, threshold=1.0)
    with pytest.raises(vp.ConfigError, match="draws must be at least 0, was -1"):
        vp.evaluate(data, np.zeros(50), rules, threshold=1.0, draws=-1)
    with pytest.raises(vp.ConfigError, match="threshold on a probability must be between 0.5 and 1, was 0.2"):
        vp.evaluate(data, np.zeros(50), rules, threshold=0.2, mode="probability")
    with pytest.raises(vp.ConfigError, match="cooldown_bins must be at least 0, was -3"):
        vp.evaluate(data, np.zeros(50), rules, threshold=0.2, cooldown_bins=-3)
