"""The figures that know how many trials there were: golden values, hand-made cases, an independent library."""

from __future__ import annotations

import itertools
import math
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from random_walks import persistent, signals_of, walk
from trade_rules import rules_of

from vpcore.backtest.metrics import ring_of
from vpcore.backtest.triple_barrier import outcome_table
from vpcore.statistics import pbo
from vpcore.statistics.multiple_testing import standardised, step_down
from vpcore.statistics.pbo import cross_validate, overfit_probability
from vpcore.statistics.permutation import rotated
from vpcore.statistics.sharpe import deflated_sharpes, expected_best_sharpe

# -- deflated Sharpe ratio ---------------------------------------------------------------------------------------------


def deflated_sharpe(*figures: float, variance: float, n_trials: int) -> float:
    (found,) = deflated_sharpes(*([figure] for figure in figures), variance=variance, n_trials=n_trials)
    return float(found)


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


def test_what_is_not_defined_is_nan() -> None:
    assert math.isnan(deflated_sharpe(math.nan, 100, 0, 3, variance=0.1, n_trials=5))
    assert math.isnan(deflated_sharpe(0.1, 100, math.nan, 3, variance=0.1, n_trials=5))
    assert math.isnan(deflated_sharpe(0.1, 1.0, 0, 3, variance=0.1, n_trials=5))


def test_many_rows_at_once_are_each_as_alone() -> None:
    rng = np.random.default_rng(6)
    columns = rng.normal(0.1, 0.2, 60), rng.uniform(0, 90, 60), rng.normal(size=60), rng.uniform(-3, 9, 60)
    for column, bad in zip(columns, (math.nan, 0.5, math.inf, math.nan), strict=True):
        column[::9] = bad
    found = deflated_sharpes(*columns, variance=0.02, n_trials=70)

    def alone(s: float, n: float, skew: float, kurtosis: float) -> float:
        if (
            not all(map(math.isfinite, (s, skew, kurtosis)))
            or not n > 1
            or 1 - skew * s + (kurtosis - 1) / 4 * s * s <= 0
        ):
            return math.nan
        above = s - expected_best_sharpe(0.02, 70)
        spread = 1.0 - skew * s + (kurtosis - 1.0) / 4.0 * s * s
        return NormalDist().cdf(above * math.sqrt(n - 1.0) / math.sqrt(spread))

    expected = [alone(*row) for row in zip(*(column.tolist() for column in columns), strict=True)]
    np.testing.assert_array_equal(found, expected)
    assert 0 < np.isnan(found).sum() < 60


# -- step-down ---------------------------------------------------------------------------------------------------------


def test_step_down_by_hand() -> None:
    """Three draws. Of both rows the better (3) is reached by the maximum (3, 1, 2) once: (1 + 1) / 4. Of the worse (1)
    alone, without the better, by (0, 1, 2) twice: (2 + 1) / 4.
    """
    drawn = np.array([[0.0, 1.0, 2.0], [3.0, 0.0, 0.0]])
    assert step_down(np.array([1.0, 3.0]), drawn).tolist() == [0.75, 0.5]
    # The worse row's p-value cannot be below the better one's: here it would be 1/4 alone.
    assert step_down(np.array([2.5, 3.0]), drawn).tolist() == [0.5, 0.5]
    assert step_down(np.array([1.0]), np.empty((1, 0))).tolist() == [1.0]
    assert step_down(np.empty(0), np.empty((0, 5))).tolist() == []


def naive_step_down(observed: np.ndarray, drawn: np.ndarray) -> list[float]:
    """Step by step, as the paper has it: the best of those left against the maximum over those left."""
    left, answer, before = list(range(len(observed))), [0.0] * len(observed), 0.0
    while left:
        best = max(left, key=lambda row: observed[row])
        draws = [max(drawn[row][b] for row in left) for b in range(drawn.shape[1])]
        share = (1 + sum(value >= observed[best] for value in draws)) / (len(draws) + 1)
        answer[best] = before = max(before, share)
        left.remove(best)
    return answer


@settings(max_examples=50)
@given(seed=st.integers(0, 2**32), n_rows=st.integers(1, 8), n_draws=st.integers(0, 40), ties=st.booleans())
def test_step_down_equals_its_definition(seed: int, n_rows: int, n_draws: int, ties: bool) -> None:
    values = np.random.default_rng(seed).normal(0.5, 1.0, (n_rows, 1 + n_draws))
    values = np.rint(values) if ties else values
    found = step_down(values[:, 0], values[:, 1:])
    assert found.tolist() == naive_step_down(values[:, 0], values[:, 1:])
    order = np.random.default_rng(seed + 1).permutation(n_rows)
    assert (step_down(values[order, 0], values[order, 1:]) == found[order]).all()


def test_rows_that_are_copies_cost_nothing_and_rows_of_their_own_do() -> None:
    """Draws are joint: a thousand spellings of one trade are one trial."""
    rng = np.random.default_rng(3)
    sums = rng.integers(-50, 50, (1, 500))
    sums[0, 0] = 47
    alone = standardised(sums)
    copies = standardised(np.repeat(sums, 1000, axis=0))
    others = standardised(np.concatenate([sums, rng.integers(-50, 50, (50, 500))]))
    p = step_down(alone[:, 0], alone[:, 1:])[0]
    assert 0.0 < p < 0.05
    assert set(step_down(copies[:, 0], copies[:, 1:])) == {p}
    assert step_down(others[:, 0], others[:, 1:])[0] > 5 * p


def test_rows_are_compared_in_standard_deviations() -> None:
    sums = np.array([[5, 1, 3, -1], [7, 7, 7, 7], [0, 0, 0, 0]])
    found = standardised(sums)
    np.testing.assert_allclose(found[0], (sums[0] - 2) / math.sqrt(5), rtol=1e-6)
    assert found[1:].tolist() == [[0] * 4, [0] * 4]
    assert (standardised(np.repeat(sums, 3, axis=0))[::3] == found).all()


BARRIERS = ((2, 12), (4, 4), (12, 2))


def family(seed: int, effect: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """The joint draws of forty-five rows on one market, and what they pay in twelve blocks of time."""
    rng = np.random.default_rng(seed)
    signals = [persistent(rng, memory) for memory in (0.5, 0.8, 0.9, 0.95, 0.99)]
    market = walk(rng, effect * np.tanh(np.roll(signals[3], 1)) if effect else None)
    sums, blocks = [], []
    for tp, sl in BARRIERS:
        rules = rules_of(tp, sl, 60, "mid", warmup_bins=50)
        table = outcome_table(market, rules)
        ring = ring_of(table, rules)
        for values in signals:
            for threshold in (0.7, 1.5, 2.3):
                found = signals_of(market, values, threshold)
                sums.append(rotated(ring, found.bins + 1, found.sides, 499, str(seed)))
                entries = found.bins[found.bins + 1 < market.n_bins] + 1
                rows = (found.sides[: entries.size] < 0).astype(int)
                blocks.append(np.bincount(entries * 12 // market.n_bins, table.net[rows, entries], 12))
    return np.array(sums), np.array(blocks)


def adjusted(sums: np.ndarray) -> np.ndarray:
    values = standardised(sums)
    return step_down(values[:, 0], values[:, 1:])


def flipped(blocks: np.ndarray, n_draws: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The sum of each row over the root of its sum of squares, observed and with the signs of whole blocks flipped."""
    unit = blocks / np.sqrt((blocks**2).sum(1, keepdims=True) + 1e-12)
    signs = np.random.default_rng(seed).choice([-1.0, 1.0], (blocks.shape[1], n_draws))
    return unit.sum(1), unit @ signs


@pytest.mark.slow
def test_false_winners_are_as_rare_as_promised() -> None:
    """Take-profits much nearer than the stop and much farther, on noise: a winner in at most 5 % plus two errors.

    Flips of the signs of blocks, which are exact for symmetric payoffs, find three times as many: the test can fail.
    """
    n_worlds = 200
    families = [family(seed) for seed in range(n_worlds)]
    limit = 0.05 + 2 * math.sqrt(0.05 * 0.95 / n_worlds)
    assert np.mean([adjusted(sums).min() <= 0.05 for sums, _ in families]) <= limit
    flips = [step_down(*flipped(blocks, 499, i)).min() <= 0.05 for i, (_, blocks) in enumerate(families)]
    assert np.mean(flips) > limit


@pytest.mark.compiled
def test_an_effect_survives_the_company_of_noise() -> None:
    found = [adjusted(family(5000 + seed, effect=0.25)[0]).min() <= 0.05 for seed in range(20)]
    assert np.mean(found) >= 0.8


@pytest.mark.slow
def test_the_superior_set_is_that_of_arch() -> None:
    bootstrap = pytest.importorskip("arch.bootstrap")
    for seed in range(3):
        rng = np.random.default_rng(seed)
        pnl = rng.normal(0, 1, (15, 250)) + 0.5 * rng.normal(0, 1, 250)
        better = [2, 7, 11]
        pnl[better] += 0.45
        test = bootstrap.StepM(np.zeros(250), -pnl.T, size=0.05, block_size=1, reps=999, seed=seed)  # it takes losses
        test.compute()
        own = np.flatnonzero(step_down(*flipped(pnl, 999, seed)) <= 0.05)
        assert sorted(test.superior_models) == sorted(own) == better


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


@pytest.mark.slow
def test_on_noise_the_choice_is_worth_nothing() -> None:
    found = [overfit_probability(np.random.default_rng(i).normal(size=(30, 12))) for i in range(50)]
    assert np.mean(found) == pytest.approx(0.5, abs=0.05)


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
    with pytest.raises(ValueError, match=r"drawn of shape \(n_rows, n_draws\), were \(4,\) and \(3, 9\)"):
        step_down(np.ones(4), np.ones((3, 9)))


def test_cross_validation_in_parts_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = np.random.default_rng(5).integers(-3, 4, (6, 40)).astype(float)
    blocks[:, 20:30] = blocks[:, 5:15]  # equal rows in other parts: the first is chosen, and they share a rank
    halves = np.array(list(itertools.combinations(range(6), 3)), np.int64)
    want = cross_validate(blocks, blocks**2, halves)
    for at_once in (1, 7, 39):
        monkeypatch.setattr(pbo, "_ROWS_AT_ONCE", at_once)
        assert all(map(np.array_equal, cross_validate(blocks, blocks**2, halves), want))


@settings(max_examples=30)
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
