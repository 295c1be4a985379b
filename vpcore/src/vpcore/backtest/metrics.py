"""The figures of a trial: one threshold, cooldown, take-profit and stop of one run."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from vpcore.backtest.costs import breakeven_rate, driftless_rate, net_ticks
from vpcore.backtest.cross_validation import SPLIT_COLUMNS, Cuts, cut_trades
from vpcore.backtest.entries import Detections, Mode, cool_down, detect_crossings
from vpcore.backtest.open_market import hours
from vpcore.backtest.trades_digest import trades_digests
from vpcore.backtest.trial import PNL_BLOCK_NS, Trial
from vpcore.backtest.triple_barrier import Market, OutcomeTable, kept_signals, outcome_table
from vpcore.canonical import digest
from vpcore.kernels import barrier, resample
from vpcore.rules import TradeRules
from vpcore.statistics.bootstrap import mean_interval
from vpcore.statistics.intervals import wilson
from vpcore.statistics.permutation import EXACT_BELOW, STORED_DRAWS, Ring, exact_p, make_ring, p_random, rotated
from vpcore.units import HALF_TICKS_PER_TICK, NS_PER_MS

Columns = dict[str, npt.NDArray[Any]]
_Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Draws:
    """The random draws behind the figures of trials.

    Attributes
    ----------
    rotations : int
        Rotations behind ``p_random``; 0 leaves it NaN.
    resamples : int
        Bootstrap resamples behind the interval of the net PnL; 0 leaves it NaN.
    market_key : str
        Seeds the rotations: all trials on one market share them (`vpcore.statistics.multiple_testing.step_down`).
        Together with the digest of a trial's trades it seeds the bootstrap: identical trades have identical intervals,
        in every company, order and process.
    """

    rotations: int = 0
    resamples: int = 0
    market_key: str = ""

    def seed_of(self, trades_digest: str) -> int:
        """Return the bootstrap seed of a trial."""
        return int(digest([self.market_key, trades_digest])[:16], 16)


NO_DRAWS = Draws()


class Signals:
    """The accepted signals of a vector of values, detected once per threshold and cooldown.

    Parameters
    ----------
    market : Market
        The bins.
    values : float64[n_bins]
        The signal at the end of each bin; NaN before it is warm and in invalid bins.
    rules : TradeRules
        Their warm-up, and what a closed market is.
    mode : {"value", "probability", "confidence"}
        How a threshold reads the values.
    """

    def __init__(self, market: Market, values: npt.NDArray[np.float64], rules: TradeRules, mode: Mode) -> None:
        self._market, self._warmup_bins, self._mode = market, rules.warmup_bins, mode
        self._entry_rule = rules.entry_rule
        self._opened = market.opened(rules)
        self._values = np.ascontiguousarray(values, dtype=np.float64)
        self._crossings: dict[float, Detections] = {}
        self._accepted: dict[tuple[float, int], Detections] = {}
        self._joined: dict[tuple[tuple[float, int], ...], tuple[_Ints, npt.NDArray[np.int8], _Ints]] = {}

    def of(self, threshold: float, cooldown_bins: int) -> Detections:
        """Return the accepted signals of one threshold and cooldown."""
        key = (threshold, cooldown_bins)
        if key not in self._accepted:
            seq = self._market.bin_seq
            if threshold not in self._crossings:
                self._crossings[threshold] = detect_crossings(
                    self._values,
                    self._market.valid,
                    seq,
                    threshold,
                    warmup_bins=self._warmup_bins,
                    mode=self._mode,
                    opened=self._opened,
                    entry_rule=self._entry_rule,
                )
            self._accepted[key] = cool_down(self._crossings[threshold], seq, cooldown_bins)
        return self._accepted[key]

    def about(self) -> dict[str, float]:
        """Return ``open_bins``, ``n_values`` and ``largest_value`` of the bins after the warm-up."""
        inside = self._opened[self._warmup_bins :]
        known = self._values[self._warmup_bins :][inside]
        known = known[~np.isnan(known)]
        if self._mode == "probability":
            known = 0.5 + np.abs(known - 0.5)
        largest = float(np.abs(known).max()) if known.size else float("nan")
        return {"open_bins": int(np.count_nonzero(inside)), "n_values": known.size, "largest_value": largest}

    def joined(self, trials: Sequence[Trial]) -> tuple[_Ints, npt.NDArray[np.int8], _Ints]:
        """Return bins and sides of many trials, one after the other, and int64[n_trials + 1] with their bounds."""
        keys = tuple((trial.threshold, trial.cooldown_bins) for trial in trials)
        if keys not in self._joined:
            parts = [self.of(*key) for key in keys]
            offsets = np.zeros(len(parts) + 1, dtype=np.int64)
            offsets[1:] = np.cumsum([len(part) for part in parts])
            bins, sides = (np.concatenate([getattr(part, name) for part in parts]) for name in ("bins", "sides"))
            self._joined[keys] = (bins, sides, offsets)
        return self._joined[keys]


def trial_figures(
    market: Market,
    values: npt.NDArray[np.float64],
    trials: Iterable[Trial],
    rules: TradeRules,
    *,
    mode: Mode = "value",
    table_of: Callable[[TradeRules], OutcomeTable] | None = None,
    draws: Draws = NO_DRAWS,
    cuts: Cuts | None = None,
) -> Columns:
    """Return the figures of many trials of one run, one row per trial, sorted by trial.

    Parameters
    ----------
    market : Market
        The bins.
    values : float64[n_bins]
        The signal at the end of each bin, NaN where undefined.
    trials : iterable of Trial
        At least one, each once.
    rules : TradeRules
        The rules of every trade, except for take-profit and stop, which each trial states.
    mode : {"value", "probability", "confidence"}
        How a threshold reads the values.
    table_of : callable, optional
        Returns the outcome table of rules, for instance from a cache. By default each table is made here.
    draws : Draws, optional
        The draws behind ``p_random`` and the interval of the net PnL; by default 0, which leaves both NaN.
    cuts : Cuts, optional
        In-sample and out-of-sample parts.

    Returns
    -------
    dict of arrays of shape (n_trials,)
        The four columns of `Trial`, and:

        - ``n_signals``, ``n_up``, ``n_down``: accepted signals, all, long and short. int64.
        - ``n_dropped``: signals without a trade: the entry bin is not open or past the end, its spread is at least the
          stop, a position was open (`TradeRules.positions`), or the order of a maker found no fill. Trades are
          ``n_signals - n_dropped``; the figures below are of trades, NaN for 0 trades.
        - ``n_placed``, ``fill_rate``: orders placed, and the share of them with a fill; of takers the trades, and 1.
        - ``tp_rate``, ``sl_rate``, ``timeout_rate``: they add up to 1. ``tie_rate``: stops in whose bin the take-profit
          was touched too.
        - ``tp_rate_lo``, ``tp_rate_hi``: Wilson 95 %. ``n_eff``: effective number of independent trades, the
          sum over trades of their mean share of the bins in which they are open.
        - ``mean_pnl_ticks``: mid to mid, before costs. ``net_pnl_ticks``: after spread and fee. Means.
        - ``events_per_hour``: signals per hour of open bins after the warm-up.
        - ``median_time_to_outcome_ms``: from the entry to the bin that closes the trade (timeouts: to the end of the
          hold or of the data).
        - ``max_concurrent``: most trades open at once. int64.
        - ``breakeven_rate``, ``driftless_rate``: see `vpcore.backtest.costs`.
        - ``net_pnl_sd`` (ticks, n - 1), ``net_pnl_skew``, ``net_pnl_kurtosis`` (3 for a normal): of single trades.
        - ``net_pnl_lo``, ``net_pnl_hi``: 95 % stationary bootstrap of the mean; ``block_length`` in trades.
        - ``p_random``: p-value against random entry, see `vpcore.statistics.permutation`. Over all rotations where the
          drawn ones leave at most `EXACT_BELOW`.
        - ``open_bins``, ``n_values``: open bins after the warm-up, and those with a value; ``largest_value``: the
          furthest of these values in the direction of the thresholds, NaN for 0 values. The same for all trials.
        - ``trades_digest``: see `vpcore.backtest.trades_digest`. str.
        - ``block_pnl_ticks``, of shape (n_trials, n_blocks): net PnL per 5-minute block, by the bin of entry.
        - ``rotated_net``, int32 of shape (n_trials, 1 + stored draws), half-ticks: PnL of trades with a full horizon
          before fees, then their PnL after each of the first rotations behind ``p_random``. All rows on a market share
          the rotations. Of shape (n_trials, 0) for 0 draws.
        - with `cuts`, `SPLIT_COLUMNS` of `vpcore.backtest.cross_validation`, of shape (n_trials, n_groups) or
          (n_trials, n_folds).

    Notes
    -----
    Sums are of whole half-ticks and therefore exact. The figures of a trial are independent of the other trials.
    """
    make_table = table_of or partial(outcome_table, market)
    signals = Signals(market, values, rules, mode)
    wanted = sorted({Trial(float(t[0]) + 0.0, int(t[1]), int(t[2]), int(t[3])) for t in trials})
    pairs: dict[tuple[int, int], list[Trial]] = {}
    for trial in wanted:
        pairs.setdefault((trial.tp_ticks, trial.sl_ticks), []).append(trial)
    blocks = pnl_blocks(market)
    parts, order = [], []
    for (tp, sl), some in sorted(pairs.items()):
        pair = rules.at(tp, sl)
        parts.append(_totals(market, signals, some, make_table(pair), pair, draws, cuts, blocks))
        order += some
    place = np.array([row for row, _ in sorted(enumerate(order), key=lambda item: item[1])])
    totals = {name: np.concatenate([part[name] for part in parts])[place] for name in parts[0]}
    return _columns(market, wanted, totals, rules) | {
        name: np.full(len(wanted), value) for name, value in signals.about().items()
    }


def _totals(
    market: Market,
    signals: Signals,
    trials: Sequence[Trial],
    table: OutcomeTable,
    rules: TradeRules,
    draws: Draws,
    cuts: Cuts | None,
    blocks: tuple[_Ints, int],
) -> Columns:
    """Return the sums of trials that share one outcome table, one row per trial."""
    bins, sides, offsets = signals.joined(trials)
    dropped = np.zeros((len(trials), 2), dtype=np.int64)  # longs and shorts that came while a position was open
    if rules.positions == "one":
        bins, sides, offsets, dropped = _one_at_a_time(table, bins, sides, offsets, rules)
    block_of, n_blocks = blocks
    n_rows = len(trials)
    sums, n_eff = np.empty((n_rows, barrier.N_SUMS), dtype=np.int64), np.empty(n_rows, dtype=np.float64)
    block_net, block_trades = np.empty((2, n_rows, n_blocks), dtype=np.int64)
    trades, bounds = np.empty((len(bins), 4), dtype=np.int64), np.empty(n_rows + 1, dtype=np.int64)
    if rules.entry == "maker":
        bins, sides = _by_opening(table, bins, sides, offsets, rules)
    barrier.tally(
        bins, sides, offsets, rules.latency_bins, market.spread, block_of, market.bin_start_ns, market.cell_width_ns,
        table.outcome, table.tie, table.opened_at, table.exit_bin, table.resolved_at, table.net, table.gross,
        sums, n_eff, block_net, block_trades, trades, bounds,
    )  # fmt: skip
    sums[:, [barrier.N_UP, barrier.N_DOWN]] += dropped
    sums[:, barrier.N_DROPPED] += dropped.sum(axis=1)
    digests, net = trades_digests(trades, bounds), trades[:, 3].copy()
    ring = ring_of(table, rules) if draws.rotations else None
    resampled = np.empty((n_rows, len(RESAMPLED)))
    rotated_net = np.zeros((n_rows, 1 + min(draws.rotations, STORED_DRAWS) if ring is not None else 0), dtype=np.int32)
    for row in range(n_rows):
        sequence = slice(offsets[row], offsets[row + 1])
        pnl = net[bounds[row] : bounds[row + 1]]
        decided = (bins[sequence], sides[sequence])
        resampled[row], rotated_net[row] = _resampled(pnl, ring, decided, rules, draws, digests[row])
    return {
        "sums": sums,
        "n_eff": n_eff,
        "block_net": block_net,
        "block_trades": block_trades,
        "resampled": resampled,
        "rotated_net": rotated_net,
        "trades_digest": np.array(digests),
        "placed": _placed(table, bins, sides, offsets, rules) if rules.entry == "maker" else bounds[1:] - bounds[:-1],
        **(_cut(table, rules, cuts, bins, sides, offsets) if cuts is not None else {}),
    }


def _one_at_a_time(
    table: OutcomeTable, bins: _Ints, sides: npt.NDArray[np.int8], offsets: _Ints, rules: TradeRules
) -> tuple[_Ints, npt.NDArray[np.int8], _Ints, _Ints]:
    """Return the signals without those that come while a position is open, and the number of these: long, short."""
    parts = [slice(*pair) for pair in itertools.pairwise(offsets)]
    kept = np.concatenate([kept_signals(table, bins[part], sides[part], rules) for part in parts])
    lost = [sides[part][~kept[part]] for part in parts]
    dropped = np.array([[np.count_nonzero(some > 0), np.count_nonzero(some < 0)] for some in lost], dtype=np.int64)
    left = np.array([np.count_nonzero(kept[part]) for part in parts], dtype=np.int64)
    return bins[kept], sides[kept], np.concatenate([[0], np.cumsum(left)]), dropped


def _by_opening(
    table: OutcomeTable, bins: _Ints, sides: npt.NDArray[np.int8], offsets: _Ints, rules: TradeRules
) -> tuple[_Ints, npt.NDArray[np.int8]]:
    """Return the signals of each trial in the order in which their trades open: orders are filled in any order."""
    entries = np.minimum(bins + rules.latency_bins, table.outcome.shape[1] - 1)
    opened = table.opened_at[(sides < 0).astype(np.int64), entries]
    trial = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    order = np.lexsort((opened, trial))
    return bins[order], sides[order]


def _placed(table: OutcomeTable, bins: _Ints, sides: npt.NDArray[np.int8], offsets: _Ints, rules: TradeRules) -> _Ints:
    """Return the number of orders that each trial placed."""
    entries = bins + rules.latency_bins
    inside = entries < table.outcome.shape[1]
    placed = np.zeros(len(bins) + 1, dtype=np.int64)
    placed[1:][inside] = table.enterable[(sides[inside] < 0).astype(np.int64), entries[inside]]
    total = np.cumsum(placed)
    return total[offsets[1:]] - total[offsets[:-1]]


def _columns(market: Market, trials: Sequence[Trial], totals: Columns, rules: TradeRules) -> Columns:
    """Return the columns of `trial_figures` from the sums of every trial."""
    sums = totals["sums"]
    key = {name: np.array([getattr(trial, name) for trial in trials]) for name in Trial._fields}
    tp_ticks, sl_ticks = key["tp_ticks"], key["sl_ticks"]
    open_hours = hours(market.opened(rules), rules.warmup_bins, market.cell_width_ns)
    n_signals = sums[:, barrier.N_UP] + sums[:, barrier.N_DOWN]
    trades = n_signals - sums[:, barrier.N_DROPPED]
    lo, hi = wilson(sums[:, barrier.N_TP], trades)
    none = trades == 0
    with np.errstate(divide="ignore", invalid="ignore"):
        mean_net = sums[:, barrier.SUM_NET] / HALF_TICKS_PER_TICK / trades - rules.fee_ticks
        spread = sums[:, barrier.SUM_SPREAD] / trades if rules.entry == "taker" else np.zeros(len(trades))
        driftless = driftless_rate(tp_ticks, sl_ticks, spread, rules.price)
        twice_median = sums[:, barrier.TWICE_MEDIAN] * (market.cell_width_ns / NS_PER_MS)
        return {
            **key,
            "n_signals": n_signals,
            "n_up": sums[:, barrier.N_UP],
            "n_down": sums[:, barrier.N_DOWN],
            "n_dropped": sums[:, barrier.N_DROPPED],
            "n_placed": totals["placed"],
            "fill_rate": trades / totals["placed"],
            "tp_rate": sums[:, barrier.N_TP] / trades,
            "sl_rate": sums[:, barrier.N_SL] / trades,
            "timeout_rate": sums[:, barrier.N_TIMEOUT] / trades,
            "mean_pnl_ticks": sums[:, barrier.SUM_GROSS] / HALF_TICKS_PER_TICK / trades,
            "net_pnl_ticks": np.where(none, np.nan, mean_net),
            "events_per_hour": n_signals / open_hours if open_hours > 0 else np.full(len(trials), np.nan),
            "median_time_to_outcome_ms": np.where(none, np.nan, twice_median / 2.0),
            "tie_rate": sums[:, barrier.N_TIE] / trades,
            "max_concurrent": sums[:, barrier.MAX_OPEN],
            "tp_rate_lo": lo,
            "tp_rate_hi": hi,
            "n_eff": totals["n_eff"],
            "breakeven_rate": breakeven_rate(tp_ticks, sl_ticks, rules.fee_ticks),
            "driftless_rate": np.where(none, np.nan, driftless),
            **{name: np.ascontiguousarray(totals["resampled"][:, i]) for i, name in enumerate(RESAMPLED)},
            "trades_digest": totals["trades_digest"],
            "block_pnl_ticks": totals["block_net"] / HALF_TICKS_PER_TICK - rules.fee_ticks * totals["block_trades"],
            "rotated_net": totals["rotated_net"],
            **{name: totals[name] for name in SPLIT_COLUMNS if name in totals},
        }


def pnl_blocks(market: Market) -> tuple[_Ints, int]:
    """Return the block of each bin (by the start of the bin) and the number of blocks."""
    if not market.n_bins:
        return np.empty(0, dtype=np.int64), 0
    block_of = (market.bin_seq * market.cell_width_ns) // PNL_BLOCK_NS
    return block_of, int(block_of[-1]) + 1


def ring_of(table: OutcomeTable, rules: TradeRules) -> Ring:
    """Return the ring of a table's evaluable bins; the first is the entry of a decision right after the warm-up.

    The table keeps the latest ring: all runs with its barriers share it. A rotation of a maker's signals changes how
    many orders are filled, so a trade counts after its fee there, and an order without a fill as 0.
    """
    first = rules.warmup_bins + rules.latency_bins
    fee_ticks = rules.fee_ticks if rules.entry == "maker" else 0.0
    key = (first, rules.horizon_bins, fee_ticks, rules.entry)
    ring = table.rings.get(key)
    if ring is None:
        net: npt.NDArray[Any] = table.net
        if rules.entry == "maker":
            net = np.where(table.outcome != barrier.NO_TRADE, net - fee_ticks * HALF_TICKS_PER_TICK, 0.0)
        ring = make_ring(table.enterable[0], net, table.activity, first=first, hold=rules.horizon_bins)
        table.rings.clear()
        table.rings[key] = ring
    return ring


RESAMPLED = (
    "net_pnl_sd", "net_pnl_skew", "net_pnl_kurtosis", "net_pnl_lo", "net_pnl_hi", "block_length", "p_random",
)  # fmt: skip
"""Figures of `_resampled`, in order."""


def _resampled(
    net: _Ints,
    ring: Ring | None,
    decided: tuple[_Ints, npt.NDArray[np.int8]],
    rules: TradeRules,
    draws: Draws,
    trades_digest: str,
) -> tuple[tuple[float, ...], _Ints]:
    """Return the figures named by `RESAMPLED` of one trial, in ticks after fees, and its rotations to store.

    `net`: PnL of the trades before fees, half-ticks. `decided`: bins and sides of the signals. `ring`: None for 0
    rotations.
    """
    shape = np.empty(4, dtype=np.float64)
    resample.moments(net, shape)
    lo, hi, length = mean_interval(net, draws.resamples, draws.seed_of(trades_digest) if draws.resamples else 0)
    sums, by_chance = np.empty(0, dtype=np.int64), float("nan")
    if ring is not None:
        entries = decided[0] + rules.latency_bins
        sums = rotated(ring, entries, decided[1], draws.rotations, draws.market_key)
        by_chance = p_random(sums)
        if by_chance <= EXACT_BELOW:
            by_chance = exact_p(ring, entries, decided[1], draws.market_key)
    figures = (
        float(shape[1]) / HALF_TICKS_PER_TICK,
        float(shape[2]),
        float(shape[3]),
        net_ticks(lo, rules.fee_ticks),
        net_ticks(hi, rules.fee_ticks),
        length,
        by_chance,
    )
    return figures, sums[: 1 + STORED_DRAWS]


def _cut(
    table: OutcomeTable, rules: TradeRules, cuts: Cuts, bins: _Ints, sides: npt.NDArray[np.int8], offsets: _Ints
) -> Columns:
    """Return `SPLIT_COLUMNS` of trials whose signals are joined one after the other."""
    n_bins = table.outcome.shape[1]
    entries = np.minimum(bins + rules.latency_bins, n_bins - 1)
    side = (sides < 0).astype(np.int64)
    outcome = table.outcome[side, entries]
    traded = (bins + rules.latency_bins < n_bins) & (outcome != barrier.NO_TRADE)
    net = net_ticks(table.net[side, entries], rules.fee_ticks)
    values = {
        "trades": traded.astype(np.int64),
        "tp": (traded & (outcome == barrier.TAKE_PROFIT)).astype(np.int64),
        "net_ticks": np.where(traded, net, 0.0),
        "net_ticks2": np.where(traded, net * net, 0.0),
        "gross_ticks": np.where(traded, table.gross[side, entries] / HALF_TICKS_PER_TICK, 0.0),
    }
    return cut_trades(cuts, bins, table.resolved_at[side, entries].astype(np.int64), values, offsets)
