"""What p_adj is worth to who refines around a winner: how often noise passes it, and how often it passed the old rule.

    python benchmarks/refine_study.py [MARKETS]      200 take about ten minutes on one core

Each market is a random walk of 36,000 bins, an hour, and a signal that knows nothing of it. The first experiment asks
216 combinations. The second one asks 45 thresholds within 3 % and 8 cooldowns around the best row of the first:
near-copies of a winner. In a third market the walk stands still for a third of the time, with a valid, frozen book.
Prints Markdown with Wilson intervals; docs/evaluation.md quotes it.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import polars as pl

from vpcore.backtest.metrics import Draws, trial_figures
from vpcore.backtest.trial import Trial
from vpcore.backtest.triple_barrier import Market
from vpcore.inference.ranking import adjusted, over_all_trials
from vpcore.rules import TradeRules
from vpcore.statistics.intervals import wilson

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))
import random_walks

N_BINS = 36_000
BARRIERS = ((4, 4), (4, 8), (8, 4))
RULES = TradeRules(tp_ticks=4, sl_ticks=4, max_hold_bins=100, warmup_bins=300, fee_ticks=0.25)
LEVEL = 0.05


def rows(market: Market, values: np.ndarray, trials: list[Trial], key: str) -> pl.DataFrame:
    """Return the rows of an experiment with their rotations."""
    found = trial_figures(market, values, trials, RULES, draws=Draws(999, 0, key))
    frame = {name: found[name] for name in (*Trial._fields, "net_pnl_ticks", "p_random", "trades_digest")}
    return pl.DataFrame(frame).with_columns(
        rotated_net=pl.Series(found["rotated_net"].tolist(), dtype=pl.List(pl.Int32)),
        trades=found["n_signals"] - found["n_dropped"],
    )


def smallest(seed: int, halt: slice) -> dict[str, float]:
    """Return the smallest p_adj of the experiments on one market."""
    rng = np.random.default_rng(seed)
    market, values = random_walks.walk(rng, halt=halt), random_walks.persistent(rng, 0.98)
    values[halt] = values[halt.start - 1] if halt.stop else 0.0
    asked = [
        Trial(float(threshold), cooldown, tp, sl)
        for threshold in np.linspace(0.5, 2.0, 12)
        for cooldown in (5, 20, 50, 100, 200, 400)
        for tp, sl in BARRIERS
    ]
    first = rows(market, values, asked, str(seed)).filter(pl.col("trades") >= 20)
    best = first.sort("net_pnl_ticks", descending=True).row(0, named=True)
    near = [
        Trial(float(best["threshold"] * share), int(best["cooldown_bins"]) + more, best["tp_ticks"], best["sl_ticks"])
        for share in np.linspace(0.97, 1.03, 45)
        for more in range(1, 9)
    ]
    second = rows(market, values, near, str(seed)).filter(pl.col("trades") >= 20)
    n = pl.concat([first, second])["trades_digest"].n_unique()
    step_down = adjusted(second["rotated_net"])
    return {
        "first experiment": float(np.nanmin(adjusted(first["rotated_net"]))),
        "near-copies around its best row": float(over_all_trials(second["p_random"].to_numpy(), n).min()),
        "the same, by the rule of before": float(
            over_all_trials(step_down, (first.height + second.height) / second.height).min()  # type: ignore[arg-type]
        ),
    }


def main() -> None:
    n = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    random_walks.N_BINS = N_BINS
    found: dict[str, list[float]] = {}
    for seed in range(n):
        for name, p in smallest(seed, slice(0)).items():
            found.setdefault(name, []).append(p)
        closed = smallest(10_000 + seed, slice(12_000, 24_000))
        found.setdefault("first experiment, market closed a third of the time", []).append(closed["first experiment"])
    print(f"| {n} markets of noise | a row with p_adj <= {LEVEL:g} | 95 % |")
    print("|---|---|---|")
    for name, values in found.items():
        hits = int((np.array(values) <= LEVEL).sum())
        lo, hi = wilson(hits, n)
        print(f"| {name} | {hits / n:.1%} | {float(lo):.1%} to {float(hi):.1%} |", flush=True)


if __name__ == "__main__":
    main()
