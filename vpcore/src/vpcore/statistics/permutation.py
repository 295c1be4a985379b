"""How likely one row is luck, as far as its own trades tell: random entry by rotation, and the interval of its mean."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from vpcore.backtest.entries import Detections
from vpcore.backtest.triple_barrier import OutcomeTable
from vpcore.canonical import digest
from vpcore.kernels import barrier, null, resample
from vpcore.kernels.random import seeded
from vpcore.statistics.multiple_testing import p_random
from vpcore.units import HALF_TICKS_PER_TICK

_ROTATION, _BOOTSTRAP = 0, 1

STORED_DRAWS = 499
"""At most so many rotations are stored with a row: enough for p-values to a fifth of a percent."""


@dataclass(frozen=True, slots=True)
class Resampling:
    """How the random draws behind a row's figures are made.

    Attributes
    ----------
    null_draws, bootstrap_draws : int
        How many; 0 leaves the figures NaN.
    key : str
        What the bootstrap is seeded with, beside the row's own key: the run. The same row gets the same draws in
        whatever company, order or process it is evaluated.
    market : str
        What the rotations are seeded with: all rows on one market are rotated by the same shares of the ring, so that
        what they do in one draw belongs together (`vpcore.statistics.multiple_testing.step_down`).
    """

    null_draws: int = 0
    bootstrap_draws: int = 0
    key: str = ""
    market: str = ""

    def seed_of(self, trial: tuple[float, int, int, int]) -> int:
        """Return the seed of a row."""
        return int(digest([self.key, *trial])[:16], 16)


@dataclass(frozen=True, slots=True)
class Ring:
    """The evaluable bins of an outcome table, in a ring: a full horizon follows them, and a trade can be entered.

    Attributes
    ----------
    place : int64[n_bins]
        Place of each bin of entry on the ring, -1 for one that is not on it.
    net : int32[2, n_bins]
        What a long and a short entered there pay, half-ticks, by place.
    size : int
        Number of bins on the ring.
    latency_bins : int
        From decision to entry.
    """

    place: npt.NDArray[np.int64]
    net: npt.NDArray[np.int32]
    size: int
    latency_bins: int


def make_ring(table: OutcomeTable, *, warmup_bins: int, latency_bins: int) -> Ring:
    """Return the ring of evaluable bins of an outcome table.

    Bins in which nothing can be entered are left out of the ring and not rotated onto: every rotation has all trades.
    """
    n_bins = table.outcome.shape[1]
    place = np.empty(n_bins, dtype=np.int64)
    net = np.empty((2, n_bins), dtype=np.int32)
    first, hold = warmup_bins + latency_bins, table.spec.max_hold_bins
    size = null.ring(table.outcome[0], table.net, first, hold, place, net)
    return Ring(place, net, size, latency_bins)


@lru_cache(maxsize=8)
def shares(market: str, draws: int) -> npt.NDArray[np.int64]:
    """Return by which shares of a ring, in units of 2^-32, its trades are rotated: int64[draws], read-only.

    The first `STORED_DRAWS` and the rest ascend, each for itself: neighbours then read neighbouring bins.
    """
    words = np.empty(draws, dtype=np.int64)
    null.draw_words(seeded(int(digest(["rotation", market])[:16], 16), _ROTATION), words)
    words[:STORED_DRAWS].sort()
    words[STORED_DRAWS:].sort()
    words.setflags(write=False)
    return words


def rotated(ring: Ring, signals: Detections, draws: int, market: str) -> npt.NDArray[np.int64]:
    """Return what the signals pay, and what they would have paid at another time, half-ticks.

    The whole sequence of (bin, side) is rotated by one uniform offset on the ring of evaluable bins, so that spacing,
    runs, the mix of sides and the cooldown stay as they are; only the timing is lost.

    Parameters
    ----------
    ring : Ring
        Of the table that the trades are looked up in.
    signals : Detections
        Those whose entry is not on the ring (no trade, or cut short by the end of the data) are left out.
    draws : int
        Number of rotations, B.
    market : str
        Seeds the offsets.

    Returns
    -------
    int64[1 + draws]
        First what the trades on the ring pay as they are. All zeros where none is on it; empty without draws.
    """
    if not draws:
        return np.empty(0, dtype=np.int64)
    sums = np.zeros(1 + draws, dtype=np.int64)
    places, rows = np.empty((2, len(signals)), dtype=np.int64)
    count = null.on_ring(signals.bins, signals.sides, ring.latency_bins, ring.place, places, rows)
    if not count:
        return sums
    places, rows = places[:count], rows[:count]
    offsets = (shares(market, draws) * ring.size) >> 32
    sums[0] = ring.net[rows, places].sum(dtype=np.int64)
    for first, last in ((0, min(STORED_DRAWS, draws)), (STORED_DRAWS, draws)):
        if first < last:
            null.rotate(places, rows, ring.net, ring.size, offsets[first:last], sums[1 + first : 1 + last])
    return sums


def traded_net(table: OutcomeTable, signals: Detections, latency_bins: int) -> npt.NDArray[np.int64]:
    """Return what each trade pays before fees, in order of entry, half-ticks."""
    entries = signals.bins + latency_bins
    inside = entries < table.outcome.shape[1]
    entries, rows = entries[inside], (signals.sides[inside] < 0).astype(np.int64)
    traded = table.outcome[rows, entries] != barrier.NO_TRADE
    net: npt.NDArray[np.int64] = table.net[rows[traded], entries[traded]].astype(np.int64)
    return net


def mean_interval(net: npt.NDArray[np.int64], draws: int, seed: int) -> tuple[float, float, float]:
    """Return the 95 % interval of the mean of dependent values, and the block length behind it.

    Parameters
    ----------
    net : int64[n_trades]
        In order.
    draws : int
        Number of resamples.
    seed : int
        Of the resamples.

    Returns
    -------
    lo, hi, block_length : float
        Percentiles of the stationary bootstrap (Politis and Romano 1994) and its mean block length in trades
        (`politis_white`). NaN for fewer than two trades, without draws, and where all values are the same: thirty small
        wins in a row do not say how large the first stop will be, and resampling them would say that there is none.
    """
    if net.shape[0] < 2 or not draws or net.min() == net.max():
        return float("nan"), float("nan"), float("nan")
    length = resample.politis_white(net)
    sums = np.empty(draws, dtype=np.int64)
    resample.stationary_sums(net, length, seeded(seed, _BOOTSTRAP), sums)
    lo, hi = np.quantile(sums / net.shape[0], (0.025, 0.975))
    return float(lo), float(hi), length


LUCK_COLUMNS = (
    "net_pnl_sd", "net_pnl_skew", "net_pnl_kurtosis", "net_pnl_lo", "net_pnl_hi", "block_length", "p_random",
)  # fmt: skip
"""Figures of `luck_of`, in order."""


def luck_of(
    table: OutcomeTable,
    ring: Ring | None,
    signals: Detections,
    latency_bins: int,
    fee_ticks: float,
    resampling: Resampling,
    trial: tuple[float, int, int, int],
) -> tuple[tuple[float, ...], npt.NDArray[np.int64]]:
    """Return the figures named by `LUCK_COLUMNS` of one row, money in ticks after fees, and its rotations to store.

    The ring may be None where no draws are asked of it.
    """
    net = traded_net(table, signals, latency_bins)
    seed = resampling.seed_of(trial) if resampling.bootstrap_draws else 0
    shape = np.empty(4, dtype=np.float64)
    resample.moments(net, shape)
    lo, hi, length = mean_interval(net, resampling.bootstrap_draws, seed)
    sums = np.empty(0, dtype=np.int64)
    if ring is not None:
        sums = rotated(ring, signals, resampling.null_draws, resampling.market)
    figures = (
        float(shape[1]) / HALF_TICKS_PER_TICK,
        float(shape[2]),
        float(shape[3]),
        lo / HALF_TICKS_PER_TICK - fee_ticks,
        hi / HALF_TICKS_PER_TICK - fee_ticks,
        length,
        p_random(sums),
    )
    return figures, sums[: 1 + STORED_DRAWS]
