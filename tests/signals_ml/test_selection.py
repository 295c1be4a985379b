"""A fit sees resolved labels only, its validation part comes after and is purged, and weights are as written."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from vpcore_signals_ml.labels import DOWN, NEVER, NONE, UNKNOWN, UP
from vpcore_signals_ml.selection import Selection, balanced, choose, uniqueness

EVERY = np.ones(400, dtype=bool)


def selection(**changes):
    plain = {
        "window_bins": 0,
        "stride_bins": 1,
        "half_life_bins": 0,
        "uniqueness": False,
        "validation_share": 0.0,
        "latency_bins": 1,
    }
    return Selection(**(plain | changes))


def market(n=400, seed=0):
    """Return features that hold their own row number, and labels that take 1 to 30 bins."""
    rng = np.random.default_rng(seed)
    seq = np.arange(n) + 100
    y = rng.choice([DOWN, UP, NONE, UNKNOWN], n, p=[0.4, 0.4, 0.1, 0.1]).astype(np.int8)
    resolved = np.where(y == UNKNOWN, NEVER, seq + rng.integers(1, 31, n))
    return np.arange(n, dtype=float).reshape(-1, 1), seq, y, resolved


@settings(max_examples=30)
@given(seed=st.integers(0, 99), row=st.integers(150, 399), share=st.sampled_from([0.0, 0.2, 0.5]))
def test_only_the_resolved_is_learned_and_the_validation_part_is_purged(seed, row, share):
    x, seq, y, resolved = market(seed=seed)
    ready = np.arange(len(x)) >= 20
    chosen = choose(x, seq, y, resolved, ready=ready, row=row, selection=selection(validation_share=share))
    train, valid = chosen.x[:, 0].astype(int), chosen.x_valid[:, 0].astype(int)
    usable = [i for i in range(20, row + 1) if y[i] in (UP, DOWN) and resolved[i] <= seq[row]]
    n_valid = int(len(usable) * share)
    cut = len(usable) - n_valid
    assert valid.tolist() == usable[cut:]
    kept = [i for i in usable[:cut] if not n_valid or resolved[i] < seq[usable[cut]]]
    assert train.tolist() == kept
    if share:
        assert len(kept) < cut  # the purge had something to do
    assert (chosen.y == (y[train] == UP)).all()


def test_the_future_does_not_matter():
    x, seq, y, resolved = market()
    first = choose(
        x, seq, y, resolved, ready=EVERY, row=250, selection=selection(validation_share=0.3, uniqueness=True)
    )
    y, resolved, x = y.copy(), resolved.copy(), x.copy()
    later = resolved > seq[250]
    y[later], x[251:] = UP, -1.0
    resolved[later] += 1000 * (resolved[later] < NEVER)
    again = choose(
        x, seq, y, resolved, ready=EVERY, row=250, selection=selection(validation_share=0.3, uniqueness=True)
    )
    for name in ("x", "y", "weight", "x_valid", "y_valid", "weight_valid"):
        assert getattr(first, name).tobytes() == getattr(again, name).tobytes()


def test_window_and_stride():
    x, seq, y, resolved = market()
    chosen = choose(x, seq, y, resolved, ready=EVERY, row=399, selection=selection(window_bins=200, stride_bins=3))
    rows = chosen.x[:, 0].astype(int)
    assert rows.min() >= 200
    assert ((seq[rows] - seq[0]) % 3 == 0).all()


def test_the_examples_of_each_side_are_counted():
    x, seq, y, resolved = market()
    y[:] = DOWN
    y[:9] = UP
    resolved[:] = seq + 1
    chosen = choose(x, seq, y, resolved, ready=EVERY, row=399, selection=selection())
    assert chosen.counts == (9, 390)  # the label of the last bin is not resolved


def test_both_classes_weigh_the_same_and_old_examples_less():
    x, seq, y, resolved = market()
    chosen = choose(x, seq, y, resolved, ready=EVERY, row=399, selection=selection(half_life_bins=50))
    w, up = chosen.weight, chosen.y == 1.0
    assert w.mean() == pytest.approx(1.0)
    assert w[up].sum() == pytest.approx(w[~up].sum())
    age = 399 - chosen.x[:, 0]
    for side in (up, ~up):
        ratio = w[side] / np.exp2(-age[side] / 50)
        assert np.ptp(ratio) < 1e-9 * ratio.max()
    lone = balanced(np.array([1.0, 3.0]), np.array([1.0, 1.0]))
    assert lone.tolist() == [0.5, 1.5]


@settings(max_examples=30)
@given(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 20)), min_size=1, max_size=30))
def test_uniqueness_is_that_of_the_book(spans):
    spans.sort()
    first = np.array([a for a, _ in spans])
    last = np.array([a + length for a, length in spans])
    open_ = np.array([[a <= b <= z for b in range(100)] for a, z in zip(first, last, strict=True)])
    concurrent = open_.sum(axis=0)
    expected = [np.mean(1 / concurrent[row]) for row in open_]
    assert uniqueness(first, last) == pytest.approx(np.array(expected))
