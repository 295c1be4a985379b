"""Size of a planted effect in ticks: the drift of the mid that `alpha` adds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from vpcore.units import NS_PER_S
from vpcore_market.source import Simulation, SyntheticParams

HORIZON_S = 1.0
"""Horizon of the mid move, from the time of the imbalance."""


def drift(params: SyntheticParams) -> tuple[float, float, float]:
    """Return the drift of the mid per unit of imbalance in one market, by regression.

    The imbalance is the simulator's own, see `kernels.market.imbalance`. The move of the mid in the second after
    it is regressed on it: least squares through the origin, because the walk is symmetric.

    Returns
    -------
    drift : float
        Ticks in `HORIZON_S` per unit of imbalance.
    imbalance_std : float
        Root mean square of the imbalance.
    share : float
        Of the variance of these moves that the imbalance explains.
    """
    looks = Simulation(params).samples(int(HORIZON_S * NS_PER_S))
    _, mids, tilts = (np.array(column) for column in zip(*looks, strict=True))
    x: npt.NDArray[np.float64] = tilts[:-1]
    moves: npt.NDArray[np.float64] = np.diff(mids)
    slope = float(x @ moves / (x @ x))
    return slope, float(np.sqrt(np.mean(x * x))), slope * slope * float(x @ x) / float(moves @ moves)


def effect_sizes(alphas: Sequence[float], seeds: Sequence[int], minutes: float) -> list[dict[str, Any]]:
    """Return the drift for several strengths of the planted effect, over several markets each.

    Returns
    -------
    list of dict
        ``alpha``, ``drift`` (ticks per second and unit of imbalance, the mean over markets), ``lo`` and ``hi`` (95 %,
        from the spread over markets), ``imbalance_std``, ``explained`` and ``markets``.
    """
    found = []
    for alpha in alphas:
        slopes, sizes, shares = [], [], []
        for seed in seeds:
            slope, size, share = drift(SyntheticParams(seed=seed, alpha=alpha, duration_s=60.0 * minutes))
            slopes.append(slope)
            sizes.append(size)
            shares.append(share)
        mean = float(np.mean(slopes))
        half = 1.96 * float(np.std(slopes, ddof=1)) / math.sqrt(len(slopes)) if len(slopes) > 1 else math.nan
        found.append(
            {
                "alpha": alpha,
                "drift": mean,
                "lo": mean - half,
                "hi": mean + half,
                "imbalance_std": float(np.mean(sizes)),
                "explained": float(np.mean(shares)),
                "markets": len(slopes),
            }
        )
    return found
