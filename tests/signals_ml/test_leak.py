"""On a market without an effect nothing is found, unless the purge is switched off; where there is one, it is found.

A small version of ``benchmarks/ml_study.py``, which has all signals and more sessions.
"""

from __future__ import annotations

import copy

import numpy as np
import pytest
from auc_across import auc_across
from trade_rules import rules_of

from vpcore import Dataset, Engine, EngineParams
from vpcore.schema import GRID_VALUES
from vpcore_market.source import Simulation, SyntheticParams
from vpcore_signals_ml import learning
from vpcore_signals_ml.diagnostics import out_of_sample
from vpcore_signals_ml.figures import auc
from vpcore_signals_ml.signals import GbmMf, Logit

TICK = 250_000_000
TIGHT = {"min_train_bins": 1200, "retrain_interval_bins": 50, "train_window_bins": 1200, "stride_bins": 5}
SIGNALS = {
    "logit": Logit(**TIGHT),
    "gbm_mf": GbmMf(**TIGHT, validation_share=0.05, rounds=20, min_leaf=20, learning_rate=0.2),
}


def session(seed, alpha, minutes):
    params = SyntheticParams(seed=seed, alpha=alpha, duration_s=60.0 * minutes)
    engine = Engine(EngineParams(grid_radius_ticks=22), tick_int=TICK, start_ns=params.start_ns, end_ns=params.end_ns)
    blocks = [block for records in Simulation(params) for block in engine.blocks(records, params.instrument_id)]
    blocks += list(engine.finish(params.end_ns))
    bins = {name: np.concatenate([block.bins[name] for block in blocks]) for name in blocks[0].bins}
    grid = {name: np.concatenate([block.grid[name] for block in blocks]) for name in GRID_VALUES}
    return Dataset.from_arrays(bins, grid, dataset_id=f"s{seed}", cell_width_ns=10**8, tick_int=TICK)


def predictions(signal, data, rules):
    result = signal.compute(data, rules)
    p, y, _ = out_of_sample(result.state, result.values[np.flatnonzero(data.valid)])
    return p, y


def known_at_once(state):
    """Return a session whose labels are known in their own bin."""
    other = copy.copy(state)
    other.resolved = state.seq
    return other


@pytest.fixture(scope="module")
def quiet():
    """Sessions in which nothing says where the price goes."""
    return [session(seed, 0.0, 7) for seed in range(1, 7)]


@pytest.mark.slow
@pytest.mark.parametrize("name", SIGNALS)
def test_no_effect_no_finding_and_a_leak_is_seen(quiet, name, monkeypatch):
    rules = rules_of(4, 4, 1200, "mid")
    honest, error = auc_across([predictions(SIGNALS[name], data, rules) for data in quiet])
    assert abs(honest - 0.5) < 2 * error
    choose = learning.choose
    monkeypatch.setattr(learning, "choose", lambda state, *rest, **more: choose(known_at_once(state), *rest, **more))
    leaking, error = auc_across([predictions(SIGNALS[name], data, rules) for data in quiet])
    assert leaking > 0.5 + 3 * error
    assert leaking > honest + 0.1


def test_an_effect_is_found():
    rules = rules_of(1, 1, 600, "mid")
    signal = Logit(min_train_bins=3000, retrain_interval_bins=1500)
    for seed in (1, 2):
        assert auc(*predictions(signal, session(seed, 0.6, 12), rules)) > 0.55
