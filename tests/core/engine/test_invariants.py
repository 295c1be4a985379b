"""The invariants of the engine, on random records with every oddity and on the real hour."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from markets import INSTRUMENT, START_NS, TICK_INT, mirrored, random_tape, without_times
from real_data import (
    ES_TICK_INT,
    ESH4,
    ESH4_ID,
    ESH4_OPEN_NS,
    ESM4,
    ESM4_ID,
    HOUR_NS,
    needs_esh4,
    needs_esm4,
    read_records,
)

from vpcore.engine import Engine, EngineParams, FrameBlock
from vpcore.kernels.records import F_BAD_TS_RECV, F_MAYBE_BAD_BOOK
from vpcore.schema import GRID_VALUES

SMALL = EngineParams(grid_radius_ticks=8, band_margin_ticks=4, flow_windows=(2, 5))
WINDOW_NS = 3 * 10**9
SWAPPED = {"bid": "ask", "ask": "bid"}


def engine_for(real: bool, params: EngineParams | None = None, **changes: int) -> Engine:
    if real:
        kwargs = {"tick_int": ES_TICK_INT, "start_ns": ESH4_OPEN_NS, "end_ns": ESH4_OPEN_NS + HOUR_NS}
        return Engine(params or EngineParams(), **(kwargs | changes))
    kwargs = {"tick_int": TICK_INT, "start_ns": START_NS, "end_ns": START_NS + WINDOW_NS}
    return Engine(params or SMALL, **(kwargs | changes))


def records_of(real: bool, seed: int = 0, **options: bool) -> tuple[np.ndarray, int]:
    """Return a random tape, or the first and busiest ten minutes of the real hour."""
    if real:
        records = read_records(ESH4)
        return records[records["ts_recv"] < ESH4_OPEN_NS + HOUR_NS // 6], ESH4_ID
    return random_tape(seed, 200, **options), INSTRUMENT


def assert_equal(a: FrameBlock, b: FrameBlock) -> None:
    for name in a.bins:
        assert a.bins[name].tobytes() == b.bins[name].tobytes(), name
    for name in a.grid:
        assert a.grid[name].tobytes() == b.grid[name].tobytes(), name


SOURCES = [pytest.param(False, id="random"), pytest.param(True, id="real", marks=[needs_esh4, pytest.mark.slow])]


def swapped(name: str) -> str:
    return "_".join(SWAPPED.get(part, part) for part in name.split("_"))


# -- 1. conservation


def check_conservation(records: np.ndarray, instrument: int, tick_int: int, start_ns: int) -> dict[str, int]:
    live_from = int(np.flatnonzero(records["flags"] & 32)[-1]) + 1
    engine = Engine(EngineParams(), tick_int=tick_int, start_ns=start_ns)
    for _ in engine.blocks(records[:live_from], instrument):
        pass
    before = {row[0]: row[1:] for row in zip(*engine.levels().values(), strict=True)}
    for _ in engine.blocks(records[live_from:], instrument):
        pass
    for tick, bid, ask, add, pull, fill in zip(*engine.levels().values(), strict=True):
        bid0, ask0, add0, pull0, fill0 = before.get(tick, (0, 0, 0, 0, 0))
        assert bid + ask - bid0 - ask0 == (add - add0) - (pull - pull0) - (fill - fill0), tick
    return engine.quality()


@pytest.mark.compiled
@settings(max_examples=25)
@given(seed=st.integers(0, 2**32))
def test_size_is_conserved_on_every_level(seed: int) -> None:
    check_conservation(random_tape(seed, 200, oddities=False), INSTRUMENT, TICK_INT, START_NS)


@needs_esh4
@pytest.mark.compiled
def test_size_is_conserved_and_the_real_file_adds_up() -> None:
    quality = check_conservation(read_records(ESH4), ESH4_ID, ES_TICK_INT, ESH4_OPEN_NS)
    expected = {
        "add_contracts": 87_627, "pull_contracts": 73_849, "fill_contracts": 9_922, "aggressor_fill_contracts": 265,
        "hidden_contracts": 331, "unattributed_fill_contracts": 14, "trade_events": 2_834, "unbalanced_trade_events": 1,
        "unknown_cancels": 0, "unknown_modifies": 0, "clipped_cancels": 0, "duplicate_adds": 0, "crossed_events": 891,
        "records": 68_792, "snapshot_records": 8_725, "snapshots": 1, "clock_clamps": 0, "dropped_events": 0,
        "began_without_book": False,
    }  # fmt: skip
    assert {name: quality[name] for name in expected} == expected
    assert quality["records_by_action"] == {
        "A": 29_216, "C": 17_999, "M": 12_233, "R": 0, "T": 2_973, "F": 6_371, "N": 0, "other": 0,
    }  # fmt: skip


# -- 2. the touch against an independent book


class PlainBook:
    """Orders in a dictionary, sizes per level in two more; nothing in common with the engine."""

    def __init__(self) -> None:
        self.orders: dict[int, tuple[str, int, int]] = {}
        self.sizes: dict[str, dict[int, int]] = {"B": {}, "A": {}}

    def change(self, side: str, price: int, size: int) -> None:
        left = self.sizes[side].get(price, 0) + size
        if left:
            self.sizes[side][price] = left
        else:
            self.sizes[side].pop(price, None)

    def apply(self, action: str, order_id: int, side: str, price: int, size: int) -> None:
        if action == "R":
            self.__init__()
        elif action in "AM":
            if order_id in self.orders:
                old = self.orders.pop(order_id)
                self.change(old[0], old[1], -old[2])
            self.orders[order_id] = (side, price, size)
            self.change(side, price, size)
        elif action == "C":
            held = self.orders.pop(order_id)
            self.change(held[0], held[1], -size)
            if held[2] > size:
                self.orders[order_id] = (held[0], held[1], held[2] - size)

    def touch(self) -> tuple[int, int]:
        return max(self.sizes["B"], default=0), min(self.sizes["A"], default=0)


@pytest.mark.slow
@needs_esh4
def test_the_touch_at_every_bin_end_is_that_of_an_independent_book() -> None:
    records = read_records(ESH4)
    engine = engine_for(True, EngineParams(columns=("add_mass",)))
    block = FrameBlock.concatenate(
        [engine.feed(records, ESH4_ID), *engine.finish(ESH4_OPEN_NS + HOUR_NS)], ("add_mass",), 101
    )
    assert len(block) == 36_000
    assert list(np.flatnonzero(~block.bins["book_valid"])) == [0]
    assert (block.bins["bin_event_count"] > 0).sum() == 7_806
    assert engine.touch() == (4810 * 4, 4810 * 4 + 1)

    book, pending, touch = PlainBook(), [], None
    touches = np.zeros((36_000, 2), np.int64)
    upto = 0
    ends = block.bins["bin_end_ns"]
    fields = [records[name].tolist() for name in ("ts_recv", "flags", "action", "order_id", "side", "price", "size")]
    for ts, flags, action, order_id, side, price, size in zip(*fields, strict=True):
        while upto < len(ends) and ts >= ends[upto]:
            touches[upto] = touch = touch or book.touch()
            upto += 1
        pending.append((chr(action), order_id, chr(side), price, size))
        if flags & 128 or flags & 32:
            for one in pending:
                book.apply(*one)
            pending.clear()
            touch = None
    touches[upto:] = book.touch()
    valid = block.bins["book_valid"]
    assert (block.bins["best_bid_price_int"][valid] == touches[valid, 0]).all()
    assert (block.bins["best_ask_price_int"][valid] == touches[valid, 1]).all()
    assert (touches[0, 0] >= touches[0, 1]) or not valid[0]


@needs_esm4
def test_two_seconds_after_a_snapshot() -> None:
    records = read_records(ESM4)
    start = 1_715_126_400 * 10**9
    engine = Engine(EngineParams(), tick_int=ES_TICK_INT, start_ns=start, end_ns=start + 1_900_000_000)
    block = engine.feed(records, ESM4_ID)
    assert len(block) == 19
    assert block.bins["book_valid"].all()
    assert set(block.bins["mid_price"]) == {5214.125}
    assert set(block.bins["spread_ticks"]) == {1}
    quality = engine.quality()
    assert (quality["snapshot_records"], quality["snapshots"]) == (13_601, 1)
    assert quality["undefined_prices"] == 0  # the one undefined price is that of the clear


# -- 3. bin width


@pytest.mark.parametrize("real", SOURCES)
def test_mechanics_do_not_depend_on_the_bin_width(real: bool) -> None:
    records, instrument = records_of(real, seed=4)
    base = EngineParams() if real else SMALL
    mechanics = [name for name in GRID_VALUES if not name.startswith("composite")]
    blocks = {}
    for width in (50, 100, 200):
        engine = engine_for(real, base.model_copy(update={"cell_width_ms": width}))
        blocks[width] = engine.feed(records, instrument)
    common = blocks[200].bins["bin_end_ns"]
    assert len(common) > 5
    for width in (50, 100):
        rows = np.searchsorted(blocks[width].bins["bin_end_ns"], common)
        for name in mechanics:
            # Reading never changes an accumulator, so this is stronger than a tolerance: the same bits.
            assert (blocks[width].grid[name][rows] == blocks[200].grid[name]).all(), (width, name)


# -- 4. mirror


@pytest.mark.parametrize("real", SOURCES)
def test_a_reflected_market_gives_the_reflected_frame(real: bool) -> None:
    records, instrument = records_of(real, seed=5)
    about = 19_240
    plain = engine_for(real).feed(records, instrument)
    mirror = engine_for(real).feed(mirrored(records, about), instrument)
    assert plain.bins["book_valid"].sum() > 5
    valid = plain.bins["book_valid"]
    assert (mirror.bins["book_valid"] == valid).all()
    for name in GRID_VALUES:
        assert mirror.grid[swapped(name)].tobytes() == np.ascontiguousarray(plain.grid[name][:, ::-1]).tobytes(), name
    turn = np.where(valid, 2 * about * TICK_INT, 0)
    for a, b in (
        ("best_bid_price_int", "best_ask_price_int"),
        ("bid_high_int", "ask_low_int"),
        ("bid_low_int", "ask_high_int"),
    ):
        assert (mirror.bins[a] == turn - plain.bins[b]).all(), a
    assert (mirror.bins["best_bid_size"] == plain.bins["best_ask_size"]).all()
    assert (mirror.bins["buy_volume"] == plain.bins["sell_volume"]).all()
    assert (mirror.bins["best_bid_move_ticks"] == -plain.bins["best_ask_move_ticks"]).all()
    assert (mirror.bins["state_above"] == -plain.bins["state_below"]).all()


# -- 5. translation and time shift


@pytest.mark.parametrize("real", SOURCES)
@pytest.mark.parametrize("ticks", [-25_003, 64, 40_001])
def test_translation_changes_prices_only(real: bool, ticks: int) -> None:
    records, instrument = records_of(real, seed=6)
    moved = records.copy()
    defined = moved["price"] != 2**63 - 1
    moved["price"][defined] += ticks * TICK_INT
    plain = engine_for(real).feed(records, instrument)
    shifted = engine_for(real).feed(moved, instrument)
    for name in GRID_VALUES:
        assert shifted.grid[name].tobytes() == plain.grid[name].tobytes(), name
    valid = plain.bins["book_valid"]
    for name in plain.bins:
        shift = 0
        if name.endswith("_int"):
            shift = ticks * TICK_INT
        elif name.startswith("mid2"):
            shift = 2 * ticks
        elif name == "mid_price":
            shift = ticks * TICK_INT / 1e9
        assert (shifted.bins[name] == plain.bins[name] + np.where(valid, shift, 0)).all(), name


@pytest.mark.parametrize("real", SOURCES)
def test_a_time_shift_changes_times_only(real: bool) -> None:
    records, instrument = records_of(real, seed=7)
    by = 12_345_678_901_234_567
    moved = records.copy()
    moved["ts_recv"] += np.uint64(by)
    plain = engine_for(real)
    start, end = plain.start_ns + by, plain.end_ns + by
    if not real:  # a clock of zero stands for a missing stamp in the random records; it stays in the past
        moved["ts_recv"][records["ts_recv"] == 0] = 0
    shifted = engine_for(real, start_ns=start, end_ns=end).feed(moved, instrument)
    block = plain.feed(records, instrument)
    for name in block.bins:
        shift = by if name.endswith("_ns") else 0
        assert (shifted.bins[name] == block.bins[name] + shift).all(), name
    for name in GRID_VALUES:
        assert shifted.grid[name].tobytes() == block.grid[name].tobytes(), name


# -- 6 and 7. chunking, and a live caller


@pytest.mark.compiled
@settings(max_examples=15)
@given(seed=st.integers(0, 2**32), cuts=st.lists(st.integers(0, 600), max_size=12))
def test_chunks_give_the_same_bytes(seed: int, cuts: list[int]) -> None:
    records, instrument = records_of(False, seed)
    reference = engine_for(False)
    whole = reference.feed(records, instrument)
    for points in (sorted(min(c, len(records)) for c in cuts), list(range(1, len(records)))):
        engine = engine_for(False)
        parts = [engine.feed(part.copy(), instrument) for part in np.split(records, points)]
        assert_equal(FrameBlock.concatenate(parts, GRID_VALUES, SMALL.n_cells), whole)
        assert engine.quality() == reference.quality()


@pytest.mark.slow
@needs_esh4
def test_random_chunks_of_the_real_market_give_the_same_bytes() -> None:
    records, instrument = records_of(True)
    whole = engine_for(True).feed(records, instrument)
    rng = np.random.default_rng(0)
    engine = engine_for(True)
    points = np.sort(rng.integers(0, len(records), 300))
    parts = [engine.feed(part, instrument) for part in np.split(records, points)]
    assert_equal(FrameBlock.concatenate(parts, GRID_VALUES, 101), whole)


@settings(max_examples=15)
@given(seed=st.integers(0, 2**32))
def test_a_live_caller_who_advances_between_records_gets_the_same_bytes(seed: int) -> None:
    records = random_tape(seed, 150, oddities=False)
    whole = engine_for(False).feed(records, INSTRUMENT)
    engine = engine_for(False)
    parts = []
    for i in range(len(records)):
        if records["instrument_id"][i] != INSTRUMENT:
            continue
        parts.append(engine.advance(int(records["ts_recv"][i])))
        parts.append(engine.feed(records[i : i + 1], INSTRUMENT))
    assert_equal(FrameBlock.concatenate(parts, GRID_VALUES, SMALL.n_cells), whole)


@pytest.mark.parametrize("n_undated", [1, 40, 120, 230])
@pytest.mark.parametrize("snapshot", [True, False])
def test_the_first_usable_time_is_also_that_of_every_record_before_it(snapshot: bool, n_undated: int) -> None:
    records = random_tape(n_undated, 150, snapshot=snapshot)
    records = records[records["instrument_id"] == INSTRUMENT]
    records["flags"] &= 255 - F_BAD_TS_RECV - F_MAYBE_BAD_BOOK
    records["ts_recv"] = np.maximum.accumulate(records["ts_recv"])
    dated = records.copy()
    dated["ts_recv"][:n_undated] = records["ts_recv"][n_undated]
    undated = without_times(records, n_undated)
    options = {"cold_book": "build"}
    whole = engine_for(False, **options)
    expected = whole.feed(dated, INSTRUMENT)
    assert expected.bins["book_valid"].any()
    assert expected.grid["v_add"].any()
    at_once = engine_for(False, **options)
    assert_equal(at_once.feed(undated, INSTRUMENT), expected)
    without_bad = {"bad_ts_recv_records": 0}
    assert at_once.quality() | without_bad == whole.quality() | without_bad
    assert at_once.quality()["bad_ts_recv_records"] == n_undated
    # A live caller's clock runs on while no record has a time; an event that is not yet dated stays out of its bins.
    live = engine_for(False, **options)
    parts = []
    for i in range(len(undated)):
        parts.append(live.advance(int(records["ts_recv"][i])))
        parts.append(live.feed(undated[i : i + 1], INSTRUMENT))
    assert_equal(FrameBlock.concatenate(parts, GRID_VALUES, SMALL.n_cells), expected)


# -- 8. prefix


@settings(max_examples=15)
@given(seed=st.integers(0, 2**32), share=st.floats(0.1, 0.9))
def test_half_a_session_is_a_prefix_of_the_whole(seed: int, share: float) -> None:
    records, instrument = records_of(False, seed)
    whole = engine_for(False).feed(records, instrument)
    half = engine_for(False).feed(records[: int(len(records) * share)], instrument)
    n = len(half)
    assert n <= len(whole)
    for name in whole.bins:
        assert half.bins[name].tobytes() == whole.bins[name][:n].tobytes(), name
    for name in whole.grid:
        assert half.grid[name].tobytes() == whole.grid[name][:n].tobytes(), name


@needs_esh4
@pytest.mark.compiled
def test_an_event_across_a_bin_edge_takes_effect_in_the_later_bin() -> None:
    records, instrument = read_records(ESH4), ESH4_ID
    times = records["ts_recv"].astype(np.int64)
    last = (records["flags"] & 128) != 0
    live = records["flags"] & 32 == 0
    starts = np.flatnonzero(live & np.r_[True, last[:-1] | ~live[:-1]])
    ends = np.flatnonzero(live & last)
    width = 100_000_000
    bins_of = (times - ESH4_OPEN_NS) // width
    crossing = [
        (a, b) for a, b in zip(starts, ends, strict=True) if times[a] >= ESH4_OPEN_NS and bins_of[a] != bins_of[b]
    ]
    assert len(crossing) == 1
    first, final = crossing[0]
    edge = int(bins_of[final])
    whole = engine_for(True).feed(records, instrument)
    without = engine_for(True)
    kept = without.feed(records[:first], instrument)
    later = without.advance(ESH4_OPEN_NS + edge * width)
    before = FrameBlock.concatenate([kept, later], GRID_VALUES, 101)
    assert len(before) == edge
    for name in GRID_VALUES:  # the bins before the edge know nothing of the event
        assert before.grid[name].tobytes() == whole.grid[name][:edge].tobytes(), name
    assert whole.bins["event_id"][edge] > whole.bins["event_id"][edge - 1]


# -- 9. hostile input


@settings(max_examples=30)
@given(seed=st.integers(0, 2**32))
def test_no_input_makes_a_nan(seed: int) -> None:
    rng = np.random.default_rng(seed)
    records = random_tape(seed, 100)
    for name in ("order_id", "size", "ts_recv"):
        rows = rng.random(len(records)) < 0.05
        records[name][rows] = rng.integers(0, 2**32 if name == "size" else 2**64, rows.sum(), dtype=np.uint64)
    rows = rng.random(len(records)) < 0.05
    records["price"][rows] = rng.integers(-(2**62), 2**62, rows.sum()) // TICK_INT * TICK_INT
    for name in ("action", "side"):
        rows = rng.random(len(records)) < 0.05
        records[name][rows] = rng.integers(0, 256, rows.sum())
    records["flags"] ^= np.where(rng.random(len(records)) < 0.05, 128 | 32 | 8 | 4, 0).astype(np.uint8)
    # A wild time stamp would end the window at once: wild ones are put back, late and early ones stay.
    late = records["ts_recv"] > START_NS + 10 * WINDOW_NS
    records["ts_recv"][late] = START_NS + WINDOW_NS // 2
    block = engine_for(False).feed(records, INSTRUMENT)
    assert len(block) > 0
    for name, column in block.grid.items():
        assert np.isfinite(column).all(), name
    composite = block.grid["composite"]
    assert (np.abs(composite) <= 1).all()
    assert np.isfinite(block.bins["mid_price"]).all()
