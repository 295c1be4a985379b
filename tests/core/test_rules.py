"""Trade rules say what is wrong in the user's words, and cannot be changed."""

from __future__ import annotations

import datetime
import pickle
from typing import Any

import numpy as np
import pytest
from pydantic import BaseModel, ValidationError

from vpcore import ConfigError, TradeRules
from vpcore.backtest.config import EvalConfig
from vpcore.canonical import canonical_json
from vpcore.halts import halts_between, in_halt


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tp_ticks": 0}, r"TradeRules.tp_ticks must be a whole number of ticks from 1 to 1,000,000, was 0\.$"),
        ({"sl_ticks": -4}, r"sl_ticks must be .* was -4\. It is a distance: write 4\.$"),
        ({"sl_ticks": 2.5}, "sl_ticks must be a whole number of ticks .*, was 2.5"),
        ({"max_hold_bins": 0}, "max_hold_bins must be a whole number of bins from 1 to 100,000,000, was 0"),
        ({"latency_bins": -1}, "latency_bins must be a whole number of bins from 0 to 100,000,000, was -1"),
        ({"warmup_bins": "many"}, "warmup_bins must be .*, was 'many'"),
        ({"price": "last"}, "price must be 'touch' or 'mid', was 'last'"),
        ({"fee_ticks": -0.1}, "fee_ticks must be a finite number of ticks, at least 0, was -0.1"),
        ({"fee_ticks": float("nan")}, "fee_ticks must be a finite number of ticks, at least 0, was nan"),
        ({"hold": 3}, r"TradeRules has no 'hold'\. It has: tp_ticks, .*, stale_after_ms, daily_halt\.$"),
        (
            {"daily_halt": ("17:00Z", "18:00", "UTC")},
            r"daily_halt must be a start, an end and a time zone: .*, was \('17:00Z', '18:00', 'UTC'\)",
        ),
        ({"daily_halt": ("18:00", "18:00", "UTC")}, r"a time zone: .*, was \('18:00', '18:00', 'UTC'\)"),
        ({"daily_halt": ("17:00", "18:00", "New York")}, r"a time zone: .*, was \('17:00', '18:00', 'New York'\)"),
        ({"fee_tick": 3}, r"TradeRules has no 'fee_tick'\. Did you mean 'fee_ticks'\?"),
    ],
)
def test_what_is_wrong_is_said(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        TradeRules(**{"tp_ticks": 4, "sl_ticks": 4, **change})


def test_every_problem_has_its_line() -> None:
    with pytest.raises(
        ConfigError, match="sl_ticks must be a whole number of ticks from 1 to 1,000,000, was left out"
    ) as failure:
        TradeRules(tp_ticks=0)  # type: ignore[call-arg]
    assert len(str(failure.value).splitlines()) == 2


def test_numbers_of_numpy_are_numbers() -> None:
    rules = TradeRules(tp_ticks=np.int64(4), sl_ticks=np.int32(6), fee_ticks=np.float64(0.5))
    assert rules == TradeRules(tp_ticks=4, sl_ticks=6, fee_ticks=0.5)
    assert type(rules.tp_ticks) is int


def test_rules_are_values() -> None:
    rules = TradeRules(tp_ticks=4, sl_ticks=6, max_hold_bins=50, latency_bins=2)
    assert rules.at(1, 2).barriers == (1, 2, 50, "touch", "taker", 100, 60_000, None)
    assert rules.longest_bins == 52
    assert pickle.loads(pickle.dumps(rules)) == rules
    assert len({rules, rules.at(4, 6), rules.at(4, 7)}) == 2
    with pytest.raises(ValidationError, match="frozen"):
        rules.tp_ticks = 5  # type: ignore[misc]


def test_rules_nested_in_a_model_keep_their_place() -> None:
    class Outer(BaseModel):
        rules: TradeRules

    with pytest.raises(ValidationError, match=r"rules\.tp_ticks"):
        Outer.model_validate({"rules": {"tp_ticks": 0, "sl_ticks": 1}})


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"fee_ticks": 0.1, "price": "mid", "seed": 7, "null_draws": 0},
        {"threshold_quantiles": [0.9], "calibration_bins": 900},
        {"splits": {"method": "kfold", "groups": 4}},
    ],
)
def test_a_stored_row_gives_back_its_rules(values: dict[str, Any]) -> None:
    config = EvalConfig.model_validate(values)
    stored = canonical_json(config.run_settings()).decode()
    again = EvalConfig.of_row(stored)
    assert again.run_settings() == config.run_settings()
    assert again.rules(3, 5) == config.rules(3, 5)
    assert again.rules(3, 5).warmup_bins == config.first_bin


def test_a_halt_over_midnight_lasts_to_the_next_open_day() -> None:
    def ns(text: str) -> int:
        return int(datetime.datetime.fromisoformat(text).timestamp()) * 10**9

    # From Thursday to Tuesday; the clocks of Chicago go forward on Sunday.
    found = halts_between(("13:05", "08:30", "America/Chicago"), ns("2024-03-07T18:00Z"), ns("2024-03-12T12:00Z"))
    assert found.tolist() == [
        [ns("2024-03-07T19:05Z"), ns("2024-03-08T14:30Z")],
        [ns("2024-03-08T19:05Z"), ns("2024-03-11T13:30Z")],
        [ns("2024-03-11T18:05Z"), ns("2024-03-12T13:30Z")],
    ]
    assert in_halt(("13:05", "08:30", "America/Chicago"), ns("2024-03-11T13:00Z"), 60 * 10**9, 29)
    assert not in_halt(("13:05", "08:30", "America/Chicago"), ns("2024-03-11T13:00Z"), 60 * 10**9, 30)
