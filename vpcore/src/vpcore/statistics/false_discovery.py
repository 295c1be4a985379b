"""The false discovery rate: of the rows that are called good, how many are not."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def benjamini_hochberg(p: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the q-value of each p-value: the lowest false discovery rate at which it is among the discoveries.

    Parameters
    ----------
    p : float64[n]
        NaN where there is none; those do not count.

    Returns
    -------
    float64[n]
        NaN where `p` is.

    Notes
    -----
    Source: Benjamini and Hochberg (1995). It holds for independent tests and for those that depend positively on each
    other, as rows of one experiment on one market mostly do.
    """
    q = np.full(p.shape, np.nan)
    known = np.flatnonzero(~np.isnan(p))
    if known.size:
        order = known[np.argsort(p[known], kind="stable")]
        scaled = p[order] * known.size / np.arange(1, known.size + 1)
        q[order] = np.minimum(np.minimum.accumulate(scaled[::-1])[::-1], 1.0)
    return q
