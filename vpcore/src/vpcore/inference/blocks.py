"""Datasets behind a row, and its vectors."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

JOINT = " + "
"""Between the ids of the datasets in the `dataset_id` of a pooled row; no id has it."""


def datasets_of(name: str) -> list[str]:
    """Return the datasets behind the `dataset_id` of a row, which of a pooled one are several."""
    return name.split(JOINT)


def pnl_matrix(blocks: pl.Series) -> npt.NDArray[np.float64]:
    """Return lists of numbers as [n_rows, longest]; where there is none, zeros."""
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
