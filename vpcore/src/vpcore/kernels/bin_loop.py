"""The loop over the bins of a session, compiled around the step of a signal."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from types import FunctionType
from typing import Any

import numba
import numpy as np
import numpy.typing as npt
from numba.extending import overload

from vpcore.kernels.jit import CAN_BORROW, compile_once, jit
from vpcore.kernels.spatial import widen

_BORROWS = {"forceinline": True, "error_model": "numpy", **({"_nrt": False} if CAN_BORROW else {})}


def _numbers(columns: tuple[npt.NDArray[Any], ...], i: int) -> tuple[Any, ...]:
    """Return the number of each column at bin `i`: int64 of integers."""
    return tuple(column[i].item() for column in columns)


@overload(_numbers, jit_options=_BORROWS)
def _compile_numbers(columns, i):  # without annotations: numba requires those of the lambdas
    if len(columns) == 0:
        return lambda columns, i: ()
    if isinstance(columns[0].dtype, numba.types.Integer):
        return lambda columns, i: (np.int64(columns[0][i]), *_numbers(columns[1:], i))
    return lambda columns, i: (columns[0][i], *_numbers(columns[1:], i))


def _widen_all(columns: tuple[npt.NDArray[Any], ...], rows: tuple[npt.NDArray[np.float64], ...], i: int) -> None:
    """Copy the cells of each column at bin `i` into its row."""
    for column, row in zip(columns, rows, strict=True):
        row[:] = column[i]


@overload(_widen_all, jit_options=_BORROWS)
def _compile_widen_all(columns, rows, i):
    if len(columns) == 0:
        return lambda columns, rows, i: None
    return lambda columns, rows, i: (widen(columns[0][i], rows[0]), _widen_all(columns[1:], rows[1:], i))


def _loop(state: Any, bins: Any, grid: Any, rows: Any, views: Any, valid: npt.NDArray[np.bool_], out: Any) -> None:
    for i in range(valid.shape[0]):
        if valid[i]:
            _widen_all(grid, rows, i)
            arguments = _numbers(bins, i) + views
            out[i] = step(state, *arguments)  # type: ignore[name-defined]  # noqa: F821  # a global of each copy
        else:
            out[i] = math.nan


@cache
def bin_loop(step: Callable[..., float]) -> Callable[..., None]:
    """Return the compiled loop of one step; the first call compiles the loop or takes it from the cache.

    Parameters
    ----------
    step : callable
        ``step(state, *numbers, *rows) -> float``, made by `jit`.

    Returns
    -------
    callable
        ``loop(state, bins, grid, rows, views, valid, out)``: `bins` is a tuple of arrays of shape (n_bins,), `grid` a
        tuple of arrays of shape (n_bins, n_cells), `valid` bool[n_bins]. `out` is float64[n_bins], written: NaN in
        invalid bins. `rows` is a tuple of float64[n_cells] for the loop's own use, one per array of `grid`. `views` is
        the same memory, read only as in a `SignalFrame`: so the step has one compiled version.
    """
    # numba's cache tells functions apart by file, line, module, qualified name and closure. It takes one function
    # argument for another, and a closure over a compiled function has a new digest in every process. So the step is a
    # global of a copy of the loop, and the copy is named after the step.
    # `borrows`: counting references to the tuples of arrays makes a cheap signal 60 % slower. The step still counts.
    compile_once(step)  # a live stream calls it from Python
    copy = FunctionType(_loop.__code__, {**globals(), "step": step})
    copy.__module__ = step.__module__
    copy.__qualname__ = f"{step.__module__}.{step.__qualname__}.loop"
    return jit(borrows=True)(copy)
