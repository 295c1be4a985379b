"""Binary frames: a header of 96 bytes for every bin, then the columns of a profile. Little-endian.

The layout of a profile is a numpy dtype: the worker writes it, the Python client reads it, and `hello` lists its fields
for every other client. Every column begins at a multiple of 8 bytes.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from vpcore.schema import GRID_VALUES

PROTOCOL = 1
"""Version of the wire protocol: of `hello`, of the header and of the profiles."""

MAGIC = 0x5056

VALID, READY, GAP, REPLAYED, STORED = 1, 2, 4, 8, 16
"""Bits of `flags`: the book is valid; every window is full; bins are missing before this one; the bin is older than
the connection of the feed, or of a replay; it comes from the history of the server."""

Profile = Literal["history", "view", "exact"]
PROFILES: tuple[Profile, ...] = ("history", "view", "exact")

VIEW_COLUMNS = ("bid_depth", "ask_depth", "v_add", "v_pull", "v_fill", "pressure", "vacuum")

_HEADER: tuple[tuple[str, str], ...] = (
    ("magic", "<u2"),
    ("version", "u1"),
    ("flags", "u1"),
    ("skipped", "<u4"),
    ("bin_seq", "<i8"),
    ("end_ns", "<i8"),
    ("closed_ns", "<i8"),
    ("value", "<f8"),
    ("mid", "<f8"),
    ("bid", "<i4"),
    ("ask", "<i4"),
    ("bid_size", "<i4"),
    ("ask_size", "<i4"),
    ("mid2_high", "<i4"),
    ("mid2_low", "<i4"),
    ("buy_volume", "<i4"),
    ("sell_volume", "<i4"),
    ("cross_volume", "<i4"),
    ("trades", "<i4"),
    ("events", "<i4"),
    ("entry", "i1"),
    ("n_exits", "u1"),
    ("reserved", "<u2"),
)
HEADER_BYTES = 96
SKIPPED_AT, FLAGS_AT = 4, 3
"""Places of `skipped` (u4) and `flags` (u1), which differ between clients."""


def record_dtype(profile: Profile, n_cells: int, n_horizons: int) -> np.dtype[Any]:
    """Return the layout of a bin.

    Parameters
    ----------
    profile : {'history', 'view', 'exact'}
        The header alone; with the columns that the page draws, in float32; with every column as it was computed: score
        and projection in float64, the grid in float32.
    n_cells, n_horizons : int
        Cells of the grid, horizons of the projection.
    """
    fields: list[tuple[str, Any]] = list(_HEADER)
    if profile == "view":
        fields += [(name, ("<f4", (n_cells,))) for name in (*VIEW_COLUMNS, "score")]
        fields += [("state", ("i1", (n_cells,))), ("projection", ("i1", (n_horizons, n_cells)))]
    elif profile == "exact":
        fields += [("score", ("<f8", (n_cells,))), ("projection", ("<f8", (n_horizons, n_cells)))]
        fields += [(name, ("<f4", (n_cells,))) for name in GRID_VALUES]
        fields += [("state", ("i1", (n_cells,)))]
    offsets, at = [], 0
    for place, (_, kind) in enumerate(fields):
        at = at if place < len(_HEADER) else -(-at // 8) * 8
        offsets.append(at)
        at += np.dtype(kind).itemsize
    names = [name for name, _ in fields]
    formats = [kind for _, kind in fields]
    return np.dtype({"names": names, "formats": formats, "offsets": offsets, "itemsize": -(-at // 8) * 8})


def layout(dtype: np.dtype[Any]) -> list[dict[str, Any]]:
    """Return the fields of a layout as JSON: name, type (numpy's), shape, offset."""
    return [
        {"name": name, "type": dtype[name].base.str, "shape": list(dtype[name].shape), "offset": place[1]}
        for name, place in (dtype.fields or {}).items()
    ]


class Encoder:
    """Writes bins of one channel.

    Parameters
    ----------
    n_cells, n_horizons : int
        Cells of the grid, horizons of the projection.
    tick_int : int
        Tick size in 1e-9. Touch prices are sent in ticks.
    """

    def __init__(self, n_cells: int, n_horizons: int, tick_int: int) -> None:
        self._tick_int = tick_int
        self._records = {name: np.zeros(1, record_dtype(name, n_cells, n_horizons)) for name in PROFILES}
        self._columns = {
            name: {column: record[column][0] for column in (record.dtype.names or ())[len(_HEADER) :]}
            for name, record in self._records.items()
        }

    def encode(self, bin: Any, closed_ns: int, flags: int) -> tuple[bytes, bytes]:
        """Return a `vpcore.LiveBin` as one record of the profile `view` and one of `exact`.

        `closed_ns` is the time at which the bin was closed, ns since the epoch: a record behind it came, or its grace
        ended.
        """
        frame = bin.frame
        bins, grid = frame.bins, frame.grid
        head = (
            MAGIC,
            PROTOCOL,
            flags | (VALID if bin.valid else 0) | (READY if bin.ready else 0),
            0,
            bin.bin_seq,
            bin.end_ns,
            closed_ns,
            bin.value,
            bins["mid_price"],
            bins["best_bid_price_int"] // self._tick_int,
            bins["best_ask_price_int"] // self._tick_int,
            *(bins[name] for name in ("best_bid_size", "best_ask_size", "mid2_high", "mid2_low")),
            *(bins[name] for name in ("buy_volume", "sell_volume", "cross_volume", "trade_count", "bin_event_count")),
            bin.entry,
            min(len(bin.exits), 255),
            0,
        )
        history = self._records["history"]
        history[0] = head
        raw = history.tobytes()
        view, exact = self._columns["view"], self._columns["exact"]
        for name in VIEW_COLUMNS:
            view[name][:] = grid[name]
        for name in GRID_VALUES:
            exact[name][:] = grid[name]
        for columns in (view, exact):
            columns["score"][:] = bin.score
            columns["state"][:] = bin.state
        if bin.projection is not None:
            exact["projection"][:] = bin.projection
            np.rint(bin.projection * 127.0, out=view["projection"], casting="unsafe")
        return tuple(raw + self._records[name].tobytes()[HEADER_BYTES:] for name in ("view", "exact"))  # type: ignore[return-value]


def as_float(value: float) -> float | None:
    """Return a number for JSON: NaN is null."""
    return None if value != value else value
