"""Units and their conversions. The only home of each constant.

Prices are int64 fixed point in units of 1e-9 (``*_int``, as in Databento's files), or whole ticks; a mid is in
half-ticks (``mid2 = bid_ticks + ask_ticks``). Times are int64 nanoseconds since the Unix epoch, UTC (``*_ns``).
"""

from __future__ import annotations

from decimal import Decimal

PRICE_SCALE = 1_000_000_000
NS_PER_MS = 1_000_000
NS_PER_S = 1_000_000_000
HALF_TICKS_PER_TICK = 2


def tick_to_int(tick_size: float | str | Decimal) -> int:
    """Return a tick size as fixed point (1e-9).

    Raises
    ------
    ValueError
        If the tick is 0 or negative, or finer than 1e-9.
    """
    scaled = Decimal(str(tick_size)) * PRICE_SCALE
    if scaled <= 0 or scaled != scaled.to_integral_value():
        raise ValueError(f"A tick size must be a positive multiple of 1e-9, was {tick_size}.")
    return int(scaled)


def int_to_price(price_int: int) -> float:
    """Return a fixed-point price as a float."""
    return price_int / PRICE_SCALE


def round_trip_ticks(fee_per_side: float, tick_value: float) -> float:
    """Return the fee of a round trip in ticks to four decimals, from the fee of a side and the value of a tick."""
    return round(2.0 * fee_per_side / tick_value, 4)


def ms_to_ns(milliseconds: int) -> int:
    """Return whole milliseconds as nanoseconds."""
    return milliseconds * NS_PER_MS
