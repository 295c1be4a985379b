"""Markets that are random walks, and signals that know nothing of them."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
from detections import detect

from vpcore.backtest.entries import Detections
from vpcore.backtest.triple_barrier import Market

N_BINS = 3000


def walk(rng: np.random.Generator, drift: np.ndarray | None = None, halt: slice = slice(0)) -> Market:
    """A one-tick random walk of the mid, tilted by `drift` in [-1, 1] per bin; every bin valid, the spread one tick.

    In the bins of `halt` nothing happens, and the last book stands there.
    """
    n = N_BINS
    up = rng.random(n) < 0.5 * (1 + (0.0 if drift is None else drift))
    events = np.ones(n, np.int64)
    events[halt] = 0
    bid = 100_000 + np.cumsum(np.where(up, 1, -1) * events)
    carried = np.concatenate([bid[:1], bid[:-1]])
    high, low = np.maximum(bid, carried), np.minimum(bid, carried)
    seq = np.arange(n, dtype=np.int64)
    bins: dict[str, Any] = {
        "bin_seq": seq, "bin_start_ns": seq * 10**8, "bin_end_ns": (seq + 1) * 10**8, "book_valid": np.ones(n, bool),
        "best_bid_price_int": bid, "best_ask_price_int": bid + 1, "spread_ticks": np.ones(n, np.int64),
        "bid_high_int": high, "bid_low_int": low, "ask_high_int": high + 1, "ask_low_int": low + 1,
        "mid2_high": 2 * high + 1, "mid2_low": 2 * low + 1, "bin_event_count": events,
    }  # fmt: skip
    return Market.from_bins(bins, 1)


def persistent(rng: np.random.Generator, memory: float = 0.95) -> np.ndarray:
    """A signal whose crossings cluster."""
    fresh = rng.normal(size=N_BINS) * np.sqrt(1 - memory**2)
    return np.array(list(itertools.accumulate(fresh.tolist(), lambda last, new: memory * last + new, initial=0.0))[1:])


def signals_of(market: Market, values: np.ndarray, threshold: float = 0.7) -> Detections:
    return detect(values, market.valid, market.bin_seq, threshold, cooldown_bins=5, warmup_bins=50)
