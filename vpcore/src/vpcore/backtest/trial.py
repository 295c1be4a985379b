"""What a row of results is called, and the blocks of time by which its PnL is kept."""

from __future__ import annotations

from typing import NamedTuple

from vpcore.units import NS_PER_S

PNL_BLOCK_NS = 300 * NS_PER_S
"""Width of the fixed blocks of the PnL vector, counted from the start of the capture."""


class Trial(NamedTuple):
    """What tells the rows of one run apart."""

    threshold: float
    cooldown_bins: int
    tp_ticks: int
    sl_ticks: int
