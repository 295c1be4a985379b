"""Rows with the same trades have the same digest; any difference of a trade gives another one."""

from __future__ import annotations

import hashlib
import struct
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from trade_rules import rules_of

from vpcore.backtest.metrics import trial_figures
from vpcore.backtest.trial import Trial
from vpcore.backtest.triple_barrier import Market

HOLD, LATENCY = 30, 2


def digests(bins: Any, values: Any, trials: list[Trial], naive: SimpleNamespace, **other: Any) -> dict[Trial, str]:
    market = Market.from_bins(bins, naive.tick)
    found = trial_figures(market, values, trials, rules_of(4, 6, HOLD, latency=LATENCY, **other))
    keys = zip(*(found[name].tolist() for name in Trial._fields), strict=True)
    return {Trial(*key): digest for key, digest in zip(keys, found["trades_digest"].tolist(), strict=True)}


def values_of(n_bins: int, seed: int) -> Any:
    return np.random.default_rng(seed).choice([-0.9, -0.5, 0.0, 0.5, 0.9], n_bins)


@pytest.mark.compiled
@pytest.mark.parametrize("seed", range(4))
def test_the_digest_is_that_of_the_trades_of_the_oracle(seed: int, naive: SimpleNamespace) -> None:
    bins, values = naive.market(seed, 400), values_of(400, seed)
    trials = [Trial(t, c, tp, 6) for t in (0.4, 0.7) for c in (0, 9) for tp in (2, 5)]
    counts = []
    for trial, digest in digests(bins, values, trials, naive).items():
        signals = naive.detect(
            values, bins["book_valid"], bins["bin_seq"], trial.threshold, trial.cooldown_bins, 0, "value"
        )
        data = b""
        for i, side in signals:
            trade = naive.trade(bins, i + LATENCY, side, trial.tp_ticks, trial.sl_ticks, HOLD, "touch")
            if trade:
                ends = [int(bins["bin_end_ns"][trade[name]]) for name in ("entry", "exit")]
                data += struct.pack("<4q", ends[0], side, ends[1], int(2 * trade["net"]))
        counts.append(len(data) // 32)
        assert digest == hashlib.sha256(data).hexdigest()[:16], trial
    assert min(counts) > 5


def test_thresholds_with_the_same_trades_share_a_digest(naive: SimpleNamespace) -> None:
    bins, values = naive.market(1, 600), values_of(600, 1)
    trials = [Trial(t, 10, 4, 6) for t in (0.45, 0.5, 0.6, 0.85, 0.95)]
    found = [digests(bins, values, trials, naive)[trial] for trial in trials]
    assert found[0] == found[1] != found[2] == found[3]
    assert found[4] == hashlib.sha256(b"").hexdigest()[:16]  # no trade
    assert len(set(found)) == 3
    fees = digests(bins, values, trials, naive, fee_ticks=0.5)
    assert [fees[trial] for trial in trials] == found


def test_one_different_trade_is_another_digest(naive: SimpleNamespace) -> None:
    bins = naive.market(2, 600, p_invalid=0.0)
    values = np.zeros(600)
    values[[50, 150, 250, 350]] = 1.0, -1.0, 1.0, 1.0
    trial = Trial(0.5, 0, 4, 6)
    (own,) = digests(bins, values, [trial], naive).values()
    for change in (
        {350: 0.0},  # one trade fewer
        {450: 1.0},  # one more
        {250: -1.0},  # the other side
        {350: 0.0, 351: 1.0},  # one bin later
    ):
        other = values.copy()
        other[list(change)] = list(change.values())
        assert digests(bins, other, [trial], naive)[trial] != own
    moved = {name: column + 600_000_000_000 if name.endswith("_ns") else column for name, column in bins.items()}
    assert digests(moved, values, [trial], naive)[trial] != own
    # A signal that gives no trade changes nothing: its entry lies beyond the end.
    late = values.copy()
    late[599] = 1.0
    assert digests(bins, late, [trial], naive)[trial] == own
