"""The scorer: every cell against its own recent history, as one number in [-1, 1].

For each derivative channel ``d1, d2, d3`` of the flow composite::

    z     = (x - median(W)) / (1.4826 * MAD(W))     W: the last `zscore_window_bins` values of the cell, x included
    score = sum_i w_i tanh(z_i / tanh_scale) / sum_i w_i
    state = +1 where score >= threshold_neutral, -1 where score <= -threshold_neutral, else 0

`SpectrumScorer.update`, `score_arrays` and `score_dataset` drive the same two compiled loops: one from values to
z-scores, which depends on window, minimum and floors, and one from z-scores to the score, which depends on weights,
scale and threshold. A sweep calls them apart and shares the first.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Annotated, Any, NamedTuple

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, model_validator

from vpcore.errors import ConfigError, DatasetError, listed

CHANNELS = ("composite_d1", "composite_d2", "composite_d3")
"""Grid columns that the scorer reads, in the order of every per-channel setting."""

_CHUNK = 4096
"""Bins per chunk of a batch. The chunk bounds the memory of z-scores; any value gives the same bits."""

FloatArray = npt.NDArray[np.float64]
Weight = Annotated[float, Field(ge=0.0, allow_inf_nan=False)]
Floor = Annotated[float, Field(ge=0.0, allow_inf_nan=False)]


class ScoringConfig(BaseModel):
    """Settings of the scorer. z depends on windows, minimum and floors, the score on the rest."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    zscore_window_bins: int = Field(300, ge=2, le=100_000, description="Values per window, in valid bins.")
    zscore_min_periods: int = Field(
        75, ge=1, le=100_000, description="z is 0 while a window holds fewer values; at most the window."
    )
    derivative_weights: tuple[Weight, Weight, Weight] = Field(
        (0.55, 0.30, 0.15), description="Weights of the three channels; not all 0."
    )
    tanh_scale: float = Field(3.0, gt=0.0, allow_inf_nan=False, description="z at which a channel says tanh(1) = 0.76.")
    threshold_neutral: float = Field(0.15, gt=0.0, le=1.0, description="Scores nearer 0 than this have state 0.")
    zscore_scale_floor: tuple[Floor, Floor, Floor] = Field(
        (1e-5, 1e-4, 1e-3), description="z is 0 where 1.4826 MAD is at most this, in 1/s, 1/s^2 and 1/s^3."
    )

    @model_validator(mode="after")
    def _consistent(self) -> ScoringConfig:
        if self.zscore_min_periods > self.zscore_window_bins:
            raise ValueError(
                f"zscore_min_periods must be at most zscore_window_bins ({self.zscore_window_bins} bins), "
                f"was {self.zscore_min_periods}: a window never holds more, and the score would stay 0."
            )
        if not math.fsum(self.derivative_weights) > 0.0:
            raise ValueError("derivative_weights must not all be 0: give at least one channel a weight above 0.")
        return self


class ZNode(NamedTuple):
    """Settings behind the z-scores of one channel. Points of a sweep with equal nodes share their z-scores."""

    window_bins: int
    min_periods: int
    scale_floor: float


def z_nodes(config: ScoringConfig) -> tuple[ZNode, ZNode, ZNode]:
    """Return the settings behind the z-scores of each channel."""
    first, second, third = config.zscore_scale_floor
    window, least = config.zscore_window_bins, config.zscore_min_periods
    return ZNode(window, least, first), ZNode(window, least, second), ZNode(window, least, third)


@cache
def _loops() -> tuple[Callable[..., int], Callable[..., None]]:
    """Return the compiled loops of z-scores and of scores; settings alone do without them."""
    from vpcore.kernels.robust_z import blend_cells, robust_z_cells

    return robust_z_cells, blend_cells


class ZScorer:
    """Robust z of every cell of one channel, each against its own moving window.

    Parameters
    ----------
    node : ZNode
        Settings of the z-scores.
    n_cells : int
        At least 1.

    Attributes
    ----------
    replaced : int
        Values of valid bins that were NaN or infinite and counted as 0.
    """

    def __init__(self, node: ZNode, n_cells: int) -> None:
        self.node = node
        self.n_cells = n_cells
        self.replaced = 0
        self._ring = np.zeros((n_cells, node.window_bins))
        self._ordered = np.zeros((n_cells, node.window_bins))
        self._cursor = np.zeros((n_cells, 3), dtype=np.int64)
        self._stats = np.zeros((n_cells, 2))

    def run(self, values: npt.NDArray[Any], valid: npt.NDArray[np.bool_], out: FloatArray) -> FloatArray:
        """Score the next bins.

        Parameters
        ----------
        values : float32 or float64[n_bins, n_cells]
            One row per bin.
        valid : bool[n_bins]
            False gives a z of 0 and leaves the windows unchanged.
        out : float64[n_bins, n_cells], written
            The result.

        Returns
        -------
        float64[n_bins, n_cells]
            `out`. Always finite.
        """
        robust_z_cells, _ = _loops()
        if valid.flags.writeable:
            valid = valid.view()
            valid.flags.writeable = False  # one type of array, so one compiled version
        window = (self._ring, self._ordered, self._cursor, self._stats)
        self.replaced += robust_z_cells(values, valid, *window, self.node.min_periods, self.node.scale_floor, out)
        return out


def zscore_arrays(values: npt.ArrayLike, valid: npt.ArrayLike, node: ZNode) -> FloatArray:
    """Return the z-scores of one channel over a whole session, from empty windows.

    Parameters
    ----------
    values : float[n_bins, n_cells]
        One row per bin.
    valid : bool[n_bins]
        True for each bin with a valid book.
    node : ZNode
        Settings of the z-scores.

    Returns
    -------
    float64[n_bins, n_cells]
        The same bits as inside `SpectrumScorer`.
    """
    rows, usable = _matrix(values, "values"), np.ascontiguousarray(valid, dtype=np.bool_)
    _same_length(rows, usable)
    return ZScorer(node, rows.shape[1]).run(rows, usable, np.empty(rows.shape))


def score_from_z(
    z1: FloatArray, z2: FloatArray, z3: FloatArray, config: ScoringConfig
) -> tuple[FloatArray, npt.NDArray[np.int8]]:
    """Return score and state from the z-scores of the three channels, float64[n_bins, n_cells] each."""
    score, state = np.empty(z1.shape), np.empty(z1.shape, dtype=np.int8)
    _, blend_cells = _loops()
    blend_cells(z1, z2, z3, _weights(config), config.tanh_scale, config.threshold_neutral, score, state)
    return score, state


def _weights(config: ScoringConfig) -> FloatArray:
    return np.array(config.derivative_weights, dtype=np.float64)


class SpectrumScorer:
    """Scores frames as they come; holds one window per channel and cell.

    Parameters
    ----------
    config : ScoringConfig
        Settings of the scorer.
    n_cells : int
        At least 1.

    Notes
    -----
    48 bytes per cell and value of the window: 1.5 MB for 101 cells and 300 bins.
    """

    def __init__(self, config: ScoringConfig, n_cells: int) -> None:
        if n_cells < 1:
            raise ConfigError(f"A scorer needs at least 1 cell, was {n_cells}.")
        self.config = config
        self.n_cells = n_cells
        self._channels = tuple(ZScorer(node, n_cells) for node in z_nodes(config))
        self._z = np.empty((3, 1, n_cells))
        self._rows = np.empty((3, 1, n_cells))
        self._valid = np.ones(1, dtype=np.bool_)
        self._valid.flags.writeable = False
        self._weights = _weights(config)

    @property
    def nan_count(self) -> int:
        """Values of valid bins that were NaN or infinite and counted as 0."""
        return sum(channel.replaced for channel in self._channels)

    def update(
        self,
        d1: npt.ArrayLike,
        d2: npt.ArrayLike,
        d3: npt.ArrayLike,
        valid: bool = True,
        out: tuple[FloatArray, npt.NDArray[np.int8]] | None = None,
    ) -> tuple[FloatArray, npt.NDArray[np.int8]]:
        """Score one frame.

        Parameters
        ----------
        d1, d2, d3 : float[n_cells]
            The derivatives of the composite, of any float type; read-only.
        valid : bool
            False for an invalid bin: the result is 0 and the windows stay as they are.
        out : (float64[n_cells], int8[n_cells]), optional, written
            Where to put the result, both C-contiguous.

        Returns
        -------
        score : float64[n_cells]
            In [-1, 1]; always finite.
        state : int8[n_cells]
            Fresh arrays unless `out` is given.

        Raises
        ------
        ConfigError
            If an array has another shape, or `out` another type.
        """
        score, state = out if out is not None else (np.empty(self.n_cells), np.empty(self.n_cells, dtype=np.int8))
        if out is not None:
            self._check_out(score, state)
        if not valid:
            score[:] = 0.0
            state[:] = 0
            return score, state
        for i, (name, given) in enumerate(zip(CHANNELS, (d1, d2, d3), strict=True)):
            row = np.asarray(given)
            if row.shape != (self.n_cells,):
                raise ConfigError(f"{name} must have the shape ({self.n_cells},), one value per cell, was {row.shape}.")
            self._rows[i, 0] = row
        for i, channel in enumerate(self._channels):
            channel.run(self._rows[i], self._valid, self._z[i])
        self._blend(self._z, score.reshape(1, self.n_cells), state.reshape(1, self.n_cells))
        return score, state

    def run(
        self, d1: npt.ArrayLike, d2: npt.ArrayLike, d3: npt.ArrayLike, valid: npt.ArrayLike
    ) -> tuple[FloatArray, npt.NDArray[np.int8]]:
        """Score the next bins at once: the same bits as `update` bin by bin.

        Parameters
        ----------
        d1, d2, d3 : float[n_bins, n_cells]
            The derivatives of the composite.
        valid : bool[n_bins]
            True for each bin with a valid book.

        Returns
        -------
        score : float64[n_bins, n_cells]
        state : int8[n_bins, n_cells]
        """
        rows = tuple(_matrix(given, name) for name, given in zip(CHANNELS, (d1, d2, d3), strict=True))
        usable = np.ascontiguousarray(valid, dtype=np.bool_)
        for name, row in zip(CHANNELS, rows, strict=True):
            _same_length(row, usable, name)
            if row.shape[1] != self.n_cells:
                raise ConfigError(f"{name} must have {self.n_cells} cells, had {row.shape[1]}.")
        n_bins = len(usable)
        score, state = np.empty((n_bins, self.n_cells)), np.empty((n_bins, self.n_cells), dtype=np.int8)
        z = np.empty((3, min(_CHUNK, n_bins), self.n_cells))
        for first in range(0, n_bins, _CHUNK):
            part = slice(first, min(first + _CHUNK, n_bins))
            size = part.stop - part.start
            for i, channel in enumerate(self._channels):
                channel.run(rows[i][part], usable[part], z[i, :size])
            self._blend(z[:, :size], score[part], state[part])
        return score, state

    def _blend(self, z: FloatArray, score: FloatArray, state: npt.NDArray[np.int8]) -> None:
        _, blend_cells = _loops()
        config = self.config
        blend_cells(z[0], z[1], z[2], self._weights, config.tanh_scale, config.threshold_neutral, score, state)

    def _check_out(self, score: FloatArray, state: npt.NDArray[np.int8]) -> None:
        for array, dtype, name in ((score, np.float64, "score"), (state, np.int8, "state")):
            if array.shape != (self.n_cells,) or array.dtype != dtype or not array.flags.c_contiguous:
                raise ConfigError(
                    f"out's {name} must be a contiguous {np.dtype(dtype).name} array of {self.n_cells} cells, "
                    f"was {array.dtype} of shape {array.shape}."
                )


def score_arrays(
    d1: npt.ArrayLike,
    d2: npt.ArrayLike,
    d3: npt.ArrayLike,
    valid: npt.ArrayLike,
    config: ScoringConfig,
    *,
    n_threads: int = 1,
) -> tuple[FloatArray, npt.NDArray[np.int8]]:
    """Score a whole session from empty windows.

    Parameters
    ----------
    d1, d2, d3 : float[n_bins, n_cells]
        The derivatives of the composite.
    valid : bool[n_bins]
        True for each bin with a valid book.
    config : ScoringConfig
        Settings of the scorer.
    n_threads : int
        Threads that share the cells: the same bits with any number. A sweep has a process per core and needs one.

    Returns
    -------
    score : float64[n_bins, n_cells]
    state : int8[n_bins, n_cells]
    """
    rows = [np.asarray(given) for given in (d1, d2, d3)]
    if rows[0].ndim != 2 or rows[0].shape[1] < 1:
        raise ConfigError(f"{CHANNELS[0]} must be a matrix of bins and cells, had the shape {rows[0].shape}.")
    if n_threads <= 1 or any(row.shape != rows[0].shape for row in rows):  # what is wrong with a shape is said there
        return SpectrumScorer(config, rows[0].shape[1]).run(rows[0], rows[1], rows[2], valid)
    edges = np.linspace(0, rows[0].shape[1], min(n_threads, rows[0].shape[1]) + 1).astype(int).tolist()

    def score(a: int, b: int) -> tuple[FloatArray, npt.NDArray[np.int8]]:
        return SpectrumScorer(config, b - a).run(rows[0][:, a:b], rows[1][:, a:b], rows[2][:, a:b], valid)

    with ThreadPoolExecutor(len(edges) - 1) as pool:
        scores, states = zip(*pool.map(score, edges[:-1], edges[1:]), strict=True)
    return np.hstack(scores), np.hstack(states)


def score_dataset(grid_df: Any, scoring_config: ScoringConfig) -> Any:
    """Add ``flow_score`` and ``flow_state_code`` to a grid.

    Parameters
    ----------
    grid_df : polars.DataFrame, pandas.DataFrame or Dataset
        A dataset, for its own grid; or a frame with one row per bin and cell, sorted by ``bin_seq, k``, dense, with
        ``book_valid`` and the three channels.
    scoring_config : ScoringConfig
        Settings of the scorer.

    Returns
    -------
    DataFrame
        The same rows and columns (of a `Dataset`, its grid with the channels as a Polars frame), and ``flow_score``
        (float64) and ``flow_state_code`` (int8) at the end; pandas for a pandas frame.

    Raises
    ------
    DatasetError
        If a column is missing, or rows are missing, doubled or out of order.
    """
    import polars as pl

    from vpcore.dataset import Dataset

    if isinstance(grid_df, Dataset):
        return score_dataset(grid_df.grid(columns=CHANNELS), scoring_config)
    needed = ("bin_seq", "k", "book_valid", *CHANNELS)
    missing = [name for name in needed if name not in grid_df.columns]
    if missing:
        raise DatasetError(
            f"The grid has no column {listed(missing)}. The scorer reads {', '.join(needed)}. "
            "Generate the dataset with them in pipeline.columns."
        )
    if not isinstance(grid_df, pl.DataFrame):
        scored = score_dataset(pl.DataFrame({name: grid_df[name].to_numpy() for name in needed}), scoring_config)
        return grid_df.assign(**{name: scored[name].to_numpy() for name in ("flow_score", "flow_state_code")})
    n_rows = grid_df.height
    bin_seq, k = grid_df["bin_seq"].to_numpy(), grid_df["k"].to_numpy()
    n_cells = int((bin_seq == bin_seq[0]).sum()) if n_rows else 1
    dense = n_rows % n_cells == 0
    if dense:
        bins, cells = bin_seq.reshape(-1, n_cells), k.reshape(-1, n_cells)
        dense = bool(
            (bins == bins[:, :1]).all()
            and (np.diff(bins[:, 0]) > 0).all()
            and (cells == cells[:1]).all()
            and (np.diff(cells[:1].astype(np.int64), axis=1) > 0).all()
        )
    if not dense:
        raise DatasetError(
            "The grid's rows are not one per bin and cell in order of bin_seq, k. "
            "Sort it with grid.sort('bin_seq', 'k'), and keep every cell of every bin."
        )
    d1, d2, d3 = (grid_df[name].to_numpy().reshape(-1, n_cells) for name in CHANNELS)
    valid = grid_df["book_valid"].to_numpy().reshape(-1, n_cells)[:, 0]
    score, state = score_arrays(d1, d2, d3, valid, scoring_config)
    return grid_df.with_columns(
        pl.Series("flow_score", score.reshape(-1), dtype=pl.Float64),
        pl.Series("flow_state_code", state.reshape(-1), dtype=pl.Int8),
    )


def _matrix(values: npt.ArrayLike, name: str) -> npt.NDArray[Any]:
    """Return a C-contiguous matrix of float32 or float64: of other types, their float64."""
    matrix = np.asarray(values)
    if matrix.ndim != 2:
        raise ConfigError(f"{name} must be a matrix of bins and cells, had the shape {matrix.shape}.")
    return np.ascontiguousarray(matrix, dtype=np.float32 if matrix.dtype == np.float32 else np.float64)


def _same_length(rows: npt.NDArray[Any], valid: npt.NDArray[np.bool_], name: str = "values") -> None:
    if rows.shape[0] != len(valid):
        raise ConfigError(f"{name} has {rows.shape[0]} bins, valid has {len(valid)}: they must be the same bins.")
