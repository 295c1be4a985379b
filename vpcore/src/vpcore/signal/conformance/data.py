"""A session in memory that checks can cut, disturb and mirror: the columns of one signal and their mirror partners."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from vpcore.schema import BIN_COLUMNS, SCORE_COLUMNS
from vpcore.scoring import CHANNELS, ScoringConfig, score_arrays
from vpcore.signal import SignalData
from vpcore.units import PRICE_SCALE

Array = npt.NDArray[Any]

SWAPPED = {
    "bid_depth": "ask_depth",
    "v_bid_depth": "v_ask_depth",
    "a_bid_depth": "a_ask_depth",
    "j_bid_depth": "j_ask_depth",
    "best_bid_size": "best_ask_size",
    "buy_volume": "sell_volume",
}
"""Pairs of columns that mirroring exchanges."""

REFLECTED = {
    "best_bid_price_int": "best_ask_price_int",
    "bid_high_int": "ask_low_int",
    "bid_low_int": "ask_high_int",
    "mid2_high": "mid2_low",
}
"""Pairs of prices that mirroring exchanges and reflects about a price."""

NEGATED = {"best_bid_move_ticks": "best_ask_move_ticks", "state_above": "state_below"}
"""Pairs of moves and labels that mirroring exchanges and negates."""

PARTNER = {
    a: b for pairs in (SWAPPED, REFLECTED, NEGATED) for a, b in (*pairs.items(), *((v, k) for k, v in pairs.items()))
}
"""Mirror partner of each column; all other columns are their own partners."""


@dataclass(frozen=True)
class SessionData:
    """Columns of consecutive bins as read-only arrays, with the protocol of `SignalData`.

    Attributes
    ----------
    bins : mapping of str to array[n_bins]
        Including ``bin_seq`` and ``book_valid``.
    grids : mapping of str to array[n_bins, n_cells]
    k : int16[n_cells]
    cell_width_ns, tick_int : int
    """

    bins: Mapping[str, Array]
    grids: Mapping[str, Array]
    k: npt.NDArray[np.int16]
    cell_width_ns: int
    tick_int: int

    def __post_init__(self) -> None:
        for array in (*self.bins.values(), *self.grids.values(), self.k):
            array.setflags(write=False)

    @classmethod
    def collect(cls, dataset: SignalData, columns: tuple[str, ...], scoring: ScoringConfig | None = None) -> Self:
        """Copy some columns of a dataset and their partners; the score is computed here.

        Parameters
        ----------
        dataset : Dataset
            Source of the columns.
        columns : tuple of str
            Names of grid and bin columns.
        scoring : ScoringConfig, optional
            Default: the default settings.
        """
        names = sorted({*columns, *(PARTNER[name] for name in columns if name in PARTNER), "bin_seq", "book_valid"})
        valid = np.array(dataset.valid)
        bins = {name: np.array(dataset.bin(name)) for name in names if name in BIN_COLUMNS}
        grids = {
            name: np.array(dataset.grid(name))
            for name in names
            if name not in BIN_COLUMNS and name not in SCORE_COLUMNS
        }
        if any(name in SCORE_COLUMNS for name in names):
            d1, d2, d3 = (dataset.grid(name) for name in CHANNELS)
            score, state = score_arrays(d1, d2, d3, valid, scoring or ScoringConfig())
            grids |= {"flow_score": score, "flow_state_code": state}
        return cls(bins, grids, np.array(dataset.k, dtype=np.int16), int(dataset.cell_width_ns), int(dataset.tick_int))

    @property
    def n_bins(self) -> int:
        """Number of bins."""
        return len(self.bins["bin_seq"])

    @property
    def n_cells(self) -> int:
        """Cells per bin."""
        return len(self.k)

    @property
    def valid(self) -> npt.NDArray[np.bool_]:
        """True for each bin with a valid book at its end."""
        return self.bins["book_valid"]

    def bin(self, name: str) -> Array:
        """Return a bin column."""
        return self.bins[name]

    def grid(self, name: str) -> Array:
        """Return a grid column."""
        return self.grids[name]

    def prefix(self, n_bins: int) -> Self:
        """Return the first bins."""
        return replace(
            self,
            bins={name: array[:n_bins] for name, array in self.bins.items()},
            grids={name: array[:n_bins] for name, array in self.grids.items()},
        )

    def disturbed(self, first: int, seed: int) -> Self:
        """Return the bins with a change from `first` on: shuffled in time, and a tenth invalid."""
        rng = np.random.default_rng(seed)
        order = rng.permutation(np.arange(first, self.n_bins))
        invalid = rng.random(self.n_bins - first) < 0.1
        factor = rng.choice([1, 3], self.n_bins)[first:, np.newaxis]

        def changed(array: Array, times: Array | int = 1) -> Array:
            copy = np.array(array)
            copy[first:] = array[order] * times
            copy[first:][invalid] = 0
            return copy

        bins = {name: changed(array) for name, array in self.bins.items()}
        bins["bin_seq"] = np.array(self.bins["bin_seq"])
        grids = {name: changed(array, factor if array.dtype.kind == "f" else 1) for name, array in self.grids.items()}
        return replace(self, bins=bins, grids=grids)

    def shifted(self, n_bins: int, n_ticks: int) -> Self:
        """Return the same market at a later time and a higher price, by whole bins and whole ticks."""
        later = {
            "bin_seq": n_bins,
            **dict.fromkeys(("ts_ns", "bin_start_ns", "bin_end_ns"), n_bins * self.cell_width_ns),
        }
        higher = {
            **dict.fromkeys((*REFLECTED, *REFLECTED.values()), n_ticks * self.tick_int),
            **dict.fromkeys(("mid2_high", "mid2_low"), 2 * n_ticks),
            "mid_price": n_ticks * self.tick_int / PRICE_SCALE,
        }
        bins = {
            name: (array + later.get(name, 0) + np.where(self.valid, higher.get(name, 0), 0)).astype(array.dtype)
            if name in later or name in higher
            else array
            for name, array in self.bins.items()
        }
        return replace(self, bins=bins)

    def constant(self) -> Self:
        """Return as many bins, all equal to the first valid bin and without moves; zeros if all are invalid."""
        at = int(np.argmax(self.valid)) if self.valid.any() else 0
        still = np.full(self.n_bins, at)
        bins = {name: array[still] for name, array in self.bins.items()}
        bins["bin_seq"] = np.array(self.bins["bin_seq"])
        bins["book_valid"] = np.ones(self.n_bins, dtype=bool)
        for name in ("best_bid_move_ticks", "best_ask_move_ticks", "state_above", "state_below"):
            if name in bins:
                bins[name] = np.zeros_like(bins[name])
        if "microstate_id" in bins:
            bins["microstate_id"] = np.full_like(bins["microstate_id"], 4)
        return replace(self, bins=bins, grids={name: array[still] for name, array in self.grids.items()})

    def invalid(self) -> Self:
        """Return the same number of bins, all invalid and 0."""
        every = np.ones(self.n_bins, dtype=bool)
        bins = {name: _blank(array, every) for name, array in self.bins.items() if name != "bin_seq"}
        bins["bin_seq"] = self.bins["bin_seq"]
        return replace(self, bins=bins, grids={name: _blank(array, every) for name, array in self.grids.items()})

    def mirrored(self) -> Self:
        """Return the mirrored market: sides swapped, prices reflected about a price."""
        bins = mirror_bins(self.bins, self.tick_int)
        return replace(self, bins=bins, grids=mirror_grids(self.grids))


def mirror_grids(grids: Mapping[str, Array]) -> dict[str, Array]:
    """Return grid columns with the cells ``k`` and ``-k`` and the bid and ask columns swapped."""
    return {name: np.ascontiguousarray(grids[PARTNER.get(name, name)][:, ::-1]) for name in grids}


def mirror_bins(bins: Mapping[str, Array], tick_int: int) -> dict[str, Array]:
    """Return bin columns of the mirrored market; prices are reflected about the first valid mid."""
    valid = bins["book_valid"]
    at = int(np.argmax(valid))
    pivot = 0
    if valid.any() and "best_bid_price_int" in bins:
        pivot = int(bins["best_bid_price_int"][at]) + int(bins["best_ask_price_int"][at])
    elif valid.any() and "mid_price" in bins:
        pivot = round(2 * float(bins["mid_price"][at]) * 1e9)
    mirrored: dict[str, Array] = {}
    for name, array in bins.items():
        other = bins[PARTNER.get(name, name)]
        if name in REFLECTED or name in REFLECTED.values():
            whole = 2 * pivot // tick_int if name.startswith("mid2") else pivot
            mirrored[name] = np.where(other != 0, whole - other, 0).astype(array.dtype)
        elif name in NEGATED or name in NEGATED.values():
            mirrored[name] = -other
        elif name == "mid_price":
            mirrored[name] = np.where(valid, pivot / 1e9 - array, 0.0)
        elif name == "microstate_id":
            mirrored[name] = np.where(valid, _mirrored_microstate(array), 4).astype(array.dtype)
        else:
            mirrored[name] = np.array(other)
    return mirrored


def _mirrored_microstate(state: Array) -> Array:
    """Map the state ``3 (s_ask + 1) + (s_bid + 1)`` to the state of ``(-s_bid, -s_ask)``."""
    ask, bid = state // 3 - 1, state % 3 - 1
    mirrored: Array = 3 * (1 - bid) + (1 - ask)
    return mirrored


def _blank(array: Array, invalid: npt.NDArray[np.bool_]) -> Array:
    """Return a copy with the values of invalid bins at 0, as the engine leaves them."""
    copy = np.array(array)
    copy[invalid] = 0
    return copy
