"""What p_adj is worth after a search: how often noise passes it, tried as a grid, at random, and proposed by optuna.

    python benchmarks/search_study.py [SIMULATIONS]      1,000 take about five minutes on one core

Each simulation is a random walk of 3,000 bins and a grid of 20 x 20 signals that know nothing of it and resemble their
neighbours: mixtures of three noises. An experiment is the grid, or 48 of it. Where nothing is to be found, the smallest
p_adj of an experiment shall be at most 5 % in 5 % of experiments. Prints Markdown; docs/how-to/search.md quotes it.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from vpcore.backtest.metrics import Draws, trial_figures
from vpcore.backtest.trial import Trial
from vpcore.backtest.triple_barrier import outcome_table
from vpcore.inference.ranking import adjusted, over_all_trials
from vpcore.rules import TradeRules
from vpcore.sampler import Indices
from vpcore.sampler.designs import RandomSampler
from vpcore_optuna.sampler import OptunaSampler

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))
from random_walks import persistent, walk

SIDE, TRIED, ROUND = 20, 48, 16
AXES = (range(SIDE), range(SIDE))
MIN_TRADES = 20
LEVELS = (0.05, 0.1, 0.2)


class World:
    """A market without anything to find, and what the combinations of the grid come to there."""

    def __init__(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self.seed, self.market = seed, walk(rng)
        self.noises = [persistent(rng, 0.9) for _ in range(3)]
        self.rules = TradeRules(tp_ticks=4, sl_ticks=4, max_hold_bins=50, warmup_bins=60)
        self.table = outcome_table(self.market, self.rules)
        self.rows: dict[Indices, Any] = {}

    def row(self, point: Indices) -> tuple[float, list[int]]:
        """Return the net PnL per trade, -inf with too few trades, and the rotations."""
        if point not in self.rows:
            first, second = (np.pi * place / SIDE for place in point)
            one, two, three = self.noises
            values = np.cos(first) * one + np.sin(first) * (np.cos(second) * two + np.sin(second) * three)
            found = trial_figures(
                self.market,
                values,
                [Trial(0.9, 5, 4, 4)],
                self.rules,
                table_of=lambda rules: self.table,
                draws=Draws(999, 0, str(self.seed)),
            )
            trades = int(found["n_signals"][0] - found["n_dropped"][0])
            net = float(found["net_pnl_ticks"][0]) if trades >= MIN_TRADES else -np.inf
            self.rows[point] = net, found["rotated_net"][0].tolist(), float(found["p_random"][0])
        return self.rows[point]

    def proposed(self) -> list[Indices]:
        known: dict[Indices, float] = {}
        while len(known) < TRIED:
            sampler = OptunaSampler(AXES, [self.seed, len(known)])
            for point, figure in known.items():
                sampler.tell(point, figure)
            known |= {point: self.row(point)[0] for point in sampler.ask(ROUND)}
        return list(known)

    def smallest(self, points: list[Indices], n_choices: int = 0) -> float:
        """Return the smallest p_adj of an experiment on these combinations, chosen from so many."""
        found = [(rotated, p) for net, rotated, p in map(self.row, points) if net > -np.inf]
        if n_choices:
            return float(over_all_trials(np.array([p for _, p in found]), n_choices).min())
        return float(adjusted(pl.Series([rotated for rotated, _ in found], dtype=pl.List(pl.Int32))).min())


def main() -> None:
    n = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    grid = [(i, j) for i in range(SIDE) for j in range(SIDE)]
    found: dict[str, list[float]] = {"grid": [], "random": [], "optuna, as if chosen beforehand": [], "optuna": []}
    for seed in range(n):
        world = World(seed)
        proposed = world.proposed()
        found["optuna, as if chosen beforehand"].append(world.smallest(proposed))
        found["optuna"].append(world.smallest(proposed, len(grid)))
        found["random"].append(world.smallest(RandomSampler(AXES, [seed, "noise"]).ask(TRIED)))
        found["grid"].append(world.smallest(grid))
    print(f"| {n} experiments on noise | tried | " + " | ".join(f"p_adj <= {level:g}" for level in LEVELS) + " |")
    print("|---|---|" + "---|" * len(LEVELS))
    for name, values in found.items():
        shares = (f"{np.mean(np.array(values) <= level):.1%}" for level in LEVELS)
        print(f"| {name} | {len(grid) if name == 'grid' else TRIED} of {len(grid)} | " + " | ".join(shares) + " |")


if __name__ == "__main__":
    main()
