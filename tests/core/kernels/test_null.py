"""The rotation of trades on the ring of evaluable bins, against loops written from its definition."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from vpcore.kernels import null
from vpcore.kernels.barrier import NO_TRADE
from vpcore.kernels.random import seeded


@settings(max_examples=40)
@given(
    seed=st.integers(0, 2**32),
    n_bins=st.integers(1, 80),
    hold=st.integers(1, 30),
    first=st.integers(0, 20),
    latency=st.integers(0, 3),
    n_offsets=st.sampled_from([1, 7, null.TILE, null.TILE + 3]),
)
def test_rotations_equal_the_definition(
    seed: int, n_bins: int, hold: int, first: int, latency: int, n_offsets: int
) -> None:
    rng = np.random.default_rng(seed)
    outcome = rng.choice(np.array([-1, 0, 1, NO_TRADE], np.int8), n_bins)
    net = rng.integers(-9, 10, (2, n_bins)).astype(np.int32)
    on_ring = [e for e in range(n_bins) if e >= first and e + hold <= n_bins - 1 and outcome[e] != NO_TRADE]
    bins = np.flatnonzero(rng.random(n_bins) < 0.3).astype(np.int64)
    sides = rng.choice(np.array([-1, 1], np.int8), bins.size)

    place, ring_net = np.empty(n_bins, np.int64), np.zeros((2, n_bins), np.int32)
    size = null.ring(outcome != NO_TRADE, net, first, hold, place, ring_net)
    assert size == len(on_ring)
    assert [int(place[e]) for e in on_ring] == list(range(size))
    assert (place >= 0).sum() == size

    places, rows = np.empty((2, bins.size), np.int64)
    count = null.on_ring(bins + latency, sides, place, places, rows)
    trades = [(on_ring.index(b + latency), side) for b, side in zip(bins, sides, strict=True) if b + latency in on_ring]
    assert list(zip(places[:count], 1 - 2 * rows[:count], strict=True)) == trades
    if not size:
        return
    offsets = np.empty(n_offsets, np.int64)
    null.draw_words(seeded(seed, 1), offsets)
    offsets = (offsets * size) >> 32
    assert offsets.min() >= 0
    assert offsets.max() < size
    offsets.sort()
    sums = np.empty(n_offsets, np.int64)
    null.rotate(places[:count], rows[:count], ring_net, size, offsets, sums)
    for offset, total in zip(offsets, sums, strict=True):
        # Every trade moves by the same number of places and keeps its side: spacing, runs and mix stay.
        moved = [(on_ring[(at + offset) % size], side) for at, side in trades]
        assert total == sum(int(net[0 if side > 0 else 1, e]) for e, side in moved)


def test_offsets_are_uniform() -> None:
    words = np.empty(200_000, np.int64)
    null.draw_words(seeded(3, 0), words)
    counts = np.bincount((words * 50) >> 32, minlength=50)
    assert counts.size == 50
    assert ((counts - 4000) ** 2 / 4000).sum() == pytest.approx(49, abs=4 * np.sqrt(98))
