"""The projection against its formula; batch and stream are one."""

from __future__ import annotations

import math

import numpy as np
import pytest
from pydantic import ValidationError

from vpcore.errors import ConfigError
from vpcore.projection import ProjectionConfig
from vpcore_serving.projection import Projector, project

WIDTH = 100_000_000


def naive(score, valid, config):
    n_bins, n_cells = score.shape
    out = np.zeros((n_bins, len(config.horizons_ms), n_cells))
    past = []
    for i in range(n_bins):
        if not valid[i]:
            past = []
            continue
        past.append(score[i])
        rows = [past[0]] * max(0, 4 - len(past)) + past[-4:]
        s0, s1, s2, s3 = rows[-1], rows[-2], rows[-3], rows[-4]
        d1, d2, d3 = (s0 - s1) / 0.1, (s0 - 2 * s1 + s2) / 0.01, (s0 - 3 * s1 + 3 * s2 - s3) / 0.001
        for h, ms in enumerate(config.horizons_ms):
            t = ms / 1000
            value = s0 + d1 * t + d2 * t**2 / 2 + (d3 * t**3 / 6 if config.use_cubic else 0)
            out[i, h] = np.clip(math.exp(-config.damping_lambda * t) * value, -1, 1)
    return out


@pytest.mark.parametrize("cubic", [False, True])
@pytest.mark.parametrize("damping", [0.0, 0.7])
def test_the_projection_is_the_definition(cubic, damping):
    rng = np.random.default_rng(0)
    score = np.cumsum(rng.standard_normal((60, 3)) * 0.01, axis=0)
    valid = rng.random(60) > 0.1
    config = ProjectionConfig(horizons_ms=(100, 300, 2500), use_cubic=cubic, damping_lambda=damping)
    whole = project(score, valid, config, WIDTH)
    assert np.allclose(whole, naive(score, valid, config), rtol=1e-9, atol=1e-9)
    assert np.abs(whole).max() <= 1.0
    projector = Projector(config, 3, WIDTH)
    steps = np.array([projector.update(score[i], bool(valid[i])) for i in range(60)])
    assert steps.tobytes() == whole.tobytes()


def test_the_first_bin_and_the_first_after_a_gap_project_themselves():
    score = np.array([[0.1], [0.5], [0.3], [0.2]])
    valid = np.array([True, True, False, True])
    config = ProjectionConfig(horizons_ms=(100,))
    assert project(score, valid, config, WIDTH)[:, 0, 0] == pytest.approx([0.1, 1.0, 0.0, 0.2])


def test_horizons_are_whole_bins():
    config = ProjectionConfig(horizons_ms=(200, 250))
    with pytest.raises(ConfigError, match=r"whole bins of 100 ms, was 250 ms. Nearest: 200, 300 ms"):
        project(np.zeros((2, 3)), np.ones(2, bool), config, WIDTH)
    with pytest.raises(ConfigError, match=r"was 50 ms. Nearest: 100 ms"):
        ProjectionConfig(horizons_ms=(50,)).check(WIDTH)
    config.check(50_000_000)


def test_shapes_and_settings_are_checked():
    with pytest.raises(ConfigError, match="score must have the shape"):
        project(np.zeros((2, 3)), np.ones(3, bool), ProjectionConfig(), WIDTH)
    with pytest.raises(ConfigError, match="matrix of bins and cells"):
        project(np.zeros(3), np.ones(3, bool), ProjectionConfig(), WIDTH)
    with pytest.raises(ValidationError, match="must rise without repeats"):
        ProjectionConfig(horizons_ms=(500, 200))
