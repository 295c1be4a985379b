"""Labels resolved bin by bin are those of the evaluation's outcome tables, and known no sooner."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from trade_rules import rules_of

from vpcore import TradeRules
from vpcore.backtest.triple_barrier import MARKET_COLUMNS, Market, outcome_table
from vpcore.testing import synthetic_dataset
from vpcore_signals_ml.labels import DOWN, NEVER, NONE, OPEN, UNKNOWN, UP, Labels, new_book, prices_of, resolve

TICK = 250_000_000


def resolved(data, rules, stop=None, one_by_one=False):
    """Return seq, outcomes, ends, labels and their times after the bins up to `stop`."""
    rows = np.flatnonzero(data.valid[:stop])
    seq = np.array(data.bin("bin_seq")[rows])
    n = len(rows)
    outcome, ends = np.full((n, 2), OPEN, np.int8), np.zeros((n, 2), np.int64)
    found = Labels(outcome, ends, np.full(n, UNKNOWN, np.int8), np.full(n, NEVER))
    book = new_book(rules, TICK)
    prices = prices_of(lambda name: data.bin(name)[rows], rules.price, TICK)
    if one_by_one:
        for i in range(n):
            resolve(book, i, i + 1, seq, prices[i : i + 1], found)
    else:
        resolve(book, 0, n, seq, prices, found)
    return seq, *found


rules_drawn = st.builds(
    TradeRules,
    tp_ticks=st.integers(1, 5),
    sl_ticks=st.integers(1, 5),
    max_hold_bins=st.integers(1, 60),
    latency_bins=st.integers(0, 4),
    price=st.sampled_from(["touch", "mid"]),
)


@settings(max_examples=40)
@given(seed=st.integers(0, 1000), rules=rules_drawn, invalid=st.sampled_from([0.0, 0.02, 0.3]))
def test_they_equal_the_outcome_table(seed, rules, invalid):
    data = synthetic_dataset(seed, 300, invalid=invalid)
    table = outcome_table(Market.from_bins({name: data.bin(name) for name in MARKET_COLUMNS}, TICK), rules)
    seq, outcome, ends, y, known = resolved(data, rules)
    last = int(seq[-1])
    for row, bin_ in enumerate(seq):
        entry = bin_ + rules.latency_bins
        if entry >= data.n_bins or table.outcome[0, entry] == 2:
            assert (y[row], known[row]) == (UNKNOWN, NEVER)
            continue
        for side in range(2):
            if table.resolved_at[side, entry] <= last:
                assert outcome[row, side] == table.outcome[side, entry]
                assert ends[row, side] == table.resolved_at[side, entry]
            else:
                assert outcome[row, side] == OPEN
        long, short = table.outcome[:, entry] == 1
        when = table.resolved_at[:, entry]
        if when.max() > last:
            assert (y[row], known[row]) == (UNKNOWN, NEVER)
            continue
        expected = NONE
        if long and not (short and when[1] <= when[0]):
            expected = UP
        elif short and not (long and when[0] <= when[1]):
            expected = DOWN
        assert (y[row], known[row]) == (expected, when.max())


@settings(max_examples=20)
@given(seed=st.integers(0, 1000), rules=rules_drawn, stop=st.integers(50, 299))
def test_what_is_known_at_a_bin_is_what_a_shorter_session_knows(seed, rules, stop):
    data = synthetic_dataset(seed, 300)
    _, _, _, y, known = resolved(data, rules)
    part, _, _, y_part, known_part = resolved(data, rules, stop, one_by_one=True)
    then = known[: len(part)] <= (part[-1] if len(part) else 0)
    assert (np.where(then, y[: len(part)], UNKNOWN) == y_part).all()
    assert (np.where(then, known[: len(part)], NEVER) == known_part).all()


def test_some_of_every_label_occur():
    data = synthetic_dataset(3, 1000)
    rules = rules_of(2, 2, 20, "mid")
    y = resolved(data, rules)[3]
    assert {UNKNOWN, DOWN, UP, NONE} <= set(y.tolist())


@pytest.mark.parametrize(("price", "unit"), [("touch", TICK), ("mid", 2)])
def test_barriers_are_those_of_the_experiment(price, unit):
    book = new_book(rules_of(3, 7, 11, price, latency=2), TICK)
    assert (book.take_profit, book.stop_loss, book.hold, book.latency) == (3 * unit, 7 * unit, 11, 2)
