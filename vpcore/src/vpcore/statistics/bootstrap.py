"""The stationary bootstrap: an interval of the mean of dependent values."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

_STREAM = 1  # of the generator; stream 0 draws the rotations of `vpcore.statistics.permutation`


def mean_interval(net: npt.NDArray[np.int64], draws: int, seed: int) -> tuple[float, float, float]:
    """Return the 95 % interval of the mean of dependent values, and the block length behind it.

    Parameters
    ----------
    net : int64[n_trades]
        Net PnL of each trade, in order of time.
    draws : int
        Number of resamples.
    seed : int
        Seed of the resamples.

    Returns
    -------
    lo, hi, block_length : float
        Percentiles of the stationary bootstrap, in the unit of `net`, and its mean block length in trades
        (`vpcore.kernels.resample.politis_white`). NaN for fewer than two trades, for 0 draws, and for equal values:
        resamples of thirty equal wins would claim certainty, while the size of the first stop is still unknown.

    Notes
    -----
    Source: Politis and Romano (1994).
    """
    if net.shape[0] < 2 or not draws or net.min() == net.max():
        return float("nan"), float("nan"), float("nan")
    from vpcore.kernels import resample
    from vpcore.kernels.random import seeded

    length = resample.politis_white(net)
    sums = np.empty(draws, dtype=np.int64)
    resample.stationary_sums(net, length, seeded(seed, _STREAM), sums)
    lo, hi = np.quantile(sums / net.shape[0], (0.025, 0.975))
    return float(lo), float(hi), length
