"""Every signal keeps the contract: causal, batch = stream, every parameter does something."""

from __future__ import annotations

import pytest

from vpcore.testing import signal_checks
from vpcore_signals_ml.signals import GbmMf, GbmSnap, KnnCl, Logit, LsvmDer, PcaAd, SvmSp

pytestmark = pytest.mark.slow

SMALL = {"min_train_bins": 200, "retrain_interval_bins": 200, "stride_bins": 1}
TREES = {"rounds": 40, "min_leaf": 10, "patience": 2, "learning_rate": 0.2}


@signal_checks(
    Logit(**SMALL),
    SvmSp(**SMALL),
    LsvmDer(**SMALL, update_interval_bins=40),
    KnnCl(**SMALL, k=20),
    GbmMf(**SMALL, **TREES),
    GbmSnap(**SMALL, **TREES),
    PcaAd(**SMALL),
)
def test_conformance(check):
    check()
