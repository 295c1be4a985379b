"""False discovery rates: the published example, and statsmodels."""

from __future__ import annotations

import numpy as np
from hypothesis import given, strategies as st

from vpcore.statistics.multiple_testing import benjamini_hochberg

PUBLISHED = (
    0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459, 0.3240, 0.4262, 0.5719, 0.6528, 0.7590, 1.0,
)  # fmt: skip
"""Benjamini and Hochberg (1995), section 3.2: at a rate of 0.05 the first four are discoveries."""


def test_the_published_example() -> None:
    q = benjamini_hochberg(np.array(PUBLISHED)[::-1])[::-1]
    assert (q <= 0.05).tolist() == [True] * 4 + [False] * 11
    np.testing.assert_allclose(q[:5], [0.0015, 0.003, 0.0095, 0.035625, 0.0603], rtol=1e-12)


@given(st.lists(st.floats(0.0, 1.0), min_size=1, max_size=30), st.integers(0, 3))
def test_as_statsmodels_has_it(values: list[float], missing: int) -> None:
    from statsmodels.stats.multitest import multipletests  # here, so that tests are collected fast

    q = benjamini_hochberg(np.array([*values, *[np.nan] * missing]))
    np.testing.assert_allclose(q[: len(values)], multipletests(values, method="fdr_bh")[1], rtol=1e-12, atol=1e-300)
    assert np.isnan(q[len(values) :]).all()


def test_nothing_to_discover() -> None:
    assert benjamini_hochberg(np.empty(0)).size == 0
    assert np.isnan(benjamini_hochberg(np.array([np.nan]))).all()
