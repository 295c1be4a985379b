"""What the tests of the signals share: the signals by name, their independent implementations, and a real session."""

from __future__ import annotations

import numpy as np
import pytest
from naive_signals import ORACLES
from real_data import ES_TICK_INT, ESH4, ESH4_ID, ESH4_OPEN_NS, read_records

from vpcore import Dataset, Engine, EngineParams
from vpcore.schema import GRID_VALUES


@pytest.fixture(scope="session")
def oracles():
    """The formula of each signal, as a function of data and parameters."""
    return ORACLES


@pytest.fixture(scope="session")
def esh4():
    """Twenty minutes from the evening open of ESH4."""
    records = read_records(ESH4)
    end = ESH4_OPEN_NS + 20 * 60 * 10**9
    engine = Engine(EngineParams(), tick_int=ES_TICK_INT, start_ns=ESH4_OPEN_NS, end_ns=end)
    blocks = list(engine.blocks(records, ESH4_ID))
    bins = {name: np.concatenate([block.bins[name] for block in blocks]) for name in blocks[0].bins}
    grid = {name: np.concatenate([block.grid[name] for block in blocks]) for name in GRID_VALUES}
    return Dataset.from_arrays(bins, grid, dataset_id="esh4", cell_width_ns=10**8, tick_int=ES_TICK_INT)
