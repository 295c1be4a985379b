"""One experiment of a study: every signal, threshold, cooldown and pair of barriers on one simulated market."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from vpcore.backtest.metrics import Draws, Signals, ring_of, trial_figures
from vpcore.backtest.session import Session
from vpcore.backtest.trial import Trial
from vpcore.backtest.triple_barrier import OutcomeTable
from vpcore.canonical import digest
from vpcore.inference.blocks import lists
from vpcore.inference.evidence import MIN_TRADES
from vpcore.inference.ranking import alone
from vpcore.kernels.random import seeded, uniform
from vpcore.results import RUNS
from vpcore.rules import Price, TradeRules
from vpcore.scoring import ScoringConfig
from vpcore.signal import MLSignal, Signal, batch, needs_score
from vpcore.statistics.permutation import rotated
from vpcore_market.datasets import simulated_dataset
from vpcore_market.study.plan import Study, World, engine_params

Columns = dict[str, npt.NDArray[Any]]

FIGURES = (
    "threshold", "cooldown_bins", "tp_ticks", "sl_ticks", "n_signals", "n_dropped", "tp_rate", "timeout_rate",
    "breakeven_rate", "tp_rate_lo", "n_eff", "net_pnl_ticks", "net_pnl_lo", "net_pnl_hi", "p_random",
)  # fmt: skip
"""Columns of `trial_figures` that a study keeps."""

DECIDING = (
    "n_signals", "n_dropped", "n_eff", "net_pnl_ticks", "net_pnl_sd", "net_pnl_skew", "net_pnl_kurtosis",
)  # fmt: skip
"""Columns that the figures of all rows together need."""

_TIES = 2  # a random stream of its own


def run_world(study: Study, world: World, signals: dict[str, Signal]) -> Columns:
    """Return the rows of every experiment on a market, one per price.

    Returns
    -------
    dict of arrays of shape (n_rows,)
        `FIGURES`, and

        - ``price``, ``signal``: text. ``level``: place of the threshold in its signal's grid, from 0.
        - ``p_uniform``: `p_random` with ties broken at random: uniform on (0, 1) where there is no effect.
        - ``p_adj``: step-down over all rows of the experiment. ``dsr``: with the rows as the trials.
        - ``pbo``: of the experiment, the same in all its rows. NaN where it is not defined.
        - ``fair_ticks``: mean net PnL of a long and a short entered at every bin of the ring: what a trade without any
          knowledge is worth. Not 0 even at the mid, because a stop pays its bin's worst price.
    """
    session = Session(simulated_dataset(world.market, engine_params(study, signals)))
    parts = [_experiment(study, world, price, session, signals) for price in world.prices]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _experiment(study: Study, world: World, price: Price, session: Session, signals: dict[str, Signal]) -> Columns:
    rows: list[Columns] = []
    blocks: list[npt.NDArray[np.float64]] = []
    sums: list[npt.NDArray[np.int32]] = []
    config = study.eval_config(price)
    for name, signal in signals.items():
        data = session.scored(ScoringConfig()) if needs_score(signal) else session.dataset
        values: npt.NDArray[np.float64] | None = None
        for tp, sl in study.tp_sl_ticks:
            rules = config.rules(tp, sl)
            if values is None or isinstance(signal, MLSignal):  # what is learnt depends on the barriers
                values = batch(signal, data, rules if isinstance(signal, MLSignal) else None).values
            trials = [Trial(thr, cooldown, tp, sl) for thr in signal.thresholds() for cooldown in config.cooldown_bins]
            key = f"{world.alpha} {world.minutes} {world.seed}"
            draws = Draws(study.draws, study.draws, key)
            mode = signal.prediction_mode
            found = trial_figures(session.market, values, trials, rules, mode=mode, table_of=session.table, draws=draws)
            signals_of = Signals(session.market, values, rules, mode)
            uniform_p, fair = _ties_broken(session.table(rules), signals_of, sorted(trials), rules, draws)
            n = len(trials)
            levels = {threshold: level for level, threshold in enumerate(sorted(set(signal.thresholds())))}
            rows.append(
                {name: found[name] for name in dict.fromkeys((*FIGURES, *DECIDING))}
                | {
                    "price": np.full(n, price),
                    "signal": np.full(n, name),
                    "level": np.array([levels[float(threshold)] for threshold in found["threshold"]]),
                    "p_uniform": uniform_p,
                    "fair_ticks": np.full(n, fair),
                }
            )
            blocks.append(found["block_pnl_ticks"])
            sums.append(found["rotated_net"])
    joined = {name: np.concatenate([part[name] for part in rows]) for name in rows[0]}
    return joined | _together(joined, np.concatenate(blocks), np.concatenate(sums))


def _ties_broken(
    table: OutcomeTable, signals: Signals, trials: Sequence[Trial], rules: TradeRules, draws: Draws
) -> tuple[npt.NDArray[np.float64], float]:
    """Return the p-values of rows with ties broken at random, and the mean net PnL of a trade without knowledge."""
    ring = ring_of(table, rules)
    found = np.full(len(trials), np.nan)
    for i, trial in enumerate(trials):
        accepted = signals.of(trial.threshold, trial.cooldown_bins)
        entries = accepted.bins + rules.latency_bins
        sums = rotated(ring, entries, accepted.sides, draws.rotations, draws.market_key)
        if sums.any():
            above, equal = np.count_nonzero(sums[1:] > sums[0]), np.count_nonzero(sums[1:] == sums[0])
            # The observed one is one of the equals, at a random place among them.
            place = uniform(seeded(int(digest([draws.market_key, *trial])[:16], 16), _TIES))
            found[i] = (above + place * (equal + 1)) / len(sums)
    fair = float(table.net[:, ring.place >= 0].mean()) / 2.0 if ring.size else np.nan
    return found, fair


def _together(rows: Columns, blocks: npt.NDArray[np.float64], sums: npt.NDArray[np.int32]) -> Columns:
    """Return the figures of an experiment that its rows decide together: the rows are all the trials of the market."""
    frame = pl.DataFrame({name: rows[name] for name in DECIDING}).fill_nan(None)
    frame = frame.with_columns(
        lists(blocks, RUNS["block_pnl_ticks"]).alias("block_pnl_ticks"),
        lists(sums, RUNS["rotated_net"]).alias("rotated_net"),
    )
    return dict(alone(frame, min_trades=MIN_TRADES))
