"""Every signal keeps the contract: causal, batch = stream, every parameter does something."""

from __future__ import annotations

from vpcore.testing import signal_checks
from vpcore_signals_ml.linear_signals import Logit, SvmSp
from vpcore_signals_ml.tree_signals import GbmMf, GbmSnap

SMALL = {"min_train_bins": 300, "retrain_interval_bins": 150, "stride_bins": 1}
TREES = {"rounds": 40, "min_leaf": 10, "patience": 2, "learning_rate": 0.3}


@signal_checks(Logit(**SMALL), SvmSp(**SMALL), GbmMf(**SMALL, **TREES), GbmSnap(**SMALL, **TREES))
def test_conformance(check):
    check()
