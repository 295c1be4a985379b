"""What is said against the evidence of a row."""

from __future__ import annotations

from typing import Any

import pytest

from vpcore.inference.summaries import Choice, Evidence, OutOfSample
from vpcore_serving.weaknesses import screen_failures, split_failures

ABOUT = Evidence("sweep", "D", 512, 2048, 0.4, 0.1, first=False)
ROW: dict[str, Any] = {
    "row": "r", "trades": 40, "eval_json": '{"fee_ticks":0.25}', "net_pnl_ticks": 0.8, "p_random": 0.002, "p_adj": 0.01,
    "net_pnl_lo": 0.3, "net_pnl_hi": 1.4, "net_out_of_sample": 0.5, "trades_out_of_sample": 9,
}  # fmt: skip
CHOICE = Choice(0, (2,), "r", "run", "ads", 0.5, 0.75, 0.5, 20, 9, 0.8)
HOLDOUT = OutOfSample("holdout", "time", "net_pnl_ticks", 7, (CHOICE,), ((0.5, 9),), 0.75, 0.5)


@pytest.mark.parametrize(
    ("settings", "said"), [('{"price":"mid","fee_ticks":1.0}', "on the mid"), ('{"price":"touch"}', "without a fee")]
)
def test_a_promotion_requires_costs(settings: str, said: str) -> None:
    (why,) = screen_failures({**ROW, "eval_json": settings}, ABOUT, min_trades=5, required_by="x")
    assert said in why


def test_words_count_what_a_search_chose_from() -> None:
    searched = Evidence("sweep", "D", 512, 2048, None, None, 4096, first=False)
    (why,) = screen_failures({**ROW, "p_adj": 0.2}, searched, min_trades=5, required_by="x")
    assert "the best of 4,096 trials does as well in 20 % of cases" in why


def test_what_the_splits_have_against_a_row() -> None:
    nothing = OutOfSample("kfold", "time", "net_pnl_ticks", 7, (), (), None, None)
    assert split_failures(ROW, nothing) == ["in-sample no row has enough trades to be chosen (eval.splits)."]
    assert split_failures(ROW, HOLDOUT) == []
    assert split_failures({**ROW, "net_out_of_sample": None}, HOLDOUT) == ["out of sample row r does not trade."]
    assert split_failures({**ROW, "net_out_of_sample": -0.25}, HOLDOUT) == [
        "out of sample row r pays -0.250 ticks a trade in 9 trades, and +0.75 in-sample; it must pay there."
    ]
    (why,) = split_failures({**ROW, "row": "other"}, HOLDOUT)
    assert "row other is not the one that is chosen in-sample, which is r of run run" in why
