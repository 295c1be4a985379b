"""Output of the engine: frames of consecutive bins as plain arrays."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from vpcore.schema import BIN_COLUMNS


@dataclass(frozen=True, slots=True)
class Frame:
    """One bin: its scalars and one value per cell and column.

    Attributes
    ----------
    bins : mapping of str to numpy scalar
        The columns of `vpcore.schema.BIN_COLUMNS`.
    grid : mapping of str to float32[n_cells]
        The requested grid columns; cell ``k`` lies at index ``k + R``.
    """

    bins: Mapping[str, Any]
    grid: Mapping[str, npt.NDArray[np.float32]]

    @property
    def bin_seq(self) -> int:
        """Number of the bin, counted from the start of the capture."""
        return int(self.bins["bin_seq"])

    @property
    def valid(self) -> bool:
        """True if both sides of the book existed, uncrossed, at the end of the bin."""
        return bool(self.bins["book_valid"])


@dataclass(frozen=True, slots=True)
class FrameBlock:
    """Consecutive bins. Iterating gives one `Frame` per bin, as views.

    Attributes
    ----------
    bins : dict of str to ndarray[n_bins]
        The columns of `vpcore.schema.BIN_COLUMNS`, in their dtypes.
    grid : dict of str to float32[n_bins, n_cells]
        The requested grid columns, C-contiguous.
    """

    bins: dict[str, npt.NDArray[Any]]
    grid: dict[str, npt.NDArray[np.float32]]

    def __len__(self) -> int:
        return len(self.bins["bin_seq"])

    def __iter__(self) -> Iterator[Frame]:
        for i in range(len(self)):
            yield self[i]

    def __getitem__(self, index: int) -> Frame:
        return Frame(
            {name: column[index] for name, column in self.bins.items()},
            {name: column[index] for name, column in self.grid.items()},
        )

    @staticmethod
    def concatenate(blocks: Sequence[FrameBlock], columns: Sequence[str], n_cells: int) -> FrameBlock:
        """Return the bins of `blocks` in one block, an empty block of the given columns for an empty list."""
        if len(blocks) == 1:
            return blocks[0]
        if not blocks:
            return FrameBlock(
                {name: np.zeros(0, dtype) for name, dtype in BIN_COLUMNS.items()},
                {name: np.zeros((0, n_cells), np.float32) for name in columns},
            )
        return FrameBlock(
            {name: np.concatenate([block.bins[name] for block in blocks]) for name in blocks[0].bins},
            {name: np.concatenate([block.grid[name] for block in blocks]) for name in blocks[0].grid},
        )
