"""Random markets, and slow oracles written from the evaluation document alone."""

from __future__ import annotations

import math
import random
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

TICK = 250_000_000
WIDTH = 100_000_000


def random_market(
    seed: int, n_bins: int, *, p_invalid: float = 0.1, max_spread: int = 4, first_seq: int = 0
) -> dict[str, Any]:
    """Bins of a random walk of the touch with a few states inside each bin, some invalid, some spreads wide."""
    rng = random.Random(seed)
    names = (
        "bin_seq", "bin_start_ns", "bin_end_ns", "book_valid", "best_bid_price_int", "best_ask_price_int",
        "spread_ticks", "bid_high_int", "bid_low_int", "ask_high_int", "ask_low_int", "mid2_high", "mid2_low",
        "bin_event_count",
    )  # fmt: skip
    rows: dict[str, list[int]] = {name: [] for name in names}
    bid, ask = 1000, 1001
    carried: list[tuple[int, int]] = []
    for i in range(n_bins):
        states = list(carried)
        n_events = rng.randint(0, 3)
        for _ in range(n_events):
            bid += rng.randint(-2, 2)
            ask = bid + rng.randint(1, max_spread)
            states.append((bid, ask))
        ok = bool(states) and rng.random() >= p_invalid
        carried = [(bid, ask)] if ok else []
        seq = first_seq + i
        rows["bin_seq"].append(seq)
        rows["bin_event_count"].append(n_events)
        rows["bin_start_ns"].append(seq * WIDTH)
        rows["bin_end_ns"].append((seq + 1) * WIDTH)
        rows["book_valid"].append(ok)
        bids, asks, mids = (
            ([b for b, _ in states], [a for _, a in states], [a + b for a, b in states]) if ok else ([0], [0], [0])
        )
        rows["best_bid_price_int"].append(bids[-1] * TICK)
        rows["best_ask_price_int"].append(asks[-1] * TICK)
        rows["spread_ticks"].append(asks[-1] - bids[-1])
        rows["bid_high_int"].append(max(bids) * TICK)
        rows["bid_low_int"].append(min(bids) * TICK)
        rows["ask_high_int"].append(max(asks) * TICK)
        rows["ask_low_int"].append(min(asks) * TICK)
        rows["mid2_high"].append(max(mids))
        rows["mid2_low"].append(min(mids))
    return {name: np.array(column, dtype=bool if name == "book_valid" else np.int64) for name, column in rows.items()}


def naive_stale(bins: dict[str, Any], stale_bins: int, i: int) -> bool:
    """Whether neither the bin nor one of the `stale_bins` bins before it has an event."""
    return i >= stale_bins and not any(bins["bin_event_count"][i - back] > 0 for back in range(stale_bins + 1))


def naive_opened(bins: dict[str, Any], stale_bins: int) -> list[bool]:
    """Whether each bin is valid and not stale."""
    return [bool(valid) and not naive_stale(bins, stale_bins, i) for i, valid in enumerate(bins["book_valid"])]


def naive_trade(
    bins: dict[str, Any], entry: int, side: int, tp: int, sl: int, hold: int, price: str, stale_bins: int = 600
) -> dict[str, Any] | None:
    """One trade from entry to exit, in ticks (floats); None where there is none."""
    n = len(bins["bin_seq"])
    if entry >= n or not naive_opened(bins, stale_bins)[entry]:
        return None

    def level(name: str, j: int) -> float:
        if name.startswith("mid"):
            if name == "mid":
                return (int(bins["best_bid_price_int"][j]) + int(bins["best_ask_price_int"][j])) / TICK / 2
            return int(bins[name][j]) / 2
        return int(bins[name][j]) / TICK

    bid, ask = level("best_bid_price_int", entry), level("best_ask_price_int", entry)
    if price == "touch":
        if sl <= ask - bid:
            return None
        paid = ask if side > 0 else bid
        high, low, out = ("bid_high_int", "bid_low_int", "best_bid_price_int")
        if side < 0:
            high, low, out = ("ask_high_int", "ask_low_int", "best_ask_price_int")
    else:
        paid = level("mid", entry)
        high, low, out = ("mid2_high", "mid2_low", "mid")
    end = entry
    for j in range(entry + 1, entry + hold + 1):
        if j == n:
            break
        if naive_stale(bins, stale_bins, j):
            reopened = [r for r in range(j, n) if naive_opened(bins, stale_bins)[r]]
            left = reopened[0] if reopened else max(r for r in range(n) if bins["book_valid"][r])
            return {
                "outcome": 0, "tie": False, "net": side * (level(out, left) - paid), "exit": left, "entry": entry,
                "resolved": left if reopened else 2**31 - 1, "gross": side * (level("mid", left) - level("mid", entry)),
                "end": left if reopened else n - 1, "spread": ask - bid,
            }  # fmt: skip
        end = j
        if not bins["book_valid"][j]:
            continue
        if side > 0:
            stopped, taken, worst = level(low, j) <= paid - sl, level(high, j) >= paid + tp, level(low, j)
        else:
            stopped, taken, worst = level(high, j) >= paid + sl, level(low, j) <= paid - tp, level(high, j)
        moved = side * (level("mid", j) - level("mid", entry))
        common = {"exit": j, "resolved": j, "gross": moved, "end": j, "spread": ask - bid, "entry": entry}
        if stopped:
            return {"outcome": -1, "tie": taken, "net": side * (worst - paid), **common}
        if taken:
            return {"outcome": 1, "tie": False, "net": float(tp), **common}
    last = end
    while not bins["book_valid"][last]:
        last -= 1
    return {
        "outcome": 0, "tie": False, "net": side * (level(out, last) - paid), "exit": last, "resolved": entry + hold,
        "gross": side * (level("mid", last) - level("mid", entry)), "end": end, "spread": ask - bid, "entry": entry,
    }  # fmt: skip


def naive_detect(
    values: Any,
    valid: Any,
    seqs: Any,
    threshold: float,
    cooldown: int,
    warmup: int,
    mode: str,
    opened: Any = None,
) -> list[tuple[int, int]]:
    up, down = (threshold, 1 - threshold) if mode == "probability" else (threshold, -threshold)
    accepted: list[tuple[int, int]] = []
    for i in range(len(values)):
        if not valid[i] or math.isnan(values[i]) or seqs[i] - seqs[0] < warmup:
            continue
        before = [values[j] for j in range(i) if valid[j] and not math.isnan(values[j])]
        if not before:
            continue
        side = 1 if values[i] >= up > before[-1] else -1 if values[i] <= down < before[-1] else 0
        if side and (opened is None or opened[i]) and (not accepted or seqs[i] - seqs[accepted[-1][0]] >= cooldown):
            accepted.append((i, side))
    return accepted


@pytest.fixture(scope="session")
def naive() -> SimpleNamespace:
    return SimpleNamespace(
        market=random_market, opened=naive_opened, trade=naive_trade, detect=naive_detect, tick=TICK, width=WIDTH
    )
