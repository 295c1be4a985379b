"""Datasets and vectors of a row."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

JOINT = " + "
"""Separator of dataset ids in the `dataset_id` of a pooled row."""


def datasets_of(name: str) -> list[str]:
    """Return the dataset ids in the `dataset_id` of a row; a pooled row has several."""
    return name.split(JOINT)


def pnl_matrix(blocks: pl.Series) -> npt.NDArray[np.float64]:
    """Return lists of numbers as float64[n_rows, longest]; zeros fill shorter lists."""
    lengths = blocks.list.len().fill_null(0)
    width = int(lengths.max() or 0)  # type: ignore[arg-type]
    if width and bool((lengths == width).all()):
        return blocks.explode().to_numpy().reshape(len(blocks), width)
    matrix = np.zeros((len(blocks), width))
    for row, vector in enumerate(blocks.to_list()):
        matrix[row, : len(vector or ())] = vector or ()
    return matrix


def lists(matrix: npt.NDArray[Any], dtype: pl.DataType) -> pl.Series:
    """Return the rows of a matrix as a column of lists."""
    if not matrix.size:
        return pl.Series([[]] * matrix.shape[0], dtype=dtype)
    return pl.Series(np.ascontiguousarray(matrix).ravel()).reshape(matrix.shape).cast(dtype)
