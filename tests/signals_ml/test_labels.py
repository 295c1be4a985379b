"""Labels resolved bin by bin are those of the evaluation's outcome tables, and known no sooner."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from trade_rules import rules_of

from vpcore import TradeRules
from vpcore.backtest.triple_barrier import MARKET_COLUMNS, Market, outcome_table
from vpcore.signal import SignalFrame
from vpcore.testing import synthetic_dataset
from vpcore_signals_ml.labels import (
    BEFORE_HALT,
    DOWN,
    LABEL_COLUMNS,
    NEVER,
    NONE,
    OPEN,
    UNKNOWN,
    UP,
    Labels,
    MarketClock,
    new_book,
    resolve,
)

TICK, WIDTH = 250_000_000, 100_000_000


def resolved(data, rules, stop=None, one_by_one=False):
    """Return seq, outcomes, ends, labels and their times after the bins up to `stop`."""
    data = data.slice(0, data.n_bins if stop is None else stop)
    seq, valid = data.bin("bin_seq"), data.valid
    rows = np.flatnonzero(valid)
    row_seq, last_row = np.array(seq[rows]), np.cumsum(valid) - 1
    n = len(rows)
    outcome, ends = np.full((n, 2), OPEN, np.int8), np.zeros((n, 2), np.int64)
    found = Labels(outcome, ends, np.full(n, UNKNOWN, np.int8), np.full(n, NEVER))
    book, clock = new_book(rules, TICK), MarketClock(rules, TICK, WIDTH)
    if one_by_one:
        columns = {name: data.bin(name) for name in LABEL_COLUMNS}
        for i in range(data.n_bins):
            bins = {name: column[i] for name, column in columns.items()}
            frame = SignalFrame(LABEL_COLUMNS, {}, bins, owner="t", bin_seq=int(seq[i]), valid=bool(valid[i]))
            flags, prices = clock.bin(frame)
            resolve(book, int(seq[i]), np.array([flags]), prices, last_row[i : i + 1], row_seq, found)
    elif data.n_bins:
        flags, prices = clock.bins(data)
        resolve(book, int(seq[0]), flags, prices, last_row, row_seq, found)
    return row_seq, *found


seconds = st.integers(0, 30)
halts = st.tuples(seconds, st.integers(1, 8)).map(
    # The session begins at 10:00:00 in New York.
    lambda at: (f"10:00:{at[0]:02}", f"10:00:{at[0] + at[1]:02}", "America/New_York")
)
rules_drawn = st.builds(
    TradeRules,
    tp_ticks=st.integers(1, 5),
    sl_ticks=st.integers(1, 5),
    max_hold_bins=st.integers(1, 60),
    latency_bins=st.integers(0, 4),
    price=st.sampled_from(["touch", "mid"]),
    # A bin is 100 ms, and half of the bins have no event.
    stale_after_ms=st.sampled_from([100, 200, 400, 60_000]),
    daily_halt=st.none() | halts,
)


@pytest.mark.slow
@settings(max_examples=60)
@given(seed=st.integers(0, 1000), rules=rules_drawn, invalid=st.sampled_from([0.0, 0.02, 0.3]))
def test_they_equal_the_outcome_table(seed, rules, invalid):
    data = synthetic_dataset(seed, 300, invalid=invalid)
    market = Market.from_bins({name: data.bin(name) for name in MARKET_COLUMNS}, TICK)
    table = outcome_table(market, rules)
    seq, outcome, ends, y, known = resolved(data, rules)
    n = data.n_bins
    # The clock tells that the bin after the last one is in a halt; the table sees its own bins alone.
    ends_before_halt = bool(MarketClock(rules, TICK, WIDTH).bins(data)[0][-1] & BEFORE_HALT)
    for row, bin_ in enumerate(seq):
        entry = bin_ + rules.latency_bins
        if entry >= n or table.outcome[0, entry] == 2:
            assert (y[row], known[row]) == (UNKNOWN, NEVER)
            continue
        when = table.resolved_at[:, entry].astype(np.int64)
        for side in range(2):
            if when[side] < n:
                assert outcome[row, side] == table.outcome[side, entry]
                assert ends[row, side] == when[side]
            elif ends_before_halt and outcome[row, side] != OPEN:
                assert (outcome[row, side], ends[row, side]) == (0, n - 1)
            else:
                assert outcome[row, side] == OPEN
        if (outcome[row] == OPEN).any():
            assert (y[row], known[row]) == (UNKNOWN, NEVER)
            continue
        long, short = outcome[row] == 1
        expected = NONE
        if long and not (short and ends[row, 1] <= ends[row, 0]):
            expected = UP
        elif short and not (long and ends[row, 0] <= ends[row, 1]):
            expected = DOWN
        assert (y[row], known[row]) == (expected, ends[row].max())


@settings(max_examples=40)
@given(seed=st.integers(0, 1000), rules=rules_drawn, stop=st.integers(0, 299))
def test_what_is_known_at_a_bin_is_what_a_shorter_session_knows(seed, rules, stop):
    data = synthetic_dataset(seed, 300)
    _, _, _, y, known = resolved(data, rules)
    part, _, _, y_part, known_part = resolved(data, rules, stop, one_by_one=True)
    then = known[: len(part)] < stop
    assert (np.where(then, y[: len(part)], UNKNOWN) == y_part).all()
    assert (np.where(then, known[: len(part)], NEVER) == known_part).all()


def test_closures_halts_and_invalid_bins_decide_labels():
    """The labels under closures and halts differ from those without: the property above has something to compare."""
    data = synthetic_dataset(3, 300)
    plain = resolved(data, rules_of(2, 2, 20, "mid"))
    closing = resolved(data, rules_of(2, 2, 20, "mid", stale_after_ms=200))
    halting = resolved(data, rules_of(2, 2, 20, "mid", daily_halt=("10:00:10", "10:00:15", "America/New_York")))
    assert (plain[3] != closing[3]).sum() > 20
    assert (plain[3] != halting[3]).sum() > 20
    entered = halting[4] != NEVER
    assert not entered[(halting[0] >= 99) & (halting[0] < 149)].any()  # no trade enters inside the halt
    assert halting[4][entered & (halting[0] < 99)].max() == 99


def test_some_of_every_label_occur():
    data = synthetic_dataset(3, 1000)
    rules = rules_of(2, 2, 20, "mid")
    y = resolved(data, rules)[3]
    assert {UNKNOWN, DOWN, UP, NONE} <= set(y.tolist())


@pytest.mark.parametrize(("price", "unit"), [("touch", TICK), ("mid", 2)])
def test_barriers_are_those_of_the_experiment(price, unit):
    book = new_book(rules_of(3, 7, 11, price, latency=2), TICK)
    assert (book.take_profit, book.stop_loss, book.hold, book.latency) == (3 * unit, 7 * unit, 11, 2)
