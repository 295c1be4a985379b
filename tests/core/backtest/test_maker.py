"""Outcomes of makers against a plain loop, and what their figures, trades and random entries are."""

from __future__ import annotations

import hashlib
import struct
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from trade_rules import rules_of

import vpcore as vp
from vpcore.backtest.config import EvalConfig
from vpcore.backtest.maker import FillTable, maker_table
from vpcore.backtest.metrics import Draws, Signals, ring_of, trial_figures
from vpcore.backtest.session import Session
from vpcore.backtest.trial import Trial
from vpcore.backtest.triple_barrier import Market
from vpcore.dataset import Dataset
from vpcore.errors import ConfigError, DatasetError
from vpcore.kernels import barrier
from vpcore.rules import TradeRules
from vpcore.schema import BIN_COLUMNS


def random_fills(bins: dict[str, Any], seed: int, tick: int) -> FillTable:
    """Fills a few bins after the order, or none."""
    rng = np.random.default_rng(seed)
    n, valid = len(bins["bin_seq"]), bins["book_valid"]
    filled = np.arange(n) + rng.geometric(0.2, (2, n))
    filled = np.where((rng.random((2, n)) < 0.7) & valid & (filled < n), filled, -1)
    price = np.stack([bins["best_bid_price_int"], bins["best_ask_price_int"]]) // tick
    return FillTable(price, filled, np.where(filled >= 0, 1, 0), np.where(filled >= 0, 1, 0))


def plain_trade(
    bins: dict[str, Any],
    filled: int,
    e: int,
    side: int,
    rules: TradeRules,
    opened: list[bool],
    halt: list[bool],
    tick: int,
) -> dict[str, int]:
    """The order that joins at the end of bin e, told bin by bin; prices in ticks. Nothing is stale here."""
    n, name = len(opened), ("bid", "ask")[side < 0]
    none = {"outcome": barrier.NO_TRADE, "net": 0, "gross": 0, "opened": e, "exit": e, "resolved": e}
    if not opened[e]:
        return none
    last_wait = e
    while last_wait < e + rules.patience_bins and not (last_wait + 1 < n and halt[last_wait + 1]):
        last_wait += 1
    if not e < filled <= last_wait:
        return none | {"resolved": last_wait}

    def mid2(j: int) -> int:
        return int(bins["best_bid_price_int"][j] + bins["best_ask_price_int"][j]) // tick

    def price(column: str, j: int) -> int:
        return int(bins[column][j]) // tick

    paid = price(f"best_{name}_price_int", e)
    at = max(j for j in range(filled + 1) if bins["book_valid"][j])
    end = filled
    for j in range(filled, min(filled + rules.max_hold_bins, n - 1) + 1):
        if j > filled and halt[j]:
            break
        end = j
        if not bins["book_valid"][j]:
            continue
        worst = price(f"{name}_low_int" if side > 0 else f"{name}_high_int", j)
        best = price(f"{name}_high_int" if side > 0 else f"{name}_low_int", j)
        stopped, taken = side * (worst - paid) <= -rules.sl_ticks, j > filled and side * (best - paid) >= rules.tp_ticks
        found = {"opened": filled, "exit": j, "resolved": j, "gross": side * (mid2(j) - mid2(at))}
        if stopped:
            return found | {"outcome": -1, "net": side * (worst - paid)}
        if taken:
            return found | {"outcome": 1, "net": rules.tp_ticks}
    halted = end + 1 < n and halt[end + 1]
    left = max(j for j in range(end + 1) if bins["book_valid"][j])
    return {
        "outcome": 0, "net": side * (price(f"best_{name}_price_int", left) - paid), "opened": filled,
        "exit": max(left, filled), "resolved": end if halted else filled + rules.max_hold_bins,
        "gross": side * (mid2(left) - mid2(at)),
    }  # fmt: skip


@settings(max_examples=40)
@given(
    seed=st.integers(0, 2**32),
    n_bins=st.integers(1, 90),
    tp=st.integers(1, 6),
    sl=st.integers(1, 6),
    hold=st.integers(1, 60),
    patience=st.integers(1, 30),
    p_invalid=st.sampled_from([0.0, 0.1, 0.6]),
    halted=st.booleans(),
)
def test_table_equals_a_plain_loop(
    naive: SimpleNamespace,
    seed: int,
    n_bins: int,
    tp: int,
    sl: int,
    hold: int,
    patience: int,
    p_invalid: float,
    halted: bool,
) -> None:
    bins = naive.market(seed, n_bins, p_invalid=p_invalid, max_spread=3)
    daily = ("00:00:03", "00:00:04", "UTC") if halted else None
    rules = rules_of(tp, sl, hold, entry="maker", patience_bins=patience, daily_halt=daily)
    market = Market.from_bins(bins, naive.tick)
    fills = random_fills(bins, seed, naive.tick)
    table = maker_table(market, rules, fills)
    opened = market.opened(rules).tolist()
    halt = [halted and 30 <= i < 40 for i in range(n_bins)]
    for row, side in enumerate((1, -1)):
        for e in range(n_bins):
            want = plain_trade(bins, int(fills.filled[row, e]), e, side, rules, opened, halt, naive.tick)
            got = {
                "outcome": int(table.outcome[row, e]), "net": int(table.net[row, e]) // 2,
                "gross": int(table.gross[row, e]), "opened": int(table.opened_at[row, e]),
                "exit": int(table.exit_bin[row, e]), "resolved": int(table.resolved_at[row, e]),
            }  # fmt: skip
            assert got == want, (row, e)


@pytest.fixture(scope="module")
def world(naive: SimpleNamespace) -> SimpleNamespace:
    bins = naive.market(4, 900, p_invalid=0.02, max_spread=2)
    rest = {name: np.zeros(900, dtype) for name, dtype in BIN_COLUMNS.items() if name not in bins}
    dataset = Dataset.from_arrays(
        {**rest, **bins}, {"pressure": np.zeros((900, 3), "float32")}, dataset_id="d", cell_width_ns=naive.width,
        tick_int=naive.tick,
    )  # fmt: skip
    rng = np.random.default_rng(1)
    values = np.where(rng.random(900) < 0.2, rng.choice([-1.0, 1.0], 900), 0.0)
    fills = random_fills(bins, 9, naive.tick)
    return SimpleNamespace(dataset=dataset, values=values, session=Session(dataset, fills=fills), fills=fills)


@pytest.mark.parametrize("positions", ["overlapping", "one"])
def test_figures_equal_the_trades(world: SimpleNamespace, positions: str) -> None:
    rules = rules_of(3, 3, 40, entry="maker", patience_bins=8, fee_ticks=0.3, positions=positions)
    found = vp.evaluate(world.session, world.values, rules, 0.5, cooldown_bins=2, draws=99)
    trades, figures = found.trades, found.figures
    assert figures.n_trades == len(trades) > 20
    assert 0 < figures.fill_rate < 1
    assert figures.fill_rate == len(trades) / figures.n_placed
    assert figures.net_pnl_ticks == trades["pnl_ticks"].sum() / len(trades) - 0.3
    assert figures.max_concurrent == trades["overlap"].max() + 1
    assert figures.driftless_rate == 0.5  # it pays no spread to enter
    assert figures.median_time_to_outcome_ms == np.median(trades["bins_held"]) * 100
    bid, ask = (world.dataset.bin(f"best_{side}_price_int") / 1e9 for side in ("bid", "ask"))
    order = trades["order_bin"].to_numpy()
    assert (trades["entry_price"].to_numpy() == np.where(trades["side"] > 0, bid[order], ask[order])).all()
    waited = trades["entry_bin"].to_numpy() - order
    assert (waited >= 1).all()
    assert (waited <= 8).all()
    if positions == "one":
        assert figures.max_concurrent == 1
        # A signal waits for the end of the trade before it, and of an order without a fill.
        table, free, expected = world.session.table(rules), -1, []
        signals = Signals(world.session.market, world.values, rules, "value").of(0.5, 2)
        for i, side in zip(signals.bins.tolist(), signals.sides.tolist(), strict=True):
            row = int(side < 0)
            if i > free and i + 1 < 900:
                free = int(table.resolved_at[row, i + 1])
                expected += [i] if table.outcome[row, i + 1] != barrier.NO_TRADE else []
        assert trades["bin"].to_list() == expected


@pytest.mark.compiled
def test_trials_together_equal_trials_alone_and_takers_fill_all(world: SimpleNamespace) -> None:
    rules = rules_of(3, 3, 40, entry="maker", patience_bins=8)
    trials = [Trial(0.5, cooldown, tp, 3) for cooldown in (0, 5) for tp in (2, 4)]
    draws = Draws(99, 99, "m")
    options: dict[str, Any] = {"table_of": world.session.table, "draws": draws}
    many = trial_figures(world.session.market, world.values, trials, rules, **options)
    for i, trial in enumerate(sorted(trials)):
        one = trial_figures(world.session.market, world.values, [trial], rules, **options)
        assert all(np.array_equal(many[name][i], one[name][0], equal_nan=many[name].dtype.kind == "f") for name in one)
    taker = trial_figures(world.session.market, world.values, trials, rules_of(3, 3, 40), draws=draws)
    assert (taker["fill_rate"] == 1.0).all()
    assert (taker["n_placed"] == taker["n_signals"] - taker["n_dropped"]).all()


def test_the_digest_is_that_of_the_trades_in_the_order_of_their_fills(world: SimpleNamespace) -> None:
    rules = rules_of(3, 3, 40, entry="maker", patience_bins=8)
    market, table = world.session.market, world.session.table(rules)
    trials = [Trial(0.5, 0, 3, 3), Trial(0.5, 7, 3, 3), Trial(1.5, 0, 3, 3)]  # the last has no signals
    found = trial_figures(market, world.values, trials, rules, table_of=world.session.table)
    for trial, digest in zip(trials, found["trades_digest"].tolist(), strict=True):
        signals = Signals(market, world.values, rules, "value").of(trial.threshold, trial.cooldown_bins)
        trades = []
        for i, side in zip(signals.bins.tolist(), signals.sides.tolist(), strict=True):
            at = (int(side < 0), i + 1)
            if i + 1 < 900 and table.outcome[at] != barrier.NO_TRADE:
                entered, left = (int(world.dataset.bin("bin_end_ns")[j[at]]) for j in (table.opened_at, table.exit_bin))
                trades.append((entered, side, left, int(table.net[at])))
        assert trial.threshold > 1 or len(trades) > 20
        data = b"".join(struct.pack("<4q", *trade) for trade in sorted(trades, key=lambda trade: trade[0]))
        assert digest == hashlib.sha256(data).hexdigest()[:16]


def test_random_entry_of_a_maker_places_orders_and_pays_fees_for_fills(world: SimpleNamespace) -> None:
    rules = rules_of(3, 3, 40, entry="maker", patience_bins=8, fee_ticks=0.3)
    table = world.session.table(rules)
    ring = ring_of(table, rules)
    places = np.flatnonzero(ring.place >= 0)
    assert places.tolist() == [
        e
        for e in range(1, 900 - 48)
        if world.session.market.valid[e]  # orders without a fill are on it
    ]
    worth = np.where(table.outcome != barrier.NO_TRADE, table.net - 0.6, 0.0)[:, places]
    levelled = ring.net[:, : ring.size]
    unfilled = table.outcome[0, places] == barrier.NO_TRADE
    assert unfilled.any()
    # One stratum of activity at most per 100 bins: within one, levelling keeps the order of what trades pay.
    assert np.corrcoef(worth[0], levelled[0])[0, 1] > 0.9


def test_a_session_without_fills_says_what_it_needs(world: SimpleNamespace) -> None:
    rules = rules_of(3, 3, 40, entry="maker")
    with pytest.raises(DatasetError, match=r"needs the fill table of dataset 'd', which is not here"):
        Session(world.dataset).table(rules)
    with pytest.raises(
        DatasetError, match=r"follows orders through the sources of a dataset, and 'd' lies in no workspace"
    ):
        vp.evaluate(world.dataset, world.values, rules, 0.5)


def test_settings_that_exclude_each_other() -> None:
    with pytest.raises(ConfigError, match=r"price must be touch, was mid"):
        rules_of(3, 3, 40, "mid", entry="maker")
    with pytest.raises(ConfigError, match=r"patience_bins belongs to entry: maker, was 7 with entry: taker"):
        rules_of(3, 3, 40, patience_bins=7)
    with pytest.raises(ValueError, match=r"price must be touch, was mid"):
        EvalConfig(entry="maker", price="mid")
    with pytest.raises(ConfigError, match=r"TradeRules.entry must be 'taker' or 'maker', was 'makr'"):
        rules_of(3, 3, 40, entry="makr")


def test_only_what_differs_is_in_the_identity_of_a_run() -> None:
    assert not {"entry", "patience_bins"} & set(EvalConfig().run_settings())
    maker = EvalConfig(entry="maker", patience_bins=50)
    assert {"entry": "maker", "patience_bins": 50}.items() <= maker.run_settings().items()
    assert maker.rules(4, 4).longest_bins == 1 + 50 + 1200
    assert EvalConfig(entry="maker").run_settings().keys() - EvalConfig().run_settings().keys() == {"entry"}


def test_fills_behind_a_part_of_the_dataset_are_left_out(world: SimpleNamespace) -> None:
    whole = np.zeros((2, 900, 4), np.int64)
    whole[:, :, 0], whole[:, :, 1], whole[:, :, 2] = world.fills.tick, world.fills.filled, world.fills.time_ns
    part = FillTable.of(whole, world.dataset.slice(100, 400))
    expected = np.where(world.fills.filled[:, 100:400] >= 400, -1, world.fills.filled[:, 100:400])
    np.testing.assert_array_equal(part.filled, np.where(expected >= 0, expected - 100, expected))
    assert (part.time_ns[part.filled < 0] == 0).all()
    whole[1, 250, 0] += 1
    with pytest.raises(DatasetError, match="gives other best prices than it holds"):
        FillTable.of(whole, world.dataset)
