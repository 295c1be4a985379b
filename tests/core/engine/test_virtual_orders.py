"""Virtual orders against lines of real and virtual orders in plain Python, for every bin of random and of real records."""

from __future__ import annotations

import adversarial
import evening
import numpy as np
import pytest
from hypothesis import example, given, settings, strategies as st
from markets import INSTRUMENT, START_NS, TICK_INT, Tape, random_tape, without_times
from naive_queue import BEHIND, GONE, NOT_PLACED, RESTS, WAITING, WORSE_PRICE, NaiveQueues
from real_data import ES_TICK_INT, ESH4, ESH4_ID, ESH4_OPEN_NS, HOUR_NS, needs_esh4, read_records

from vpcore.engine import Engine, EngineParams
from vpcore.kernels.records import ADD, ASK, BID, CANCEL, CLEAR, F_LAST, F_SNAPSHOT, FILL, MODIFY, NO_SIDE, TRADE
from vpcore.kernels.virtual_orders import _pop, _push

PARAMS = EngineParams(
    grid_radius_ticks=2, band_margin_ticks=0, flow_windows=(2,), columns=("add_mass",), cell_width_ms=20
)
N_BINS = 150
END_NS = START_NS + N_BINS * 20_000_000


def engine_of(end_ns: int = END_NS, *, cold: bool = False, bins: int | None = None) -> Engine:
    n = (end_ns - START_NS) // 20_000_000
    return Engine(
        PARAMS, tick_int=TICK_INT, start_ns=START_NS, end_ns=end_ns, cold_book="build" if cold else "refuse",
        virtual_bins=n if bins is None else bins,
    )  # fmt: skip


def compared(records: np.ndarray, end_ns: int = END_NS, *, cold: bool = False) -> np.ndarray:
    engine, naive = engine_of(end_ns, cold=cold), NaiveQueues(PARAMS, TICK_INT, START_NS, end_ns, cold)
    n_bins = len(engine.feed(records, INSTRUMENT))
    naive.feed(records, INSTRUMENT)
    found = engine.fills()[:, :n_bins]
    np.testing.assert_array_equal(found, naive.fills())
    states = found[:, :, 1]
    assert ((states < 0) | (states > np.arange(n_bins))).all()  # never in the bin at whose end it joins
    return found


@pytest.mark.compiled
@settings(max_examples=40)
@given(
    seed=st.integers(0, 2**32),
    oddities=st.booleans(),
    snapshot=st.booleans(),
    cold=st.booleans(),
    undated=st.sampled_from([0, 0, 0, 1, 40, 150]),
)
@example(seed=7, oddities=True, snapshot=True, cold=True, undated=150)
def test_every_bin_of_random_records(seed: int, oddities: bool, snapshot: bool, cold: bool, undated: int) -> None:
    records = random_tape(seed, 240, oddities=oddities, snapshot=snapshot)
    compared(without_times(records, undated), cold=cold)


@settings(max_examples=20)
@given(seed=st.integers(0, 2**32))
def test_every_bin_of_an_adversarial_tape(seed: int) -> None:
    compared(adversarial.tape(seed, 160, 25_000_000), cold=True)


@pytest.mark.compiled
def test_the_comparison_sees_every_state_and_reason() -> None:
    found = np.concatenate([compared(random_tape(seed, 400)) for seed in range(5)], axis=1)
    states = found[:, :, 1]
    assert {WAITING, NOT_PLACED} <= set(states.ravel().tolist())
    assert (np.unique(found[:, :, 3][states >= 0]) == [BEHIND, WORSE_PRICE, RESTS]).all()


class VenueQueues(NaiveQueues):
    """Holds the fills of the venue against the lines: those filled at a price are the first who do not leave it."""

    def match(self, event: list[dict[str, int]]) -> dict[int, int]:
        filled = super().match(event)
        leaving = {record["order_id"] for record in event if chr(record["action"]) in "CM"}
        places = {tuple(self.orders[oid][:2]) for oid in filled} if self.clock > AFTER_THE_CROSS_NS else set()
        for place in places:
            line = [oid for kind, oid in self.lines[place] if kind == "order"]
            at_place = {oid for oid in line if oid in filled}
            stay = [oid for oid in line if oid in filled or oid not in leaving]
            assert set(stay[: len(at_place)]) == at_place
            self.levels_filled += 1
            self.passed_over += set(line[: len(at_place)]) != at_place
        return filled

    levels_filled = passed_over = 0


AFTER_THE_CROSS_NS = ESH4_OPEN_NS + 10**9


@needs_esh4
@pytest.mark.slow  # the oracle goes through 69,000 records and 72,000 virtual orders
def test_every_bin_of_the_real_hour() -> None:
    records = read_records(ESH4)
    params, end = EngineParams(), ESH4_OPEN_NS + HOUR_NS
    engine = Engine(params, tick_int=ES_TICK_INT, start_ns=ESH4_OPEN_NS, end_ns=end, virtual_bins=36_000)
    for _ in engine.blocks(records, ESH4_ID):
        pass
    naive = VenueQueues(params, ES_TICK_INT, ESH4_OPEN_NS, end, False)
    naive.feed(records, ESH4_ID)
    found = engine.fills()[:, : len(naive.bins)]
    np.testing.assert_array_equal(found, naive.fills())
    assert np.unique(found[:, :, 3]).tolist() == [0, BEHIND, WORSE_PRICE, RESTS]
    assert (naive.levels_filled, naive.passed_over) == (2844, 87)


@pytest.mark.parametrize("n", [1, 2, 7, 64])
def test_the_best_rank_leaves_the_heap_first(n: int) -> None:
    rng = np.random.default_rng(n)
    heaps, in_heap = np.zeros((2, n), np.int64), np.zeros(2, np.int64)
    for _ in range(20):
        ranks = rng.integers(-50, 50, n).tolist()
        for rank in ranks:
            _push(heaps, in_heap, 1, rank)
        found = []
        while in_heap[1]:
            found.append(int(heaps[1, 0]))
            _pop(heaps, in_heap, 1)
        assert found == sorted(ranks)
    assert in_heap[0] == 0


def test_a_trade_without_a_price_fills_nobody_by_its_price() -> None:
    records = random_tape(5, 300)
    trades = np.flatnonzero(records["action"] == TRADE)
    records["price"][trades[::2]] = 2**63 - 1
    assert len(trades) > 10
    compared(records)


def test_the_traps_of_an_evening() -> None:
    compared(evening.evening(), evening.END_NS - (evening.END_NS - START_NS) % 20_000_000)


@pytest.mark.compiled
@pytest.mark.parametrize("chunk", [1, 7, 100])
def test_frames_and_fills_do_not_depend_on_each_other_or_on_chunks(chunk: int) -> None:
    records = random_tape(5, 400)
    plain = Engine(PARAMS, tick_int=TICK_INT, start_ns=START_NS, end_ns=END_NS).feed(records, INSTRUMENT)
    whole, parts = engine_of(), engine_of()
    frames = whole.feed(records, INSTRUMENT)
    for first in range(0, len(records), chunk):
        parts.feed(records[first : first + chunk], INSTRUMENT)
    np.testing.assert_array_equal(whole.fills(), parts.fills())
    assert all((frames.bins[name] == column).all() for name, column in plain.bins.items())
    assert all((frames.grid[name] == column).all() for name, column in plain.grid.items())


@pytest.mark.parametrize("kept", [1, 3, 20])
def test_a_stream_without_end_follows_the_last_bins_only(kept: int) -> None:
    records = random_tape(11, 300)
    whole, last = engine_of(), engine_of(bins=kept)
    n = len(whole.feed(records, INSTRUMENT))
    expected = whole.fills()
    seen = np.full((2, n), WAITING)
    done = 0
    for record in range(len(records)):
        done += len(last.feed(records[record : record + 1], INSTRUMENT))
        for seq in range(max(done - kept, 0), done):
            seen[:, seq] = np.where(seen[:, seq] >= 0, seen[:, seq], last.fills()[:, seq % kept, 1])
    states = expected[:, :n, 1]
    soon = (states >= 0) & (states <= np.arange(n) + kept)
    np.testing.assert_array_equal(seen[soon], states[soon])
    assert (seen[(states >= 0) & ~soon] < 0).all()
    assert soon.any()


# -- corner cases, one by one: a bid of 5 at 100 (order 1), an ask of 5 at 102 (order 2), our orders join at bin 0's end


class Story(Tape):
    def __init__(self) -> None:
        super().__init__(START_NS)
        self.add(CLEAR, flags=F_SNAPSHOT)
        self.add(ADD, 1, 100, 5, BID, F_SNAPSHOT)
        self.add(ADD, 2, 102, 5, ASK, F_SNAPSHOT | F_LAST)

    def event(self, after_ms: int, *records: tuple[int, ...]) -> Story:
        self.clock += after_ms * 1_000_000
        for i, (action, order_id, tick, size, side) in enumerate(records):
            self.add(action, order_id, tick, size, side, F_LAST if i == len(records) - 1 else 0)
        return self

    def trade(self, after_ms: int, order_id: int, tick: int, size: int, *changes: tuple[int, ...]) -> Story:
        return self.event(
            after_ms, (TRADE, 9, tick, size, ASK), (FILL, order_id, tick, size, BID),
            *(changes or ((CANCEL, order_id, tick, size, BID),)),
        )  # fmt: skip

    def bid(self) -> list[int]:
        """Bin of the fill, and reason, of the order that joins the bid at the end of bin 0."""
        self.event(100, (ADD, 999, 90, 1, BID))
        found = compared(self.records(), START_NS + 30 * 20_000_000)
        return found[0, 0, [1, 3]].tolist()


BEHIND_US = (ADD, 3, 100, 4, BID)

STORIES = {
    "an order in front is filled": (lambda s: s.event(25, BEHIND_US).trade(20, 1, 100, 5), [WAITING, 0]),
    "an order behind is filled": (
        lambda s: s.event(25, BEHIND_US).trade(20, 1, 100, 5).trade(20, 3, 100, 1), [3, BEHIND],
    ),
    "a larger order loses its place": (
        lambda s: s.event(25, (MODIFY, 1, 100, 6, BID)).trade(20, 1, 100, 1), [2, BEHIND],
    ),
    "a smaller order keeps it": (
        lambda s: s.event(25, (MODIFY, 1, 100, 3, BID)).trade(20, 1, 100, 1), [WAITING, 0],
    ),
    "an order that comes back loses it": (
        lambda s: s.event(25, (MODIFY, 1, 99, 5, BID)).event(1, (MODIFY, 1, 100, 5, BID)).trade(20, 1, 100, 1),
        [2, BEHIND],
    ),
    "a modify of an unknown order may be in front": (
        lambda s: s.event(25, (MODIFY, 77, 100, 5, BID)).trade(20, 77, 100, 1), [WAITING, 0],
    ),
    "hidden size comes to the end": (lambda s: s.trade(45, 1, 100, 6, (MODIFY, 1, 100, 4, BID)), [2, BEHIND]),
    "an order loaded anew stands behind": (
        lambda s: s.trade(25, 1, 100, 5, (MODIFY, 1, 100, 5, BID)).trade(20, 1, 100, 1), [2, BEHIND],
    ),
    "a trade at the price without a fill": (
        lambda s: s.event(45, (TRADE, 0, 100, 50, NO_SIDE), (CANCEL, 1, 100, 1, BID)), [WAITING, 0],
    ),
    "a fill of an unknown order at the price": (
        lambda s: s.event(45, (TRADE, 9, 100, 1, ASK), (FILL, 55, 100, 1, BID)), [WAITING, 0],
    ),
    "an aggressor's own fill": (
        lambda s: s.event(25, BEHIND_US).event(20, (TRADE, 3, 102, 1, BID), (FILL, 3, 100, 1, BID)), [WAITING, 0],
    ),
    "a trade below": (lambda s: s.event(45, (TRADE, 9, 99, 1, ASK), (CANCEL, 8, 99, 1, BID)), [2, WORSE_PRICE]),
    "a cross below": (lambda s: s.event(45, (TRADE, 0, 98, 1, NO_SIDE), (CANCEL, 8, 99, 1, BID)), [2, WORSE_PRICE]),
    "a trade above": (lambda s: s.event(45, (TRADE, 9, 102, 1, BID), (CANCEL, 8, 99, 1, BID)), [WAITING, 0]),
    "an ask at our bid": (
        lambda s: s.event(25, (ADD, 3, 98, 1, BID), (CANCEL, 1, 100, 5, BID)).event(20, (ADD, 4, 100, 1, ASK)),
        [2, RESTS],
    ),
    "an ask that leaves within the event": (
        lambda s: s.event(25, (ADD, 3, 98, 1, BID), (CANCEL, 1, 100, 5, BID)).event(
            20, (ADD, 4, 100, 1, ASK), (CANCEL, 4, 100, 1, ASK)
        ),
        [WAITING, 0],
    ),
    "an ask in a crossed book": (lambda s: s.event(45, (ADD, 4, 100, 1, ASK)), [WAITING, 0]),
    "a clear": (
        lambda s: s.event(45, (CLEAR, 0, None, 0, NO_SIDE)).event(1, (TRADE, 9, 99, 1, ASK)), [GONE, 0],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", STORIES)
def test_corner_case(name: str) -> None:
    tell, expected = STORIES[name]
    assert tell(Story()).bid() == expected


def test_orders_of_a_snapshot_stand_in_front_and_ours_stays() -> None:
    story = Story()
    story.event(25, BEHIND_US)
    story.clock += 10_000_000
    for order_id, tick, size, side in ((1, 100, 5, BID), (3, 100, 4, BID), (2, 102, 5, ASK)):
        story.add(ADD, order_id, tick, size, side, F_SNAPSHOT | (F_LAST if order_id == 2 else 0))
    story.trade(10, 3, 100, 1)
    assert story.bid() == [WAITING, 0]
    story.event(1, (ADD, 6, 100, 1, BID)).trade(1, 6, 100, 1)
    assert story.bid()[1] == BEHIND
