"""Trade rules in one line: without warm-up and fee unless a test says otherwise."""

from __future__ import annotations

from typing import Any

from vpcore.rules import TradeRules


def rules_of(tp: int, sl: int, hold: int, price: Any = "touch", latency: int = 1, **others: Any) -> TradeRules:
    return TradeRules(
        tp_ticks=tp,
        sl_ticks=sl,
        max_hold_bins=hold,
        price=price,
        latency_bins=latency,
        **{"warmup_bins": 0, "fee_ticks": 0.0, **others},
    )
