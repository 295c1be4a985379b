"""Stylised facts of a market: spread, depth, sizes and times between events, to compare simulated and real markets."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from vpcore.engine import Engine, EngineParams
from vpcore.engine.frames import FrameBlock
from vpcore.errors import SourceError, listed
from vpcore.kernels.records import ADD, CANCEL, F_LAST, F_SNAPSHOT, FILL, MODIFY, TRADE
from vpcore.source.protocol import SourceRequest
from vpcore.units import NS_PER_MS, NS_PER_S, tick_to_int
from vpcore_dbn.inspect import inspect_file
from vpcore_dbn.source import DbnSource
from vpcore_market.source import Simulation, SyntheticParams

_BIN_MS = 100
_LEVELS = 20
_NS_PER_HOUR = 3600 * NS_PER_S


def stylised_facts(
    chunks: Iterable[np.ndarray[Any, Any]], instrument_id: int, tick_int: int, start_ns: int, end_ns: int
) -> dict[str, float]:
    """Return the figures of a market.

    Parameters
    ----------
    chunks : iterable of MBO_DTYPE[n]
        Records in order, a snapshot among them or before.
    instrument_id, tick_int : int
        Which records count; tick size in 1e-9.
    start_ns, end_ns : int
        The window; cut to whole bins of 100 ms.

    Returns
    -------
    dict of str to float
        Spread and depth are sampled at the end of every bin. Depth is sampled where the spread is one tick: contracts
        at the touch and behind it, the mean of both sides. An event ends with `F_LAST`. ``fano_1s`` is
        the variance of the events per second over their mean: 1 for a Poisson process. ``kurtosis_1s`` and ``_10s``
        are those of the changes of the mid in one and in ten seconds.
    """
    n_bins = (end_ns - start_ns) // (_BIN_MS * NS_PER_MS)
    end_ns = start_ns + n_bins * _BIN_MS * NS_PER_MS
    columns = ("bid_depth", "ask_depth")
    params = EngineParams(cell_width_ms=_BIN_MS, grid_radius_ticks=_LEVELS + 2, columns=columns)
    engine = Engine(params, tick_int=tick_int, start_ns=start_ns, end_ns=end_ns)
    blocks: list[FrameBlock] = []
    kept: list[np.ndarray[Any, Any]] = []
    for records in chunks:
        blocks += engine.blocks(records, instrument_id)
        time = records["ts_recv"].astype(np.int64)
        live = (records["instrument_id"] == instrument_id) & (records["flags"] & F_SNAPSHOT == 0)
        kept.append(records[live & (time >= start_ns) & (time < end_ns)])
    whole = FrameBlock.concatenate([*blocks, *engine.finish(end_ns)], columns, params.n_cells)
    return _of_records(np.concatenate(kept), start_ns, end_ns) | _of_bins(whole, (end_ns - start_ns) / _NS_PER_HOUR)


def _of_records(records: np.ndarray[Any, Any], start_ns: int, end_ns: int) -> dict[str, float]:
    last = records["flags"] & F_LAST != 0
    times = records["ts_recv"][last].astype(np.int64)
    gaps = np.diff(times) / NS_PER_MS
    per_second = np.bincount((times - start_ns) // NS_PER_S, minlength=(end_ns - start_ns) // NS_PER_S)
    found = {
        "events_per_second": len(times) * NS_PER_S / (end_ns - start_ns),
        "records_per_event": len(records) / max(len(times), 1),
    }
    for name, action in (("add", ADD), ("cancel", CANCEL), ("modify", MODIFY), ("trade", TRADE), ("fill", FILL)):
        found[f"{name}_share"] = float(np.mean(records["action"] == action))
    for name, action in (("add", ADD), ("trade", TRADE)):
        sizes = records["size"][records["action"] == action]
        found[f"{name}_size_of_1"] = float(np.mean(sizes == 1)) if len(sizes) else np.nan
        for level in (50, 90, 99):
            found[f"{name}_size_p{level}"] = float(np.percentile(sizes, level)) if len(sizes) else np.nan
    for level in (10, 50, 75, 90, 99):
        found[f"gap_ms_p{level}"] = float(np.percentile(gaps, level)) if len(gaps) else np.nan
    found["fano_1s"] = float(per_second.var() / per_second.mean()) if per_second.any() else np.nan
    return found


def _of_bins(block: FrameBlock, hours: float) -> dict[str, float]:
    bins = {name: column[block.bins["book_valid"]] for name, column in block.bins.items()}
    valid = block.bins["book_valid"]
    found: dict[str, float] = {}
    found["bins_with_an_event"] = float(np.mean(block.bins["bin_event_count"] > 0))
    for ticks in (1, 2, 3):
        found[f"spread_{ticks}"] = float(np.mean(bins["spread_ticks"] == ticks))
    found["spread_wider"] = float(np.mean(bins["spread_ticks"] > 3))
    narrow = bins["spread_ticks"] == 1
    middle = block.grid["bid_depth"].shape[1] // 2
    bid, ask = (block.grid[name][valid][narrow] for name in ("bid_depth", "ask_depth"))
    for behind in (0, 1, 2, 5, 10, _LEVELS):
        found[f"depth_{behind}"] = float(np.mean(bid[:, middle - 1 - behind] + ask[:, middle + 1 + behind]) / 2)
    mid = bins["mid_price"]
    tick = float(np.mean((bins["best_ask_price_int"] - bins["best_bid_price_int"]) / bins["spread_ticks"])) / 1e9
    moves = np.diff(mid)
    found["mid_moves_per_hour"] = float(np.count_nonzero(moves)) / hours
    found["kurtosis_1s"], found["kurtosis_10s"] = (_kurtosis(mid[::step]) for step in (10, 100))
    found["range_ticks"] = float((mid.max() - mid.min()) / tick)
    found["imbalance_auc"] = _auc(bins, moves)
    return found


def _kurtosis(mid: np.ndarray[Any, Any]) -> float:
    """Return the kurtosis of the changes of the mid, 3 for normal ones."""
    changes = np.diff(mid)
    spread = float(np.var(changes))
    return float(np.mean((changes - changes.mean()) ** 4) / spread**2) if spread > 0.0 else float("nan")


def _auc(bins: dict[str, Any], moves: np.ndarray[Any, Any]) -> float:
    """Return the AUC of the touch imbalance for the direction of the next mid move; 0.5 is no information."""
    at = np.flatnonzero(moves)
    following = np.searchsorted(at, np.arange(len(moves)))
    known = (following < len(at)) & (bins["spread_ticks"][:-1] == 1)
    up = moves[at[following[known]]] > 0
    bid, ask = (bins[name][:-1][known].astype(float) for name in ("best_bid_size", "best_ask_size"))
    lean = (bid - ask) / (bid + ask)
    values, ranks = np.unique(lean, return_inverse=True)
    counts = np.bincount(ranks, minlength=len(values))
    middle = np.cumsum(counts) - (counts - 1) / 2.0
    n_up = int(up.sum())
    if not n_up or n_up == len(up):
        return float("nan")
    return float((middle[ranks][up].sum() - n_up * (n_up + 1) / 2) / (n_up * (len(up) - n_up)))


def facts_of_file(
    path: Path, symbol: str | None = None, start_ns: int | None = None, end_ns: int | None = None
) -> tuple[dict[str, float], str, int, int]:
    """Return the figures of a file's instrument, its symbol, and the window: the live span unless another is given.

    Raises
    ------
    SourceError
        If the file holds several symbols and none is named, or it cannot be read.
    """
    found = inspect_file(path)
    names = sorted({mapping.symbol for mapping in found.file.mappings})
    if symbol is None:
        if len(names) != 1:
            raise SourceError(f"{path.name} holds {listed(names)}. Say which one with --symbol.")
        symbol = names[0]
    start = start_ns if start_ns is not None else (found.live_first_ns // NS_PER_S + 1) * NS_PER_S
    end = end_ns if end_ns is not None else found.live_last_ns // NS_PER_S * NS_PER_S
    if end <= start:
        raise SourceError(f"The window of {path.name} is empty: it begins at {start} and ends at {end} ns.")
    with DbnSource().open(SourceRequest(symbol, start, end, files=(path,))) as stream:
        number = stream.files[0].instrument_id
        unit = found.instruments[number].price_unit_int
        figures = stylised_facts((chunk.records for chunk in stream), number, unit, start, end)
    return figures, symbol, start, end


def facts_of_market(params: SyntheticParams) -> dict[str, float]:
    """Return the figures of a simulated market."""
    tick = tick_to_int(params.tick_size)
    return stylised_facts(Simulation(params), params.instrument_id, tick, params.start_ns, params.end_ns)
