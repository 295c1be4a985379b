"""A seeded random session in memory: consistent bin columns, plausible grid columns."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from vpcore.dataset import Dataset
from vpcore.errors import ConfigError
from vpcore.schema import BIN_COLUMNS, GRID_VALUES
from vpcore.signal.conformance.data import mirror_bins, mirror_grids
from vpcore.units import NS_PER_MS, PRICE_SCALE

Array = npt.NDArray[Any]

TICK_INT = PRICE_SCALE // 4
START_NS = 1_699_974_000 * PRICE_SCALE  # a Tuesday, 10:00 in New York

LABELS = {
    (1, 1): (2, 1),
    (1, 0): (2, 0),
    (0, 1): (0, 1),
    (-1, -1): (-1, -2),
    (-1, 0): (-1, 0),
    (0, -1): (0, -2),
}
"""(sign of the ask's move, sign of the bid's move) -> labels above and below; every other pair is mixed, 0 and 0."""


def synthetic_dataset(
    seed: int = 0, n_bins: int = 1200, *, radius: int = 50, cell_width_ms: int = 100, invalid: float = 0.02
) -> Dataset:
    """Return a dataset in memory with every column of the schema.

    The touches walk at random and the grid columns are correlated noise with the right signs, shapes and sides. The
    session includes the difficult cases for signals: an invalid first bin, single invalid bins and runs of them, even
    and odd spreads, moves of one and of both sides, cells that are 0 for long, and quiet stretches.

    Parameters
    ----------
    seed : int
        Seed of the random numbers.
    n_bins : int
        Number of bins, at least 0.
    radius : int
        Cells on each side of the mid.
    cell_width_ms : int
        Width of a bin, in ms.
    invalid : float
        Share of invalid bins besides the first.

    Raises
    ------
    ConfigError
        If `n_bins` is negative, or `radius` or `cell_width_ms` below 1.
    """
    if n_bins < 0 or radius < 1 or cell_width_ms < 1:
        raise ConfigError(
            "A synthetic dataset needs n_bins >= 0, radius >= 1 and cell_width_ms >= 1, "
            f"was {n_bins}, {radius}, {cell_width_ms}."
        )
    rng = np.random.default_rng(seed)
    valid = _validity(rng, n_bins, invalid)
    bins = _bins(rng, valid, cell_width_ms * NS_PER_MS)
    grid = _grid(rng, valid, radius, cell_width_ms / 1000)
    return Dataset.from_arrays(
        bins,
        grid,
        dataset_id=f"synthetic_{seed}_{n_bins}",
        cell_width_ns=cell_width_ms * NS_PER_MS,
        tick_int=TICK_INT,
        symbol="SYNTH",
    )


def mirrored_dataset(dataset: Dataset) -> Dataset:
    """Return the mirror image of a dataset with every column: sides swapped, prices reflected about the first mid."""
    return Dataset.from_arrays(
        mirror_bins({name: dataset.bin(name) for name in BIN_COLUMNS}, dataset.tick_int),
        mirror_grids({name: dataset.grid(name) for name in GRID_VALUES}),
        dataset_id=f"{dataset.dataset_id}_mirrored",
        cell_width_ns=dataset.cell_width_ns,
        tick_int=dataset.tick_int,
        symbol=dataset.symbol,
    )


def _validity(rng: np.random.Generator, n_bins: int, share: float) -> npt.NDArray[np.bool_]:
    valid = rng.random(n_bins) >= share / 2
    for start in np.flatnonzero(rng.random(n_bins) < share / 12):
        valid[start : start + 6] = False
    valid[:1] = False
    return valid


def _bins(rng: np.random.Generator, valid: npt.NDArray[np.bool_], width_ns: int) -> dict[str, Array]:
    n = len(valid)
    steps = rng.choice([-1, 0, 1], size=n, p=[0.06, 0.88, 0.06])
    widths = [1]
    for move in rng.choice([-1, 0, 1], size=n, p=[0.03, 0.94, 0.03])[1:].tolist():
        widths.append(min(max(widths[-1] + move, 1), 4))
    spread = np.array(widths[:n], dtype=np.int64)
    bid = 20_000 + np.cumsum(steps)
    ask = bid + spread
    counts = rng.poisson(3.0, n) * (rng.random(n) < 0.5)
    buy, sell = rng.poisson(1.0, (2, n)) * (counts > 0)
    reach = rng.integers(0, 2, (4, n))
    high, low = bid + reach[0], bid - reach[1]
    ask_high, ask_low = ask + reach[2], ask - reach[3]
    prices = {
        "best_bid_price_int": bid * TICK_INT,
        "best_ask_price_int": ask * TICK_INT,
        "bid_high_int": high * TICK_INT,
        "bid_low_int": low * TICK_INT,
        "ask_high_int": ask_high * TICK_INT,
        "ask_low_int": ask_low * TICK_INT,
        "mid2_high": high + ask_high,
        "mid2_low": low + ask_low,
        "mid_price": (bid + ask) * (TICK_INT / 2 / PRICE_SCALE),
        "spread_ticks": spread,
        "best_bid_size": rng.integers(1, 80, n),
        "best_ask_size": rng.integers(1, 80, n),
        **_moves(bid, ask, valid),
    }
    start = START_NS + np.arange(n, dtype=np.int64) * width_ns
    columns: dict[str, Array] = {
        "bin_seq": np.arange(n, dtype=np.int64),
        "ts_ns": start + width_ns,
        "bin_start_ns": start,
        "bin_end_ns": start + width_ns,
        "book_valid": valid,
        "event_id": np.cumsum(counts),
        "bin_event_count": counts,
        "buy_volume": buy,
        "sell_volume": sell,
        "cross_volume": np.zeros(n),
        "trade_count": buy + sell,
        **{name: np.where(valid, values, 0) for name, values in prices.items()},
    }
    columns["microstate_id"] = np.where(valid, prices["microstate_id"], 4)
    return {name: np.asarray(columns[name]).astype(dtype) for name, dtype in BIN_COLUMNS.items()}


def _moves(bid: Array, ask: Array, valid: npt.NDArray[np.bool_]) -> dict[str, Array]:
    """Return moves since the last valid bin, the microstates and the labels."""
    n = len(valid)
    moves = np.zeros((2, n), dtype=np.int64)
    micro, above, below = np.full(n, 4), np.zeros(n, dtype=np.int64), np.zeros(n, dtype=np.int64)
    last = -1
    for i in np.flatnonzero(valid).tolist():
        if last >= 0:
            moves[:, i] = bid[i] - bid[last], ask[i] - ask[last]
            signs = (int(np.sign(moves[1, i])), int(np.sign(moves[0, i])))
            micro[i] = 3 * (signs[0] + 1) + signs[1] + 1
            above[i], below[i] = LABELS.get(signs, (0, 0))
        last = i
    return {
        "best_bid_move_ticks": moves[0],
        "best_ask_move_ticks": moves[1],
        "microstate_id": micro,
        "state_above": above,
        "state_below": below,
    }


def _smooth(rng: np.random.Generator, n_bins: int, n_cells: int, *memories: float) -> Array:
    """Return a layer of noise of about unit size for each exponential memory in time, in bins."""
    noise = rng.standard_normal((len(memories), n_bins, n_cells))
    keep = np.exp(-1.0 / np.array(memories))[:, np.newaxis]
    noise[:, 1:] *= np.sqrt(1.0 - keep * keep)[:, np.newaxis]
    for i in range(1, n_bins):
        noise[:, i] += keep * noise[:, i - 1]
    return noise


def _grid(rng: np.random.Generator, valid: npt.NDArray[np.bool_], radius: int, seconds: float) -> dict[str, Array]:
    n_bins, n_cells = len(valid), 2 * radius + 1
    k = np.arange(-radius, radius + 1)
    # Activity falls off from the touch; far cells are empty more often than not, and no time of day is alike.
    shape = np.exp(-np.abs(k) / 12.0) * (0.3 + (np.abs(k) > 0))
    busy = np.exp(0.5 * _smooth(rng, n_bins, 1, 200.0)[0]) * shape
    busy *= np.repeat(rng.random((n_bins // 50 + 1, n_cells)), 50, axis=0)[:n_bins] < 0.3 + 2.0 * shape
    grid: dict[str, Array] = {}
    noise = iter(_smooth(rng, n_bins, n_cells, *(20.0, 300.0) * 3))
    for name, level in (("add", 4.0), ("pull", 3.0), ("fill", 1.0)):
        side = 1.0 if name != "fill" else (np.abs(k) <= 3).astype(float)
        grid[f"v_{name}"] = busy * level * side * np.exp(0.6 * next(noise))
        grid[f"{name}_mass"] = grid[f"v_{name}"] * 30.0 * np.exp(0.2 * next(noise))
    noise = iter(_smooth(rng, n_bins, n_cells, *(50.0, 20.0) * 2))
    for name, mask in (("bid_depth", k <= 0), ("ask_depth", k >= 0)):
        grid[name] = mask * np.round(40.0 * np.exp(0.3 * next(noise)))
        grid[f"v_{name}"] = mask * busy * 2.0 * next(noise)
    noise = iter(_smooth(rng, n_bins, n_cells, *(10.0, 5.0) * 5))
    for name in ("add", "pull", "fill", "bid_depth", "ask_depth"):
        scale = np.abs(grid[f"v_{name}"])
        grid[f"a_{name}"] = scale * 0.4 * next(noise)
        grid[f"j_{name}"] = scale * 0.2 * next(noise)
    rest = grid["v_bid_depth"] + grid["v_ask_depth"]
    up, down = np.maximum(rest, 0), np.maximum(-rest, 0)
    grid["pressure"] = grid["v_add"] + 0.5 * up + 0.3 * np.maximum(grid["a_add"], 0)
    grid["vacuum"] = grid["v_pull"] + 1.5 * grid["v_fill"] + 0.5 * down + 0.3 * np.maximum(grid["a_pull"], 0)
    grid["composite"] = (grid["pressure"] - grid["vacuum"]) / (grid["pressure"] + grid["vacuum"] + 1e-3)
    before = grid["composite"]
    for order in (1, 2, 3):
        difference = np.zeros_like(before)
        difference[1:] = (before[1:] - before[:-1]) / seconds
        grid[f"composite_d{order}"] = before = difference
    return {name: np.where(valid[:, np.newaxis], grid[name], 0.0).astype(np.float32) for name in GRID_VALUES}
