"""Examples for fits: features of different size, a side that they decide in part, weights."""

from __future__ import annotations

import numpy as np

from vpcore_signals_ml.selection import Training


def training(n=600, m=6, seed=0, valid=200):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n + valid, m)) * np.arange(1, m + 1) + 5
    y = (x @ np.linspace(-1, 1, m) + 4 * rng.standard_normal(n + valid) > 5 * np.linspace(-1, 1, m).sum()).astype(float)
    w = rng.uniform(0.5, 1.5, n + valid)
    return Training(x[:n], y[:n], w[:n] / w[:n].mean(), x[n:], y[n:], w[n:] / w[n:].mean() if valid else w[n:])
