"""The figures that know how many trials there were: golden values, hand-made cases, an independent library."""

from __future__ import annotations

import itertools
import math
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vpcore.evaluation import (
    deflated_sharpe,
    deflated_sharpes,
    expected_best_sharpe,
    overfit_probability,
    step_down,
    stepdown,
)
from vpcore.evaluation.overfit import cross_validate

# -- deflated Sharpe ratio ---------------------------------------------------------------------------------------------


def test_the_example_of_the_paper() -> None:
    """Bailey and Lopez de Prado (2014): annual SR 2.5 over 250 days, T 1250, N 100, V[SR] 1/2, skew -3, kurtosis 10."""
    variance = 0.5 / 250
    assert expected_best_sharpe(variance, 100) == pytest.approx(0.1132, abs=5e-5)
    found = deflated_sharpe(2.5 / math.sqrt(250), 1250, -3, 10, variance=variance, n_trials=100)
    assert found == pytest.approx(0.9004, abs=5e-5)


def test_one_trial_is_not_deflated_and_more_trials_deflate_more() -> None:
    assert expected_best_sharpe(0.01, 1) == 0.0
    assert expected_best_sharpe(0.0, 100) == 0.0
    found = [deflated_sharpe(0.2, 200, 0, 3, variance=0.01, n_trials=n) for n in (1, 10, 1000)]
    assert found == sorted(found, reverse=True)
    # Without deflation: the probabilistic Sharpe ratio.
    assert found[0] == pytest.approx(0.5 * (1 + math.erf(0.2 * math.sqrt(199 / 1.02) / math.sqrt(2))))


def test_the_expected_best_is_that_of_independent_normals() -> None:
    draws = np.random.default_rng(0).normal(0, 0.3, (20_000, 50)).max(axis=1)
    assert expected_best_sharpe(0.09, 50) == pytest.approx(draws.mean(), rel=0.02)  # it is an approximation


def test_what_is_not_defined_is_none() -> None:
    assert deflated_sharpe(math.nan, 100, 0, 3, variance=0.1, n_trials=5) is None
    assert deflated_sharpe(0.1, 100, math.nan, 3, variance=0.1, n_trials=5) is None
    assert deflated_sharpe(0.1, 1.0, 0, 3, variance=0.1, n_trials=5) is None


def test_many_rows_at_once_are_each_as_alone() -> None:
    rng = np.random.default_rng(6)
    columns = rng.normal(0.1, 0.2, 60), rng.uniform(0, 90, 60), rng.normal(size=60), rng.uniform(-3, 9, 60)
    for column, bad in zip(columns, (math.nan, 0.5, math.inf, math.nan), strict=True):
        column[::9] = bad
    found = deflated_sharpes(*columns, variance=0.02, n_trials=70)

    def alone(s: float, n: float, skew: float, kurtosis: float) -> float | None:
        if (
            not all(map(math.isfinite, (s, skew, kurtosis)))
            or not n > 1
            or 1 - skew * s + (kurtosis - 1) / 4 * s * s <= 0
        ):
            return None
        above = s - expected_best_sharpe(0.02, 70)
        spread = 1.0 - skew * s + (kurtosis - 1.0) / 4.0 * s * s
        return NormalDist().cdf(above * math.sqrt(n - 1.0) / math.sqrt(spread))

    assert found == [alone(*row) for row in zip(*(column.tolist() for column in columns), strict=True)]
    assert None in found


# -- step-down ---------------------------------------------------------------------------------------------------------


def test_step_down_by_hand() -> None:
    """Flips of two blocks: A (1, 1) does as well as itself in 1 of 4; of B (1, 0) alone, 2 of 4 do."""
    np.testing.assert_allclose(step_down(np.array([[1.0, 1.0], [1.0, 0.0]]), seed=0), [0.25, 0.5])
    np.testing.assert_allclose(step_down(np.array([[1.0, 0.0], [2.0, 2.0]]), seed=0), [0.5, 0.25])
    # A row of zeros is no evidence; one that loses in every block is none either.
    np.testing.assert_allclose(step_down(np.array([[0.0, 0.0], [-1.0, -1.0]]), seed=0), [1.0, 1.0])
    assert step_down(np.zeros((3, 0)), seed=0).tolist() == [1, 1, 1]
    assert step_down(np.zeros((0, 4)), seed=0).tolist() == []


def naive_step_down(blocks: np.ndarray) -> list[float]:
    """Step by step, as the paper has it: the best of those left against the maximum over those left."""

    def u(row: np.ndarray, signs: tuple[int, ...]) -> float:
        root = math.sqrt(sum(x * x for x in row))
        return sum(x * s for x, s in zip(row, signs, strict=True)) / root if root else 0.0

    n_rows, n_blocks = blocks.shape
    flips = list(itertools.product((1, -1), repeat=n_blocks))
    left, answer, before = list(range(n_rows)), [0.0] * n_rows, 0.0
    while left:
        best = max(left, key=lambda row: u(blocks[row], (1,) * n_blocks))
        own = u(blocks[best], (1,) * n_blocks)
        share = sum(max(u(blocks[row], signs) for row in left) >= own - 1e-9 for signs in flips) / len(flips)
        answer[best] = before = max(before, share)
        left.remove(best)
    return answer


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32), n_rows=st.integers(1, 6), n_blocks=st.integers(1, 6))
def test_step_down_equals_its_definition(seed: int, n_rows: int, n_blocks: int) -> None:
    blocks = np.random.default_rng(seed).normal(0.5, 1.0, (n_rows, n_blocks))
    np.testing.assert_allclose(step_down(blocks, seed=0), naive_step_down(blocks))


def counted_all(unit: np.ndarray, signs: np.ndarray, reach: np.ndarray) -> np.ndarray:
    """Every row in every draw, without leaving out what cannot matter."""
    return (np.maximum.accumulate(unit @ signs, axis=0) >= reach[:, None]).sum(axis=1)


@pytest.mark.parametrize("n_blocks", [3, 11, 12, 40, 90])
@pytest.mark.parametrize("mean", [0.0, 0.4])
def test_rows_that_cannot_matter_are_left_out_without_changing_a_bit(
    n_blocks: int, mean: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(n_blocks)
    blocks = np.round(rng.normal(mean, 2.0, (3000, n_blocks)), 1) * (rng.random((3000, n_blocks)) < 0.7)
    blocks[100:200] = blocks[:100]
    found = step_down(blocks, seed=3)
    monkeypatch.setattr(stepdown, "_as_good", counted_all)
    assert (step_down(blocks, seed=3) == found).all()
    assert found.min() > 0.0
    assert (found < 1.0).any() or n_blocks == 3


def test_drawn_flips_agree_with_all_flips() -> None:
    blocks = np.random.default_rng(3).normal(0.4, 1.0, (20, 11))
    exact = step_down(blocks, seed=0)
    drawn = step_down(blocks, seed=0, draws=2**11 - 2)
    assert (exact != drawn).any()
    np.testing.assert_allclose(drawn, exact, atol=4 * math.sqrt(0.25 / 2046))


def test_the_order_of_rows_does_not_matter_and_the_seed_decides() -> None:
    blocks = np.random.default_rng(3).normal(0.2, 1.0, (40, 30))
    p = step_down(blocks, seed=5)
    assert (step_down(blocks[::-1], seed=5)[::-1] == p).all()
    assert (step_down(blocks, seed=5) == p).all()
    assert (step_down(blocks, seed=6) != p).any()


def test_neighbours_that_depend_share_a_sign() -> None:
    """Every block twice is no more evidence than once."""
    blocks = np.random.default_rng(4).normal(0.5, 1.0, (5, 8))
    twice = np.repeat(blocks, 2, axis=1)
    np.testing.assert_allclose(step_down(twice, seed=0, width=2), step_down(blocks, seed=0))
    assert step_down(twice, seed=0).min() < step_down(blocks, seed=0).min()


def test_false_winners_are_as_rare_as_promised() -> None:
    """An hour of twelve blocks, forty dependent rows, skewed payoffs: a winner in at most 5 % plus two errors."""
    n_worlds, winners = 200, 0
    for seed in range(n_worlds):
        rng = np.random.default_rng(seed)
        pays, block = rng.choice([-4.0, 8.0], 300, p=[2 / 3, 1 / 3]), rng.integers(0, 12, 300)
        blocks = np.zeros((40, 12))
        for row in blocks:
            taken = rng.random(300) < rng.uniform(0.02, 0.3)
            np.add.at(row, block[taken], pays[taken])
        winners += step_down(blocks, seed=seed).min() <= 0.05
    assert winners / n_worlds <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / n_worlds)


def test_the_superior_set_is_that_of_arch() -> None:
    bootstrap = pytest.importorskip("arch.bootstrap")
    for seed in range(3):
        rng = np.random.default_rng(seed)
        pnl = rng.normal(0, 1, (15, 250)) + 0.5 * rng.normal(0, 1, 250)
        better = [2, 7, 11]
        pnl[better] += 0.45
        test = bootstrap.StepM(np.zeros(250), -pnl.T, size=0.05, block_size=1, reps=999, seed=seed)  # it takes losses
        test.compute()
        assert sorted(test.superior_models) == sorted(np.flatnonzero(step_down(pnl, seed=seed) <= 0.05)) == better


# -- overfitting -------------------------------------------------------------------------------------------------------


def test_a_row_that_is_always_best_is_not_overfitted() -> None:
    blocks = np.random.default_rng(0).normal(0, 1, (20, 24))
    blocks[4] += 10
    assert overfit_probability(blocks) == 0.0


def test_where_gains_are_paid_back_the_choice_is_always_wrong() -> None:
    """Every row's total is the same: who was best in one half is worst in the other."""
    blocks = np.random.default_rng(0).choice([-1.0, 1.0], (9, 8))
    blocks = np.concatenate([blocks, -blocks], axis=1)
    assert overfit_probability(blocks) == 1.0


def test_on_noise_the_choice_is_worth_nothing() -> None:
    found = [overfit_probability(np.random.default_rng(i).normal(size=(30, 32))) for i in range(40)]
    assert np.mean(found) == pytest.approx(0.5, abs=0.08)


def test_rows_are_trials_and_columns_are_time() -> None:
    """The transpose, which the paper's notation invites, is accepted and wrong: the two must be told apart."""
    blocks = np.random.default_rng(1).normal(0, 1, (12, 12))
    blocks[3] += 5
    assert overfit_probability(blocks) == 0.0
    assert overfit_probability(blocks.T.copy()) > 0.2


def test_too_little_for_a_probability() -> None:
    assert overfit_probability(np.ones((1, 20))) is None
    assert overfit_probability(np.ones((5, 3))) is None
    with pytest.raises(ValueError, match=r"must be of shape \(n_rows, n_blocks\), was \(4,\)"):
        overfit_probability(np.ones(4))
    with pytest.raises(ValueError, match=r"must be of shape \(n_rows, n_blocks\), was \(4,\)"):
        step_down(np.ones(4), seed=0)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32), n_groups=st.sampled_from([2, 4, 6]), n_rows=st.integers(1, 7))
def test_cross_validation_equals_its_definition(seed: int, n_groups: int, n_rows: int) -> None:
    blocks = np.random.default_rng(seed).integers(-3, 4, (n_groups, n_rows)).astype(float)
    halves = np.array(list(itertools.combinations(range(n_groups), n_groups // 2)), np.int64)
    chosen, share = cross_validate(blocks, blocks**2, halves)

    def score(part: np.ndarray) -> np.ndarray:
        root = np.sqrt((part**2).sum(0))
        return np.where(root > 0, part.sum(0) / np.where(root > 0, root, 1), 0.0)

    for i, half in enumerate(halves):
        inside = score(blocks[half])
        outside = score(np.delete(blocks, half, axis=0))
        best = int(np.argmax(np.round(inside, 12)))
        assert inside[chosen[i]] == pytest.approx(inside[best])
        mine = outside[chosen[i]]
        rank = (outside < mine - 1e-9).sum() + ((abs(outside - mine) <= 1e-9).sum() + 1) / 2
        assert share[i] == pytest.approx(rank / (n_rows + 1))
