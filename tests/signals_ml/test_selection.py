"""A fit sees resolved labels only, its validation part comes after and is purged, and weights are as written."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from vpcore_signals_ml.labels import DOWN, NEVER, NONE, UNKNOWN, UP
from vpcore_signals_ml.selection import balanced, choose, uniqueness


def market(n=400, seed=0):
    """Return features that hold their own row number, and labels that take 1 to 30 bins."""
    rng = np.random.default_rng(seed)
    seq = np.arange(n) + 100
    y = rng.choice([DOWN, UP, NONE, UNKNOWN], n, p=[0.4, 0.4, 0.1, 0.1]).astype(np.int8)
    resolved = np.where(y == UNKNOWN, NEVER, seq + rng.integers(1, 31, n))
    x, ready = np.arange(n, dtype=float).reshape(-1, 1), np.ones(n, dtype=bool)
    return SimpleNamespace(x=x, seq=seq, y=y, resolved=resolved, ready=ready, rules=SimpleNamespace(latency_bins=1))


def chosen_of(state, row=399, **params):
    return choose(state, row, SimpleNamespace(**{"train_window_bins": 0, "stride_bins": 1} | params), neutral=False)


@settings(max_examples=30)
@given(seed=st.integers(0, 99), row=st.integers(150, 399), share=st.sampled_from([0.0, 0.2, 0.5]))
def test_only_the_resolved_is_learned_and_the_validation_part_is_purged(seed, row, share):
    state = market(seed=seed)
    seq, y, resolved = state.seq, state.y, state.resolved
    state.ready[:20] = False
    chosen = chosen_of(state, row, validation_share=share)
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
    state = market()
    first = chosen_of(state, 250, validation_share=0.3, uniqueness=True)
    later = state.resolved > state.seq[250]
    state.y[later], state.x[251:] = UP, -1.0
    state.resolved[later] += 1000 * (state.resolved[later] < NEVER)
    again = chosen_of(state, 250, validation_share=0.3, uniqueness=True)
    for name in ("x", "y", "weight", "x_valid", "y_valid", "weight_valid"):
        assert getattr(first, name).tobytes() == getattr(again, name).tobytes()


def test_window_and_stride():
    state = market()
    rows = chosen_of(state, train_window_bins=200, stride_bins=3).x[:, 0].astype(int)
    assert rows.min() >= 200
    assert ((state.seq[rows] - state.seq[0]) % 3 == 0).all()


def test_the_examples_of_each_side_are_counted():
    state = market()
    state.y[:] = DOWN
    state.y[:9] = UP
    state.resolved[:] = state.seq + 1
    assert chosen_of(state).counts == (9, 390)  # the label of the last bin is not resolved


def test_both_classes_weigh_the_same_and_old_examples_less():
    chosen = chosen_of(market(), half_life_bins=50)
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
