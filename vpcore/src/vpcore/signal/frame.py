"""The view of a signal on one bin: the declared columns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from vpcore.errors import SignalError, did_you_mean, listed
from vpcore.schema import BIN_COLUMNS, GRID_SUMS, GRID_VALUES, SCORE_COLUMNS

GRID_NAMES = (*GRID_VALUES, *GRID_SUMS, *SCORE_COLUMNS)
"""Columns with one value per cell that a signal may declare."""

COLUMN_NAMES = (*GRID_NAMES, *BIN_COLUMNS)
"""Every column that a signal may declare."""


def check_columns(columns: tuple[str, ...], owner: str) -> None:
    """Raise `SignalError` if a signal declares an unknown column, or a column twice."""
    for name in columns:
        if name not in COLUMN_NAMES:
            raise SignalError(
                f"Signal '{owner}' declares the column '{name}', which no dataset "
                f"has.{did_you_mean(name, COLUMN_NAMES)} "
                f"Grid columns: {', '.join(GRID_NAMES)}. Bin columns: {', '.join(BIN_COLUMNS)}."
            )
    if len(set(columns)) != len(columns):
        raise SignalError(f"Signal '{owner}' declares a column twice: {', '.join(columns)}.")


def undeclared(name: str, columns: tuple[str, ...], owner: str) -> SignalError:
    """Return the error for reading an undeclared column."""
    if name not in COLUMN_NAMES:
        return SignalError(
            f"Signal '{owner}' reads the column '{name}', which no dataset has.{did_you_mean(name, COLUMN_NAMES)} "
            f"It declares: {listed(columns)}."
        )
    return SignalError(
        f"Signal '{owner}' reads the column '{name}' without declaring it. "
        f"Add it to the signal's columns: ({', '.join(repr(item) for item in (*columns, name))})."
    )


class SignalFrame(Mapping[str, Any]):
    """One bin, as a read-only mapping of the declared columns.

    A grid column is float64[n_cells], with the cell of distance ``k`` at index ``k + radius``. The values are widened
    from the float32 of the engine; ``flow_state_code`` is widened too. Arrays are read-only copies, so a signal may
    keep them. A bin column is a Python number.

    Parameters
    ----------
    columns : tuple of str
        The declared columns.
    grid : mapping of str to array[n_cells]
        The stored grid columns of this bin, of any number type.
    bins : mapping of str to number
        The bin columns of this bin.
    owner : str
        The signal, for messages.
    bin_seq : int
    valid : bool
        As in the attributes.

    Attributes
    ----------
    bin_seq : int
        Number of the bin; invalid bins count.
    valid : bool
        True if the book was valid at the end of the bin.

    Raises
    ------
    SignalError
        On reading an undeclared or missing column.
    """

    __slots__ = ("_bins", "_columns", "_grid", "_owner", "_read", "bin_seq", "valid")

    def __init__(
        self,
        columns: tuple[str, ...],
        grid: Mapping[str, npt.NDArray[Any]],
        bins: Mapping[str, Any],
        *,
        owner: str,
        bin_seq: int,
        valid: bool,
    ) -> None:
        self.bin_seq = bin_seq
        self.valid = valid
        self._columns = columns
        self._grid = grid
        self._bins = bins
        self._owner = owner
        self._read: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        read = self._read.get(name)
        if read is not None:
            return read
        if name not in self._columns:
            raise undeclared(name, self._columns, self._owner)
        if name in BIN_COLUMNS:
            value = self._stored(self._bins, name)
            read = value.item() if isinstance(value, np.generic) else value
        else:
            read = self._row(name)
            read.setflags(write=False)
        self._read[name] = read
        return read

    def _row(self, name: str) -> npt.NDArray[np.float64]:
        if name in GRID_SUMS and name not in self._grid:
            first, second = GRID_SUMS[name]
            total: npt.NDArray[np.float64] = self._row(first) + self._row(second)
            return total
        return np.array(self._stored(self._grid, name), dtype=np.float64)

    def _stored(self, store: Mapping[str, Any], name: str) -> Any:
        try:
            return store[name]
        except KeyError:
            raise SignalError(
                f"Signal '{self._owner}' reads '{name}', which bin {self.bin_seq} does not hold. "
                + (
                    "It is made by the scorer: score the frame first."
                    if name in SCORE_COLUMNS
                    else "Add it to pipeline.columns."
                )
            ) from None

    def __contains__(self, name: object) -> bool:
        return name in self._columns

    def __iter__(self) -> Iterator[str]:
        return iter(self._columns)

    def __len__(self) -> int:
        return len(self._columns)

    def __repr__(self) -> str:
        return f"SignalFrame(bin_seq={self.bin_seq}, valid={self.valid}, columns={self._columns})"
