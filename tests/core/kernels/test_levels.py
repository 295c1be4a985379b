"""Price levels and orders of the book, one function at a time, against plain dictionaries."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from vpcore.kernels import levels
from vpcore.kernels.hashing import find_slot
from vpcore.kernels.state import ASK_SIDE, BID_SIDE, NO_ASK, NO_BID, PAGE_BITS, make_book

PLACES = (-5000, -64, -1, 0, 1, 63, 64, 100, 130, 9000)


@pytest.fixture
def book() -> Any:
    return make_book(1 << 8, 64, np.array([1e9, 1e9, 1e9], np.float64))


def rest(book: Any, tick: int, side: int, size: int) -> None:
    page = levels.make_page(book, tick >> PAGE_BITS)
    assert page
    levels.change_depth(book, levels.find_page(book, tick >> PAGE_BITS), tick, side, size)


@pytest.mark.parametrize("seed", range(4))
def test_the_next_price_of_a_side_is_the_nearest_with_orders(book: Any, seed: int) -> None:
    rng = np.random.default_rng(seed)
    there = {side: sorted(rng.choice(PLACES, 3, replace=False).tolist()) for side in (BID_SIDE, ASK_SIDE)}
    for side, ticks in there.items():
        for tick in ticks:
            rest(book, tick, side, 2)
    for tick in (*PLACES, *(place - 1 for place in PLACES), *(place + 1 for place in PLACES)):
        assert levels._next_bid(book, tick) == max((t for t in there[BID_SIDE] if t <= tick), default=NO_BID)
        assert levels._next_ask(book, tick) == min((t for t in there[ASK_SIDE] if t >= tick), default=NO_ASK)


def test_depth_of_a_price_without_a_page_is_0(book: Any) -> None:
    rest(book, 100, BID_SIDE, 3)
    assert [int(levels.level_depth(book, tick, BID_SIDE)) for tick in (100, 101, 10**6)] == [3, 0, 0]


def test_a_snapshot_may_name_an_order_twice_and_the_later_one_rests(book: Any) -> None:
    rest(book, 100, BID_SIDE, 0)
    rest(book, 200, ASK_SIDE, 0)
    levels.set_snapshot_order(book, 7, 100, 5, BID_SIDE)
    levels.set_snapshot_order(book, 7, 200, 2, ASK_SIDE)
    assert int(levels.level_depth(book, 100, BID_SIDE)) == 0
    assert int(levels.level_depth(book, 200, ASK_SIDE)) == 2
    assert find_slot(book.keys, book.rows, 7) >= 0
