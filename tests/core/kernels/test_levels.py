"""Price levels and orders of the book, one function at a time, against plain dictionaries."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from vpcore.kernels import levels
from vpcore.kernels.hashing import ROW, find_slot
from vpcore.kernels.state import (
    ASK_SIDE,
    BEST_ASK,
    BEST_BID,
    BID_SIDE,
    GROUP,
    N_ORDERS,
    NO_ASK,
    NO_BID,
    PAGE_BITS,
    WHOLE_PAGES,
    grow_levels,
    make_book,
)

PLACES = (-5000, -64, -1, 0, 1, 63, 64, 100, 130, 9000)


@pytest.fixture
def book() -> Any:
    return make_book(1 << 8, 64, np.array([1e9, 1e9, 1e9], np.float64))


def rest(book: Any, tick: int, side: int, size: int) -> None:
    assert levels.make_level(book, tick)
    page = levels.find_page(book, tick >> PAGE_BITS)
    levels.change_depth(book, page, levels.level_of(book, page, tick), tick, side, size)


@pytest.mark.parametrize("seed", range(6))
def test_the_best_prices_are_the_nearest_with_orders(book: Any, seed: int) -> None:
    """Depth comes and goes at scattered prices, and the book is cleared now and then."""
    rng = np.random.default_rng(seed)
    depth: dict[tuple[int, int], int] = {}
    for _ in range(400):
        tick, side = int(rng.choice(PLACES)) + int(rng.integers(0, 3)), int(rng.integers(0, 2))
        size = -depth.pop((tick, side)) if depth.get((tick, side)) else 2
        rest(book, tick, side, size)
        if size > 0:
            depth[tick, side] = size
        if rng.random() < 0.02:
            levels.clear_book(book)
            depth.clear()
        levels.settle_best(book)
        bids, asks = ([tick for tick, of in depth if of == side] for side in (BID_SIDE, ASK_SIDE))
        assert book.ints[BEST_BID] == max(bids, default=NO_BID)
        assert book.ints[BEST_ASK] == min(asks, default=NO_ASK)


@pytest.mark.parametrize("many", [3, 300])
def test_a_clear_drops_few_orders_of_a_large_table_and_many(many: int) -> None:
    book = make_book(1 << 12, 64, np.array([1e9, 1e9, 1e9], np.float64))
    rng = np.random.default_rng(many)
    for _ in range(3):
        for order in rng.integers(1, 2**40, many):
            rest(book, 100, BID_SIDE, 0)
            levels.set_snapshot_order(book, int(order), 200, 1)
        assert book.ints[N_ORDERS] == many
        levels.clear_book(book)
        assert not book.table[:, ROW].any()
        assert book.ints[N_ORDERS] == 0
        assert sorted(book.free.tolist()) == list(range(len(book.free)))
        assert int(levels.level_depth(book, 100, BID_SIDE)) == 0


def test_pages_and_levels_grow_each_on_its_own() -> None:
    book = make_book(1 << 8, 2, np.array([1e9, 1e9, 1e9], np.float64))
    ticks = [*range(40), 1000, -1000, 5000, 10**9]
    for tick in ticks:
        while not levels.make_level(book, tick):
            before = len(book.levels), len(book.pages)
            book = grow_levels(book)
            assert (len(book.levels), len(book.pages)) != before
        rest(book, tick, BID_SIDE, 1 + tick % 7)
    assert [int(levels.level_depth(book, tick, BID_SIDE)) for tick in ticks] == [1 + tick % 7 for tick in ticks]
    assert book.ints[BEST_BID] == 10**9


def test_pages_far_beyond_many_have_levels_where_orders_rest_alone() -> None:
    book = make_book(1 << 8, 2, np.array([1e9, 1e9, 1e9], np.float64))
    far = WHOLE_PAGES << PAGE_BITS
    ticks = [*range(0, far, 1 << PAGE_BITS), far, far + GROUP, far + 5 * GROUP + 1]
    for tick in ticks:
        while not levels.make_level(book, tick):
            book = grow_levels(book)
    for tick in ticks[-3:]:
        rest(book, tick, ASK_SIDE, 2)
    page = levels.find_page(book, far >> PAGE_BITS)
    assert int(levels.level_of(book, page, far + 2 * GROUP)) == -1
    assert [int(levels.level_depth(book, tick, ASK_SIDE)) for tick in ticks[-3:]] == [2, 2, 2]
    levels.clear_book(book)
    assert [int(levels.level_depth(book, tick, ASK_SIDE)) for tick in ticks[-3:]] == [0, 0, 0]
    assert book.ints[BEST_ASK] == NO_ASK


def test_depth_of_a_price_without_a_page_is_0(book: Any) -> None:
    rest(book, 100, BID_SIDE, 3)
    assert [int(levels.level_depth(book, tick, BID_SIDE)) for tick in (100, 101, 10**6)] == [3, 0, 0]


def test_a_snapshot_may_name_an_order_twice_and_the_later_one_rests(book: Any) -> None:
    rest(book, 100, BID_SIDE, 0)
    rest(book, 200, ASK_SIDE, 0)
    levels.set_snapshot_order(book, 7, 100 * 2 + BID_SIDE, 5)
    levels.set_snapshot_order(book, 7, 200 * 2 + ASK_SIDE, 2)
    assert int(levels.level_depth(book, 100, BID_SIDE)) == 0
    assert int(levels.level_depth(book, 200, ASK_SIDE)) == 2
    assert find_slot(book.table, 7) >= 0
