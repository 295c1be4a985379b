"""In-sample and out-of-sample parts: which trades are where, and that nothing leaks from one into the other."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from vpcore.backtest.config import EvalConfig
from vpcore.backtest.cross_validation import Cuts, SplitSpec, cut_trades, make_cuts
from vpcore.errors import ConfigError

Trade = tuple[int, int, float]
"""Decided, left, paid."""


def spec_of(text: str, **more: Any) -> SplitSpec:
    return SplitSpec.model_validate({"method": text, **more})


# -- the oracle: one trade after the other, every bin of its label written out -----------------------------------------


def slow(cuts: Cuts, trades: list[Trade]) -> tuple[list[list[float]], list[list[int]]]:
    """Sums of each group, and which trades each fold is trained on."""
    groups = [set(range(int(cuts.bounds[g]), int(cuts.bounds[g + 1]))) for g in range(cuts.test.shape[1])]
    sums = [[paid for decided, _, paid in trades if decided in group] for group in groups]
    kept = []
    for fold in range(cuts.test.shape[0]):
        forbidden_label: set[int] = set()
        forbidden_start: set[int] = set()
        for g in np.flatnonzero(cuts.test[fold]):
            last = max(groups[g])
            forbidden_label |= groups[g] | set(range(last + 1, last + 1 + cuts.longest))
            forbidden_start |= set(range(last + 1 + cuts.longest, last + 1 + cuts.longest + cuts.embargo))
        trained = [
            i
            for i, (decided, left, _) in enumerate(trades)
            if any(decided in groups[g] for g in np.flatnonzero(cuts.train[fold]))
            and not set(range(decided, left + 1)) & forbidden_label
            and decided not in forbidden_start
        ]
        kept.append(trained)
    return sums, kept


@st.composite
def cases(draw: st.DrawFn) -> tuple[Cuts, list[list[Trade]]]:
    method = draw(st.sampled_from(["holdout", "walk_forward", "kfold", "combinatorial"]))
    more: dict[str, Any] = {"embargo_bins": draw(st.integers(0, 6))}
    if method != "holdout":
        more["groups"] = draw(st.integers(3, 6))
    if method == "combinatorial":
        more["test_groups"] = draw(st.integers(1, 2))
    if method == "walk_forward" and draw(st.booleans()):
        more["train_groups"] = draw(st.integers(1, 3))
    n_bins, first, longest = draw(st.integers(20, 80)), draw(st.integers(0, 9)), draw(st.integers(1, 12))
    cuts = make_cuts(spec_of(method, **more), first_bin=first, n_bins=n_bins, longest=longest)
    rows = []
    for _ in range(draw(st.integers(1, 3))):
        decided = sorted(draw(st.sets(st.integers(first, n_bins - 1), max_size=20)))
        rows.append(
            [(i, min(n_bins - 1, i + draw(st.integers(1, longest))), draw(st.integers(-6, 6)) / 2) for i in decided]
        )
    return cuts, rows


def cut(cuts: Cuts, rows: list[list[Trade]]) -> dict[str, np.ndarray]:
    flat = [trade for row in rows for trade in row]
    decided, left = (np.array([trade[i] for trade in flat], dtype=np.int64) for i in (0, 1))
    paid = np.array([trade[2] for trade in flat], dtype=np.float64)
    offsets = np.cumsum([0, *map(len, rows)])
    values = {"trades": np.ones(len(flat), dtype=np.int64), "net_ticks": paid}
    return cut_trades(cuts, decided, left, values, offsets)


@given(cases())
@settings(max_examples=300)
def test_purging_and_embargo_are_those_of_the_oracle(case: tuple[Cuts, list[list[Trade]]]) -> None:
    cuts, rows = case
    found = cut(cuts, rows)
    for r, trades in enumerate(rows):
        sums, kept = slow(cuts, trades)
        assert found["group_trades"][r].tolist() == [len(group) for group in sums]
        assert found["group_net_ticks"][r].tolist() == [sum(group) for group in sums]
        assert found["train_trades"][r].tolist() == [len(trained) for trained in kept]
        assert found["train_net_ticks"][r].tolist() == [sum(trades[i][2] for i in trained) for trained in kept]


def test_by_hand() -> None:
    """Four groups of ten bins, labels of at most 3 bins, 2 bins of embargo; the second group is tested."""
    cuts = make_cuts(spec_of("kfold", groups=4, embargo_bins=2), first_bin=0, n_bins=40, longest=3)
    trades = [(5, 6, 1.0), (8, 9, 2.0), (8, 10, 4.0), (15, 16, 8.0), (21, 22, 16.0), (23, 24, 32.0), (24, 25, 64.0), (25, 26, 128.0), (39, 39, 256.0)]  # fmt: skip
    found = cut(cuts, [trades])
    # 8 to 10 reaches into the test part; 21 lies where its labels may still be open; 23 and 24 are the embargo.
    assert found["train_net_ticks"][0, 1] == 1 + 2 + 128 + 256
    assert found["group_net_ticks"][0].tolist() == [7, 8, 240, 256]
    assert found["train_trades"][0, 1] == 4


# -- folds -------------------------------------------------------------------------------------------------------------


def test_folds() -> None:
    train, test = spec_of("holdout").folds(2)
    assert (train.tolist(), test.tolist()) == ([[True, False]], [[False, True]])
    train, test = spec_of("walk_forward").folds(4)
    assert [np.flatnonzero(row).tolist() for row in train] == [[0], [0, 1], [0, 1, 2]]
    assert [np.flatnonzero(row).tolist() for row in test] == [[1], [2], [3]]
    train, _ = spec_of("walk_forward", train_groups=2).folds(5)
    assert [np.flatnonzero(row).tolist() for row in train] == [[0], [0, 1], [1, 2], [2, 3]]
    train, test = spec_of("kfold").folds(3)
    assert (train == ~test).all()
    assert (test == np.eye(3, dtype=bool)).all()
    train, test = spec_of("combinatorial", test_groups=2).folds(6)
    assert test.shape == (15, 6)
    assert (train == ~test).all()
    assert sorted(tuple(np.flatnonzero(row)) for row in test) == list(itertools.combinations(range(6), 2))
    assert (test.sum(axis=0) == 5).all()  # as many paths: 15 x 2 / 6 (Lopez de Prado 2018, 12.4)
    train, test = spec_of("holdout", by="session", test_share=0.4).folds(5)
    assert np.flatnonzero(test[0]).tolist() == [3, 4]
    assert np.flatnonzero(train[0]).tolist() == [0, 1, 2]


def test_groups_are_equal_and_leave_nothing_out() -> None:
    cuts = make_cuts(spec_of("walk_forward", groups=7), first_bin=100, n_bins=1003, longest=10)
    assert (cuts.bounds[0], cuts.bounds[-1]) == (100, 1003)
    assert set(np.diff(cuts.bounds)) == {129}
    cuts = make_cuts(spec_of("holdout", test_share=0.25), first_bin=100, n_bins=500, longest=10)
    assert cuts.bounds.tolist() == [100, 400, 500]


# -- leaks -------------------------------------------------------------------------------------------------------------


def test_without_purging_training_overlaps_the_test() -> None:
    """No label that is trained on shares a bin with one that is tested; without purging many do."""
    rng = np.random.default_rng(0)
    longest = 60
    cuts = make_cuts(spec_of("combinatorial", groups=6), first_bin=0, n_bins=3000, longest=longest)
    decided = np.sort(rng.choice(2900, 400, replace=False))
    left = decided + rng.integers(1, longest + 1, 400)

    def overlaps(mask_of: Any) -> int:
        count = 0
        for fold in range(cuts.test.shape[0]):
            tested = np.isin(np.searchsorted(cuts.bounds, decided, side="right") - 1, np.flatnonzero(cuts.test[fold]))
            trained = mask_of(fold)
            assert not (trained & tested).any()
            bins = np.zeros(3100, dtype=bool)
            for a, b in zip(decided[tested], left[tested], strict=True):
                bins[a : b + 1] = True
            count += sum(bins[a : b + 1].any() for a, b in zip(decided[trained], left[trained], strict=True))
        return count

    one_each = {"trades": np.ones(400, dtype=np.int64)}
    offsets = np.arange(401)  # every trade a row of its own, so that the counts say where it is
    purged = cut_trades(cuts, decided, left, one_each, offsets)["train_trades"].astype(bool)
    raw = cut_trades(Cuts(cuts.bounds, cuts.train, cuts.test, 0, 0), decided, decided, one_each, offsets)
    assert overlaps(lambda fold: purged[:, fold]) == 0
    assert overlaps(lambda fold: raw["train_trades"][:, fold].astype(bool)) > 100


def test_without_purging_noise_looks_as_if_it_lasted() -> None:
    """Rows that go one way for a while, at random, on a random walk: chosen on labels that share bins with the test part
    they pay there too, and a fortune; purged they pay nothing."""
    hold, n_groups, size, n_rows, regime = 200, 6, 100, 100, 300
    decided = np.arange(0, n_groups * size, 10)
    left, n = decided + hold, decided.size
    cuts = make_cuts(spec_of("kfold", groups=n_groups), first_bin=0, n_bins=n_groups * size, longest=hold)
    raw = Cuts(cuts.bounds, cuts.train, cuts.test, 0, 0)
    paid: dict[str, list[float]] = {"purged": [], "raw": []}
    for seed in range(60):
        rng = np.random.default_rng(seed)
        walk = np.cumsum(rng.choice([-1, 1], n_groups * size + hold))
        sides = [
            rng.choice([-1, 1], n_groups * size // regime + 2)[(decided + rng.integers(regime)) // regime]
            for _ in range(n_rows)
        ]
        values = {
            "trades": np.ones(n * n_rows, dtype=np.int64),
            "net_ticks": np.concatenate(sides) * np.tile(walk[left] - walk[decided], n_rows) * 1.0,
        }
        every, offsets = np.tile(decided, n_rows), np.arange(n_rows + 1) * n
        for name, one, ends in (("purged", cuts, every + hold), ("raw", raw, every)):
            found = cut_trades(one, every, ends, values, offsets)
            best = np.argmax(found["train_net_ticks"] / np.maximum(found["train_trades"], 1), axis=0)
            paid[name].append(found["group_net_ticks"][best, np.arange(n_groups)].sum() / n)
    error = {name: np.std(nets) / np.sqrt(60) for name, nets in paid.items()}
    assert np.mean(paid["raw"]) > 6 * error["raw"]
    assert abs(np.mean(paid["purged"])) < 2 * error["purged"]


# -- specs -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"method": "holdout", "groups": 4}, "groups belongs to walk_forward and kfold and combinatorial, method was holdout: leave it out"),
        ({"method": "kfold", "test_share": 0.2}, "test_share belongs to holdout, method was kfold"),
        ({"method": "kfold", "by": "session", "groups": 3}, "groups must be left out by session, where every session is one, was 3"),
        ({"method": "kfold", "by": "session", "embargo_bins": 3}, "embargo_bins must be left out by session: no label reaches into another, was 3"),
        ({"method": "combinatorial", "groups": 3, "test_groups": 3}, "test_groups must be less than the 3 groups, was 3"),
        ({"method": "combinatorial", "groups": 40, "test_groups": 10}, "10 of 40 groups are 847660528 folds, at most 1000 are possible"),
        ({"method": "halves"}, "Input should be 'holdout'"),
    ],
)  # fmt: skip
def test_settings_that_do_not_fit(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SplitSpec.model_validate(values)


def test_too_few_bins() -> None:
    with pytest.raises(ConfigError, match=r"eval.splits cuts 3 bins \(after the warm-up of 7\) into 5 groups"):
        make_cuts(spec_of("kfold"), first_bin=7, n_bins=10, longest=2)
    with pytest.raises(ValueError, match="needs at least 2 groups to choose on one and judge on another, was 1"):
        spec_of("kfold", by="session").folds(1)


def test_splits_are_part_of_a_run_only_where_they_cut_it() -> None:
    plain = EvalConfig().run_settings()
    assert "splits" not in plain
    assert EvalConfig.model_validate({"splits": {"method": "kfold", "by": "session"}}).run_settings() == plain
    cut = EvalConfig.model_validate({"splits": {"method": "kfold", "groups": 4}}).run_settings()
    assert {name: value for name, value in cut.items() if name != "splits"} == plain
    assert cut["splits"]["groups"] == 4
