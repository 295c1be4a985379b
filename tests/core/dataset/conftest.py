"""Made-up frames: random, dense, with an invalid run; equal for equal seeds."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vpcore.dataset import Dataset, DatasetRegistry, DatasetWriter
from vpcore.engine import FrameBlock
from vpcore.schema import BIN_COLUMNS, GRID_VALUES
from vpcore.storage import LocalStorage

RADIUS = 3
N_CELLS = 2 * RADIUS + 1
WIDTH_NS = 100_000_000
START_NS = 1_703_545_200_000_000_000


def _block(n_bins: int, columns: tuple[str, ...] = GRID_VALUES, seed: int = 0) -> FrameBlock:
    rng = np.random.default_rng(seed)
    bins: dict[str, Any] = {
        name: rng.integers(-5, 50, n_bins).astype(kind) if kind != "float64" else rng.normal(4800, 1, n_bins)
        for name, kind in BIN_COLUMNS.items()
    }
    bins["bin_seq"] = np.arange(n_bins)
    bins["bin_start_ns"] = START_NS + np.arange(n_bins) * WIDTH_NS
    bins["bin_end_ns"] = bins["ts_ns"] = bins["bin_start_ns"] + WIDTH_NS
    bins["book_valid"] = np.arange(n_bins) % 17 != 3
    grid = {name: rng.normal(0, 3, (n_bins, N_CELLS)).astype(np.float32) for name in columns}
    for array in grid.values():
        array[~bins["book_valid"]] = 0
    return FrameBlock(bins, grid)


def _part(block: FrameBlock, start: int, stop: int) -> FrameBlock:
    return FrameBlock(
        {name: array[start:stop] for name, array in block.bins.items()},
        {name: array[start:stop] for name, array in block.grid.items()},
    )


def _write(
    storage: LocalStorage,
    block: FrameBlock,
    dataset_id: str = "ES_x",
    *,
    cuts: tuple[int, ...] = (),
    manifest: dict[str, Any] | None = None,
) -> bool:
    with DatasetWriter(
        storage, dataset_id, n_cells=N_CELLS, cell_width_ns=WIDTH_NS, tick_int=250_000_000, columns=tuple(block.grid)
    ) as writer:
        edges = [0, *cuts, len(block)]
        for start, stop in itertools.pairwise(edges):
            writer.append(_part(block, start, stop))
        return writer.commit({"symbol": "ESH4", **(manifest or {})})


@pytest.fixture(scope="session")
def make_block() -> Callable[..., FrameBlock]:
    return _block


@pytest.fixture(scope="session")
def part() -> Callable[..., FrameBlock]:
    return _part


@pytest.fixture(scope="session")
def write() -> Callable[..., bool]:
    return _write


@pytest.fixture
def storage(tmp_path: Path) -> LocalStorage:
    return LocalStorage(tmp_path / "lake")


@pytest.fixture
def registry(storage: LocalStorage) -> DatasetRegistry:
    return DatasetRegistry(storage)


@pytest.fixture
def block() -> FrameBlock:
    return _block(100)


@pytest.fixture
def dataset(storage: LocalStorage, registry: DatasetRegistry, block: FrameBlock) -> Dataset:
    _write(storage, block)
    return registry.open("ES_x")
