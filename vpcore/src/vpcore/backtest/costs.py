"""Costs of a trade: fee and spread, and the take-profit rates that they require."""

from __future__ import annotations

from typing import Any

from vpcore.units import HALF_TICKS_PER_TICK


def net_ticks(half_ticks: Any, fee_ticks: float) -> Any:
    """Return the net PnL of trades in ticks, from the PnL before fees in half-ticks and the fee per round trip."""
    return half_ticks / HALF_TICKS_PER_TICK - fee_ticks


def breakeven_rate(tp_ticks: Any, sl_ticks: Any, fee_ticks: float) -> Any:
    """Return the take-profit rate, among trades that reach a barrier, with a net PnL of zero after fees.

    At touch prices the barriers include the spread; at mid prices the fee is the only cost. A stop fills at the adverse
    extreme of its bin and loses more than `sl_ticks`, so the true rate is slightly higher.
    """
    return (sl_ticks + fee_ticks) / (tp_ticks + sl_ticks)


def driftless_rate(tp_ticks: Any, sl_ticks: Any, mean_spread_ticks: Any, price: str) -> Any:
    """Return the take-profit rate, among trades that reach a barrier, on a driftless market.

    At touch prices the trade starts one spread closer to its stop: ``(sl - spread) / (tp + sl)``, with the mean spread
    at entry. At mid prices ``sl / (tp + sl)``.
    """
    if price == "mid":
        return mean_spread_ticks * 0.0 + sl_ticks / (tp_ticks + sl_ticks)
    return (sl_ticks - mean_spread_ticks) / (tp_ticks + sl_ticks)
