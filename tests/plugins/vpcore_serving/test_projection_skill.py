"""The projection held against the scores that came, against a plain loop."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from vpcore import ConfigError, ProjectionConfig
from vpcore_serving.projection import project, projection_skill

WIDTH = 100_000_000


def naive(x: list[float], y: list[float]) -> float:
    if len(set(x)) < 2 or len(set(y)) < 2:
        return math.nan
    return float(np.corrcoef(x, y)[0, 1])


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32), n=st.integers(1, 60), cubic=st.booleans(), block=st.sampled_from([7, 4096]))
def test_figures_equal_those_of_a_plain_loop(seed: int, n: int, cubic: bool, block: int) -> None:
    rng = np.random.default_rng(seed)
    score, valid = rng.uniform(-1, 1, (n, 3)).round(1), rng.random(n) > 0.2
    score[:, 2] = 0.5
    config = ProjectionConfig(horizons_ms=(100, 400), use_cubic=cubic, damping_lambda=1.0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("vpcore_serving.projection.BLOCK_BINS", block)
        found = projection_skill(score, valid, config, WIDTH)
    whole = project(score, valid, config, WIDTH)
    for h, step in enumerate((1, 4)):
        pairs = [i for i in range(n - step) if valid[i] and valid[i + step]]
        assert found.n[h] == len(pairs)
        for cell in range(3):
            reach = [float(whole[i, h, cell]) for i in pairs]
            now, later = ([float(score[i + by, cell]) for i in pairs] for by in (0, step))
            change = [a - b for a, b in zip(reach, now, strict=True)], [a - b for a, b in zip(later, now, strict=True)]
            if len(pairs) > 2:
                expected = (naive(reach, later), naive(now, later), naive(*change))
                got = (found.correlation[h, cell], found.persistence[h, cell], found.change[h, cell])
                assert got == pytest.approx(expected, nan_ok=True, abs=1e-6)
            error = (
                math.sqrt(sum((a - b) ** 2 for a, b in zip(reach, later, strict=True)) / len(pairs))
                if pairs
                else math.nan
            )
            assert found.error[h, cell] == pytest.approx(error, nan_ok=True)


def test_a_straight_line_is_projected_without_error() -> None:
    score = np.linspace(-0.9, 0.9, 200)[:, None] * np.ones(2)
    found = projection_skill(score, np.ones(200, bool), ProjectionConfig(horizons_ms=(500,)), WIDTH)
    assert found.correlation[0] == pytest.approx([1.0, 1.0], abs=1e-3)
    assert found.error[0].max() < 0.05  # the first bins have no differences


def test_a_score_of_another_shape_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"score must have one row per bin of valid, 3, was of shape \(2, 1\)"):
        projection_skill(np.zeros((2, 1)), np.ones(3, bool), ProjectionConfig(), WIDTH)
