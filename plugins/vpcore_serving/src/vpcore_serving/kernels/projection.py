"""Compiled code of the projection of the score; `vpcore_serving.projection` has the formula."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from vpcore.kernels.jit import jit

FloatArray = npt.NDArray[np.float64]


@jit
def project_bins(
    score: FloatArray,
    valid: npt.NDArray[np.bool_],
    bin_seconds: float,
    horizons: FloatArray,
    cubic: bool,
    last: FloatArray,
    started: npt.NDArray[np.bool_],
    out: FloatArray,
) -> None:
    """Project each bin in turn.

    Parameters
    ----------
    score : float64[n_bins, n_cells]
        Scores of the cells.
    valid : bool[n_bins]
        True for each bin with a valid book.
    bin_seconds : float
        Width of a bin.
    horizons : float64[2, n_horizons]
        Seconds, and ``exp(-lambda h)``.
    cubic : bool
        True adds the term of the third difference.
    last : float64[3, n_cells], written
        Score, d1 and d2 of the last valid bin.
    started : bool[1], written
        True after a valid bin: `last` holds its values.
    out : float64[n_bins, n_horizons, n_cells], written
        Projected scores, in [-1, 1].
    """
    n_bins, n_cells = score.shape
    n_horizons = horizons.shape[1]
    for i in range(n_bins):
        if not valid[i]:
            started[0] = False
            for h in range(n_horizons):
                for c in range(n_cells):
                    out[i, h, c] = 0.0
            continue
        for c in range(n_cells):
            value = score[i, c]
            d1 = 0.0
            d2 = 0.0
            d3 = 0.0
            if started[0]:
                d1 = (value - last[0, c]) / bin_seconds
                d2 = (d1 - last[1, c]) / bin_seconds
                d3 = (d2 - last[2, c]) / bin_seconds
            last[0, c] = value
            last[1, c] = d1
            last[2, c] = d2
            for h in range(n_horizons):
                ahead = horizons[0, h]
                reach = value + d1 * ahead + d2 * ahead * ahead / 2.0
                if cubic:
                    reach += d3 * ahead * ahead * ahead / 6.0
                out[i, h, c] = min(max(horizons[1, h] * reach, -1.0), 1.0)
        started[0] = True
