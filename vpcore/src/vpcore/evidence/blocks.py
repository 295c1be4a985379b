"""Datasets behind a row, and its PnL vector."""

from __future__ import annotations

import json
import math

import numpy as np
import numpy.typing as npt
import polars as pl

from vpcore.dataset import DatasetRegistry
from vpcore.evaluation import PNL_BLOCK_NS

JOINT = " + "
"""Between the ids of the datasets in the `dataset_id` of a pooled row; no id has it."""


def datasets_of(name: str) -> list[str]:
    """Return the datasets behind the `dataset_id` of a row, which of a pooled one are several."""
    return name.split(JOINT)


def blocks_per_trade(datasets: DatasetRegistry, names: list[str], eval_jsons: set[str]) -> int:
    """Return how many blocks the longest trade reaches over; 1 if the datasets are gone."""
    widths = [datasets.open(name).cell_width_ns for name in names if datasets.exists(name)]
    if not widths or not eval_jsons:
        return 1
    hold = max(int(json.loads(text)["max_hold_bins"]) for text in eval_jsons)
    return max(1, math.ceil(hold * max(widths) / PNL_BLOCK_NS))


def pnl_matrix(blocks: pl.Series) -> npt.NDArray[np.float64]:
    """Return PnL vectors as float64[n_rows, n_blocks]; where there is none, zeros."""
    lengths = blocks.list.len().fill_null(0)
    width = int(lengths.max() or 0)  # type: ignore[arg-type]
    if width and bool((lengths == width).all()):
        return blocks.explode().to_numpy().reshape(len(blocks), width)
    matrix = np.zeros((len(blocks), width))
    for row, vector in enumerate(blocks.to_list()):
        matrix[row, : len(vector or ())] = vector or ()
    return matrix


def pnl_lists(matrix: npt.NDArray[np.float64]) -> pl.Series:
    """Return the rows of a matrix as PnL vectors."""
    if not matrix.size:
        return pl.Series("block_pnl_ticks", [[]] * matrix.shape[0], dtype=pl.List(pl.Float64))
    flat = pl.Series("block_pnl_ticks", np.ascontiguousarray(matrix).ravel())
    return flat.reshape(matrix.shape).cast(pl.List(pl.Float64))
