"""The key of a row of results, and the time blocks of its PnL."""

from __future__ import annotations

from typing import NamedTuple

from vpcore.units import NS_PER_S

PNL_BLOCK_NS = 300 * NS_PER_S
"""Width of the fixed blocks of the PnL vector, counted from the start of the capture."""


class Trial(NamedTuple):
    """The key of a row within one run."""

    threshold: float
    cooldown_bins: int
    tp_ticks: int
    sl_ticks: int
