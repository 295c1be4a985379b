"""The figures of a trial: one threshold, cooldown, take-profit and stop of one run."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from vpcore.backtest.costs import breakeven_rate, driftless_rate, net_ticks
from vpcore.backtest.cross_validation import Cuts, cut_trades
from vpcore.backtest.entries import Detections, Mode, cool_down, detect_crossings
from vpcore.backtest.trades_digest import DIGITS, trades_digests
from vpcore.backtest.trial import PNL_BLOCK_NS, Trial
from vpcore.backtest.triple_barrier import Market, OutcomeTable
from vpcore.canonical import digest
from vpcore.kernels import barrier, resample
from vpcore.statistics.bootstrap import mean_interval
from vpcore.statistics.intervals import wilson
from vpcore.statistics.permutation import STORED_DRAWS, Ring, make_ring, p_random, rotated
from vpcore.units import HALF_TICKS_PER_TICK, NS_PER_MS, NS_PER_S

NS_PER_HOUR = 3600 * NS_PER_S


@dataclass(frozen=True, slots=True)
class Resampling:
    """The random draws behind a row's figures.

    Attributes
    ----------
    null_draws, bootstrap_draws : int
        Number of rotations and of resamples; 0 leaves their figures NaN.
    key : str
        Seeds the bootstrap, together with the row's own key: the run's settings. A row has the same draws in every
        company, order and process, under any code.
    market : str
        Seeds the rotations: all rows on one market share them (`vpcore.statistics.multiple_testing.step_down`).
    """

    null_draws: int = 0
    bootstrap_draws: int = 0
    key: str = ""
    market: str = ""

    def seed_of(self, trial: Trial) -> int:
        """Return the seed of a row."""
        return int(digest([self.key, *trial])[:16], 16)


def pnl_blocks(market: Market) -> tuple[npt.NDArray[np.int64], int]:
    """Return the block of each bin (by the start of the bin) and the number of blocks."""
    if not market.n_bins:
        return np.empty(0, dtype=np.int64), 0
    block_of = (market.bin_seq * market.cell_width_ns) // PNL_BLOCK_NS
    return block_of, int(block_of[-1]) + 1


def evaluate(
    market: Market,
    values: npt.NDArray[np.float64],
    trials: Iterable[Trial],
    table_of: Callable[[int, int], OutcomeTable],
    *,
    mode: Mode = "value",
    warmup_bins: int,
    latency_bins: int,
    fee_ticks: float,
    resampling: Resampling | None = None,
    cuts: Cuts | None = None,
) -> dict[str, npt.NDArray[Any]]:
    """Return the figures of many trials of one run, one row per trial, sorted by trial.

    Parameters
    ----------
    market : Market
        The bins.
    values : float64[n_bins]
        The signal at the end of each bin, NaN where it has none.
    trials : iterable of Trial
        Without duplicates.
    table_of : callable
        Gives the outcome table of (tp_ticks, sl_ticks). All have one hold and one price.
    mode : {"value", "probability", "confidence"}
        How a threshold reads the values.
    warmup_bins : int
        Bins at the start in which no signal is accepted.
    latency_bins : int
        Bins from decision to entry.
    fee_ticks : float
        Per round trip.
    resampling : Resampling, optional
        The draws behind ``p_random`` and the interval of the net PnL; by default none, which leaves them NaN.
    cuts : Cuts, optional
        In-sample and out-of-sample parts.

    Returns
    -------
    dict of arrays of shape (n_trials,)
        The four columns of `Trial`, and:

        - ``n_signals``, ``n_up``, ``n_down``: accepted signals, of which long and short. int64.
        - ``n_dropped``: signals without a trade: the entry bin is invalid or past the end, or the stop not wider than
          its spread. Trades are ``n_signals - n_dropped``; all that follows is of trades, NaN where there are none.
        - ``tp_rate``, ``sl_rate``, ``timeout_rate``: they add up to 1. ``tie_rate``: stops in whose bin the take-profit
          was touched too.
        - ``tp_rate_lo``, ``tp_rate_hi``: Wilson 95 %. ``n_eff``: what the overlapping trades are worth as separate
          ones, the sum of each one's mean share of the bins it is open.
        - ``mean_pnl_ticks``: mid to mid, without costs. ``net_pnl_ticks``: what the trades pay, less the fee. Means.
        - ``events_per_hour``: signals per hour after the warm-up.
        - ``median_time_to_outcome_ms``: from the entry to the bin that closes the trade (timeouts: to the end of the
          hold or of the data).
        - ``max_concurrent``: most trades open at once. int64.
        - ``breakeven_rate``, ``driftless_rate``: see `vpcore.backtest.costs`.
        - ``net_pnl_sd`` (ticks, n - 1), ``net_pnl_skew``, ``net_pnl_kurtosis`` (3 for a normal): of single trades.
        - ``net_pnl_lo``, ``net_pnl_hi``: 95 % stationary bootstrap of the mean; ``block_length`` in trades.
        - ``p_random``: how often random entry pays as much, see `vpcore.statistics.permutation`.
        - ``trades_digest``: see `vpcore.backtest.trades_digest`. str.
        - ``block_pnl_ticks``, of shape (n_trials, n_blocks): net PnL per 5-minute block, by the bin of entry.
        - ``rotated_net``, int32 of shape (n_trials, 1 + stored draws), half-ticks before fees: what the trades with a
          full horizon pay, then what they pay after each of the first rotations behind ``p_random``, which all rows on
          a market share. Of shape (n_trials, 0) without draws.
        - with `cuts`, `SPLIT_COLUMNS` of `vpcore.backtest.cross_validation`, of shape (n_trials, n_groups) or
          (n_trials, n_folds).

    Notes
    -----
    Sums are of whole half-ticks and therefore exact; a trial's figures do not depend on the other trials.
    """
    wanted = sorted({Trial(float(t[0]) + 0.0, int(t[1]), int(t[2]), int(t[3])) for t in trials})
    values = np.ascontiguousarray(values, dtype=np.float64)
    block_of, n_blocks = pnl_blocks(market)
    n_rows = len(wanted)
    sums = np.zeros((n_rows, barrier.N_SUMS), dtype=np.int64)
    n_eff = np.zeros(n_rows, dtype=np.float64)
    block_net = np.zeros((n_rows, n_blocks), dtype=np.int64)
    block_trades = np.zeros((n_rows, n_blocks), dtype=np.int64)
    resampled = np.full((n_rows, len(RESAMPLED)), np.nan)
    resampling = resampling or Resampling()
    n_rotated = 1 + min(resampling.null_draws, STORED_DRAWS) if resampling.null_draws else 0
    rotated_net = np.zeros((n_rows, n_rotated), dtype=np.int32)
    digests = np.empty(n_rows, dtype=f"U{DIGITS}")
    split: dict[str, npt.NDArray[Any]] = {}

    found: dict[tuple[float, int], Detections] = {}
    crossings: dict[float, Detections] = {}
    rows_of: dict[tuple[int, int], list[int]] = {}
    for row, trial in enumerate(wanted):
        rows_of.setdefault((trial.tp_ticks, trial.sl_ticks), []).append(row)
        key = (trial.threshold, trial.cooldown_bins)
        if key in found:
            continue
        if trial.threshold not in crossings:
            crossings[trial.threshold] = detect_crossings(
                values, market.valid, market.bin_seq, trial.threshold, warmup_bins=warmup_bins, mode=mode
            )
        found[key] = cool_down(crossings[trial.threshold], market.bin_seq, trial.cooldown_bins)

    joined: dict[tuple[tuple[float, int], ...], tuple[npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[Any]]] = {}
    hold, price = 0, "touch"
    for (tp, sl), rows in sorted(rows_of.items()):
        table = table_of(tp, sl)
        hold, price = table.spec.max_hold_bins, table.spec.price
        keys = tuple((wanted[row].threshold, wanted[row].cooldown_bins) for row in rows)
        if keys not in joined:
            parts = [found[key] for key in keys]
            offsets = np.zeros(len(parts) + 1, dtype=np.int64)
            offsets[1:] = np.cumsum([len(part) for part in parts])
            joined[keys] = (np.concatenate([p.bins for p in parts]), np.concatenate([p.sides for p in parts]), offsets)
        bins, sides, offsets = joined[keys]
        some_sums, some_eff = (
            np.empty((len(rows), barrier.N_SUMS), dtype=np.int64),
            np.empty(len(rows), dtype=np.float64),
        )
        some_net, some_trades = np.empty((2, len(rows), n_blocks), dtype=np.int64)
        barrier.tally(
            bins, sides, offsets, latency_bins, hold, market.spread, block_of,
            table.outcome, table.tie, table.exit_bin, table.net, table.gross,
            some_sums, some_eff, some_net, some_trades,
        )  # fmt: skip
        digests[rows] = trades_digests(market, table, bins, sides, offsets, latency_bins)
        sums[rows], n_eff[rows], block_net[rows], block_trades[rows] = some_sums, some_eff, some_net, some_trades
        if cuts is not None:
            for name, some in _cut(table, cuts, bins, sides, offsets, latency_bins, fee_ticks).items():
                split.setdefault(name, np.zeros((n_rows, some.shape[1]), dtype=some.dtype))[rows] = some
        ring = ring_of(table, warmup_bins + latency_bins) if resampling.null_draws else None
        for row, key in zip(rows, keys, strict=True):
            resampled[row], rotated_net[row] = _resampled(
                table, ring, found[key], latency_bins, fee_ticks, resampling, wanted[row]
            )

    hours = max(market.n_bins - warmup_bins, 0) * market.cell_width_ns / NS_PER_HOUR
    tp_ticks = np.array([trial.tp_ticks for trial in wanted], dtype=np.int64)
    sl_ticks = np.array([trial.sl_ticks for trial in wanted], dtype=np.int64)
    n_signals = sums[:, barrier.N_UP] + sums[:, barrier.N_DOWN]
    trades = n_signals - sums[:, barrier.N_DROPPED]
    lo, hi = wilson(sums[:, barrier.N_TP], trades)
    none = trades == 0
    with np.errstate(divide="ignore", invalid="ignore"):
        rows_net = sums[:, barrier.SUM_NET] / HALF_TICKS_PER_TICK / trades - fee_ticks
        mean_spread = sums[:, barrier.SUM_SPREAD] / trades
        return {
            "threshold": np.array([trial.threshold for trial in wanted], dtype=np.float64),
            "cooldown_bins": np.array([trial.cooldown_bins for trial in wanted], dtype=np.int64),
            "tp_ticks": tp_ticks,
            "sl_ticks": sl_ticks,
            "n_signals": n_signals,
            "n_up": sums[:, barrier.N_UP],
            "n_down": sums[:, barrier.N_DOWN],
            "n_dropped": sums[:, barrier.N_DROPPED],
            "tp_rate": sums[:, barrier.N_TP] / trades,
            "sl_rate": sums[:, barrier.N_SL] / trades,
            "timeout_rate": sums[:, barrier.N_TIMEOUT] / trades,
            "mean_pnl_ticks": sums[:, barrier.SUM_GROSS] / HALF_TICKS_PER_TICK / trades,
            "net_pnl_ticks": np.where(none, np.nan, rows_net),
            "events_per_hour": n_signals / hours if hours > 0 else np.full(n_rows, np.nan),
            "median_time_to_outcome_ms": np.where(
                none, np.nan, sums[:, barrier.TWICE_MEDIAN] * (market.cell_width_ns / NS_PER_MS) / 2.0
            ),
            "tie_rate": sums[:, barrier.N_TIE] / trades,
            "max_concurrent": sums[:, barrier.MAX_OPEN],
            "tp_rate_lo": lo,
            "tp_rate_hi": hi,
            "n_eff": n_eff,
            "breakeven_rate": breakeven_rate(tp_ticks, sl_ticks, fee_ticks),
            "driftless_rate": np.where(none, np.nan, driftless_rate(tp_ticks, sl_ticks, mean_spread, price)),
            **{name: np.ascontiguousarray(resampled[:, i]) for i, name in enumerate(RESAMPLED)},
            "trades_digest": digests,
            "block_pnl_ticks": block_net / HALF_TICKS_PER_TICK - fee_ticks * block_trades,
            "rotated_net": rotated_net,
            **split,
        }


RESAMPLED = (
    "net_pnl_sd", "net_pnl_skew", "net_pnl_kurtosis", "net_pnl_lo", "net_pnl_hi", "block_length", "p_random",
)  # fmt: skip
"""Figures of `_resampled`, in order."""


def ring_of(table: OutcomeTable, first: int) -> Ring:
    """Return the ring of a table's evaluable bins from the entry bin `first` on."""
    return make_ring(table.outcome[0] != barrier.NO_TRADE, table.net, first=first, hold=table.spec.max_hold_bins)


def traded_net(table: OutcomeTable, signals: Detections, latency_bins: int) -> npt.NDArray[np.int64]:
    """Return the PnL of each trade before fees, in order of entry, half-ticks."""
    entries = signals.bins + latency_bins
    inside = entries < table.outcome.shape[1]
    entries, rows = entries[inside], (signals.sides[inside] < 0).astype(np.int64)
    traded = table.outcome[rows, entries] != barrier.NO_TRADE
    net: npt.NDArray[np.int64] = table.net[rows[traded], entries[traded]].astype(np.int64)
    return net


def _resampled(
    table: OutcomeTable,
    ring: Ring | None,
    signals: Detections,
    latency_bins: int,
    fee_ticks: float,
    resampling: Resampling,
    trial: Trial,
) -> tuple[tuple[float, ...], npt.NDArray[np.int64]]:
    """Return the figures named by `RESAMPLED` of one row, in ticks after fees, and its rotations to store.

    `ring` is None without rotations.
    """
    net = traded_net(table, signals, latency_bins)
    seed = resampling.seed_of(trial) if resampling.bootstrap_draws else 0
    shape = np.empty(4, dtype=np.float64)
    resample.moments(net, shape)
    lo, hi, length = mean_interval(net, resampling.bootstrap_draws, seed)
    sums = np.empty(0, dtype=np.int64)
    if ring is not None:
        entries = signals.bins + latency_bins
        sums = rotated(ring, entries, signals.sides, resampling.null_draws, resampling.market)
    figures = (
        float(shape[1]) / HALF_TICKS_PER_TICK,
        float(shape[2]),
        float(shape[3]),
        net_ticks(lo, fee_ticks),
        net_ticks(hi, fee_ticks),
        length,
        p_random(sums),
    )
    return figures, sums[: 1 + STORED_DRAWS]


def _cut(
    table: OutcomeTable,
    cuts: Cuts,
    bins: npt.NDArray[np.int64],
    sides: npt.NDArray[np.int8],
    offsets: npt.NDArray[np.int64],
    latency_bins: int,
    fee_ticks: float,
) -> dict[str, npt.NDArray[Any]]:
    """Return the columns of rows whose signals lie one row after the other, by group and training part."""
    entries = np.minimum(bins + latency_bins, table.outcome.shape[1] - 1)
    side = (sides < 0).astype(np.int64)
    outcome = table.outcome[side, entries]
    traded = (bins + latency_bins < table.outcome.shape[1]) & (outcome != barrier.NO_TRADE)
    net = table.net[side, entries] / HALF_TICKS_PER_TICK - fee_ticks
    values = {
        "trades": traded.astype(np.int64),
        "tp": (traded & (outcome == barrier.TAKE_PROFIT)).astype(np.int64),
        "net_ticks": np.where(traded, net, 0.0),
        "net_ticks2": np.where(traded, net * net, 0.0),
        "gross_ticks": np.where(traded, table.gross[side, entries] / HALF_TICKS_PER_TICK, 0.0),
    }
    return cut_trades(cuts, bins, table.resolved_at[side, entries].astype(np.int64), values, offsets)
