"""Rules of the engine one by one: clock, cold start, snapshots, growth, refusals."""

from __future__ import annotations

import time
from typing import Any

import adversarial
import numpy as np
import pytest
from markets import INSTRUMENT, START_NS, TICK_INT, Tape
from pydantic import ValidationError

import vpcore.engine.engine as engine_module
from vpcore.engine import Engine, EngineParams
from vpcore.errors import EngineError
from vpcore.kernels.records import (
    ADD,
    ASK,
    BID,
    CANCEL,
    CLEAR,
    F_BAD_TS_RECV,
    F_LAST,
    F_MAYBE_BAD_BOOK,
    F_MBP,
    F_SNAPSHOT,
    F_TOB,
    FILL,
    MBO_DTYPE,
    MODIFY,
    NONE,
    TRADE,
)

PARAMS = EngineParams(grid_radius_ticks=5, band_margin_ticks=2, flow_windows=(2, 4))
MS = 10**6
BIN = 100 * MS


def engine(**changes) -> Engine:
    return Engine(PARAMS, **({"tick_int": TICK_INT, "start_ns": START_NS, "symbol": "ESH4"} | changes))


def with_book() -> Tape:
    tape = Tape(START_NS - 10**9)
    tape.add(CLEAR, flags=F_SNAPSHOT)
    tape.add(ADD, 1, 100, 5, BID, F_SNAPSHOT)
    tape.add(ADD, 2, 101, 7, ASK, F_SNAPSHOT | F_LAST)
    tape.clock = START_NS
    return tape


def at(tape: Tape, ns: int) -> Tape:
    tape.clock = START_NS + ns
    return tape


def test_a_bin_is_emitted_by_the_first_record_at_or_after_its_end() -> None:
    tape = with_book()
    at(tape, BIN - 1).add(ADD, 3, 100, 1, BID, F_LAST)
    assert len(engine().feed(tape.records(), INSTRUMENT)) == 0
    at(tape, BIN).add(ADD, 4, 100, 1, BID, 0)  # any record, even of an event in progress
    block = engine().feed(tape.records(), INSTRUMENT)
    assert list(block.bins["bin_seq"]) == [0]
    assert list(block.bins["best_bid_size"]) == [6]
    assert list(block.bins["ts_ns"]) == [START_NS + BIN] == list(block.bins["bin_end_ns"])


def test_an_id_of_an_order_without_size_may_come_again() -> None:
    tape = with_book()
    tape.add(ADD, 3, 100, 0, BID, F_LAST)
    tape.add(ADD, 3, 100, 4, BID, F_LAST)
    at(tape, BIN).add(ADD, 4, 101, 1, ASK, 0)
    eng = engine()
    block = eng.feed(tape.records(), INSTRUMENT)
    assert list(block.bins["best_bid_size"]) == [9]
    assert eng.quality()["duplicate_adds"] == 1


def test_an_event_takes_effect_whole_at_its_last_record() -> None:
    tape = with_book()
    at(tape, BIN - 10).add(CANCEL, 1, 100, 5, BID)  # the bid is gone, but the event is not complete
    at(tape, BIN + 10).add(ADD, 3, 99, 4, BID, F_LAST)
    at(tape, 2 * BIN).add(NONE, flags=F_LAST)
    block = engine().feed(tape.records(), INSTRUMENT)
    assert list(block.bins["best_bid_price_int"]) == [100 * TICK_INT, 99 * TICK_INT]
    assert list(block.bins["bin_event_count"]) == [0, 1]
    assert list(block.bins["best_bid_move_ticks"]) == [0, -1]
    assert list(block.bins["microstate_id"]) == [4, 3]
    assert list(block.bins["state_below"]) == [0, -2]


def test_extremes_inside_a_bin_start_from_the_state_carried_in() -> None:
    tape = with_book()
    at(tape, 10).add(ADD, 3, 99, 4, BID, F_LAST)
    at(tape, BIN + 10).add(CANCEL, 1, 100, 5, BID, F_LAST)
    at(tape, BIN + 20).add(ADD, 4, 100, 5, BID, F_LAST)
    at(tape, 2 * BIN).add(NONE, flags=F_LAST)
    block = engine().feed(tape.records(), INSTRUMENT)
    assert list(block.bins["bid_high_int"]) == [100 * TICK_INT] * 2
    assert list(block.bins["bid_low_int"]) == [100 * TICK_INT, 99 * TICK_INT]
    assert list(block.bins["mid2_low"]) == [201, 200]


def test_the_clock_never_runs_backwards() -> None:
    tape = with_book()
    at(tape, BIN + 10).add(ADD, 3, 100, 1, BID, F_LAST)
    at(tape, 5).add(ADD, 4, 100, 1, BID, F_LAST)  # clamped to bin 1
    at(tape, 0).add(ADD, 5, 100, 1, BID, F_LAST | F_BAD_TS_RECV, ts=1)  # takes the clock, and is no clamp
    eng = engine()
    eng.feed(tape.records(), INSTRUMENT)
    assert list(eng.advance(START_NS + 2 * BIN).bins["bin_event_count"]) == [3]
    assert eng.quality()["clock_clamps"] == 1
    assert eng.quality()["bad_ts_recv_records"] == 1


def test_no_time_is_special_to_an_advance() -> None:
    eng = engine(start_ns=-2 * BIN)
    assert [len(eng.advance(now)) for now in (-BIN, 0, BIN)] == [1, 1, 1]


def test_a_record_that_contradicts_an_advance_is_clamped_and_counted() -> None:
    eng = engine()
    tape = with_book()
    eng.feed(tape.records(), INSTRUMENT)
    assert len(eng.advance(START_NS + BIN)) == 1
    late = Tape(START_NS + BIN // 2)
    late.add(ADD, 9, 100, 1, BID, F_LAST)
    eng.feed(late.records(), INSTRUMENT)
    assert eng.clock_ns == START_NS + BIN
    assert eng.quality()["clock_clamps"] == 1
    assert list(eng.advance(START_NS + 2 * BIN).bins["best_bid_size"]) == [6]


def test_the_end_of_a_file_emits_only_what_is_known() -> None:
    tape = with_book()
    at(tape, BIN + 10).add(NONE, flags=F_LAST)
    for covered, expected in ((None, 1), (START_NS + 2 * BIN, 1), (START_NS + 5 * BIN, 5)):
        eng = engine(end_ns=START_NS + 5 * BIN)
        n = len(eng.feed(tape.records(), INSTRUMENT)) + sum(len(block) for block in eng.finish(covered))
        assert n == expected, covered
        assert eng.done == (expected == 5)


def test_nothing_after_the_window_is_applied() -> None:
    tape = with_book()
    at(tape, 5 * BIN).add(ADD, 3, 100, 1, BID, F_LAST)
    eng = engine(end_ns=START_NS + BIN)
    assert len(eng.feed(tape.records(), INSTRUMENT)) == 1
    assert eng.done
    assert eng.quality()["events"] == 0


# -- the book


@pytest.mark.parametrize(("mode", "valid"), [("refuse", [False, False, True]), ("build", [False, True, True])])
def test_a_stream_that_begins_without_a_book(mode: str, valid: list[bool]) -> None:
    tape = Tape(START_NS + 10)
    tape.add(ADD, 1, 100, 5, BID, F_LAST)
    at(tape, BIN + 10).add(ADD, 2, 101, 5, ASK, F_LAST)
    at(tape, 2 * BIN + 10).add(CLEAR, flags=F_LAST)
    tape.add(ADD, 3, 100, 5, BID, F_LAST)
    tape.add(ADD, 4, 101, 5, ASK, F_LAST)
    at(tape, 3 * BIN).add(NONE, flags=F_LAST)
    eng = engine(cold_book=mode)
    assert list(eng.feed(tape.records(), INSTRUMENT).bins["book_valid"]) == valid
    assert eng.quality()["began_without_book"]
    assert eng.quality()["cold_start"] == (mode == "build")


def test_a_snapshot_changes_depth_but_no_flow() -> None:
    tape = with_book()
    at(tape, 10).add(ADD, 3, 100, 4, BID, F_LAST)
    at(tape, 20).add(ADD, 50, 98, 2, BID, F_SNAPSHOT)  # a snapshot without R, and without F_LAST at its end
    tape.add(ADD, 51, 103, 3, ASK, F_SNAPSHOT)
    at(tape, BIN + 10).add(NONE, flags=F_LAST)
    at(tape, 2 * BIN).add(NONE, flags=F_LAST)
    eng = engine()
    block = eng.feed(tape.records(), INSTRUMENT)
    assert list(block.bins["book_valid"]) == [False, True]  # a snapshot counts from the next F_LAST
    assert eng.touch() == (98, 103)
    levels = {t: rest for t, *rest in zip(*(v.tolist() for v in eng.levels().values()), strict=True)}
    assert levels[100] == [0, 0, 4, 0, 0]
    assert levels[98] == [2, 0, 0, 0, 0]
    assert block.grid["v_add"][1, 5 - 1] > 0  # what arrived at 100 is still felt there
    assert block.bins["best_bid_move_ticks"][1] == 0  # there was no valid bin before


def test_a_snapshot_cuts_off_an_open_event() -> None:
    tape = with_book()
    at(tape, 10).add(ADD, 3, 100, 4, BID)
    tape.add(CLEAR, flags=F_LAST)
    eng = engine()
    eng.feed(tape.records(), INSTRUMENT)
    assert eng.quality()["dropped_events"] == 1
    assert len(eng.orders()["order_id"]) == 0


def test_a_bad_book_is_invalid_until_a_new_one_arrives() -> None:
    tape = with_book()
    at(tape, 10).add(ADD, 3, 100, 4, BID, F_LAST | F_MAYBE_BAD_BOOK)
    at(tape, BIN + 10).add(ADD, 4, 100, 4, BID, F_LAST)
    at(tape, 2 * BIN + 10).add(CLEAR, flags=F_SNAPSHOT)
    tape.add(ADD, 1, 100, 5, BID, F_SNAPSHOT)
    tape.add(ADD, 2, 101, 7, ASK, F_SNAPSHOT | F_LAST)
    at(tape, 3 * BIN).add(NONE, flags=F_LAST)
    eng = engine()
    assert list(eng.feed(tape.records(), INSTRUMENT).bins["book_valid"]) == [False, False, True]
    assert eng.quality()["bad_book_spans"] == 1


def test_a_later_files_snapshot_is_compared_with_the_carried_book() -> None:
    eng = engine()
    first = with_book()
    first.add(ADD, 3, 99, 4, BID, F_LAST)
    eng.feed(first.records(), INSTRUMENT)
    eng.begin_file()
    second = Tape(START_NS + 10)
    second.add(CLEAR, flags=F_SNAPSHOT)
    second.add(ADD, 1, 100, 5, BID, F_SNAPSHOT)  # as carried
    second.add(ADD, 2, 101, 6, ASK, F_SNAPSHOT)  # another size
    second.add(ADD, 9, 102, 1, ASK, F_SNAPSHOT | F_LAST)  # not known; order 3 is missing
    second.add(ADD, 10, 98, 1, BID, F_LAST)
    eng.feed(second.records(), INSTRUMENT)
    quality = eng.quality()
    assert quality["carried_snapshots"] == 1
    assert quality["carried_orders_missing"] == 1
    assert quality["carried_orders_extra"] == 1
    assert quality["carried_orders_changed"] == 1


def test_a_fill_of_a_resting_order_modified_into_a_cross_is_its_own() -> None:
    tape = with_book()
    at(tape, 10).add(TRADE, 1, 101, 5, BID)  # the bid crosses: it is the aggressor
    tape.add(FILL, 1, 101, 5, BID)
    tape.add(FILL, 2, 101, 5, ASK)
    tape.add(CANCEL, 1, 100, 5, BID)
    tape.add(CANCEL, 2, 101, 5, ASK, F_LAST)
    eng = engine()
    eng.feed(tape.records(), INSTRUMENT)
    levels = {t: rest for t, *rest in zip(*(v.tolist() for v in eng.levels().values()), strict=True)}
    assert levels[100] == [0, 0, 0, 5, 0]  # a pull at its old level
    assert levels[101] == [0, 2, 0, 0, 5]
    assert eng.quality()["aggressor_fill_contracts"] == 5
    assert eng.quality()["unbalanced_trade_events"] == 0


def test_hidden_size_arrives_and_trades_at_once() -> None:
    tape = with_book()
    at(tape, 10).add(TRADE, 0, 101, 12, BID)
    tape.add(FILL, 2, 101, 12, ASK)  # 7 were shown
    tape.add(MODIFY, 2, 101, 7, ASK, F_LAST)  # and 7 are shown again
    eng = engine()
    eng.feed(tape.records(), INSTRUMENT)
    levels = {t: rest for t, *rest in zip(*(v.tolist() for v in eng.levels().values()), strict=True)}
    assert levels[101] == [0, 7, 12, 0, 12]
    assert eng.quality()["hidden_contracts"] == 12


# -- growth


def test_nothing_is_lost_when_tables_grow() -> None:
    tape = with_book()
    n = 40_000
    for i in range(n):
        tape.add(ADD, 10 + i, 100 - (i % 5_000) * 64, 1, BID, F_LAST if i % 7 == 0 else 0)
    tape.add(TRADE, 0, 100, n // 2, ASK)
    for i in range(n // 2):
        tape.add(FILL, 10 + i, 100, 1, BID)
    for i in range(n // 2):
        tape.add(CANCEL, 10 + i, 100, 1, BID, F_LAST if i == n // 2 - 1 else 0)
    eng = engine()
    records = tape.records()
    for part in np.array_split(records, 7):
        eng.feed(part, INSTRUMENT)
    assert len(eng.orders()["order_id"]) == n // 2 + 2
    quality = eng.quality()
    assert quality["fill_contracts"] == n // 2
    assert quality["pull_contracts"] == 0
    assert quality["unknown_cancels"] == 0
    assert eng.levels()["bid_depth"].sum() == n // 2 + 5


def test_a_trade_of_0_contracts_is_no_trade_event() -> None:
    tape = with_book()
    tape.add(TRADE, 0, 100, 0, ASK, F_LAST)
    eng = engine()
    eng.feed(tape.records(), INSTRUMENT)
    assert (eng.quality()["trade_events"], eng.quality()["unbalanced_trade_events"]) == (0, 0)


def test_blocks_of_any_length_hold_the_same_bins(monkeypatch: pytest.MonkeyPatch) -> None:
    tape = with_book()
    for i in range(1, 31):
        at(tape, i * BIN + (i % 3) * BIN // 2).add(ADD, 10 + i, 100 - i % 4, 1, BID, F_LAST)
    want = engine().feed(tape.records(), INSTRUMENT)
    assert len(want) == 30
    for rows in (1, 4, 30):
        monkeypatch.setattr(engine_module, "BLOCK_BINS", rows)
        got = engine().feed(tape.records(), INSTRUMENT)
        assert {name: column.tobytes() for name, column in got.bins.items()} == {
            name: column.tobytes() for name, column in want.bins.items()
        }
        assert all(got.grid[name].tobytes() == want.grid[name].tobytes() for name in want.grid)


def test_the_best_price_is_found_across_a_wide_gap() -> None:
    tape = with_book()
    tape.add(ADD, 3, -(10**9), 1, BID, F_LAST)
    tape.add(CANCEL, 1, 100, 5, BID, F_LAST)
    tape.add(ADD, 4, 2 * 10**9, 1, ASK, F_LAST)
    tape.add(CANCEL, 2, 101, 7, ASK, F_LAST)
    eng = engine()
    eng.feed(tape.records(), INSTRUMENT)
    assert eng.touch() == (-(10**9), 2 * 10**9)


# -- refusals


@pytest.mark.parametrize("flag", [F_TOB, F_MBP])
def test_a_top_of_book_feed_is_refused(flag: int) -> None:
    tape = with_book()
    tape.add(ADD, 3, 100, 1, BID, F_LAST | flag)
    with pytest.raises(EngineError, match=r"Record 3 of ESH4 carries the flags \d+ .*full-depth market-by-order"):
        engine().feed(tape.records(), INSTRUMENT)


def test_a_price_off_the_tick_is_refused() -> None:
    tape = with_book()
    tape.add(ADD, 3, 100, 1, BID, F_LAST)
    records = tape.records()
    records["price"][3] += 100_000_000
    with pytest.raises(
        EngineError, match=r"record 1,003 of ESH4 was 25.1, which is not a multiple of the tick size 0.25"
    ):
        engine().feed(records, INSTRUMENT, first_record=1000)


def test_a_second_publisher_is_refused() -> None:
    records = with_book().records()
    records["publisher_id"][2] = 3
    with pytest.raises(EngineError, match=r"comes from publisher 3, earlier ones from publisher 1"):
        engine().feed(records, INSTRUMENT)


def test_records_of_another_shape_are_refused() -> None:
    with pytest.raises(EngineError, match=r"one-dimensional array of MBO_DTYPE, were of dtype float64"):
        engine().feed(np.zeros(3), INSTRUMENT)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"end_ns": START_NS + 150 * MS}, "whole, positive number of bins of 100 ms, was 0.15 s long"),
        ({"end_ns": START_NS}, "whole, positive number of bins"),
        ({"tick_int": 0}, "tick size must be greater than 0, was 0"),
        ({"cold_book": "maybe"}, "cold_book must be 'refuse' or 'build', was 'maybe'"),
    ],
)
def test_a_window_or_tick_that_cannot_be(changes: dict, message: str) -> None:
    with pytest.raises(EngineError, match=message):
        engine(**changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tau_velocity": 5.0}, "tau_velocity and tau_acceleration must differ by at least 1 %, were 5.0 s and 5.0 s"),
        ({"tau_jerk": 5.04}, "differ by at least 1 %"),
        ({"composite_floor": 0.0}, "greater than 0"),
        ({"c5": -1.0}, "greater than or equal to 0"),
        ({"flow_windows": (5, 5)}, "rise without repeats"),
        ({"flow_windows": (513,)}, "less than or equal to 512"),
        ({"columns": ("v_ad",)}, "No grid column is called 'v_ad'. Did you mean 'v_add'"),
        ({"columns": ()}, "columns was empty"),
        ({"cell_width": 100}, "Extra inputs are not permitted"),
    ],
)
def test_parameters_out_of_range(changes: dict, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        EngineParams(**changes)


def test_a_selection_of_columns_has_the_values_of_the_whole() -> None:
    tape = with_book()
    for i in range(50):
        at(tape, i * BIN // 3).add(ADD, 100 + i, 97 + i % 4, 1 + i, BID, F_LAST)
    records = tape.records()
    whole = engine().feed(records, INSTRUMENT)
    chosen = PARAMS.model_copy(update={"columns": ("v_add", "composite_d1")})
    some = Engine(chosen, tick_int=TICK_INT, start_ns=START_NS).feed(records, INSTRUMENT)
    assert list(some.grid) == ["v_add", "composite_d1"]
    for name in some.grid:
        assert some.grid[name].tobytes() == whole.grid[name].tobytes()


def test_records_that_may_not_be_written_to_or_are_not_aligned_are_read_all_the_same() -> None:
    records = with_book().records()
    raw = b"xyz" + records.tobytes()
    odd = np.frombuffer(raw, MBO_DTYPE, offset=3)
    eng = engine()
    eng.feed(odd, INSTRUMENT)
    assert eng.touch() == (100, 101)


def test_records_after_the_window_are_never_refused_however_they_are_cut() -> None:
    tape = Tape()
    for i in range(40):
        tape.add(ADD, i + 1, 19_000 - i % 5, 1, BID, F_LAST, ts=START_NS + i * 50_000_000)
    records = tape.records()
    records["flags"][35] |= F_TOB
    records["publisher_id"][36] = 9
    records["price"][37] += 1
    for cuts in ([], [34], [36], list(range(1, 40))):
        engine = Engine(EngineParams(), tick_int=TICK_INT, start_ns=START_NS, end_ns=START_NS + 10**9)
        for part in np.split(records, cuts):
            engine.feed(part, INSTRUMENT)
        assert engine.bins_emitted == 10
        assert engine.quality()["records"] == 20


def test_a_time_far_ahead_is_refused_where_bins_are_endless() -> None:
    tape = with_book()
    at(tape, 40 * 86_400 * 10**9).add(ADD, 3, 99, 1, BID, F_LAST)
    records = tape.records()
    with pytest.raises(
        EngineError,
        match=r"The distance of record 3 of ESH4 from the records before it must be at most 31 days, was 40 days",
    ):
        engine().feed(records, INSTRUMENT)
    ahead = engine()
    ahead.feed(records[:3], INSTRUMENT)
    with pytest.raises(
        EngineError, match=r"The distance of the time of advance\(\) from the records before it must be"
    ):
        ahead.advance(2**62)
    assert len(engine(end_ns=START_NS + 600 * BIN).feed(records, INSTRUMENT)) == 600


# -- cost: whatever the records


def seconds_of(records: np.ndarray) -> tuple[float, Engine]:
    """Return the processor time of the fastest of three runs, and the engine after it."""
    spent = []
    for _ in range(3):
        engine = Engine(EngineParams(), tick_int=TICK_INT, start_ns=START_NS)
        began = time.process_time()
        engine.feed(records, INSTRUMENT)
        spent.append(time.process_time() - began)
    return min(spent), engine


@pytest.mark.compiled
def test_an_event_of_100_000_records_takes_less_than_50_ms() -> None:
    rng = np.random.default_rng(1)
    assert seconds_of(adversarial.one_event(100_000, rng))[0] < 0.05


@pytest.mark.compiled
@pytest.mark.parametrize("family", adversarial.FAMILIES)
def test_no_kind_of_record_makes_the_cost_grow_with_the_square(family: Any) -> None:
    rng = np.random.default_rng(2)
    seconds, engine = seconds_of(family(100_000, rng))
    assert seconds < 0.5  # the square of them took minutes
    assert sum(array.nbytes for array in engine._book) < 200e6
