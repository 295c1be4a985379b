"""Detection against a plain-Python oracle, and its rules one by one."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from detections import detect
from hypothesis import given, settings, strategies as st

from vpcore.backtest.entries import band
from vpcore.errors import ConfigError


def run(
    values: list[float], threshold: float = 1.0, *, invalid: tuple[int, ...] = (), **options: Any
) -> list[tuple[int, int]]:
    valid = np.array([i not in invalid for i in range(len(values))], dtype=bool)
    settings_ = {"cooldown_bins": 0, "warmup_bins": 0, **options}
    found = detect(np.array(values), valid, np.arange(len(values)), threshold, **settings_)
    return list(zip(found.bins.tolist(), found.sides.tolist(), strict=True))


@settings(max_examples=60)
@given(
    values=st.lists(st.sampled_from([float("nan"), -1.0, -0.6, -0.4, 0.0, 0.4, 0.5, 0.6, 1.0, 2.0]), max_size=60),
    invalid=st.sets(st.integers(0, 59)),
    threshold=st.sampled_from([0.0, 0.5, 0.6, 1.0]),
    cooldown=st.integers(0, 12),
    warmup=st.integers(0, 12),
    first=st.sampled_from([0, 1000]),
    mode=st.sampled_from(["value", "probability", "confidence"]),
)
def test_detection_equals_the_oracle(
    naive: SimpleNamespace,
    values: list[float],
    invalid: set[int],
    threshold: float,
    cooldown: int,
    warmup: int,
    first: int,
    mode: Any,
) -> None:
    if mode == "probability":
        threshold = max(threshold, 0.5)
    valid = np.array([i not in invalid for i in range(len(values))], dtype=bool)
    seq = np.arange(len(values)) + first
    found = detect(np.array(values), valid, seq, threshold, cooldown_bins=cooldown, warmup_bins=warmup, mode=mode)
    want = naive.detect(values, valid, seq, threshold, cooldown, warmup, mode)
    assert list(zip(found.bins.tolist(), found.sides.tolist(), strict=True)) == want


def test_reaching_the_threshold_is_enough_and_staying_is_no_new_signal() -> None:
    assert run([0.0, 1.0, 1.5, 0.9, 1.0, -1.0, -2.0]) == [(1, 1), (4, 1), (5, -1)]


def test_nothing_crosses_without_a_value_before() -> None:
    nan = float("nan")
    assert run([2.0, 2.0]) == []
    assert run([nan, 2.0]) == []


def test_gaps_are_bridged_and_values_of_invalid_bins_do_not_count() -> None:
    nan = float("nan")
    assert run([0.0, nan, nan, 2.0]) == [(3, 1)]
    assert run([2.0, 0.0, 2.0], invalid=(1,)) == []
    assert run([0.0, 2.0, 2.0], invalid=(1,)) == [(2, 1)]


def test_a_crossing_in_the_cooldown_is_lost_and_does_not_prolong_it() -> None:
    assert run([0, 2, 0, 2, 0, 2.0], cooldown_bins=4) == [(1, 1), (5, 1)]
    assert run([0, 2, 0, 2, 0, 2.0], cooldown_bins=5) == [(1, 1)]
    assert run([0, 2, -2, 0, 0, 0.0], cooldown_bins=2) == [(1, 1)]  # either side


def test_a_crossing_in_the_warmup_is_not_accepted_and_starts_no_cooldown() -> None:
    assert run([0, 2, 0, 2.0], warmup_bins=2, cooldown_bins=10) == [(3, 1)]
    assert run([0, 2, 2, 2.0], warmup_bins=2) == []


def test_probabilities_cross_at_both_ends() -> None:
    assert run([0.5, 0.7, 0.5, 0.3, 0.2, 0.5, 0.1], 0.75, mode="probability") == [(4, -1), (6, -1)]
    assert band(0.75, "probability") == (0.75, 0.25)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ({"threshold": -0.1}, "A threshold on a value must be at least 0, was -0.1"),
        ({"threshold": float("nan")}, "must be at least 0, was nan"),
        ({"threshold": 0.4, "mode": "probability"}, "A threshold on a probability must be between 0.5 and 1, was 0.4"),
        ({"threshold": 1.1, "mode": "confidence"}, "A threshold on a confidence must be between 0 and 1, was 1.1"),
        (
            {"threshold": 1.0, "mode": "odds"},
            "prediction_mode must be one of value, probability, confidence, was 'odds'",
        ),
        ({"cooldown_bins": -1}, "cooldown_bins must be at least 0, was -1"),
        ({"warmup_bins": -1}, "warmup_bins must be at least 0, was -1"),
    ],
)
def test_wrong_settings_are_refused(call: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        run([0.0, 1.0], **call)


def test_lengths_must_agree() -> None:
    with pytest.raises(ValueError, match="must be one value per bin"):
        detect(np.zeros(3), np.ones(2, dtype=bool), np.arange(3), 1.0, cooldown_bins=0, warmup_bins=0)
