"""Steps across the cells of a frame against numpy; mirroring swaps the sides to the bit."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from vpcore.kernels import spatial

RADIUS = 6
K = np.arange(-RADIUS, RADIUS + 1)
ROW = np.random.default_rng(0).standard_normal(2 * RADIUS + 1)


@pytest.mark.parametrize(("near", "far"), [(1, 1), (1, 6), (2, 5), (6, 6)])
def test_band_means(near, far):
    assert spatial.bid_mean(ROW, near, far) == pytest.approx(ROW[(near <= -K) & (far >= -K)].mean())
    assert spatial.ask_mean(ROW, near, far) == pytest.approx(ROW[(near <= K) & (far >= K)].mean())
    assert spatial.bid_mean(ROW[::-1].copy(), near, far) == spatial.ask_mean(ROW, near, far)


def test_weighted_sides():
    weights = spatial.exponential_weights(RADIUS, 0.3, exclude=2)
    assert spatial.bid_weighted(ROW, weights) == pytest.approx((weights[np.abs(K)] * ROW)[K < 0].sum())
    assert spatial.ask_weighted(ROW, weights) == pytest.approx((weights[np.abs(K)] * ROW)[K > 0].sum())
    assert spatial.bid_weighted(ROW[::-1].copy(), weights) == spatial.ask_weighted(ROW, weights)


def test_weights():
    assert np.allclose(spatial.inverse_distance_weights(4), [0, 1, 1 / 2, 1 / 3, 1 / 4])
    assert np.allclose(spatial.inverse_distance_weights(4, 0.5), [0, 1, 2**-0.5, 3**-0.5, 0.5])
    assert np.allclose(spatial.exponential_weights(3, 0.5), [0, 1, np.exp(-0.5), np.exp(-1)])
    assert np.allclose(spatial.exponential_weights(3, 0.5, exclude=1), [0, 0, np.exp(-0.5), np.exp(-1)])


@pytest.mark.parametrize("counts", [(0, 0, 5), (1, 2, 3), (4, 4, 4), (0, 1, 1), (7, 0, 3)])
def test_entropy_of_counts(counts):
    share = np.array([c for c in counts if c]) / sum(counts)
    expected = -(share * np.log(share)).sum() / np.log(3)
    found = {spatial.entropy_of_counts(*order) for order in itertools.permutations(counts)}
    assert len(found) == 1
    assert found.pop() == pytest.approx(expected, abs=1e-15)


def test_entropy():
    assert spatial.entropy_of_counts(0, 0, 0) == 0.0
    assert spatial.entropy(np.zeros(3)) == 0.0
    assert spatial.entropy(np.array([2.0, 0.0, 2.0])) == pytest.approx(np.log(2))
    weights = np.array([0.2, 1.3, 4.0])
    share = weights / weights.sum()
    assert spatial.entropy(weights) == pytest.approx(-(share * np.log(share)).sum())


def test_widen_keeps_float32_values():
    row = ROW.astype(np.float32)
    out = np.zeros(len(row))
    spatial.widen(row, out)
    assert np.array_equal(out, row.astype(np.float64))
