"""Feature sets: what they are made of, and the one compiled step that batch and stream share.

A set's `step` goes through rows of valid bins; the stream gives it one row at a time, the batch many. Both give it the
same numbers (grid columns widened to float64, bin columns as float64), so the features are the same bits.

Under mirroring of the market each feature either keeps its value, changes its sign, or changes places with another one:
`FeatureSet.sign` and `FeatureSet.partner` say which, and a test holds every set to it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from vpcore import ConfigError, SignalContext
from vpcore_signals_ml.labels import Floats

BLOCK = 256
"""Bins whose columns are widened at a time in batch."""

MID2, SPREAD, BID_SIZE, ASK_SIZE, BUY_VOLUME, SELL_VOLUME = range(6)
"""Columns of the bin numbers that a step gets: the mid in half-ticks, the spread in ticks, contracts."""

BIN_COLUMNS = (
    "best_bid_price_int",
    "best_ask_price_int",
    "best_bid_size",
    "best_ask_size",
    "buy_volume",
    "sell_volume",
)


@dataclass(frozen=True)
class FeatureSet:
    """A family of features.

    Attributes
    ----------
    name : str
    names : tuple of str
        Of the features, in order.
    sign : float64[n_features]
        +1 or -1: what mirroring multiplies the value with.
    partner : int64[n_features]
        With which feature it changes places.
    grid : tuple of str
        Grid columns that it reads.
    reach : int
        Farthest cell that it reads, in ticks.
    warmup : int
        Valid bins without features at the start.
    start : callable
        Returns a fresh state.
    step : callable
        ``step(state, grid float64[n, columns, cells], numbers float64[n, 6], out float64[n, features])``, compiled.
    """

    name: str
    names: tuple[str, ...]
    sign: Floats
    partner: npt.NDArray[np.int64]
    grid: tuple[str, ...]
    reach: int
    warmup: int
    start: Callable[[], Any]
    step: Callable[[Any, Floats, Floats, Floats], None]

    def require(self, context: SignalContext, signal: str) -> None:
        """Raise `ConfigError` if the grid does not reach as far as the features."""
        if self.reach > context.radius:
            raise ConfigError(
                f"Signal '{signal}' reads cells up to {self.reach} ticks from the mid, but the grid's radius is "
                f"{context.radius} ticks. Raise pipeline.grid_radius_ticks."
            )

    def row(self, state: Any, frame: Mapping[str, Any], tick_int: int) -> Floats:
        """Return the features of one bin, float64[n_features]; NaN during the warm-up."""
        grid = np.empty((1, len(self.grid), len(frame[self.grid[0]])))
        for c, name in enumerate(self.grid):
            grid[0, c] = frame[name]
        numbers = _numbers({name: np.array([frame[name]]) for name in BIN_COLUMNS}, tick_int)
        out = np.empty((1, len(self.names)))
        self.step(state, grid, numbers, out)
        row: Floats = out[0]
        return row

    def matrix(self, dataset: Any) -> Floats:
        """Return the features of every valid bin of a dataset, float64[n_valid, n_features], read-only."""
        rows = np.flatnonzero(dataset.valid)
        numbers = _numbers({name: dataset.bin(name)[rows] for name in BIN_COLUMNS}, dataset.tick_int)
        columns = [dataset.grid(name) for name in self.grid]
        state = self.start()
        out = np.empty((len(rows), len(self.names)))
        for first in range(0, len(rows), BLOCK):
            part = rows[first : first + BLOCK]
            grid = np.empty((len(part), len(columns), dataset.n_cells))
            for c, column in enumerate(columns):
                grid[:, c] = column[part]
            self.step(state, grid, numbers[first : first + BLOCK], out[first : first + BLOCK])
        out.setflags(write=False)
        return out


def _numbers(bins: Mapping[str, npt.NDArray[Any]], tick_int: int) -> Floats:
    """Return float64[n, 6]; whole numbers all, so nothing is rounded."""
    bid = bins["best_bid_price_int"].astype(np.int64) // tick_int
    ask = bins["best_ask_price_int"].astype(np.int64) // tick_int
    out = np.empty((len(bid), 6))
    out[:, MID2] = bid + ask
    out[:, SPREAD] = ask - bid
    for c, name in zip((BID_SIZE, ASK_SIZE, BUY_VOLUME, SELL_VOLUME), BIN_COLUMNS[2:], strict=True):
        out[:, c] = bins[name]
    return out


def described(items: list[tuple[str, int]]) -> tuple[tuple[str, ...], Floats, npt.NDArray[np.int64]]:
    """Return names, signs and partners of features that stay in their place under mirroring."""
    names = tuple(name for name, _ in items)
    return names, np.array([float(sign) for _, sign in items]), np.arange(len(items))
