"""The `eval` part of an experiment."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from vpcore.backtest.config import EvalConfig


def test_single_values_are_axes_of_one_and_axes_are_sorted() -> None:
    config = EvalConfig(tp_ticks=4, sl_ticks=[8, 2], cooldown_bins=20, thresholds=0.5)  # type: ignore[arg-type]
    assert (config.tp_ticks, config.sl_ticks, config.cooldown_bins, config.thresholds) == ((4,), (2, 8), (20,), (0.5,))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"sl_ticks": -4}, "must be greater than 0, was -4. It is a distance: write 4."),
        ({"sl_ticks": [4, 0]}, "greater than or equal to 1"),
        ({"tp_ticks": [4, 4]}, "must name every value once, 4 stands there twice"),
        ({"tp_ticks": []}, "at least 1 item"),
        ({"tp_ticks": True}, "valid integer"),
        ({"tp_ticks": 4.5}, "valid integer"),
        ({"cooldown_bins": -1}, "greater than or equal to 0"),
        ({"fee_ticks": -0.1}, "greater than or equal to 0"),
        ({"thresholds": [-0.5]}, "must be at least 0, was -0.5. Shorts use the mirrored threshold."),
        ({"null_draws": 50}, r"must be 0 \(none\) or at least 99, was 50"),
        ({"bootstrap_draws": 1}, r"must be 0 \(none\) or at least 99, was 1"),
        ({"price": "last"}, "'touch' or 'mid'"),
        ({"hold": 3}, "Extra inputs"),
    ],
)
def test_wrong_values_are_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        EvalConfig(**values)


def test_a_runs_settings_leave_its_trials_keys_out() -> None:
    assert set(EvalConfig().run_settings()) == {
        "price", "fee_ticks", "latency_bins", "max_hold_bins", "warmup_bins", "null_draws", "bootstrap_draws", "seed",
        "stale_after_ms",
    }  # fmt: skip
