"""Data of the charts that a reader moves: columns of bounded size, quantised, packed into one compressed text.

A page holds at most `MOST_MARKET_BYTES` of bins around trades, `MOST_TRADES` trades and `MOST_ROWS` rows.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from vpcore.backtest.entries import band
from vpcore.experiment.tables import session_of
from vpcore.experiment.trades import Leader
from vpcore.results import ROW_KEY
from vpcore.units import NS_PER_MS, NS_PER_S, PRICE_SCALE
from vpcore_cli.grouping import varied
from vpcore_report.chart_data import Equity

Ints = npt.NDArray[np.int64]
Json = dict[str, Any]

MOST_MARKET_BYTES = 4_000_000
"""Bytes of the bins around trades, before compression."""

MOST_TRADES = 200
"""Trades of the list."""

MOST_ROWS = 20_000
"""Rows for maps and parallel coordinates; of more rows an even sample."""

REACH = 25
"""Cells on each side of the mid."""

PADS_S = (60, 30, 15, 5, 1)
"""Time before the decision and after the exit of a trade; the longest that fits."""

_BIN_BYTES = 25
_CODES = 255
_SHARE = 99.9
_FIGURES = (
    "net_pnl_ticks", "mean_pnl_ticks", "trades", "p_random", "p_adj", "q_random", "dsr", "tp_resolved", "timeout_rate",
    "events_per_hour", "n_eff", "worst_session_net", "net_out_of_sample",
)  # fmt: skip
"""Figures of a row that maps and lines show, where the ranking has them."""


class Packer:
    """Arrays behind a JSON header in one text: zlib of the length of the header, header and arrays, in base64."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._size = 0

    def array(self, values: npt.NDArray[Any]) -> list[Any]:
        """Add a column and return its reference: type, first byte behind the header, number of values."""
        little = np.ascontiguousarray(values, dtype=values.dtype.newbyteorder("<"))
        data = little.tobytes()
        place = [f"{little.dtype.kind}{little.dtype.itemsize}", self._size, int(little.size)]
        data += b"\0" * (-len(data) % 8)
        self._parts.append(data)
        self._size += len(data)
        return place

    def text(self, header: Json) -> str:
        """Return everything as one text. The same data have the same text."""
        raw = json.dumps(header, separators=(",", ":"), allow_nan=False).encode()
        raw += b" " * (-len(raw) % 8)
        length = np.array([len(raw), 0], "<u4").tobytes()
        return base64.b64encode(zlib.compress(length + raw + b"".join(self._parts), 6)).decode()


# -- the market around trades ------------------------------------------------------------------------------------------


def cover(first: Ints, last: Ints, n_bins: int, most: int, pads: Sequence[int]) -> tuple[Ints, int]:
    """Return stretches of bins around trades, and the number of trades that they cover.

    Parameters
    ----------
    first, last : int64[n_trades]
        Bins of decision and exit, in order of decision.
    n_bins : int
        Bins of the session.
    most : int
        Bins of all stretches together.
    pads : sequence of int
        Bins before and after a trade; the first that fits. Where none fits, the last, and only the first trades.

    Returns
    -------
    stretches : int64[n_stretches, 2]
        ``[start, stop)``, in order, apart from each other.
    n_covered : int
    """
    for pad in pads:
        found = _union(np.maximum(first - pad, 0), np.minimum(last + pad + 1, n_bins))
        if int(np.diff(found).sum()) <= most:
            return found, len(first)
    n = len(first)
    while n:
        n = n * 3 // 4
        found = _union(np.maximum(first[:n] - pads[-1], 0), np.minimum(last[:n] + pads[-1] + 1, n_bins))
        if int(np.diff(found).sum()) <= most:
            break
    return found, n


def _union(starts: Ints, stops: Ints) -> Ints:
    """Return the union of stretches that are sorted by start."""
    if not len(starts):
        return np.empty((0, 2), np.int64)
    reach = np.maximum.accumulate(stops)
    new = np.concatenate([[True], starts[1:] > reach[:-1]])
    ends = np.concatenate([np.flatnonzero(new)[1:] - 1, [len(starts) - 1]])
    return np.stack([starts[new], reach[ends]], axis=1)


@dataclass(frozen=True, slots=True)
class Codes:
    """Amounts in one byte each: ``limit * (code / 255) ** 2``; amounts beyond the limit have the last code."""

    codes: npt.NDArray[np.uint8]
    limit: float


def quantised(amounts: npt.NDArray[Any]) -> Codes:
    """Return amounts of at least 0 in one byte each. The limit is their 99.9th percentile; NaN counts as 0."""
    known = np.nan_to_num(amounts.astype(np.float32), copy=False)
    above = known[known > 0.0]
    limit = max(float(np.percentile(above, _SHARE)) if above.size else 1.0, 1e-6)
    share = np.minimum(known / np.float32(limit), 1.0)
    return Codes(np.rint(np.sqrt(share) * _CODES).astype(np.uint8), limit)


def market(packer: Packer, leaders: Sequence[Leader], trades: Sequence[pl.DataFrame], zone: str) -> Json:
    """Pack the bins around the first trades of a row, and return their header.

    Parameters
    ----------
    packer : Packer
        Takes the columns.
    leaders, trades
        The row on each of its sessions, in order of time, and its trades there, as of `vpcore.trades`.
    zone : str
        IANA time zone of the instrument.

    Returns
    -------
    dict
        ``trades``: one list per trade that the page shows. Sessions share the room evenly.
    """
    one = leaders[-1]
    radius = min(one.dataset.radius, REACH)
    layers = 3 + (one.scoring is not None)
    most = MOST_MARKET_BYTES // (_BIN_BYTES + layers * (2 * radius + 1)) // len(leaders)
    sessions, room = [], MOST_TRADES
    for leader, frame in zip(leaders, trades, strict=True):
        shown = frame.head(room)
        room -= shown.height
        sessions.append(_session(packer, leader, shown, most, radius))
    long_level, short_level = band(one.row["threshold"], one.mode)
    return {
        "symbol": one.dataset.symbol,
        "signal": one.row["signal_name"],
        "zone": zone,
        "bin_ns": one.dataset.cell_width_ns,
        "tick": one.dataset.tick_int / PRICE_SCALE,
        "radius": radius,
        "levels": [long_level, short_level],
        "tp": one.row["tp_ticks"],
        "sl": one.row["sl_ticks"],
        "sessions": sessions,
    }


def _session(packer: Packer, leader: Leader, frame: pl.DataFrame, most: int, radius: int) -> Json:
    data = leader.dataset
    first = int(data.bin("bin_seq")[0]) if data.n_bins else 0
    bins = {name: frame[name].to_numpy().astype(np.int64) - first for name in ("bin", "entry_bin", "exit_bin")}
    pads = [seconds * NS_PER_S // data.cell_width_ns for seconds in PADS_S]
    stretches, n = cover(bins["bin"], bins["exit_bin"], data.n_bins, most, pads)
    at = np.concatenate([np.arange(start, stop) for start, stop in stretches] or [np.empty(0, np.int64)])
    cells = slice(data.radius - radius, data.radius + radius + 1)

    def grid(name: str) -> npt.NDArray[Any]:
        source = leader.session.scored(leader.scoring) if name == "flow_score" and leader.scoring else data
        parts = [source.grid(name)[start:stop, cells] for start, stop in stretches]
        return np.concatenate(parts) if parts else np.empty((0, 2 * radius + 1))

    layers = {name: quantised(grid(name)) for name in ("pressure", "vacuum")}
    layers["depth"] = quantised(grid("bid_depth") + grid("ask_depth"))
    packed: Json = {name: {"codes": packer.array(one.codes), "limit": one.limit} for name, one in layers.items()}
    if leader.scoring is not None:
        score = np.nan_to_num(np.clip(grid("flow_score"), -1.0, 1.0))
        packed["score"] = {"codes": packer.array(np.rint(score * 127).astype(np.int8))}
    columns = {"valid": data.valid[at].astype(np.uint8), "value": leader.values[at].astype(np.float32)}
    for side in ("bid", "ask"):
        price = data.bin(f"best_{side}_price_int")[at].astype(np.int64)
        columns[side] = np.where(columns["valid"], price // data.tick_int, 0).astype(np.int32)
    for name in ("best_bid_size", "best_ask_size", "buy_volume", "sell_volume"):
        columns[name.removeprefix("best_")] = np.minimum(data.bin(name)[at], 65_535).astype(np.uint16)
    shown = frame.head(n)
    return {
        "name": session_of(data.dataset_id),
        "start_ms": (int(data.bin("bin_end_ns")[0]) - data.cell_width_ns) / NS_PER_MS,
        "stretches": stretches.tolist(),
        "layers": packed,
        "columns": {name: packer.array(values) for name, values in columns.items()},
        "trades": [
            [*places, *rest]
            for *places, rest in zip(
                *(bins[name][:n].tolist() for name in ("bin", "entry_bin", "exit_bin")),
                shown.select("side", "entry_price", "exit_price", "net_pnl_ticks", "reason").rows(),
                strict=True,
            )
        ],
    }


# -- equity ------------------------------------------------------------------------------------------------------------


def equity(packer: Packer, curve: Equity, names: Sequence[str]) -> Json:
    """Pack an equity curve and return its header; `names` are those of its sessions."""
    ms = np.array([time.timestamp() * 1e3 for time in curve.times], np.float64)
    return {
        "zone": str(curve.times[0].tzinfo) if curve.times else "UTC",
        "names": list(names),
        "begins": list(curve.begins),
        "ms": packer.array(ms),
        "total": packer.array(curve.total),
        "peak": packer.array(curve.peak),
    }


# -- rows --------------------------------------------------------------------------------------------------------------


def rows(packer: Packer, frame: pl.DataFrame, leader: str) -> Json:
    """Pack settings and figures of ranked rows, and return their header; `leader` is the signal to show first.

    A setting has its values, in order, and a code per row; 0 stands for none. Figures are float32.
    """
    table, names = varied(frame)
    every = -(-table.height // MOST_ROWS)
    part = table.sort(ROW_KEY).gather_every(every) if every > 1 else table
    found = [figure for figure in _FIGURES if figure in part.columns and part[figure].drop_nulls().len()]
    settings = [_setting(packer, name, part[name]) for name in names]
    return {
        "rows": part["row"].to_list(),
        "leader": leader,
        "signal": _setting(packer, "signal", part["signal_name"]),
        "settings": [setting for setting in settings if len(setting["values"]) > 1],
        "figures": [
            {"name": name, "data": packer.array(part[name].cast(pl.Float32).fill_null(float("nan")).to_numpy())}
            for name in found
        ],
        "n_all": table.height,
    }


def _setting(packer: Packer, name: str, column: pl.Series) -> Json:
    values = column.drop_nulls().unique().sort().to_list()
    place: Mapping[Any, int] = {value: i + 1 for i, value in enumerate(values)}
    codes = np.array([0 if value is None else place[value] for value in column.to_list()], np.uint16)
    return {"name": name, "values": values, "codes": packer.array(codes)}
