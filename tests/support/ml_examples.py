"""Examples for fits, of features of different size, a side that they decide in part, and weights; what fits are kept as."""

from __future__ import annotations

import hashlib
from functools import cache

import numpy as np

from vpcore_signals_ml.artifact import model_files
from vpcore_signals_ml.selection import Training
from vpcore_signals_ml.signals import GbmMf, KnnCl, Logit, LsvmDer, SvmSp


def training(n=600, m=6, seed=0, valid=200):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n + valid, m)) * np.arange(1, m + 1) + 5
    y = (x @ np.linspace(-1, 1, m) + 4 * rng.standard_normal(n + valid) > 5 * np.linspace(-1, 1, m).sum()).astype(float)
    w = rng.uniform(0.5, 1.5, n + valid)
    return Training(x[:n], y[:n], w[:n] / w[:n].mean(), x[n:], y[n:], w[n:] / w[n:].mean() if valid else w[n:])


@cache
def saved():
    """Return a digest of the files of a fit of each kind."""
    found = []
    for signal in (Logit(), SvmSp(), LsvmDer(), KnnCl(), GbmMf(rounds=9)):
        model = signal.fit_model(training(m=len(signal.feature_names)))
        files = model_files(model._replace(estimator=signal.stored(model.estimator)))
        found.append(hashlib.sha256(b"".join(files.values())).hexdigest())
    return found
