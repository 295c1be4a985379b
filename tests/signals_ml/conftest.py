"""What the tests of the learning signals share: sessions, labels and small settings."""

from __future__ import annotations

import pytest

from vpcore import TradeRules
from vpcore.testing import synthetic_dataset
from vpcore_signals_ml.signals import GbmMf, GbmSnap, KnnCl, Logit, LsvmDer, PcaAd, SvmSp

SMALL = {"min_train_bins": 300, "retrain_interval_bins": 150, "stride_bins": 1}
TREES = {"rounds": 40, "min_leaf": 10, "patience": 2, "learning_rate": 0.3}


@pytest.fixture(scope="session")
def rules():
    return TradeRules(tp_ticks=2, sl_ticks=5, max_hold_bins=40)


@pytest.fixture(scope="session")
def session():
    """A session of 1,000 bins with every column, the score included."""
    data = synthetic_dataset(n_bins=1000)
    score, state = data.grid("composite_d1").astype("float64"), (data.grid("composite_d1") > 0).astype("int8")
    return data.with_grid({"flow_score": score, "flow_state_code": state})


@pytest.fixture(scope="session")
def small_signals():
    return [
        Logit(**SMALL),
        SvmSp(**SMALL),
        LsvmDer(**SMALL, update_interval_bins=40),
        KnnCl(**SMALL, k=20),
        GbmMf(**SMALL, **TREES),
        GbmSnap(**SMALL, **TREES),
        PcaAd(**SMALL),
    ]
