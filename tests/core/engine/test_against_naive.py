"""The engine against an independent one that sums over every impulse, on random records with every oddity."""

from __future__ import annotations

import adversarial
import evening
import numpy as np
import pytest
from hypothesis import example, given, settings, strategies as st
from markets import INSTRUMENT, START_NS, TICK_INT, random_tape, without_times
from naive_engine import NaiveEngine

from vpcore.engine import Engine, EngineParams, FrameBlock
from vpcore.kernels.records import F_LAST, F_SNAPSHOT
from vpcore.schema import GRID_VALUES

PARAMS = EngineParams(grid_radius_ticks=6, band_margin_ticks=3, flow_windows=(2, 3, 7))
END_NS = START_NS + 3 * 10**9

SAME = (
    "bin_end_ns", "book_valid", "event_id", "bin_event_count", "buy_volume", "sell_volume", "cross_volume", "trade_count",
    "microstate_id", "state_above", "state_below", "best_bid_move_ticks", "best_ask_move_ticks",
)  # fmt: skip
SAME_IF_VALID = ("spread_ticks", "best_bid_size", "best_ask_size", "mid2_high", "mid2_low")
IN_TICKS = {
    "best_bid_price_int": "bid", "best_ask_price_int": "ask", "bid_high_int": "bid_high", "bid_low_int": "bid_low",
    "ask_high_int": "ask_high", "ask_low_int": "ask_low",
}  # fmt: skip


@pytest.mark.slow
@settings(max_examples=25)
@given(
    seed=st.integers(0, 2**32),
    oddities=st.booleans(),
    snapshot=st.booleans(),
    build=st.booleans(),
    undated=st.sampled_from([0, 0, 0, 1, 2, 40, 150, 1000]),
)
@example(seed=199332568, oddities=True, snapshot=False, build=False, undated=0)  # begins without a usable time
@example(seed=199332568, oddities=True, snapshot=False, build=True, undated=0)
@example(seed=7, oddities=True, snapshot=True, build=True, undated=150)  # the first usable time is inside the window
@example(seed=7, oddities=False, snapshot=False, build=True, undated=1000)  # no record has a usable time
def test_every_number_of_every_bin(seed: int, oddities: bool, snapshot: bool, build: bool, undated: int) -> None:
    records = without_times(random_tape(seed, 120, oddities=oddities, snapshot=snapshot), undated)
    engine = Engine(
        PARAMS, tick_int=TICK_INT, start_ns=START_NS, end_ns=END_NS, cold_book="build" if build else "refuse"
    )
    naive = NaiveEngine(PARAMS, TICK_INT, START_NS, END_NS, build)
    _require_same(engine, naive, records)


@settings(max_examples=10)
@given(seed=st.integers(0, 2**32))
def test_every_number_of_every_bin_of_an_adversarial_tape(seed: int) -> None:
    naive = NaiveEngine(PARAMS, TICK_INT, START_NS, END_NS, True)
    engine = Engine(PARAMS, tick_int=TICK_INT, start_ns=START_NS, end_ns=END_NS, cold_book="build")
    _require_same(engine, naive, adversarial.tape(seed, 120, 40_000_000))


def _require_same(engine: Engine, naive: NaiveEngine, records: np.ndarray) -> FrameBlock:
    block = engine.feed(records, INSTRUMENT)
    naive.feed(records, INSTRUMENT)
    assert len(block) == len(naive.bins)
    for frame, expected in zip(block, naive.bins, strict=True):
        for name in SAME:
            assert frame.bins[name] == expected.scalars[name], name
        if not frame.valid:
            assert frame.bins["mid_price"] == 0
            assert all(not column.any() for column in frame.grid.values())
            continue
        for name in SAME_IF_VALID:
            assert frame.bins[name] == expected.scalars[name], name
        for name, other in IN_TICKS.items():
            assert frame.bins[name] == expected.scalars[other] * TICK_INT, name
        assert frame.bins["mid_price"] == (expected.scalars["bid"] + expected.scalars["ask"]) * 0.125
        _compare_cells(frame, expected)
    quality = engine.quality()
    assert {
        "clamps": quality["clock_clamps"],
        "dropped": quality["dropped_events"],
        "aggressor": quality["aggressor_fill_contracts"],
        "unattributed": quality["unattributed_fill_contracts"],
        "unbalanced": quality["unbalanced_trade_events"],
        "unknown_cancel": quality["unknown_cancels"],
        "unknown_modify": quality["unknown_modifies"],
        "clipped": quality["clipped_cancels"],
        "duplicate": quality["duplicate_adds"],
        "hidden": quality["hidden_contracts"],
    } == {name: naive.count[name] for name in (
        "clamps", "dropped", "aggressor", "unattributed", "unbalanced", "unknown_cancel", "unknown_modify", "clipped",
        "duplicate", "hidden",
    )}  # fmt: skip
    return block


def _compare_cells(frame, expected) -> None:
    radius = PARAMS.grid_radius_ticks
    for k in range(-radius, radius + 1):
        cell = expected.cells.get(k)
        for name in GRID_VALUES:
            value = float(frame.grid[name][k + radius])
            if cell is None:
                assert value == 0.0, (k, name)
                continue
            scale = expected.terms[k].get(name, abs(cell[name]))
            # One rounding to float32, and the cancellation of partial fractions; a derivative divides by the bin width.
            slack = {"composite_d1": 1e-8, "composite_d2": 1e-7, "composite_d3": 1e-6}.get(name, 1e-9)
            assert abs(value - cell[name]) <= max(2**-23 * abs(cell[name]), 1e-9 * scale + slack), (k, name)


@settings(max_examples=25)
@given(seed=st.integers(0, 2**32), length=st.sampled_from([7, 60, 400]))
def test_events_of_many_trades_by_many_aggressors(seed: int, length: int) -> None:
    """Every number, where one event holds what usually is hundreds: filled orders leave and come back within it."""
    records = random_tape(seed, 120, oddities=True, snapshot=True)
    live = np.flatnonzero(records["flags"] & F_SNAPSHOT == 0)
    joined = np.delete(live, np.s_[length - 1 :: length])[:-1]
    records["flags"][joined] &= ~np.uint8(F_LAST)
    engine = Engine(PARAMS, tick_int=TICK_INT, start_ns=START_NS, end_ns=END_NS, cold_book="build")
    _require_same(engine, NaiveEngine(PARAMS, TICK_INT, START_NS, END_NS, True), records)


def test_the_comparison_sees_valid_bins() -> None:
    records = random_tape(3, 200, oddities=False)
    engine = Engine(PARAMS, tick_int=TICK_INT, start_ns=START_NS, end_ns=END_NS)
    block = engine.feed(records, INSTRUMENT)
    assert block.bins["book_valid"].sum() > 5
    assert np.abs(block.grid["composite_d3"]).max() > 0


def test_the_traps_of_an_evening() -> None:
    engine = Engine(PARAMS, tick_int=TICK_INT, start_ns=START_NS, end_ns=evening.END_NS)
    naive = NaiveEngine(PARAMS, TICK_INT, START_NS, evening.END_NS, False)
    block = _require_same(engine, naive, evening.evening())
    assert (~block.bins["book_valid"]).nonzero()[0].tolist() == [0]  # crossed until the opening cross, 6 ms later
    quality = engine.quality()
    expected = {
        "snapshots": 1, "unbalanced_trade_events": 1, "unattributed_fill_contracts": 14, "hidden_contracts": 4,
        "aggressor_fill_contracts": 2, "unknown_cancels": 0, "unknown_modifies": 0, "trade_events": 3,
    }  # fmt: skip
    assert {name: quality[name] for name in expected} == expected
    bid = block.bins["best_bid_price_int"] // TICK_INT
    assert bid[10] == bid[11] == evening.MID  # the event over the edge of bin 11 takes effect in bin 12, whole
