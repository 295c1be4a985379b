"""The figures of a trial against sums over the trades of the oracle."""

from __future__ import annotations

import math
import statistics
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from trade_rules import rules_of

from vpcore.backtest.costs import breakeven_rate, driftless_rate
from vpcore.backtest.metrics import trial_figures
from vpcore.backtest.trial import Trial
from vpcore.backtest.triple_barrier import Market
from vpcore.statistics.intervals import wilson


def naive_row(
    naive: SimpleNamespace,
    bins: Any,
    values: Any,
    trial: Trial,
    hold: int,
    price: str,
    warmup: int,
    latency: int,
    fee: float,
    stale_bins: int,
) -> dict[str, Any]:
    n = len(values)
    seqs = bins["bin_seq"]
    opened = naive.opened(bins, stale_bins)
    signals = naive.detect(
        values, bins["book_valid"], seqs, trial.threshold, trial.cooldown_bins, warmup, "value", opened
    )
    trades = [
        naive.trade(bins, i + latency, side, trial.tp_ticks, trial.sl_ticks, hold, price, stale_bins)
        for i, side in signals
    ]
    done = [trade for trade in trades if trade]
    n_blocks = int(seqs[-1]) * naive.width // 300_000_000_000 + 1
    blocks = [0.0] * n_blocks
    for trade in done:
        blocks[int(seqs[trade["entry"]]) * naive.width // 300_000_000_000] += trade["net"] - fee
    spans = [range(t["entry"], max(t["end"], t["entry"] + 1)) for t in done]
    open_in = [sum(j in span for span in spans) for j in range(n)]

    def mean(items: list[float]) -> float:
        return sum(items) / len(items) if items else math.nan

    hours = sum(opened[warmup:]) * naive.width / 3.6e12
    spread = mean([t["spread"] for t in done])
    tp, sl = trial.tp_ticks, trial.sl_ticks
    lo, hi = wilson(sum(t["outcome"] == 1 for t in done), len(done))
    return {
        "n_signals": len(signals),
        "n_up": sum(side > 0 for _, side in signals),
        "n_down": sum(side < 0 for _, side in signals),
        "n_dropped": len(trades) - len(done),
        "tp_rate": mean([t["outcome"] == 1 for t in done]),
        "sl_rate": mean([t["outcome"] == -1 for t in done]),
        "timeout_rate": mean([t["outcome"] == 0 for t in done]),
        "tie_rate": mean([t["tie"] for t in done]),
        "mean_pnl_ticks": mean([t["gross"] for t in done]),
        "net_pnl_ticks": mean([t["net"] for t in done]) - fee,
        "events_per_hour": len(signals) / hours if hours > 0 else math.nan,
        "median_time_to_outcome_ms": statistics.median([100.0 * (t["end"] - t["entry"]) for t in done])
        if done
        else math.nan,
        "max_concurrent": max(open_in, default=0),
        "n_eff": sum(mean([1 / open_in[j] for j in span]) for span in spans),
        "tp_rate_lo": float(lo),
        "tp_rate_hi": float(hi),
        "breakeven_rate": (sl + fee) / (tp + sl),
        "driftless_rate": (math.nan if not done else sl / (tp + sl)) if price == "mid" else (sl - spread) / (tp + sl),
        "block_pnl_ticks": blocks,
    }


@settings(max_examples=40)
@given(
    seed=st.integers(0, 2**32),
    n_bins=st.integers(1, 140),
    hold=st.integers(1, 60),
    price=st.sampled_from(["touch", "mid"]),
    warmup=st.integers(0, 20),
    latency=st.integers(0, 2),
    fee=st.sampled_from([0.0, 0.25]),
    first_seq=st.sampled_from([0, 2950]),
    stale_bins=st.sampled_from([1, 2, 600]),
)
def test_rows_equal_sums_over_the_oracles_trades(
    naive: SimpleNamespace,
    seed: int,
    n_bins: int,
    hold: int,
    price: Any,
    warmup: int,
    latency: int,
    fee: float,
    first_seq: int,
    stale_bins: int,
) -> None:
    bins = naive.market(seed, n_bins, first_seq=first_seq)
    rng = np.random.default_rng(seed)
    values = np.where(rng.random(n_bins) < 0.1, np.nan, rng.normal(size=n_bins))
    market = Market.from_bins(bins, naive.tick)
    trials = [Trial(t, c, tp, sl) for t in (0.5, 1.0) for c in (0, 7) for tp in (2, 5) for sl in (3, 6)]
    rules = rules_of(
        1, 1, hold, price, latency, warmup_bins=warmup, fee_ticks=fee, stale_after_ms=100 * stale_bins + 99
    )
    got = trial_figures(market, values, reversed(trials), rules)
    for row, trial in enumerate(sorted(trials)):
        assert Trial(*(got[name][row] for name in Trial._fields)) == trial
        want = naive_row(naive, bins, values, trial, hold, price, warmup, latency, fee, stale_bins)
        found, expected = (np.hstack(each) for each in ([got[name][row] for name in want], [*want.values()]))
        np.testing.assert_allclose(found, expected, 1e-12, 1e-12, err_msg=f"{list(want)} of {trial}")


def test_a_row_does_not_depend_on_its_company(naive: SimpleNamespace) -> None:
    bins = naive.market(5, 400)
    market = Market.from_bins(bins, naive.tick)
    values = np.random.default_rng(5).normal(size=400)
    rules = rules_of(4, 4, 50, warmup_bins=10, fee_ticks=0.1)
    trials = [Trial(thr, 5, 4, 4) for thr in (0.25, 0.5, 1.0)]
    together = trial_figures(market, values, trials, rules)
    for row, trial in enumerate(trials):
        alone = trial_figures(market, values, [trial], rules)
        assert {name: column[0].tobytes() for name, column in alone.items()} == {
            name: column[row].tobytes() for name, column in together.items()
        }


def test_wilson_of_the_document() -> None:
    lo, hi = wilson(60, 100)
    assert (round(float(lo), 5), round(float(hi), 5)) == (0.50200, 0.69060)


def test_wilson_equals_statsmodels() -> None:
    proportion = pytest.importorskip("statsmodels.stats.proportion")
    for n in (1, 2, 7, 100, 12345):
        for k in sorted({0, 1, n // 3, n - 1, n}):
            want = proportion.proportion_confint(k, n, alpha=0.05, method="wilson")
            np.testing.assert_allclose([float(x) for x in wilson(k, n)], want, rtol=1e-9, atol=1e-12)


def test_wilson_of_nothing_is_nan() -> None:
    assert all(np.isnan(bound) for bound in wilson(0, 0))


def test_reference_rates() -> None:
    assert breakeven_rate(8, 4, 0.0) == pytest.approx(1 / 3)
    assert breakeven_rate(8, 4, 0.6) == pytest.approx(4.6 / 12)
    assert driftless_rate(8, 4, 1.0, "touch") == pytest.approx(0.25)
    assert driftless_rate(8, 4, 1.0, "mid") == pytest.approx(1 / 3)


@pytest.mark.compiled
@pytest.mark.parametrize("price", ["touch", "mid"])
def test_the_driftless_rate_is_that_of_a_random_walk(price: Any) -> None:
    """One-tick steps with a constant spread: stops do not overshoot, so the optional stopping theorem is exact."""
    n_bins, spread = 60_000, 1
    bid = 100_000 + np.cumsum(np.random.default_rng(1).choice([-1, 1], size=n_bins))
    carried = np.concatenate([bid[:1], bid[:-1]])
    high, low = np.maximum(bid, carried), np.minimum(bid, carried)
    seq = np.arange(n_bins, dtype=np.int64)
    bins = {
        "bin_seq": seq, "bin_start_ns": seq * 100, "bin_end_ns": seq * 100 + 100,
        "book_valid": np.ones(n_bins, dtype=bool),
        "best_bid_price_int": bid, "best_ask_price_int": bid + spread, "spread_ticks": np.full(n_bins, spread),
        "bid_high_int": high, "bid_low_int": low, "ask_high_int": high + spread, "ask_low_int": low + spread,
        "mid2_high": 2 * high + spread, "mid2_low": 2 * low + spread, "bin_event_count": np.ones(n_bins, np.int64),
    }  # fmt: skip
    market = Market.from_bins(bins, 1)
    values = np.tile([0.0, 1.0, 0.0, -1.0], n_bins // 4)
    row = trial_figures(market, values, [Trial(0.5, 0, 6, 3)], rules_of(6, 3, 3000, price))
    resolved = row["tp_rate"][0] / (row["tp_rate"][0] + row["sl_rate"][0])
    error = math.sqrt(resolved * (1 - resolved) / row["n_eff"][0])
    assert abs(resolved - row["driftless_rate"][0]) < 4 * error
    assert error < 0.01
