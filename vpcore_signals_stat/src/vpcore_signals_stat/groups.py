"""A feature, and the group of features that one compiled step makes, for a stream and for a batch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from vpcore import CausalityError

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

BLOCK = 256
"""Bins of a batch with widened columns at a time."""

MID2, SPREAD, BID_SIZE, ASK_SIZE, BUY_VOLUME, SELL_VOLUME = range(6)
"""Columns of the bin numbers of a step: the mid in half-ticks, the spread in ticks, contracts."""

NUMBER_COLUMNS = (
    "best_bid_price_int",
    "best_ask_price_int",
    "best_bid_size",
    "best_ask_size",
    "buy_volume",
    "sell_volume",
)


class Feature(NamedTuple):
    """A registered feature.

    Attributes
    ----------
    name : str
    kind : str
        ``flow``, ``touch``, ``profile`` or ``state``.
    summary : str
        Formula in words, with units.
    warmup : int
        Valid bins without a value at the start.
    sign : int
        +1 or -1: factor of the value in the mirrored market.
    partner : str
        Feature with which it changes places in the mirrored market; its own name if it stays.
    """

    name: str
    kind: str
    summary: str
    warmup: int
    sign: int
    partner: str


@dataclass(frozen=True, slots=True)
class Group:
    """Features of one compiled step.

    Attributes
    ----------
    name : str
    features : tuple of Feature
        In the order of the step's output.
    columns : tuple of str
        Grid columns.
    reach : int
        Farthest cell, in ticks from the mid.
    start : callable
        ``start(radius)`` returns a fresh state for a grid of that radius, in ticks.
    step : callable
        ``step(state, grid float64[n, columns, cells], numbers float64[n, 6], out float64[n, features])``, compiled.
    """

    name: str
    features: tuple[Feature, ...]
    columns: tuple[str, ...]
    reach: int
    start: Callable[[int], Any]
    step: Callable[[Any, Floats, Floats, Floats], None]

    def row(self, state: Any, frame: Mapping[str, Any], numbers: Floats) -> Floats:
        """Return the features of one bin, float64[n_features]."""
        cells = [frame[name] for name in self.columns]
        grid = np.array([cells]) if cells else np.empty((1, 0, 0))
        out = np.empty((1, len(self.features)))
        self.step(state, grid, numbers, out)
        row: Floats = out[0]
        return row

    def matrix(self, dataset: Any) -> Floats:
        """Return the features of every valid bin of a dataset, float64[n_valid, n_features]."""
        rows = np.flatnonzero(dataset.valid)
        numbers = bin_numbers({name: dataset.bin(name)[rows] for name in NUMBER_COLUMNS}, dataset.tick_int)
        columns = [dataset.grid(name) for name in self.columns]
        state = self.start(dataset.n_cells // 2)
        out = np.empty((len(rows), len(self.features)))
        for first in range(0, len(rows), BLOCK):
            part = rows[first : first + BLOCK]
            grid = np.empty((len(part), len(columns), dataset.n_cells))
            for c, column in enumerate(columns):
                grid[:, c] = column[part]
            self.step(state, grid, numbers[first : first + BLOCK], out[first : first + BLOCK])
            if not first:
                self._require_causal(grid, numbers, out)
        return out

    def _require_causal(self, grid: Floats, numbers: Floats, out: Floats) -> None:
        """Raise `CausalityError` if a block has other features than its bins one by one, which have no future."""
        state, alone = self.start(grid.shape[2] // 2), np.empty((1, len(self.features)))
        for i in range(len(grid)):
            self.step(state, grid[i : i + 1], numbers[i : i + 1], alone)
            if alone.tobytes() != out[i].tobytes():
                found = int(np.argmax((alone[0] != out[i]) & ~(np.isnan(alone[0]) & np.isnan(out[i]))))
                raise CausalityError(
                    f"Feature '{self.features[found].name}' looks ahead: valid bin {i} is {alone[0, found]:.6g} "
                    f"when the data ends there, but {out[i, found]:.6g} when later bins follow. "
                    "Let its step read no bin after its own."
                )


def bin_numbers(bins: Mapping[str, npt.NDArray[Any]], tick_int: int) -> Floats:
    """Return float64[n, 6] of whole numbers, so nothing is rounded."""
    bid = bins["best_bid_price_int"].astype(np.int64) // tick_int
    ask = bins["best_ask_price_int"].astype(np.int64) // tick_int
    out = np.empty((len(bid), 6))
    out[:, MID2] = bid + ask
    out[:, SPREAD] = ask - bid
    for c, name in zip((BID_SIZE, ASK_SIZE, BUY_VOLUME, SELL_VOLUME), NUMBER_COLUMNS[2:], strict=True):
        out[:, c] = bins[name]
    return out
