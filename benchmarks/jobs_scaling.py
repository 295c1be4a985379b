"""Cost against size: is it what the algorithm says?"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from data import START_NS, TICK_INT, records
from jobs_data import INSTRUMENT, dataset

from vpcore.backtest.metrics import trial_figures
from vpcore.backtest.trial import Trial
from vpcore.backtest.triple_barrier import MARKET_COLUMNS, Market
from vpcore.engine import Engine, EngineParams
from vpcore.rules import TradeRules
from vpcore.scoring import ScoringConfig, score_arrays


def curve(
    title: str, axis: str, cost: str, sizes: list[int], make: Callable[[int], Callable[[], Any]], says: str
) -> dict[str, Any]:
    """Return the least CPU time of three at every size, and the slope in logarithms between its outer halves."""
    seconds = []
    for size in sizes:
        run = make(size)
        run()
        spent = []
        for _ in range(3):
            began = time.process_time()
            run()
            spent.append(time.process_time() - began)
        seconds.append(min(spent))
    slope = float(np.polyfit(np.log(sizes), np.log(seconds), 1)[0])
    return {
        "title": title, "axis": axis, "cost": cost, "sizes": sizes, "seconds": seconds, "slope": slope, "says": says,
    }  # fmt: skip


def scaling(small: bool) -> dict[str, Any]:
    """Return the curves; a slope of 1 is linear, of 0 constant."""
    rows = records("minute", 120_000) if small else records("hour", 4_000_000)
    data = dataset("minute" if small else "hour")
    market = Market.from_bins({name: data.bin(name) for name in MARKET_COLUMNS}, data.tick_int)
    noise = [np.random.default_rng(i).normal(size=(4000, 101)) for i in range(3)]
    valid = np.ones(4000, np.bool_)
    values = np.tanh(np.random.default_rng(5).normal(size=data.n_bins).cumsum() / 100)

    def engine(n: int, params: EngineParams) -> Callable[[], Any]:
        def run() -> int:
            made = Engine(params, tick_int=TICK_INT, start_ns=START_NS, symbol="ESU5")
            return sum(len(block) for block in made.blocks(rows[:n], INSTRUMENT))

        return run

    def score(cells: int, window: int) -> Callable[[], Any]:
        parts = [np.ascontiguousarray(np.tile(row, (1, -(-cells // 101)))[:, :cells]) for row in noise]
        config = ScoringConfig(zscore_window_bins=window)
        return lambda: score_arrays(parts[0], parts[1], parts[2], valid, config)

    def combinations(n: int) -> Callable[[], Any]:
        trials = [
            Trial(t, 30, tp, sl) for t in np.linspace(0.01, 0.99, n // 20) for tp in (2, 4, 6, 8) for sl in range(4, 9)
        ]
        return lambda: trial_figures(market, values, trials, TradeRules(tp_ticks=1, sl_ticks=1, warmup_bins=0))

    top = len(rows)
    sizes = [top // 16, top // 8, top // 4, top // 2, top]
    return {
        "records": curve(
            "Engine, all columns", "records", "s", sizes, lambda n: engine(n, EngineParams()), "linear in records"
        ),
        "cells": curve(
            "Engine, 1/8 of the records",
            "cells",
            "s",
            [21, 51, 101, 201, 401],
            lambda n: engine(top // 8, EngineParams(grid_radius_ticks=n // 2)),
            "linear in cells (band of the composite included) beside a constant for the events",
        ),
        "score_cells": curve(
            "Scorer, 4,000 bins", "cells", "s", [25, 51, 101, 201, 401], lambda n: score(n, 300), "linear in cells"
        ),
        "window": curve(
            "Scorer, 4,000 bins of 101 cells",
            "window (bins)",
            "s",
            [75, 150, 300, 600, 1200, 2400],
            lambda n: score(101, n),
            "logarithmic searches, and a shift of a third of the window: far below linear",
        ),
        "combinations": curve(
            "Evaluation, 20 barrier pairs",
            "combinations",
            "s",
            [100, 200, 500, 1000, 2000],
            combinations,
            "a constant for 20 outcome tables, then linear",
        ),
    }
