"""Entries: the bins and sides of a signal's trades, from its values."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from vpcore.errors import ConfigError
from vpcore.rules import EntryRule

Mode = Literal["value", "probability", "confidence"]
"""How a threshold reads the values: ``+-thr`` for value and confidence, ``thr`` and ``1 - thr`` for probability."""


@dataclass(frozen=True, slots=True)
class Detections:
    """Decision bins and sides of a signal.

    Attributes
    ----------
    bins : int64[n_signals]
        Index of the decision's bin, ascending; a decision is made at the end of the bin.
    sides : int8[n_signals]
        +1 long, -1 short.
    """

    bins: npt.NDArray[np.int64]
    sides: npt.NDArray[np.int8]

    def __len__(self) -> int:
        return int(self.bins.shape[0])


def band(threshold: float, mode: Mode = "value") -> tuple[float, float]:
    """Return the levels of long and short entries.

    Raises
    ------
    ConfigError
        If the mode is unknown, or the threshold infinite, NaN or outside the range of the mode: at least 0 for value,
        0 to 1 for confidence, 0.5 to 1 for probability. (Below 0.5, one value could be a long and a short.)
    """
    if mode not in get_args(Mode):
        raise ConfigError(f"prediction_mode must be one of {', '.join(get_args(Mode))}, was {mode!r}.")
    low, high = {"value": (0.0, math.inf), "probability": (0.5, 1.0), "confidence": (0.0, 1.0)}[mode]
    if not math.isfinite(threshold) or not low <= threshold <= high:
        limit = f"at least {low:g}" if high == math.inf else f"between {low:g} and {high:g}"
        raise ConfigError(f"A threshold on a {mode} must be {limit}, was {threshold}.")
    if mode == "probability":
        return threshold, 1.0 - threshold
    return threshold, -threshold


def detect_crossings(
    values: npt.NDArray[np.float64],
    valid: npt.NDArray[np.bool_],
    bin_seq: npt.NDArray[np.int64],
    threshold: float,
    *,
    warmup_bins: int,
    mode: Mode = "value",
    opened: npt.NDArray[np.bool_] | None = None,
    entry_rule: EntryRule = "crossing",
) -> Detections:
    """Return every crossing of a threshold after the warm-up, before any cooldown.

    Bin i signals a long if ``values[i] >= threshold`` and the previous number in a valid bin was below; mirrored for a
    short. Bin i is open and lies after the warm-up. The first number of a session is never a crossing.

    Parameters
    ----------
    values : float64[n_bins]
        The signal at the end of each bin; NaN before it is warm and in invalid bins.
    valid : bool[n_bins]
        `book_valid`.
    bin_seq : int64[n_bins]
        Number of each bin. The warm-up includes invalid bins.
    threshold : float
        See `band` for its range.
    warmup_bins : int
        Signals in the first `warmup_bins` bins of the arrays are dropped. A later crossing may start from their values.
    mode : {"value", "probability", "confidence"}
        How a threshold reads the values.
    opened : bool[n_bins], optional
        The open bins (`vpcore.backtest.open_market`); by default the valid ones.
    entry_rule : {"crossing", "level"}
        Level: every bin beyond the threshold takes the place of a crossing, the first number of a session too.

    Raises
    ------
    ConfigError
        If the threshold, the mode or the warm-up is out of range.
    """
    from vpcore.kernels import barrier  # compiled code: a threshold's levels do without

    opened = valid if opened is None else opened
    upper, lower = band(threshold, mode)
    if values.ndim != 1 or not values.shape == valid.shape == bin_seq.shape == opened.shape:
        raise ValueError(
            f"values {values.shape}, valid {valid.shape} and bin_seq {bin_seq.shape} must be one value per bin."
        )
    if warmup_bins < 0:
        raise ConfigError(f"warmup_bins must be at least 0, was {warmup_bins}.")
    n_bins = values.shape[0]
    bins = np.empty(n_bins, dtype=np.int64)
    sides = np.empty(n_bins, dtype=np.int8)
    first_seq = int(bin_seq[0]) + warmup_bins if n_bins else 0
    find = barrier.crossings if entry_rule == "crossing" else barrier.beyond
    count = find(
        np.ascontiguousarray(values, dtype=np.float64),
        np.ascontiguousarray(valid, dtype=np.bool_),
        np.ascontiguousarray(opened, dtype=np.bool_),
        np.ascontiguousarray(bin_seq, dtype=np.int64),
        upper,
        lower,
        first_seq,
        bins,
        sides,
    )
    return Detections(bins[:count].copy(), sides[:count].copy())


def cool_down(crossings: Detections, bin_seq: npt.NDArray[np.int64], cooldown_bins: int) -> Detections:
    """Return the crossings at least `cooldown_bins` after the previous accepted crossing of either side.

    A crossing inside the cooldown is lost. The cooldown includes invalid bins.

    Raises
    ------
    ConfigError
        If `cooldown_bins` is negative.
    """
    from vpcore.kernels import barrier

    if cooldown_bins < 0:
        raise ConfigError(f"cooldown_bins must be at least 0, was {cooldown_bins}.")
    bins = np.empty_like(crossings.bins)
    sides = np.empty_like(crossings.sides)
    seq = np.ascontiguousarray(bin_seq, dtype=np.int64)
    count = barrier.accept(crossings.bins, crossings.sides, seq, cooldown_bins, bins, sides)
    return Detections(bins[:count], sides[:count])
