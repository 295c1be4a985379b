"""The accepted signals of a vector of values, in one call."""

from __future__ import annotations

from typing import Any

import numpy as np

from vpcore.backtest.entries import Detections, cool_down, detect_crossings


def detect(
    values: np.ndarray, valid: np.ndarray, bin_seq: np.ndarray, threshold: float, *, cooldown_bins: int, **options: Any
) -> Detections:
    return cool_down(detect_crossings(values, valid, bin_seq, threshold, **options), bin_seq, cooldown_bins)
