"""Evaluation of any vector of values: its trades and figures, in memory."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from vpcore.backtest.costs import net_ticks
from vpcore.backtest.entries import Detections, Mode
from vpcore.backtest.metrics import Draws, Signals, trial_figures
from vpcore.backtest.session import Session
from vpcore.backtest.trial import Trial
from vpcore.backtest.triple_barrier import OutcomeTable, kept_signals
from vpcore.dataset import Dataset
from vpcore.errors import ConfigError
from vpcore.halts import DailyHalt
from vpcore.kernels import barrier
from vpcore.rules import TradeRules
from vpcore.signal import SignalResult
from vpcore.units import HALF_TICKS_PER_TICK, PRICE_SCALE, round_trip_ticks

REASONS = {barrier.TAKE_PROFIT: "take-profit", barrier.STOP_LOSS: "stop", barrier.TIMEOUT: "timeout"}
"""Exit reasons, by outcome."""


@dataclass(frozen=True, slots=True)
class Figures:
    """The figures of one evaluation, as defined by `vpcore.backtest.metrics.trial_figures`.

    Undefined figures are NaN, for instance without trades.
    """

    n_signals: int
    n_up: int
    n_down: int
    n_dropped: int
    n_placed: int
    fill_rate: float
    tp_rate: float
    sl_rate: float
    timeout_rate: float
    mean_pnl_ticks: float
    net_pnl_ticks: float
    events_per_hour: float
    median_time_to_outcome_ms: float
    tie_rate: float
    max_concurrent: int
    tp_rate_lo: float
    tp_rate_hi: float
    n_eff: float
    breakeven_rate: float
    driftless_rate: float
    net_pnl_sd: float
    net_pnl_skew: float
    net_pnl_kurtosis: float
    net_pnl_lo: float
    net_pnl_hi: float
    block_length: float
    p_random: float

    @property
    def n_trades(self) -> int:
        """Number of trades: accepted minus dropped signals."""
        return self.n_signals - self.n_dropped


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Trades and figures of one vector of values.

    Attributes
    ----------
    rules : TradeRules
    trial : Trial
        Threshold, cooldown and barriers.
    figures : Figures
    trades : polars.DataFrame
        One row per trade, in order of decision:

        - ``bin``, ``time``: `bin_seq` and end of the decision's bin. ``side``: +1 long, -1 short. ``value``: at `bin`.
        - ``entry_bin``, ``entry_time``, ``entry_price``, ``exit_bin``, ``exit_time``, ``exit_price``: times are ends of
          bins, prices are points.
        - ``reason``: take-profit, stop or timeout. ``bins_held``: from entry to exit. ``overlap``: number of other
          trades that are open at the entry; the largest plus 1 is ``max_concurrent``.
        - ``order_bin``, ``order_time``, ``fill_time``: of makers only. The order joins the queue at the end of
          `order_bin` and is filled at `fill_time`; `entry_bin` is the bin of the fill, `entry_time` its end.
        - ``mid_pnl_ticks``: mid to mid, before costs. ``pnl_ticks``: after the spread, before the fee; a whole number
          of half-ticks. ``net_pnl_ticks``: after spread and fee.
        - ``net_pnl_currency``: of one contract, in the instrument's currency; only if the dataset knows the multiplier.
    """

    rules: TradeRules
    trial: Trial
    figures: Figures
    trades: pl.DataFrame = field(repr=False)


def evaluate(
    dataset: Dataset | Session,
    values: npt.ArrayLike | SignalResult,
    rules: TradeRules,
    threshold: float,
    *,
    cooldown_bins: int = 30,
    mode: Mode | None = None,
    draws: int = 999,
    seed: int = 0,
) -> Evaluation:
    """Return the trades and figures of a vector of values, in memory.

    Parameters
    ----------
    dataset : Dataset or Session
        The market. A `vpcore.backtest.session.Session` keeps outcome tables for the next call.
    values : float[n_bins] or SignalResult
        The value at the end of each bin, positive for a rise, NaN where undefined.
    rules : TradeRules
        Barriers, hold, latency, price, fee and warm-up. Without `fee_ticks` or `daily_halt` those of the instrument in
        the dataset's manifest hold.
    threshold : float
        A long is signalled where the values cross the threshold upwards, a short where they cross the mirrored one.
    cooldown_bins : int
        Smallest distance of two accepted signals.
    mode : {"value", "probability", "confidence"}, optional
        How the threshold reads the values; by default the mode of the `SignalResult`, else ``"value"``.
    draws : int
        Rotations behind ``p_random`` and resamples behind ``net_pnl_lo`` and ``net_pnl_hi``; 0 leaves them NaN.
    seed : int
        Another seed gives other draws.

    Returns
    -------
    Evaluation

    Raises
    ------
    ConfigError
        Unless there is one number per bin, threshold, cooldown and draws are in range, and the fee is known.
    DatasetError
        If the dataset lacks a price column.

    Notes
    -----
    The same code computes the rows of ``vp run``: every figure is equal, bit for bit, for the same draws and seed.
    """
    if isinstance(values, SignalResult):
        mode, values = mode or values.prediction_mode, values.values
    if draws < 0:
        raise ConfigError("draws", required="at least 0", was=str(draws))
    session = dataset if isinstance(dataset, Session) else Session(dataset)
    vector = _vector(values, session.market.n_bins)
    rules = with_instrument(rules, _fee_of(session.dataset), _halt_of(session.dataset), session.dataset.dataset_id)
    trial = Trial(float(threshold) + 0.0, int(cooldown_bins), rules.tp_ticks, rules.sl_ticks)
    chosen = Draws(draws, draws, session.market_key(seed))
    return evaluate_trial(session, vector, trial, rules, mode=mode or "value", draws=chosen)


def evaluate_trial(
    session: Session, values: npt.NDArray[np.float64], trial: Trial, rules: TradeRules, *, mode: Mode, draws: Draws
) -> Evaluation:
    """Return the trades and figures of one trial on a session; parameters as in `evaluate`."""
    columns = trial_figures(session.market, values, [trial], rules, mode=mode, table_of=session.table, draws=draws)
    figures = Figures(**{item.name: columns[item.name][0].item() for item in fields(Figures)})
    signals = Signals(session.market, values, rules, mode).of(trial.threshold, trial.cooldown_bins)
    table = session.table(rules)
    kept = kept_signals(table, signals.bins, signals.sides, rules)
    trades = _trades(session, values, Detections(signals.bins[kept], signals.sides[kept]), table, rules)
    return Evaluation(rules, trial, figures, trades)


def with_instrument(
    rules: TradeRules, fee_ticks: float | None, daily_halt: DailyHalt | None, dataset_id: str
) -> TradeRules:
    """Return the rules with the fee and the daily halt of the instrument where they state none. No fee is silently 0.

    Raises
    ------
    ConfigError
        If the rules state no fee and the instrument has none.
    """
    found: dict[str, Any] = {"fee_ticks": fee_ticks, "daily_halt": daily_halt}
    missing = {name: value for name, value in found.items() if name not in rules.model_fields_set}
    if "fee_ticks" in missing and fee_ticks is None:
        raise ConfigError(
            f"TradeRules.fee_ticks is missing, and the instrument of dataset '{dataset_id}' has no fee_per_side",
            fix="Write TradeRules(..., fee_ticks=...): ticks per round trip; 0 is possible.",
        )
    return rules.model_copy(update=missing)


def _fee_of(dataset: Dataset) -> float | None:
    """Return the fee of a round trip in ticks, from the instrument in the manifest; None for an unknown fee."""
    fee, worth = _instrument(dataset).get("fee_per_side"), tick_value(dataset)
    return None if fee is None or worth is None else round_trip_ticks(fee, worth)


def _halt_of(dataset: Dataset) -> DailyHalt | None:
    """Return the daily halt of the instrument in the manifest."""
    halt, zone = (_instrument(dataset).get(name) for name in ("daily_halt", "timezone"))
    return None if halt is None or zone is None else (halt[0], halt[1], zone)


def _instrument(dataset: Dataset) -> dict[str, Any]:
    found: dict[str, Any] = dataset.manifest.get("pipeline", {}).get("instrument", {})
    return found


def tick_value(dataset: Dataset) -> float | None:
    """Return the value of one tick of one contract in the instrument's currency; None for an unknown multiplier."""
    multiplier = _instrument(dataset).get("multiplier")
    return None if multiplier is None else dataset.tick_int * float(multiplier) / PRICE_SCALE


def _vector(values: Any, n_bins: int) -> npt.NDArray[np.float64]:
    try:
        vector = np.ascontiguousarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        raise ConfigError("values", required="numbers, one per bin", was=type(values).__name__) from None
    if vector.shape != (n_bins,):
        raise ConfigError("values", required=f"one number per bin, {n_bins} in all", was=f"of shape {vector.shape}")
    return vector


def _trades(
    session: Session, values: npt.NDArray[np.float64], signals: Detections, table: OutcomeTable, rules: TradeRules
) -> pl.DataFrame:
    dataset, market = session.dataset, session.market
    which, order, row = table.entered(signals.bins, signals.sides, rules.latency_bins)
    entry = table.opened_at[row, order].astype(np.int64)
    decided, sides = signals.bins[which], signals.sides[which].astype(np.int64)
    left = table.exit_bin[row, order].astype(np.int64)
    net = table.net[row, order].astype(np.int64)
    buys_at_ask = (sides > 0) == (rules.entry == "taker")
    touch = np.where(buys_at_ask, market.ask[order], market.bid[order])
    paid = market.mid2[order] if rules.price == "mid" else touch * HALF_TICKS_PER_TICK  # half-ticks
    point = dataset.tick_int / PRICE_SCALE / HALF_TICKS_PER_TICK
    end_ns = dataset.bin("bin_end_ns")
    pnl = net_ticks(net, rules.fee_ticks)
    columns: dict[str, Any] = {
        "bin": market.bin_seq[decided],
        "time": end_ns[decided],
        "side": signals.sides[which],
        "value": values[decided],
        "entry_bin": market.bin_seq[entry],
        "entry_time": end_ns[entry],
        "entry_price": paid * point,
        "exit_bin": market.bin_seq[left],
        "exit_time": end_ns[left],
        "exit_price": (paid + sides * net) * point,
        "reason": pl.Series([REASONS[code] for code in table.outcome[row, order].tolist()], dtype=pl.String),
        "bins_held": left - entry,
        "overlap": _open_at_entry(entry, table.resolved_at[row, order], market.n_bins),
        "mid_pnl_ticks": table.gross[row, order] / HALF_TICKS_PER_TICK,
        "pnl_ticks": net / HALF_TICKS_PER_TICK,
        "net_pnl_ticks": pnl,
    }
    worth = tick_value(dataset)
    if worth is not None:
        columns["net_pnl_currency"] = pnl * worth
    times = ["time", "entry_time", "exit_time"]
    if session.fills is not None and rules.entry == "maker":
        columns |= {
            "order_bin": market.bin_seq[order],
            "order_time": end_ns[order],
            "fill_time": session.fills.time_ns[row, order],
        }
        times += ["order_time", "fill_time"]
    as_time = pl.col(times).cast(pl.Datetime("ns")).dt.replace_time_zone("UTC")
    return pl.DataFrame(columns).with_columns(as_time)


def _open_at_entry(
    entry: npt.NDArray[np.int64], resolved_at: npt.NDArray[np.int32], n_bins: int
) -> npt.NDArray[np.int64]:
    """Return the number of earlier trades that are open when each trade enters."""
    # As in `kernels.barrier.tally`: a trade of the last bin is open for an instant, so every end is after its entry.
    ends = np.sort(np.maximum(np.minimum(resolved_at, n_bins - 1), entry + 1))
    earlier = np.empty(len(entry), dtype=np.int64)
    earlier[np.argsort(entry, kind="stable")] = np.arange(len(entry))
    return earlier - np.searchsorted(ends, entry, side="right")
