"""Scoring, barriers, null rotations: what a sweep is made of."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any

import numba
import numpy as np
from harness import Comparison, Way
from jobs_data import dataset

from vpcore.backtest.metrics import ring_of, trial_figures
from vpcore.backtest.trial import Trial
from vpcore.backtest.triple_barrier import MARKET_COLUMNS, Market, OutcomeTable, outcome_table
from vpcore.dataset import Dataset
from vpcore.kernels import null
from vpcore.rules import TradeRules
from vpcore.scoring import CHANNELS, ScoringConfig, SpectrumScorer, score_arrays

N_THREADS = len(os.sched_getaffinity(0))


def numpy_score(rows: list[Any], config: ScoringConfig) -> np.ndarray[Any, Any]:
    """Score bins with full windows as one would with numpy: the medians of every cell's window, bin by bin."""
    n_bins, window = len(rows[0]), config.zscore_window_bins
    score = np.zeros(rows[0].shape)
    total = sum(config.derivative_weights)
    for i in range(window - 1, n_bins):
        parts = np.zeros(rows[0].shape[1])
        settings = zip(rows, config.derivative_weights, config.zscore_scale_floor, strict=True)
        for values, weight, floor in settings:
            past = values[i + 1 - window : i + 1]
            median = np.median(past, axis=0)
            scale = 1.4826 * np.median(np.abs(past - median), axis=0)
            usable = scale > floor
            z = np.divide(values[i] - median, scale, out=np.zeros_like(parts), where=usable)
            parts += weight * np.tanh(z / config.tanh_scale)
        score[i] = parts / total
    return score


def channels(data: Dataset) -> list[np.ndarray[Any, Any]]:
    return [data.grid(name) for name in CHANNELS]


def scoring(small: bool) -> list[Comparison]:
    data = dataset("minute" if small else "hour")
    config = ScoringConfig()
    rows, valid = channels(data), data.valid
    part = [row[:450].astype(np.float64) for row in rows]
    noise = [np.random.default_rng(i).normal(size=(min(data.n_bins, 6000), data.n_cells)) for i in range(3)]
    live = np.ones(len(noise[0]), np.bool_)
    full = config.zscore_window_bins - 1
    cells, few = data.n_bins * data.n_cells, part[0][full:].size

    exact, _ = score_arrays(part[0], part[1], part[2], valid[:450], config)
    if not np.allclose(
        exact[full:], numpy_score(part, config)[full:], rtol=0, atol=1e-15
    ):  # tanh differs in its last bit
        raise AssertionError("the scorer and the numpy formulation disagree")

    def incremental(n: int) -> np.ndarray[Any, Any]:
        scorer = SpectrumScorer(config, data.n_cells)
        return np.array([scorer.update(rows[0][i], rows[1][i], rows[2][i], bool(valid[i]))[0] for i in range(n)])

    n_short = min(data.n_bins, 4000)
    whole, _ = score_arrays(*(row[:n_short] for row in rows), valid[:n_short], config)
    if whole.tobytes() != incremental(n_short).tobytes():
        raise AssertionError("batch and incremental scores differ")

    numpy_way = Way("numpy per bin", lambda: numpy_score(part, config), few)
    return [
        Comparison(
            "score, window 300, 3 channels",
            "cells",
            Way("vpcore", lambda: score_arrays(rows[0], rows[1], rows[2], valid, config), cells),
            [numpy_way, Way("vpcore, bin by bin", lambda: incremental(n_short), n_short * data.n_cells)],
            target=("numpy per bin", 50),
            target_rate=1.5e6,
        ),
        Comparison(
            "score, Gaussian noise (no repeats)",
            "cells",
            Way("vpcore", lambda: score_arrays(noise[0], noise[1], noise[2], live, config), noise[0].size),
            [numpy_way],
        ),
        Comparison(
            f"score on {N_THREADS} threads",
            "cells",
            Way("vpcore", lambda: score_arrays(rows[0], rows[1], rows[2], valid, config, n_threads=N_THREADS), cells),
            [Way("vpcore on one", lambda: score_arrays(rows[0], rows[1], rows[2], valid, config), cells)],
            clock="wall",
        ),
    ]


# -- barriers ----------------------------------------------------------------------------------------------------------


@numba.njit(cache=True)
def scan_pair(bins, sides, bid, ask, bid_high, bid_low, ask_high, ask_low, tp, sl, hold):  # type: ignore[no-untyped-def]
    """Sum, in ticks, what entries pay: the compiled scan that one would write for a pair of barriers."""
    total = 0
    n_bins = bid.shape[0]
    for i in range(bins.shape[0]):
        e = bins[i] + 1
        if e >= n_bins or ask[e] - bid[e] >= sl:
            continue
        stop = min(e + hold, n_bins - 1)
        done = False
        for j in range(e + 1, stop + 1):
            if sides[i] > 0:
                if bid_low[j] <= ask[e] - sl:
                    total += bid_low[j] - ask[e]
                    done = True
                elif bid_high[j] >= ask[e] + tp:
                    total += tp
                    done = True
            elif ask_high[j] >= bid[e] + sl:
                total += bid[e] - ask_high[j]
                done = True
            elif ask_low[j] <= bid[e] - tp:
                total += tp
                done = True
            if done:
                break
        if not done:
            total += bid[stop] - ask[e] if sides[i] > 0 else bid[e] - ask[stop]
    return total


def numpy_pair(bins: Any, sides: Any, market: Market, tp: int, sl: int, hold: int) -> int:
    """Do the same with numpy, entry by entry."""
    total = 0
    for e, side in zip(bins + 1, sides, strict=True):
        if e >= market.n_bins or market.spread[e] >= sl:
            continue
        stop = min(e + hold, market.n_bins - 1)
        window = slice(e + 1, stop + 1)
        if side > 0:
            against, toward, paid, last = market.bid_low[window], market.bid_high[window], market.ask[e], market.bid
        else:
            against, toward, paid, last = -market.ask_high[window], -market.ask_low[window], -market.bid[e], -market.ask
        stopped = np.flatnonzero(against <= paid - sl)
        taken = np.flatnonzero(toward >= paid + tp)
        at_stop = stopped[0] if len(stopped) else hold + 1
        at_target = taken[0] if len(taken) else hold + 1
        if at_stop <= at_target and len(stopped):
            total += against[at_stop] - paid
        elif len(taken):
            total += tp
        else:
            total += last[stop] - paid
    return int(total)


def barriers(small: bool) -> list[Comparison]:
    data = dataset("minute" if small else "hour")
    market = Market.from_bins({name: data.bin(name) for name in MARKET_COLUMNS}, data.tick_int)
    hold, n_entries = (120, 100) if small else (1200, 1000)
    rng = np.random.default_rng(5)
    bins = np.sort(rng.choice(data.n_bins, n_entries, replace=False)).astype(np.int64)
    sides = rng.choice(np.array([-1, 1], np.int8), n_entries)
    pairs = [(tp, sl) for tp in range(2, 27) for sl in range(2, 42)][:: 25 if small else 1]
    prices = (market.bid, market.ask, market.bid_high, market.bid_low, market.ask_high, market.ask_low)
    # A signal whose crossings of 0.5 are those entries, so that the whole evaluation can be asked for them.
    values = np.zeros(data.n_bins)
    values[bins] = sides.astype(np.float64)

    rules = TradeRules(tp_ticks=1, sl_ticks=1, max_hold_bins=hold, warmup_bins=0)

    def ours() -> dict[str, Any]:
        fresh = replace(market)  # which has no touch times yet
        return trial_figures(fresh, values, [Trial(0.5, 0, tp, sl) for tp, sl in pairs], rules)

    def scans() -> list[int]:
        return [scan_pair(bins, sides, *prices, tp, sl, hold) for tp, sl in pairs]

    few = pairs[:: max(1, len(pairs) // 4)]
    found = evaluate_net(market, values, few[:3], hold)
    if found != [scan_pair(*entries(values, market), *prices, tp, sl, hold) for tp, sl in few[:3]]:
        raise AssertionError("outcome tables and the scan per pair disagree")

    random = np.tanh(rng.normal(size=data.n_bins).cumsum() / 100)
    few_pairs = [(tp, sl) for tp in (2, 4, 6, 8) for sl in (3, 4, 6, 8, 12)]
    tables: dict[TradeRules, OutcomeTable] = {}
    fresh = [market]

    def table_of(pair: TradeRules) -> OutcomeTable:
        if pair not in tables:
            tables[pair] = outcome_table(fresh[-1], pair)
        return tables[pair]

    trials = [
        Trial(threshold, cooldown, tp, sl)
        for threshold in np.linspace(0.05, 0.95, 20)
        for cooldown in (0, 10, 30, 100, 300)
        for tp, sl in few_pairs
    ]

    def combinations(*, keep: bool) -> Any:
        if not keep:
            tables.clear()
            fresh[:] = [replace(market)]
        return trial_figures(market, random, trials, rules, table_of=table_of)

    return [
        Comparison(
            f"{len(pairs):,} barrier pairs x {n_entries:,} entries, tables included",
            "pairs",
            Way("vpcore", ours, len(pairs)),
            [
                Way("numba scan per pair", scans, len(pairs)),
                Way(
                    "numpy, entry by entry",
                    lambda: [numpy_pair(bins, sides, market, tp, sl, hold) for tp, sl in few],
                    len(few),
                ),
            ],
        ),
        Comparison(
            "threshold x cooldown x barriers: 20 x 5 x 20",
            "combinations",
            Way("vpcore, all figures of a row", lambda: combinations(keep=False), len(trials)),
            [
                Way(
                    "numba scan per pair, the sum alone",
                    lambda: [scan_pair(bins, sides, *prices, tp, sl, hold) for tp, sl in few_pairs],
                    len(few_pairs),
                )
            ],
            target_rate=20_000,
        ),
        Comparison(
            "the same, tables kept as in a sweep",
            "combinations",
            Way("vpcore, all figures of a row", lambda: combinations(keep=True), len(trials)),
            [
                Way(
                    "numba scan per pair, the sum alone",
                    lambda: [scan_pair(bins, sides, *prices, tp, sl, hold) for tp, sl in few_pairs],
                    len(few_pairs),
                )
            ],
            target_rate=20_000,
        ),
        *rotations(market, bins, sides, table_of(rules.at(4, 4)), rules),
    ]


def entries(values: np.ndarray[Any, Any], market: Market) -> tuple[Any, Any]:
    """Return what the evaluation makes of the values: their crossings."""
    from vpcore.backtest.entries import detect_crossings

    found = detect_crossings(values, market.valid, market.bin_seq, 0.5, warmup_bins=0)
    return found.bins, found.sides


def evaluate_net(market: Market, values: np.ndarray[Any, Any], pairs: list[tuple[int, int]], hold: int) -> list[int]:
    """Return the net sums, in ticks, as the evaluation has them."""
    sums = []
    for tp, sl in pairs:
        rules = TradeRules(tp_ticks=tp, sl_ticks=sl, max_hold_bins=hold, warmup_bins=0)
        row = trial_figures(market, values, [Trial(0.5, 0, tp, sl)], rules)
        trades = row["n_signals"] - row["n_dropped"]
        sums.append(round(float(row["net_pnl_ticks"][0] * trades[0])))
    return sums


def rotations(market: Market, bins: Any, sides: Any, table: OutcomeTable, rules: TradeRules) -> list[Comparison]:
    ring = ring_of(table, rules)
    places, rows = np.empty((2, len(bins)), dtype=np.int64)
    count = null.on_ring(bins + 1, sides, ring.place, places, rows)
    places, rows = places[:count], rows[:count]
    draws = 2000
    offsets = np.sort(np.random.default_rng(3).integers(0, ring.size, draws))
    sums, few = np.empty(draws, np.int64), offsets[:100]

    def with_numpy() -> list[int]:
        return [int(ring.net[rows, (places + offset) % ring.size].sum(dtype=np.int64)) for offset in few]

    null.rotate(places, rows, ring.net, ring.size, offsets, sums)
    if sums[:100].tolist() != with_numpy():
        raise AssertionError("rotations disagree with numpy")
    return [
        Comparison(
            "null: rotated outcome look-ups",
            "look-ups",
            Way(
                "vpcore",
                lambda: null.rotate(places, rows, ring.net, ring.size, offsets, sums),
                count * draws,
            ),
            [Way("numpy fancy indexing", with_numpy, count * len(few))],
            target_rate=50e6,
        )
    ]
