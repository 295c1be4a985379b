"""Forward projection of the score: where each cell's score is heading, a few horizons ahead.

Per cell, with the score ``s`` and its causal backward differences per second ``d1, d2, d3``::

    projected(h) = clip(exp(-lambda h) * (s + d1 h + d2 h^2 / 2 [+ d3 h^3 / 6]), -1, 1)         h in seconds

``d1`` is the difference to the score of the previous bin divided by the bin width; ``d2`` and ``d3`` are the same
differences of ``d1`` and ``d2``. In the first bin, and in the first bin after invalid bins, all three are 0, as in the
composite. The damping acts on the whole sum: far horizons approach 0, the neutral score.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from vpcore.errors import ConfigError
from vpcore.projection import ProjectionConfig
from vpcore.units import NS_PER_MS, NS_PER_S, ms_to_ns
from vpcore_serving.kernels.projection import project_bins

FloatArray = npt.NDArray[np.float64]


class Projector:
    """Projects scores as they come; holds the last score and its differences.

    Parameters
    ----------
    config : ProjectionConfig
        Settings of the scorer.
    n_cells : int
        Cells per frame, at least 1.
    cell_width_ns : int
        Width of a bin.

    Raises
    ------
    ConfigError
        If a horizon contains a fraction of a bin.
    """

    def __init__(self, config: ProjectionConfig, n_cells: int, cell_width_ns: int) -> None:
        config.check(cell_width_ns)
        self.config = config
        self.n_cells = n_cells
        self._bin_seconds = cell_width_ns / NS_PER_S
        seconds = [horizon * NS_PER_MS / NS_PER_S for horizon in config.horizons_ms]
        self._horizons = np.array([seconds, [math.exp(-config.damping_lambda * second) for second in seconds]])
        self._last = np.zeros((3, n_cells))
        self._started = np.zeros(1, dtype=np.bool_)

    def run(self, score: npt.ArrayLike, valid: npt.ArrayLike) -> FloatArray:
        """Project the next bins.

        Parameters
        ----------
        score : float[n_bins, n_cells]
            Scores of the cells.
        valid : bool[n_bins]
            An invalid bin gives 0 and ends the history of differences.

        Returns
        -------
        float64[n_bins, n_horizons, n_cells]
            In [-1, 1].

        Raises
        ------
        ConfigError
            If the shapes differ from these.
        """
        rows = np.ascontiguousarray(score, dtype=np.float64)
        usable = np.ascontiguousarray(valid, dtype=np.bool_)
        if rows.ndim != 2 or rows.shape[1] != self.n_cells or len(rows) != len(usable):
            raise ConfigError(
                f"score must have the shape ({len(usable)}, {self.n_cells}), one row per bin of valid, "
                f"was {rows.shape}."
            )
        out = np.empty((len(rows), self._horizons.shape[1], self.n_cells))
        project_bins(
            rows,
            usable,
            self._bin_seconds,
            self._horizons,
            self.config.use_cubic,
            self._last,
            self._started,
            out,
        )
        return out

    def update(self, score: npt.ArrayLike, valid: bool = True) -> FloatArray:
        """Project one bin, float[n_cells]; return float64[n_horizons, n_cells]. The same bits as `run`."""
        projected: FloatArray = self.run(np.asarray(score)[np.newaxis], np.array([valid]))[0]
        return projected


def project(score: npt.ArrayLike, valid: npt.ArrayLike, config: ProjectionConfig, cell_width_ns: int) -> FloatArray:
    """Project a whole session, float[n_bins, n_cells]; return float64[n_bins, n_horizons, n_cells].

    See `Projector.run`.
    """
    rows = np.asarray(score)
    if rows.ndim != 2:
        raise ConfigError(f"score must be a matrix of bins and cells, had the shape {rows.shape}.")
    return Projector(config, rows.shape[1], cell_width_ns).run(rows, valid)


BLOCK_BINS = 4096
"""Bins that `projection_skill` projects at a time."""


class ProjectionSkill(NamedTuple):
    """How well projected scores meet the scores that came, by horizon and cell.

    Attributes
    ----------
    horizons_ms : int64[n_horizons]
    n : int64[n_horizons]
        Pairs of bins with a valid book at both ends of the horizon.
    correlation : float64[n_horizons, n_cells]
        Pearson correlation of projected and realised score; NaN where one of them is constant.
    persistence : float64[n_horizons, n_cells]
        The same of the present score: what a projection without differences would reach.
    change : float64[n_horizons, n_cells]
        Correlation of projected and realised change of the score.
    error : float64[n_horizons, n_cells]
        Root mean square of projected less realised score.
    """

    horizons_ms: npt.NDArray[np.int64]
    n: npt.NDArray[np.int64]
    correlation: FloatArray
    persistence: FloatArray
    change: FloatArray
    error: FloatArray


def projection_skill(
    score: npt.ArrayLike, valid: npt.ArrayLike, config: ProjectionConfig, cell_width_ns: int
) -> ProjectionSkill:
    """Hold the projection of a whole session against the scores that came.

    Parameters
    ----------
    score : float[n_bins, n_cells]
        Scores of the cells.
    valid : bool[n_bins]
        True for each bin with a valid book.
    config : ProjectionConfig
        Settings of the projection.
    cell_width_ns : int
        Width of a bin.

    Raises
    ------
    ConfigError
        If `score` is not a matrix with a row per bin, or a horizon contains a fraction of a bin.

    Notes
    -----
    Memory: `BLOCK_BINS` bins of projections. Cost: a second per million bins, cells of 100 and horizon.
    """
    rows, usable = np.asarray(score), np.asarray(valid, dtype=np.bool_)
    if rows.ndim != 2 or len(rows) != len(usable):
        raise ConfigError(f"score must have one row per bin of valid, {len(usable)}, was of shape {rows.shape}.")
    n_bins, n_cells = rows.shape
    ahead = [ms_to_ns(horizon) // cell_width_ns for horizon in config.horizons_ms]
    projector = Projector(config, n_cells, cell_width_ns)
    n = np.zeros(len(ahead), dtype=np.int64)
    sums = np.zeros((len(ahead), _PAIRS, 5, n_cells))
    squares = np.zeros((len(ahead), n_cells))
    for start in range(0, n_bins, BLOCK_BINS):
        part = slice(start, min(start + BLOCK_BINS, n_bins))
        projected = projector.run(rows[part], usable[part])
        for h, step in enumerate(ahead):
            at = np.arange(part.start, min(part.stop, n_bins - step))
            at = at[usable[at] & usable[at + step]]
            now, later = rows[at].astype(np.float64), rows[at + step].astype(np.float64)
            reach = projected[at - part.start, h]
            n[h] += len(at)
            squares[h] += ((reach - later) ** 2).sum(axis=0)
            for pair, (x, y) in enumerate(((reach, later), (now, later), (reach - now, later - now))):
                for place, value in enumerate((x, y, x * x, y * y, x * y)):
                    sums[h, pair, place] += value.sum(axis=0)
    count = np.maximum(n, 1)[:, None]
    correlation, persistence, change = (_correlation(sums[:, pair], count) for pair in range(_PAIRS))
    error = np.where(n[:, None] > 0, np.sqrt(squares / count), np.nan)
    horizons = np.array(config.horizons_ms, dtype=np.int64)
    return ProjectionSkill(horizons, n, correlation, persistence, change, error)


_PAIRS = 3
"""Pairs of series: projected and realised score, present and realised score, projected and realised change."""


def _correlation(sums: FloatArray, count: npt.NDArray[np.int64]) -> FloatArray:
    """Return correlations from the sums of x, y, x x, y y, x y; NaN for a constant, to within rounding."""
    x, y, xx, yy, xy = (sums[:, place] for place in range(5))
    spread_x, spread_y = xx - x * x / count, yy - y * y / count
    known = (spread_x > 1e-12 * np.maximum(xx, 1e-300)) & (spread_y > 1e-12 * np.maximum(yy, 1e-300))
    scale = np.sqrt(np.where(known, spread_x * spread_y, 1.0))
    found: FloatArray = np.where(known, (xy - x * y / count) / scale, np.nan)
    return found
