"""Rows of several engines are one family: shared rotations within a bin width, Bonferroni over widths."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from vpcore.experiment.engines import SESSION
from vpcore.inference.blocks import engines_of
from vpcore.inference.ranking import Family, adjusted

NAMES = ("A | B | C", {"A": "100 ms", "B": "100 ms", "C": "200 ms"})


def test_the_session_of_a_dataset_is_its_id_without_the_digest() -> None:
    one, two = "ES_2024-01-02_0900_1000__open__0123abcd", "ES_2024-01-03_0900_1000__open__89abcdef"
    frame = pl.DataFrame({"dataset_id": [one, two, f"{one} + {two}", "other"]})
    assert frame.select(SESSION).to_series().to_list() == [
        one[:-8], two[:-8], f"{one[:-8]} + {two[:-8]}", "other"
    ]  # fmt: skip


def test_a_family_names_the_datasets_of_every_engine() -> None:
    assert engines_of("a + b | c + d") == [["a", "b"], ["c", "d"]]
    assert engines_of("a") == [["a"]]


def test_engines_with_bins_of_one_width_share_a_ring() -> None:
    family = Family("sweep", NAMES[0], 1, rings=NAMES[1])
    assert family.rings_of(pl.Series(["A", "C", "B", "A"])).to_list() == [0, 1, 0, 0]
    assert Family("sweep", "A", 1).rings_of(pl.Series(["A", "A"])).to_list() == [0, 0]
    # A dataset of unknown width shares with none.
    assert Family("sweep", NAMES[0], 1, rings={"A": "100 ms"}).rings_of(pl.Series(["A", "B"])).to_list() == [0, 1]


def test_step_down_runs_within_a_width_and_bonferroni_over_widths() -> None:
    rng = np.random.default_rng(4)
    sums = rng.integers(-50, 50, (6, 200))
    sums[:, 0] = (90, 40, 10, 120, 30, 0)
    rotated = pl.Series(sums.tolist(), dtype=pl.List(pl.Int32))
    one, other = (pl.Series(values, dtype=pl.Int64) for values in ([0] * 6, [0, 0, 0, 1, 1, 1]))
    assert (adjusted(rotated, one) == adjusted(rotated)).all()
    parts = np.concatenate([adjusted(rotated[:3]), adjusted(rotated[3:])])
    assert (adjusted(rotated, other) == np.minimum(1.0, 2 * parts)).all()
    assert adjusted(rotated, other)[0] == pytest.approx(2 / 200)


def test_false_winners_over_two_widths_stay_below_the_level() -> None:
    """Rows of two widths resemble each other; their draws do not know of it."""
    rng, level, n, found = np.random.default_rng(1), 0.05, 300, 0
    rings = pl.Series([0] * 10 + [1] * 10, dtype=pl.Int64)
    for _ in range(n):
        common = rng.normal(size=(10, 1))
        observed = np.concatenate([common + 0.3 * rng.normal(size=(10, 1)) for _ in range(2)])
        draws = np.concatenate([rng.normal(size=(10, 99)) * 1.044 for _ in range(2)])
        sums = np.rint(1000 * np.concatenate([observed, draws], axis=1)).astype(int)
        found += bool((adjusted(pl.Series(sums.tolist(), dtype=pl.List(pl.Int32)), rings) <= level).any())
    assert found / n <= level + 2 * np.sqrt(level * (1 - level) / n)
