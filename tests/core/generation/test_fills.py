"""Fill tables: replayed once, kept in the cache of the dataset, checked when they are read."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from vpcore.api import generate
from vpcore.dataset import Dataset
from vpcore.errors import DatasetError
from vpcore.generation.fills import fill_table
from vpcore.workspace import Workspace


@pytest.fixture
def dataset(workspace: Workspace, put_tape: Any, put_pipeline: Any) -> Dataset:
    put_tape(n_events=400)
    return generate(workspace, put_pipeline())


def test_the_table_has_the_prices_of_the_dataset_and_is_kept(workspace: Workspace, dataset: Dataset) -> None:
    found = fill_table(workspace, dataset)
    assert (found.filled >= 0).any()
    bid, ask = (dataset.bin(f"best_{side}_price_int") for side in ("bid", "ask"))
    np.testing.assert_array_equal(found.tick * dataset.tick_int, [bid, ask])
    (file,) = (workspace.cache_dir / dataset.dataset_id).glob("fills.*.npy")
    for tape in workspace.raw.glob("*.npy"):
        tape.unlink()
    again = fill_table(workspace, dataset)  # from the cache: the sources are gone
    for name in ("tick", "filled", "time_ns", "reason"):
        np.testing.assert_array_equal(getattr(again, name), getattr(found, name))
    assert found.filled.max() >= 10
    part = fill_table(workspace, dataset.until(10))  # as before a reserve: nothing of what comes later
    assert part.filled.max() < 10
    raw = bytearray(file.read_bytes())
    raw[-300] ^= 1
    file.write_bytes(raw)
    with pytest.raises(DatasetError, match=r"follows orders through the sources of dataset .* which cannot be read"):
        fill_table(workspace, dataset)


def test_no_signal_can_name_a_fill(workspace: Workspace, dataset: Dataset) -> None:
    fill_table(workspace, dataset)
    again = workspace.datasets.open(dataset.dataset_id, cache_dir=workspace.cache_dir)
    assert not {"fills", "filled"} & set(again.columns)
    with pytest.raises(DatasetError, match="has no grid column 'fills'"):
        again["fills"]


def test_other_sources_are_refused(workspace: Workspace, dataset: Dataset, put_tape: Any) -> None:
    put_tape(n_events=400, seed=2)
    with pytest.raises(DatasetError, match="was made from another"):
        fill_table(workspace, dataset)
    bins = {name: dataset.bin(name) for name in dataset.bin_columns}
    alone = Dataset.from_arrays(
        bins, {"pressure": np.zeros((dataset.n_bins, 3))}, dataset_id="m", cell_width_ns=10**8, tick_int=1
    )
    with pytest.raises(DatasetError, match="and 'm' lies in memory only"):
        fill_table(workspace, alone)
