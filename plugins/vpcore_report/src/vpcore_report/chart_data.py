"""The data behind every picture: small frozen objects, made by functions without any drawing."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

from vpcore.backtest.entries import Detections, Mode, band
from vpcore.backtest.evaluate import REASONS
from vpcore.experiment.trades import Leader, Sensitivity
from vpcore.units import NS_PER_MS, NS_PER_S, PRICE_SCALE

if TYPE_CHECKING:
    import polars as pl

    from vpcore.dataset import Dataset

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

OUTCOMES = ((1, "take-profit"), (-1, "stop"), (0, "timeout"))
"""Codes of outcomes with their names, in the order of drawing."""

_STRETCHES_S = (300, 600, 900, 1800, 3600)
_MOST_STRETCHES = 14
_HOLD_STEPS = 24


@dataclass(frozen=True, slots=True)
class Trades:
    """The trades of a row as arrays, in order of decision.

    Attributes
    ----------
    decided, entered, left : int64[n_trades]
        Bins of decision, entry and exit, from the first bin of the dataset.
    sides : int8[n_trades]
        +1 long, -1 short.
    outcome : int8[n_trades]
        +1 take-profit, -1 stop, 0 timeout.
    net : float64[n_trades]
        Net PnL, ticks.
    seconds : float64[n_trades]
        Holding time.
    paid : float64[n_trades], optional
        Price of entry, points.
    """

    decided: Ints
    entered: Ints
    left: Ints
    sides: npt.NDArray[np.int8]
    outcome: npt.NDArray[np.int8]
    net: Floats
    seconds: Floats
    paid: Floats | None = None

    def __len__(self) -> int:
        return int(self.net.shape[0])

    @classmethod
    def of(cls, leader: Leader) -> Trades:
        """Return the trades of a row, from the frame of `vpcore.backtest.evaluate.Evaluation`."""
        frame, market = leader.trades(), leader.session.market
        first = int(market.bin_seq[0]) if market.n_bins else 0
        codes = {name: code for code, name in REASONS.items()}
        return cls(
            decided=frame["bin"].to_numpy() - first,
            entered=frame["entry_bin"].to_numpy() - first,
            left=frame["exit_bin"].to_numpy() - first,
            sides=frame["side"].to_numpy(),
            outcome=np.array([codes[reason] for reason in frame["reason"].to_list()], dtype=np.int8),
            net=frame["net_pnl_ticks"].to_numpy(),
            seconds=frame["bins_held"].to_numpy() * (market.cell_width_ns / NS_PER_S),
            paid=frame["entry_price"].to_numpy(),
        )


@dataclass(frozen=True, slots=True)
class Intervals:
    """Net PnL per trade of rows in ticks, each with its 95 % interval; NaN bounds where there is none."""

    labels: tuple[str, ...]
    net: Floats
    lo: Floats
    hi: Floats


def intervals(rows: Sequence[Mapping[str, Any]]) -> Intervals:
    """Return net PnL and interval of rows of the ranking, in their order."""

    def column(name: str) -> Floats:
        return np.array([math.nan if row[name] is None else row[name] for row in rows], np.float64)

    labels = tuple(f"{row['signal_name']}  {row['row']}" for row in rows)
    return Intervals(labels, column("net_pnl_ticks"), column("net_pnl_lo"), column("net_pnl_hi"))


@dataclass(frozen=True, slots=True)
class Pivot:
    """Median of a figure for every pair of values of two settings.

    Attributes
    ----------
    down, across, figure : str
        Names of the settings and of the figure.
    values_down, values_across : tuple of str
        Values of the settings as an axis shows them.
    median : float64[n_down, n_across]
        NaN where no row has the pair.
    """

    down: str
    across: str
    figure: str
    values_down: tuple[str, ...]
    values_across: tuple[str, ...]
    median: Floats


def pivot(rows: pl.DataFrame, down: str, across: str, sort: str) -> Pivot:
    """Return the table of two settings of ranked rows; see `vpcore_cli.grouping.pivoted`."""
    from vpcore_cli.grouping import figure_of, pivoted

    over, lines = pivoted(rows, down, across, sort)
    median = [[math.nan if line[name] is None else line[name] for name in over] for line in lines]
    shown = tuple(f"{v:g}" if isinstance(v, (int, float)) else str(v) for v in (line[down] for line in lines))
    return Pivot(down, across, figure_of(sort), shown, tuple(over), np.array(median, np.float64))


@dataclass(frozen=True, slots=True)
class Equity:
    """Cumulative net PnL in ticks after every exit, and its running maximum, at least 0.

    `begins` has the place of the first trade of every session.
    """

    times: tuple[datetime, ...]
    total: Floats
    peak: Floats
    begins: tuple[int, ...] = (0,)


def equity(*sessions: tuple[Trades, Sequence[datetime]]) -> Equity:
    """Return the equity curve of the trades of one or several sessions, in order of time.

    Parameters
    ----------
    *sessions : pair of Trades and sequence of datetime
        The trades of a session, and the ends of all its bins.
    """
    times: list[datetime] = []
    net, begins = [], []
    for trades, ends in sessions:
        order = np.argsort(trades.left, kind="stable")
        begins.append(len(times))
        times += [ends[i] for i in trades.left[order]]
        net.append(trades.net[order])
    total = np.cumsum(np.concatenate(net))
    return Equity(tuple(times), total, np.maximum.accumulate(np.maximum(total, 0.0)), tuple(begins))


@dataclass(frozen=True, slots=True)
class Distributions:
    """Histograms of net PnL (ticks) and holding time (seconds), one row of counts per entry of `OUTCOMES`.

    Attributes
    ----------
    pnl_edges : float64[n_pnl + 1]
    pnl_counts : int64[3, n_pnl]
    pnl_mean : float
    hold_edges : float64[n_hold + 1]
    hold_counts : int64[3, n_hold]
    hold_median : float
    """

    pnl_edges: Floats
    pnl_counts: Ints
    pnl_mean: float
    hold_edges: Floats
    hold_counts: Ints
    hold_median: float


def distributions(trades: Trades) -> Distributions:
    """Return the histograms of at least one trade."""
    step = 0.5 if np.ptp(trades.net) <= 20 else 1.0
    low, high = np.floor(trades.net.min() / step) * step, np.ceil(trades.net.max() / step) * step
    pnl_edges = np.arange(low - step / 2, high + step, step)
    hold_edges = np.linspace(0.0, max(float(trades.seconds.max()), 1e-3), _HOLD_STEPS + 1)

    def counts(values: Floats, edges: Floats) -> Ints:
        parts = [np.histogram(values[trades.outcome == code], edges)[0] for code, _ in OUTCOMES]
        return np.array(parts, np.int64)

    return Distributions(
        pnl_edges,
        counts(trades.net, pnl_edges),
        float(trades.net.mean()),
        hold_edges,
        counts(trades.seconds, hold_edges),
        float(np.median(trades.seconds)),
    )


@dataclass(frozen=True, slots=True)
class Stretches:
    """Net PnL per trade by time of entry.

    Attributes
    ----------
    labels : tuple of str
        Start of each stretch of the session.
    mean : float64[n]
        Ticks; NaN without a trade.
    error : float64[n]
        Standard error of the mean; NaN with fewer than two trades.
    count : int64[n]
        Number of trades.
    """

    labels: tuple[str, ...]
    mean: Floats
    error: Floats
    count: Ints


def stretches(trades: Trades, times: Sequence[datetime]) -> Stretches:
    """Return the outcomes of trades by time of entry, in stretches of 5 to 60 minutes from the first of `times`."""
    start, length = times[0], (times[-1] - times[0]).total_seconds()
    width = next((s for s in _STRETCHES_S if length / s <= _MOST_STRETCHES), _STRETCHES_S[-1])
    n = int(length // width) + 1
    of = np.array([int((times[i] - start).total_seconds() // width) for i in trades.entered], np.int64)
    labels = tuple(
        datetime.fromtimestamp(start.timestamp() + i * width, start.tzinfo).strftime("%H:%M") for i in range(n)
    )
    count = np.bincount(of, minlength=n)
    mean, error = np.full(n, np.nan), np.full(n, np.nan)
    for i in np.flatnonzero(count):
        net = trades.net[of == i]
        mean[i] = net.mean()
        if count[i] > 1:
            error[i] = net.std(ddof=1) / math.sqrt(count[i])
    return Stretches(labels, mean, error, count)


@dataclass(frozen=True, slots=True)
class Costs:
    """Net PnL per trade in ticks over delays and fees, with its 95 % interval.

    Attributes
    ----------
    latency_bins : tuple of int
    latency_labels, fee_labels : tuple of str
        As a picture or a table shows them.
    n_trades : tuple of int
        By delay.
    net, lo, hi : float64[n_fees, n_latencies]
    own : (int, int)
        Places of the evaluated fee and delay.
    """

    latency_bins: tuple[int, ...]
    latency_labels: tuple[str, ...]
    fee_labels: tuple[str, ...]
    n_trades: tuple[int, ...]
    net: Floats
    lo: Floats
    hi: Floats
    own: tuple[int, int]


def costs(found: Sequence[Sensitivity], latency_bins: int, fee_ticks: float, cell_width_ns: int) -> Costs:
    """Return the table of a row's sensitivity; `latency_bins` and `fee_ticks` are as evaluated."""
    by_key = {(item.fee_ticks, item.latency_bins): item for item in found}
    fees = sorted({item.fee_ticks for item in found})
    latencies = sorted({item.latency_bins for item in found})

    def grid(name: str) -> Floats:
        return np.array([[getattr(by_key[fee, latency], name) for latency in latencies] for fee in fees], np.float64)

    return Costs(
        tuple(latencies),
        tuple(f"{latency} ({latency * cell_width_ns / NS_PER_MS:g} ms)" for latency in latencies),
        tuple(_fee_label(fee, fee_ticks) for fee in fees),
        tuple(by_key[fees[0], latency].n_trades for latency in latencies),
        grid("net"),
        grid("lo"),
        grid("hi"),
        (fees.index(fee_ticks), latencies.index(latency_bins)),
    )


def _fee_label(fee: float, own: float) -> str:
    return f"fee {fee:g} as evaluated" if fee == own else f"fee {fee:g}"


@dataclass(frozen=True, slots=True)
class Calibration:
    """Predicted probability of an up move and its observed share, by tenths of the prediction."""

    predicted: Floats
    observed: Floats
    count: Ints

    @property
    def ups(self) -> int:
        """Number of predictions whose label is up."""
        return int(np.rint(self.observed * self.count).sum())


def calibration(look: Mapping[str, Any]) -> Calibration | None:
    """Return the calibration of a learning signal's diagnostics, None where they hold none."""
    steps = look.get("calibration") or ()
    if not steps:
        return None
    predicted, observed = (np.array([step[name] for step in steps], np.float64) for name in ("mean", "up"))
    return Calibration(predicted, observed, np.array([step["n"] for step in steps], np.int64))


@dataclass(frozen=True, slots=True)
class MarketWindow:
    """A part of a session: net flow around the mid, the mid with entries and exits, and the signal.

    Attributes
    ----------
    first : datetime
        End of the first bin.
    minutes : float64[n]
        Time of each bin after `first`.
    net_flow : float64[n, n_cells]
        Pressure less vacuum, contracts per second; NaN in invalid bins.
    limit : float
        Magnitude at which the colours end: the 99.5th percentile, above 0.
    mid : float64[n]
        NaN in invalid bins.
    values : float64[n]
        The signal.
    long_level, short_level : float
        Values at which the signal goes long and short.
    decisions, decision_sides : int64[n_decisions], int8[n_decisions]
        Bins of the window and sides.
    entries, exits : int64[n_trades]
        Bins of the window; an exit may lie behind its end.
    sides, outcomes : int8[n_trades]
        See `Trades`.
    tick : float
        Tick size, points.
    barriers : tuple of (int, float, float)
        Place of a trade, price of its take-profit and of its stop; of a crowd of trades none.
    """

    first: datetime
    minutes: Floats
    net_flow: Floats
    limit: float
    mid: Floats
    values: Floats
    long_level: float
    short_level: float
    decisions: Ints
    decision_sides: npt.NDArray[np.int8]
    entries: Ints
    exits: Ints
    sides: npt.NDArray[np.int8]
    outcomes: npt.NDArray[np.int8]
    tick: float = 0.25
    barriers: tuple[tuple[int, float, float], ...] = ()


MOST_BARRIERS = 12
"""Trades of a window up to which a picture shows the barriers of each."""

_BEYOND_TICKS = 25
"""Cells that a picture by price shows beyond the lowest and the highest mid."""


def by_price(window: MarketWindow) -> tuple[Floats, Floats]:
    """Return the net flow of a window by price, float64[n, n_prices], and the prices, points. NaN outside the grid."""
    twice = np.rint(2 * window.mid / window.tick)
    known = np.isfinite(twice)
    radius = window.net_flow.shape[1] // 2
    if not known.any():
        return np.full((len(twice), 1), np.nan), np.zeros(1)
    reach = min(radius, _BEYOND_TICKS)
    low, high = int(twice[known].min() // 2) - reach, int(-(-twice[known].max() // 2)) + reach
    found = np.full((len(twice), high - low + 1), np.nan)
    k = np.arange(-radius, radius + 1)
    mid2 = np.where(known, twice, 0).astype(np.int64)
    odd = (mid2 % 2)[:, None]
    # Cell k lies at sign(k) (2 |k| - odd) half-ticks from the mid; at an odd spread cell 0 is no price.
    place = (mid2[:, None] + 2 * k - odd * np.sign(k)) // 2 - low
    inside = known[:, None] & ((odd == 0) | (k != 0)) & (place >= 0) & (place < found.shape[1])
    rows, cells = np.nonzero(inside)
    found[rows, place[rows, cells]] = window.net_flow[rows, cells]
    return found, (low + np.arange(found.shape[1])) * window.tick


@dataclass(frozen=True, slots=True)
class SignalOnMarket:
    """A row's signal over its whole dataset: values, decisions, trades, and what a threshold means."""

    dataset: Dataset
    values: Floats
    detections: Detections
    trades: Trades
    threshold: float
    mode: Mode = "value"
    distances: tuple[int, int] | None = None
    """Take-profit and stop, ticks."""


def busiest_window(detections: Detections, n_bins: int, width: int) -> tuple[int, int]:
    """Return the bins ``[start, stop)`` of the window of `width` bins with the most entries, the first of equals."""
    width = min(width, n_bins)
    if not len(detections):
        return 0, width
    starts = np.clip(detections.bins - width // 20, 0, n_bins - width)
    ends = np.searchsorted(detections.bins, starts + width)
    count = ends - np.searchsorted(detections.bins, starts)
    start = int(starts[int(np.argmax(count))])
    return start, start + width


def market_window(
    signal: SignalOnMarket, start: int, stop: int, zone: str = "UTC", trade: int | None = None
) -> MarketWindow:
    """Return bins ``[start, stop)`` of a session.

    Parameters
    ----------
    signal : SignalOnMarket
        Its dataset has the columns ``pressure`` and ``vacuum``.
    start, stop : int
        At least one bin of the dataset.
    zone : str
        IANA time zone of `MarketWindow.first`.
    trade : int, optional
        Place of the trade whose barriers are shown; by default those of all trades, up to `MOST_BARRIERS`.
    """
    data, part = signal.dataset, slice(start, stop)
    net = data.grid("pressure")[part].astype(np.float64) - data.grid("vacuum")[part]
    valid = data.valid[part]
    net[~valid] = np.nan
    ends = data.bin("bin_end_ns")[part]
    limit = float(np.nanpercentile(np.abs(net), 99.5)) if valid.any() else 1.0
    decided = (signal.detections.bins >= start) & (signal.detections.bins < stop)
    entered = (signal.trades.entered >= start) & (signal.trades.entered < stop)
    long_level, short_level = band(signal.threshold, signal.mode)
    return MarketWindow(
        first=datetime.fromtimestamp(int(ends[0]) / NS_PER_S, ZoneInfo(zone)),
        minutes=(ends - ends[0]) / (60 * NS_PER_S),
        net_flow=net,
        limit=max(limit, 1e-6),
        mid=np.where(valid, data.bin("mid_price")[part], np.nan),
        values=signal.values[part],
        long_level=long_level,
        short_level=short_level,
        decisions=signal.detections.bins[decided] - start,
        decision_sides=signal.detections.sides[decided],
        entries=signal.trades.entered[entered] - start,
        exits=signal.trades.left[entered] - start,
        sides=signal.trades.sides[entered],
        outcomes=signal.trades.outcome[entered],
        tick=data.tick_int / PRICE_SCALE,
        barriers=_barriers(signal, np.flatnonzero(entered), trade),
    )


def _barriers(signal: SignalOnMarket, entered: Ints, trade: int | None) -> tuple[tuple[int, float, float], ...]:
    shown = [i for i, at in enumerate(entered) if trade is None or at == trade]
    paid = signal.trades.paid
    if signal.distances is None or paid is None or len(shown) > MOST_BARRIERS:
        return ()
    tp, sl = (distance * signal.dataset.tick_int / PRICE_SCALE for distance in signal.distances)
    sides = signal.trades.sides[entered]
    return tuple((i, float(paid[entered[i]] + sides[i] * tp), float(paid[entered[i]] - sides[i] * sl)) for i in shown)


def signed_ticks(limit: float) -> list[float]:
    """Return ticks of a colour bar from ``-limit`` to ``limit``: 0 and two decades on each side."""
    top = 10.0 ** math.floor(math.log10(limit))
    return [-top, -top / 10, 0.0, top / 10, top]


def equity_of(sessions: Sequence[Leader]) -> Equity:
    """Return the equity curve of a row on its sessions, in order of time."""
    zone = ZoneInfo(zone_of(sessions[-1].dataset.manifest))
    return equity(*((Trades.of(each), ends_of(each, zone)) for each in sessions))


class Ends(Sequence[datetime]):
    """The ends of bins as local times, each made when it is asked for."""

    def __init__(self, ends_ns: Ints, zone: ZoneInfo) -> None:
        self._ends_ns, self._zone = ends_ns, zone

    def __len__(self) -> int:
        return len(self._ends_ns)

    def __getitem__(self, at: Any) -> Any:
        return datetime.fromtimestamp(int(self._ends_ns[at]) / NS_PER_S, self._zone)


def ends_of(leader: Leader, zone: ZoneInfo) -> Ends:
    """Return the ends of all bins of a row's dataset."""
    return Ends(leader.dataset.bin("bin_end_ns"), zone)


def on_market(leader: Leader) -> SignalOnMarket:
    """Return a row's signal over its dataset, for pictures."""
    return SignalOnMarket(
        leader.dataset,
        leader.values,
        leader.detections(),
        Trades.of(leader),
        leader.row["threshold"],
        leader.mode,
        (leader.row["tp_ticks"], leader.row["sl_ticks"]),
    )


def zone_of(manifest: Mapping[str, Any]) -> str:
    """Return the time zone of a dataset's instrument."""
    return str(manifest.get("pipeline", {}).get("instrument", {}).get("timezone") or "UTC")
