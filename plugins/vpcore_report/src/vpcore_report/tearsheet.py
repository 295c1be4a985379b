"""Tear sheet of a signal: what its values say about later returns, before any barrier or threshold.

Every function takes plain arrays. Bins count where the market is open, after the warm-up, and the value is a number.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt
import polars as pl

from vpcore import ConfigError, Dataset, SignalResult
from vpcore.backtest.open_market import open_bins
from vpcore.units import HALF_TICKS_PER_TICK, NS_PER_MS, NS_PER_S

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

HORIZONS_MS = (100, 500, 1_000, 2_000, 5_000, 10_000, 30_000, 60_000, 120_000)
"""Default horizons of returns."""

HORIZON_MS = 10_000
"""Default horizon of the figures that have one: hit rate, decay, time of day."""

SHARES = (0.0, 0.5, 0.75, 0.9, 0.95, 0.99)
"""Thresholds of the hit rate, as quantiles of the magnitude."""

BLOCK_MS = 60_000
FEWEST_BLOCKS = 10
"""Below this number of blocks there is no band."""

MOST_HORIZONS = 64
MOST_DRAWS = 100_000
_STRETCHES_S = (300, 600, 900, 1800, 3600)
_MOST_STRETCHES = 14
_FEWEST_IN_STRETCH = 100


@dataclass(frozen=True, slots=True)
class TearSheet:
    """Figures of a signal's values against later returns of the mid, in ticks.

    A frame has one row per point of its figure. ``lo`` and ``hi`` are 95 % bands of a bootstrap of blocks; NaN where
    fewer than `FEWEST_BLOCKS` blocks have a bin. Undefined figures are NaN.

    Attributes
    ----------
    name, dataset_id : str
    n_bins : int
        Bins with a value, in the open market after the warm-up.
    horizon_bins : int
        Horizon of `hits`, `decay` and `day`.
    cell_width_ns : int
    ic : DataFrame
        ``horizon_bins``, ``horizon_ms``, ``ic`` (Spearman), ``lo``, ``hi``, ``n``.
    decay : DataFrame
        ``lag_bins``, ``lag_ms``, ``ic``: of the value with the return of the horizon that begins `lag_bins` later.
    quantiles : DataFrame
        ``horizon_bins``, ``quantile`` (1 has the lowest values), ``mean_ticks``, ``lo``, ``hi``, ``n``.
    hits : DataFrame
        ``share`` (quantile of the magnitude), ``threshold``, ``hit_rate`` (of the returns that are not 0), ``lo``,
        ``hi``, ``mean_ticks`` (in the direction of the value), ``n``.
    turnover : DataFrame
        ``lag_bins``, ``lag_ms``, ``top``, ``bottom`` (share of the quantile that was not in it `lag_bins` earlier),
        ``autocorrelation`` (Spearman).
    day : DataFrame
        ``start`` (local), ``ic``, ``n``; ranks are within the stretch.
    correlations : DataFrame
        ``signal``, ``correlation`` (Spearman), ``n``.
    """

    name: str
    dataset_id: str
    n_bins: int
    horizon_bins: int
    cell_width_ns: int
    ic: pl.DataFrame = field(repr=False)
    decay: pl.DataFrame = field(repr=False)
    quantiles: pl.DataFrame = field(repr=False)
    hits: pl.DataFrame = field(repr=False)
    turnover: pl.DataFrame = field(repr=False)
    day: pl.DataFrame = field(repr=False)
    correlations: pl.DataFrame = field(repr=False)

    def write(self, path: str | Path) -> Path:
        """Write the tear sheet as one HTML page and return its path.

        Raises
        ------
        ConfigError
            If the folder is missing.
        StorageError
            If the file cannot be written.
        """
        from vpcore_report.tearsheet_page import write_page

        return write_page(self, Path(path))


def _require_range(name: str, value: int, low: int, high: int) -> None:
    if not low <= value <= high:
        raise ConfigError(name, required=f"from {low:,} to {high:,}", was=str(value))


@dataclass(frozen=True, slots=True)
class Settings:
    """Settings of a tear sheet.

    Parameters
    ----------
    horizons_ms : sequence of int
        Horizons of the returns; each is rounded to whole bins, at least 1. Horizons longer than half of the dataset are
        left out.
    horizon_ms : int
        Horizon of hit rate, decay and time of day.
    quantiles : int
        Number of quantiles of the value, 2 to 20.
    warmup_bins : int
        First bins, which are left out.
    stale_after_ms : int
        Time without an event after which the market counts as closed.
    draws : int
        Resamples behind the bands, 0 (no band) or 99 to 100,000.
    seed : int
        Another seed gives other draws.

    Raises
    ------
    ConfigError
        If a setting is out of range.
    """

    horizons_ms: Sequence[int] = HORIZONS_MS
    horizon_ms: int = HORIZON_MS
    quantiles: int = 5
    warmup_bins: int = 300
    stale_after_ms: int = 60_000
    draws: int = 999
    seed: int = 0

    def __post_init__(self) -> None:
        _require_range("quantiles", self.quantiles, 2, 20)
        _require_range("warmup_bins", self.warmup_bins, 0, 100_000_000)
        _require_range("number of horizons", len(self.horizons_ms), 1, MOST_HORIZONS)
        if self.draws != 0:
            _require_range("draws", self.draws, 99, MOST_DRAWS)
        for ms in (*self.horizons_ms, self.horizon_ms):
            _require_range("a horizon in ms", ms, 1, 86_400_000)


DEFAULTS = Settings()


def tearsheet(
    dataset: Dataset,
    values: npt.ArrayLike | SignalResult,
    settings: Settings = DEFAULTS,
    *,
    name: str = "values",
    others: Mapping[str, npt.ArrayLike] | None = None,
) -> TearSheet:
    """Return the tear sheet of any vector of values, before barriers and thresholds.

    Parameters
    ----------
    dataset : Dataset
        The market.
    values : float64[n_bins] or SignalResult
        The value at the end of each bin, positive for a rise, NaN where undefined. Probabilities of a `SignalResult`
        count as their distance from 0.5.
    settings : Settings
        Horizons, quantiles, bins that count, bands.
    name : str
        Name for the page.
    others : mapping of str to float64[n_bins], optional
        Values of other signals, to correlate with.

    Raises
    ------
    ConfigError
        If the values are not one number per bin, or fewer than 3 bins have a value.

    Notes
    -----
    The return of bin i over h bins is ``mid[i + h] - mid[i]``; both bins are open. Bands resample blocks of
    ``max(2 h, 60 s)`` with replacement (Carlstein 1986), ranks and quantiles as in the whole. Cost: a second per
    million bins and horizon.
    """
    if isinstance(values, SignalResult):
        centre = 0.5 if values.prediction_mode == "probability" else 0.0
        values = np.asarray(values.values, dtype=np.float64) - centre
    n = dataset.n_bins
    vector = _vector("values", values, n)
    width = dataset.cell_width_ns
    valid, counts = dataset.valid, dataset.bin("bin_event_count")
    opened = open_bins(valid, counts, width, settings.stale_after_ms)
    known = opened & np.isfinite(vector) & (np.arange(n) >= settings.warmup_bins)
    if np.count_nonzero(known) < 3:
        raise ConfigError(
            "values", required="a number in at least 3 open bins after the warm-up", was=f"{np.count_nonzero(known)}"
        )
    bid, ask = (dataset.bin(f"best_{side}_price_int").astype(np.int64) for side in ("bid", "ask"))
    mid = np.where(valid, bid + ask, 0) / (HALF_TICKS_PER_TICK * dataset.tick_int)
    market = _Market(mid, opened, width, settings.draws, settings.seed)
    bins = _in_bins(settings.horizons_ms, width, n)
    base = _in_bins((settings.horizon_ms,), width, n)[0]
    return TearSheet(
        name=name,
        dataset_id=dataset.dataset_id,
        n_bins=int(np.count_nonzero(known)),
        horizon_bins=base,
        cell_width_ns=width,
        ic=_ic(market, vector, known, bins),
        decay=_decay(market, vector, known, base, bins),
        quantiles=_quantiles(market, vector, known, bins, settings.quantiles),
        hits=_hits(market, vector, known, base),
        turnover=_turnover(vector, known, bins, width, settings.quantiles),
        day=_day(market, vector, known, base, dataset),
        correlations=_correlations(
            vector, known, {key: _vector(key, value, n) for key, value in (others or {}).items()}
        ),
    )


@dataclass(frozen=True, slots=True)
class _Market:
    """Mid in ticks, open bins, width of a bin, and the draws of the bands."""

    mid: Floats
    opened: Mask
    width: int
    draws: int
    seed: int

    def later(self, known: Mask, horizon: int, lag: int = 0) -> tuple[Ints, Floats]:
        """Return the bins with a return over `horizon` bins that begins `lag` bins later, and the returns, ticks."""
        n = len(self.mid)
        at = np.flatnonzero(known[: max(n - horizon - lag, 0)])
        at = at[self.opened[at + lag] & self.opened[at + lag + horizon]]
        return at, self.mid[at + lag + horizon] - self.mid[at + lag]

    def block_of(self, at: Ints, horizon: int) -> Ints:
        """Return the block of each bin, counted from 0 over the blocks that have a bin."""
        length = max(2 * horizon, BLOCK_MS * NS_PER_MS // self.width, 1)
        found: Ints = np.unique(at // length, return_inverse=True)[1]
        return found

    def weights(self, n_blocks: int) -> Floats | None:
        """Return the number of times that each draw takes each block, [n_draws, n_blocks]; None for no band."""
        if n_blocks < FEWEST_BLOCKS or not self.draws:
            return None
        rng = np.random.default_rng(self.seed)
        return rng.multinomial(n_blocks, np.full(n_blocks, 1.0 / n_blocks), self.draws).astype(np.float64)


# -- figures -----------------------------------------------------------------------------------------------------------


def ranks(values: Floats) -> Floats:
    """Return the ranks of numbers from 1 on, the mean rank for equal numbers."""
    return pl.Series(values).rank("average").to_numpy().astype(np.float64)


def correlation(x: Floats, y: Floats) -> float:
    """Return the Pearson correlation; NaN for fewer than 3 pairs or a constant."""
    if len(x) < 3:
        return math.nan
    dx, dy = x - x.mean(), y - y.mean()
    scale = math.sqrt(float(dx @ dx) * float(dy @ dy))
    return float(dx @ dy) / scale if scale > 0.0 else math.nan


def quantile_of(values: Floats, quantiles: int) -> Ints:
    """Return the quantile of each value, 1 for the lowest. A bound belongs to the lower quantile; equal bounds leave
    quantiles empty.
    """
    if not len(values):
        return np.empty(0, dtype=np.int64)
    bounds = np.quantile(values, np.linspace(0, 1, quantiles + 1)[1:-1])
    return 1 + np.searchsorted(bounds, values, side="left").astype(np.int64)


def _ic(market: _Market, values: Floats, known: Mask, horizons: Sequence[int]) -> pl.DataFrame:
    lines = []
    for horizon in horizons:
        at, later = market.later(known, horizon)
        x, y = ranks(values[at]), ranks(later)
        lo, hi = _correlation_band(market, x, y, market.block_of(at, horizon))
        lines.append((horizon, _ms(horizon, market.width), correlation(x, y), lo, hi, len(at)))
    names = {"horizon_bins": pl.Int64, "horizon_ms": pl.Float64, "ic": pl.Float64, "lo": pl.Float64, "hi": pl.Float64}
    return pl.DataFrame(lines, schema={**names, "n": pl.Int64}, orient="row")


def _correlation_band(market: _Market, x: Floats, y: Floats, block: Ints) -> tuple[float, float]:
    n_blocks = int(block[-1]) + 1 if len(block) else 0
    weights = market.weights(n_blocks)
    if weights is None or len(x) < 3:
        return math.nan, math.nan
    dx, dy = x - x.mean(), y - y.mean()
    n, sx, sy, sxx, syy, sxy = (
        weights @ np.bincount(block, part, n_blocks) for part in (np.ones(len(x)), dx, dy, dx * dx, dy * dy, dx * dy)
    )
    with np.errstate(divide="ignore", invalid="ignore"):
        drawn = (sxy - sx * sy / n) / np.sqrt((sxx - sx * sx / n) * (syy - sy * sy / n))
    return _band(drawn)


def _decay(market: _Market, values: Floats, known: Mask, horizon: int, lags: Sequence[int]) -> pl.DataFrame:
    lines = []
    for lag in (0, *lags):
        at, later = market.later(known, horizon, lag)
        lines.append((lag, _ms(lag, market.width), correlation(ranks(values[at]), ranks(later))))
    return pl.DataFrame(lines, schema={"lag_bins": pl.Int64, "lag_ms": pl.Float64, "ic": pl.Float64}, orient="row")


def _quantiles(market: _Market, values: Floats, known: Mask, horizons: Sequence[int], quantiles: int) -> pl.DataFrame:
    lines = []
    for horizon in horizons:
        at, later = market.later(known, horizon)
        block, buckets = market.block_of(at, horizon), quantile_of(values[at], quantiles)
        for bucket in range(1, quantiles + 1):
            inside = buckets == bucket
            mean, lo, hi = _mean_band(market, later[inside], block[inside], int(block[-1]) + 1 if len(block) else 0)
            lines.append((horizon, bucket, mean, lo, hi, int(np.count_nonzero(inside))))
    names = {"horizon_bins": pl.Int64, "quantile": pl.Int64, "mean_ticks": pl.Float64, "lo": pl.Float64}
    return pl.DataFrame(lines, schema={**names, "hi": pl.Float64, "n": pl.Int64}, orient="row")


def _mean_band(market: _Market, values: Floats, block: Ints, n_blocks: int) -> tuple[float, float, float]:
    """Return a mean and its band."""
    if not len(values):
        return math.nan, math.nan, math.nan
    mean = float(values.mean())
    weights = market.weights(n_blocks)
    if weights is None or len(np.unique(block)) < FEWEST_BLOCKS:
        return mean, math.nan, math.nan
    with np.errstate(divide="ignore", invalid="ignore"):
        drawn = (weights @ np.bincount(block, values, n_blocks)) / (weights @ np.bincount(block, None, n_blocks))
    return mean, *_band(drawn)


def _hits(market: _Market, values: Floats, known: Mask, horizon: int) -> pl.DataFrame:
    at, later = market.later(known, horizon)
    block = market.block_of(at, horizon)
    n_blocks = int(block[-1]) + 1 if len(block) else 0
    size = np.abs(values[at])
    lines = []
    for share in SHARES:
        threshold = float(np.quantile(size, share)) if len(size) else math.nan
        beyond = (size >= threshold) & (size > 0.0)
        paid = np.sign(values[at]) * later
        moved = beyond & (later != 0.0)
        rate, lo, hi = _mean_band(market, (paid[moved] > 0.0).astype(np.float64), block[moved], n_blocks)
        mean = float(paid[beyond].mean()) if beyond.any() else math.nan
        lines.append((share, threshold, rate, lo, hi, mean, int(np.count_nonzero(beyond))))
    names = ("share", "threshold", "hit_rate", "lo", "hi", "mean_ticks")
    return pl.DataFrame(lines, schema={**dict.fromkeys(names, pl.Float64), "n": pl.Int64}, orient="row")


def _turnover(values: Floats, known: Mask, lags: Sequence[int], width: int, quantiles: int) -> pl.DataFrame:
    lines = []
    buckets = np.zeros(len(values), dtype=np.int64)
    buckets[known] = quantile_of(values[known], quantiles)
    for lag in lags:
        now = np.flatnonzero(known[lag:] & known[: len(known) - lag]) + lag
        left = []
        for bucket in (quantiles, 1):
            inside = now[buckets[now] == bucket]
            left.append(float(np.mean(buckets[inside - lag] != bucket)) if len(inside) else math.nan)
        own = correlation(ranks(values[now]), ranks(values[now - lag]))
        lines.append((lag, _ms(lag, width), *left, own))
    names = ("lag_ms", "top", "bottom", "autocorrelation")
    return pl.DataFrame(lines, schema={"lag_bins": pl.Int64, **dict.fromkeys(names, pl.Float64)}, orient="row")


def _day(market: _Market, values: Floats, known: Mask, horizon: int, dataset: Dataset) -> pl.DataFrame:
    at, later = market.later(known, horizon)
    ends = dataset.bin("bin_end_ns")
    length = dataset.n_bins * market.width / NS_PER_S
    seconds = next((s for s in _STRETCHES_S if length / s <= _MOST_STRETCHES), math.ceil(length / _MOST_STRETCHES))
    first = int(ends[0])
    stretch = (ends[at] - first) // (seconds * NS_PER_S)
    zone = ZoneInfo(str(dataset.manifest.get("pipeline", {}).get("instrument", {}).get("timezone") or "UTC"))
    lines = []
    for number in np.unique(stretch):
        inside = stretch == number
        n = int(np.count_nonzero(inside))
        start = datetime.fromtimestamp((first - market.width) / NS_PER_S + int(number) * seconds, zone)
        known_ic = correlation(ranks(values[at[inside]]), ranks(later[inside])) if n >= _FEWEST_IN_STRETCH else math.nan
        lines.append((f"{start:%H:%M}", known_ic, n))
    return pl.DataFrame(lines, schema={"start": pl.String, "ic": pl.Float64, "n": pl.Int64}, orient="row")


def _correlations(values: Floats, known: Mask, others: Mapping[str, Floats]) -> pl.DataFrame:
    lines = []
    for name, other in others.items():
        both = known & np.isfinite(other)
        lines.append((name, correlation(ranks(values[both]), ranks(other[both])), int(np.count_nonzero(both))))
    lines.sort(key=lambda line: (-abs(line[1]) if math.isfinite(line[1]) else 1.0, line[0]))
    return pl.DataFrame(lines, schema={"signal": pl.String, "correlation": pl.Float64, "n": pl.Int64}, orient="row")


# -- helpers -----------------------------------------------------------------------------------------------------------


def _band(drawn: Floats) -> tuple[float, float]:
    drawn = drawn[np.isfinite(drawn)]
    if not len(drawn):
        return math.nan, math.nan
    lo, hi = np.quantile(drawn, (0.025, 0.975))
    return float(lo), float(hi)


def _ms(bins: int, width: int) -> float:
    return bins * width / NS_PER_MS


def _in_bins(horizons_ms: Sequence[int], width: int, n_bins: int) -> list[int]:
    """Return horizons as numbers of bins, each once; the shortest one is left if all are too long."""
    bins = sorted({max(1, round(ms * NS_PER_MS / width)) for ms in horizons_ms})
    return [count for count in bins if count <= n_bins // 2] or [min(bins[0], max(n_bins // 2, 1))]


def _vector(name: str, values: Any, n_bins: int) -> Floats:
    try:
        vector = np.ascontiguousarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        raise ConfigError(name, required="numbers, one per bin", was=type(values).__name__) from None
    if vector.shape != (n_bins,):
        raise ConfigError(name, required=f"one number per bin, {n_bins} in all", was=f"of shape {vector.shape}")
    return vector
