"""The features of ``gbm_snap`` (set ``snap``): the frame itself around the mid.

| feature | | what |
|---|---|---|
| ``pressure_<k>``, ``vacuum_<k>`` | ``k`` and ``-k`` change places | the column in cell k, -8 to 8, contracts/s |
| ``score_<k>`` | ``k`` and ``-k`` change places | the flow score in cell k, in [-1, 1] |

There is no warm-up of their own; the score has one, during which it is 0.
"""

from __future__ import annotations

import numpy as np

from vpcore.kernels.jit import jit
from vpcore_signals_ml.features import FeatureSet
from vpcore_signals_ml.labels import Floats

REACH = 8
COLUMNS = ("pressure", "vacuum", "flow_score")


@jit
def _snap_step(state: Floats, grid: Floats, numbers: Floats, out: Floats) -> None:
    first = (grid.shape[2] >> 1) - REACH
    width = 2 * REACH + 1
    for i in range(grid.shape[0]):
        for c in range(grid.shape[1]):
            for j in range(width):
                out[i, c * width + j] = grid[i, c, first + j]


def _snap() -> FeatureSet:
    width = 2 * REACH + 1
    names = tuple(f"{name}_{k}" for name in ("pressure", "vacuum", "score") for k in range(-REACH, REACH + 1))
    partner = np.concatenate([np.arange(width)[::-1] + c * width for c in range(len(COLUMNS))])
    return FeatureSet("snap", names, np.ones(len(names)), partner, COLUMNS, REACH, 0, lambda: np.zeros(1), _snap_step)


SNAP = _snap()
