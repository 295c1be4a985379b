"""Figures of a list of trades that its mean does not show: ratios, drawdown, exposure, profit factor."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl


class OpenBins(NamedTuple):
    """Bins in which a position can be held.

    Attributes
    ----------
    first : int
        `bin_seq` of the first bin of the mask.
    mask : bool[n_bins]
        True for open bins after the warm-up.
    """

    first: int
    mask: npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Performance:
    """Figures of some trades, after spread and fee. Undefined figures are NaN.

    Attributes
    ----------
    trades : int
        Number of trades.
    net_ticks, net_currency : float
        Sum of the net PnL. Currency: of one contract, None for an unknown multiplier; here and below.
    mean_ticks, mean_currency : float
        Net PnL per trade.
    win_rate : float
        Share of trades with a net PnL above 0.
    sharpe : float
        Mean net PnL per trade over its standard deviation (n - 1). Per trade and not annualized: overlapping trades
        are not independent, so no power of time scales it.
    sortino : float
        Mean over the root mean square of the losses, where a gain counts as 0 (target 0).
    profit_factor : float
        Sum of the gains over the sum of the losses; infinite without a loss.
    max_drawdown_ticks, max_drawdown_currency : float
        Largest fall of the cumulative net PnL from an earlier maximum or from 0, at the exits in order of time.
    exposure : float
        Share of the open bins after the warm-up with an open position.
    sharpe_sessions : float
        Mean net PnL per session over its standard deviation (n - 1); NaN for fewer than two sessions.

    Notes
    -----
    Sources: Sharpe (1994); Sortino and Price (1994).
    """

    trades: int
    net_ticks: float
    net_currency: float | None
    mean_ticks: float
    mean_currency: float | None
    win_rate: float
    sharpe: float
    sortino: float
    profit_factor: float
    max_drawdown_ticks: float
    max_drawdown_currency: float | None
    exposure: float
    sharpe_sessions: float = math.nan


def performance(trades: pl.DataFrame, bins: OpenBins | None = None) -> Performance:
    """Return the figures of the trades of one session.

    Parameters
    ----------
    trades : DataFrame
        As `vpcore.evaluate` and `vpcore.trades` return them.
    bins : OpenBins, optional
        The open bins; without them, the exposure is NaN.
    """
    return _performance(trades, _exposure([(trades, bins)] if bins is not None else []))


def table(sessions: Sequence[tuple[str, pl.DataFrame, OpenBins]]) -> pl.DataFrame:
    """Return a line per session and, of several sessions, a line for ``all``.

    Parameters
    ----------
    sessions : sequence of (name, trades, open bins)
        In order of time; sessions do not overlap.
    """
    lines = [{"session": name, **asdict(performance(trades, bins))} for name, trades, bins in sessions]
    if len(sessions) > 1:
        whole = pl.concat([trades for _, trades, _ in sessions], how="diagonal_relaxed")
        found = asdict(_performance(whole, _exposure([(trades, bins) for _, trades, bins in sessions])))
        sums = np.array([line["net_ticks"] for line in lines])
        lines.append({"session": "all", **found, "sharpe_sessions": _ratio(sums)})
    return pl.DataFrame(lines, infer_schema_length=None)


def _performance(trades: pl.DataFrame, exposure: float) -> Performance:
    net = trades["net_pnl_ticks"].to_numpy()
    n = len(net)
    worth = trades["net_pnl_currency"].to_numpy() if "net_pnl_currency" in trades.columns else None
    order = np.lexsort((np.arange(n), trades["exit_time"].to_physical().to_numpy()))
    gains, losses = net[net > 0.0].sum(), -net[net < 0.0].sum()
    downside = math.sqrt(float(np.mean(np.minimum(net, 0.0) ** 2))) if n else 0.0
    return Performance(
        trades=n,
        net_ticks=float(net.sum()),
        net_currency=None if worth is None else float(worth.sum()),
        mean_ticks=float(net.mean()) if n else math.nan,
        mean_currency=None if worth is None else float(worth.mean()) if n else math.nan,
        win_rate=float(np.mean(net > 0.0)) if n else math.nan,
        sharpe=_ratio(net),
        sortino=float(net.mean()) / downside if downside > 0.0 else math.nan,
        profit_factor=float(gains / losses) if losses > 0.0 else math.inf if gains > 0.0 else math.nan,
        max_drawdown_ticks=_drawdown(net[order]),
        max_drawdown_currency=None if worth is None else _drawdown(worth[order]),
        exposure=exposure,
    )


def _ratio(values: npt.NDArray[np.float64]) -> float:
    spread = float(values.std(ddof=1)) if len(values) > 1 else 0.0
    return float(values.mean()) / spread if spread > 0.0 else math.nan


def _drawdown(net: npt.NDArray[np.float64]) -> float:
    total = np.concatenate([[0.0], np.cumsum(net)])
    return float((np.maximum.accumulate(total) - total).max())


def _exposure(sessions: Sequence[tuple[pl.DataFrame, OpenBins]]) -> float:
    """Return the share of the open bins after an entry, up to the exit, of at least one trade."""
    held = total = 0
    for trades, (first, mask) in sessions:
        change = np.zeros(len(mask) + 1, dtype=np.int64)
        np.add.at(change, trades["entry_bin"].to_numpy() - first + 1, 1)
        np.add.at(change, trades["exit_bin"].to_numpy() - first + 1, -1)
        held += int(np.count_nonzero((np.cumsum(change)[:-1] > 0) & mask))
        total += int(np.count_nonzero(mask))
    return held / total if total else math.nan
