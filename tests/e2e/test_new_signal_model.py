"""The learning signal of ``vp new-signal`` labels its trades as the evaluation judges them, and not a bin too early."""

from __future__ import annotations

import importlib
import math
import sys

import numpy as np
import pytest
from trade_rules import rules_of

from vpcore.backtest.triple_barrier import MARKET_COLUMNS, Market, outcome_table
from vpcore.cli.new_signal import Kind, write_package
from vpcore.plugins.manager import Plugins
from vpcore.testing import synthetic_dataset

pytestmark = pytest.mark.slow

TAKE_PROFIT, STOP_LOSS = 1, -1


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = write_package("oracle_of_learning", Kind.ML, tmp_path_factory.mktemp("model"), Plugins(()))
    sys.path.insert(0, str(folder / "src"))
    try:
        yield importlib.import_module("vp_signal_oracle_of_learning.signal").OracleOfLearning
    finally:
        sys.path.remove(str(folder / "src"))
        for name in [name for name in sys.modules if name.startswith("vp_signal_oracle_of_learning")]:
            del sys.modules[name]


def features(dataset, reach):
    """Return x of every bin, float64[n_bins, 3]."""
    bid, ask = (np.abs(dataset.k) <= reach) & (dataset.k < 0), (np.abs(dataset.k) <= reach) & (dataset.k > 0)
    mean = {
        (name, side): dataset.grid(name)[:, cells].astype(float).mean(axis=1)
        for name in ("v_add", "v_pull", "bid_depth", "ask_depth")
        for side, cells in (("bid", bid), ("ask", ask))
    }

    def share(a, b):
        return np.divide(a - b, a + b, out=np.zeros(dataset.n_bins), where=a + b > 0)

    sizes = (dataset.bin(f"best_{side}_size").astype(float) for side in ("bid", "ask"))
    building, draining = (mean["v_add", a] + mean["v_pull", b] for a, b in (("bid", "ask"), ("ask", "bid")))
    depth = share(mean["bid_depth", "bid"], mean["ask_depth", "ask"])
    return np.stack([share(*sizes), depth, share(building, draining)], axis=1)


def expected(dataset, rules, params):
    """Return the values by the evaluation's own outcomes: of every bin, the trades that are resolved in it, in order."""
    market = Market.from_bins({name: dataset.bin(name) for name in MARKET_COLUMNS}, dataset.tick_int)
    table = outcome_table(market, rules)
    x, w, b, learned = features(dataset, params.reach_ticks), np.zeros(3), 0.0, 0
    ends: dict[int, list[tuple[int, int]]] = {}
    for i in np.flatnonzero(dataset.valid):
        entry = i + rules.latency_bins
        for row in (0, 1):
            if entry < dataset.n_bins and table.outcome[row, entry] in (TAKE_PROFIT, STOP_LOSS):
                ends.setdefault(int(table.resolved_at[row, entry]), []).append((i, row))
    values = np.full(dataset.n_bins, math.nan)
    for i in np.flatnonzero(dataset.valid):
        for decided, row in sorted(ends.get(int(i), [])):
            assert decided + rules.latency_bins < i
            won = table.outcome[row, decided + rules.latency_bins] == TAKE_PROFIT
            side = 1.0 - 2.0 * row
            error = won - 1 / (1 + math.exp(-(b + side * (w @ x[decided]))))
            w += params.learning_rate * (error * side * x[decided] - params.shrinkage * w)
            b += params.learning_rate * error
            learned += 1
        if learned >= params.min_examples:
            values[i] = 1 / (1 + math.exp(-2 * (w @ x[i])))
    return values, learned


@pytest.mark.parametrize(
    ("tp", "sl", "hold", "latency", "price"),
    [
        (2, 5, 40, 1, "touch"),
        (2, 2, 30, 0, "touch"),
        (1, 3, 25, 3, "touch"),
        (2, 2, 40, 1, "mid"),
        (3, 1, 15, 2, "mid"),
    ],
)
def test_its_labels_are_those_of_the_evaluation(model, tp, sl, hold, latency, price):
    data = synthetic_dataset(seed=tp + sl, n_bins=700)
    rules = rules_of(tp, sl, hold, price, latency=latency)
    signal = model(learning_rate=0.05, shrinkage=0.01, min_examples=10, reach_ticks=4)
    result = signal.compute(data, rules)
    values, learned = expected(data, rules, signal.params)
    assert learned > 20
    assert result.state.learner.counts[0] == learned
    assert np.allclose(result.values, values, rtol=1e-9, atol=1e-12, equal_nan=True)
