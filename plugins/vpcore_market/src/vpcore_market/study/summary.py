"""From the rows of every market to the answers of a study."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from vpcore.inference.evidence import LEVEL, MIN_TRADES
from vpcore.statistics.intervals import wilson
from vpcore_market.params import DEMO_ALPHA
from vpcore_market.study.experiment import Columns
from vpcore_market.study.plan import ALPHA, LENGTH, NULL, Study, World

SIZES = (0.01, 0.05, 0.1)
"""Nominal sizes at which a test is held to its word."""

POOLED = "all signals"

_Floats = npt.NDArray[np.float64]
_SURE = 0.95  # a deflated Sharpe ratio from which one would believe


def summarise(study: Study, found: Mapping[World, Columns]) -> dict[str, Any]:
    """Return the answers of a study, as JSON holds them."""
    null = [columns for world, columns in found.items() if world.part == NULL]
    rows = {name: np.concatenate([columns[name] for columns in null]) for name in null[0]}
    rows["market"] = np.repeat(np.arange(len(null)), [len(columns["p_adj"]) for columns in null])
    answers: dict[str, Any] = {
        "study": study.model_dump(mode="json"),
        "rows_per_experiment": len(null[0]["p_adj"]),
        "null": {
            "markets": len(null),
            "size": sizes(rows, study),
            "uniformity": uniformity(rows, study),
            "false_winners": false_winners(rows),
            "coverage": coverages(rows, study),
            "naive": naive(rows),
            "pbo": _mean_of(_first_of_each(rows, "pbo")),
        },
        "power": {
            "alpha": _power(study, found, ALPHA),
            "length": _power(study, found, LENGTH),
        },
    }
    answers = plain(answers)
    return answers


# -- shares of dependent rows ------------------------------------------------------------------------------------------


def clustered_share(hits: npt.NDArray[np.bool_], market: npt.NDArray[np.int64]) -> tuple[float, float, int]:
    """Return a share, its standard error and the number of rows, where rows of one market depend on each other.

    Parameters
    ----------
    hits : bool[n_rows]
        What is counted.
    market : int64[n_rows]
        Which market a row is of. Markets are independent.

    Notes
    -----
    The error of a ratio of sums over markets, linearised: rows of one market count as one observation of unequal size.
    """
    n = len(hits)
    if not n:
        return math.nan, math.nan, 0
    _, place = np.unique(market, return_inverse=True)
    per = np.bincount(place)
    share = float(np.mean(hits))
    off = np.bincount(place, weights=hits) - share * per
    n_markets = len(per)
    if n_markets < 2:
        return share, math.nan, n
    return share, math.sqrt(float(off @ off) * n_markets / (n_markets - 1)) / n, n


def kolmogorov(p: _Floats) -> tuple[float, float]:
    """Return the distance of independent p-values from the uniform distribution, and its own p-value.

    Source: Kolmogorov's series with the correction of Stephens (1970) for finite samples; good to a few per cent of
    the p-value from about ten values on.
    """
    n = len(p)
    ordered = np.sort(p)
    steps = np.arange(n + 1) / n
    distance = float(max(np.max(steps[1:] - ordered), np.max(ordered - steps[:-1])))
    scaled = (math.sqrt(n) + 0.12 + 0.11 / math.sqrt(n)) * distance
    tail = 2.0 * sum((-1) ** (k - 1) * math.exp(-2.0 * k * k * scaled * scaled) for k in range(1, 101))
    return distance, min(1.0, max(0.0, tail)) if scaled > 0.2 else 1.0


def reference(rows: Columns, study: Study) -> npt.NDArray[np.bool_]:
    """Return which rows are their signal's reference, chosen before anything is known: one per signal and market.

    The second lowest threshold (often crossed, and not at every breath), the first cooldown and the first barriers.
    """
    tp, sl = study.tp_sl_ticks[0]
    first: npt.NDArray[np.bool_] = (
        (rows["level"] == 1)
        & (rows["cooldown_bins"] == study.bins(min(study.cooldown_s)))
        & (rows["tp_ticks"] == tp)
        & (rows["sl_ticks"] == sl)
    )
    return first


# -- without an effect -------------------------------------------------------------------------------------------------


def sizes(rows: Columns, study: Study) -> list[dict[str, Any]]:
    """Return how often p_random is at most a nominal size, per signal and over all; errors respect the dependence."""
    known = np.isfinite(rows["p_random"])
    found = []
    for signal in (*study.signals, POOLED):
        mine = known & ((rows["signal"] == signal) | (signal == POOLED))
        for size in SIZES:
            share, error, n = clustered_share(rows["p_random"][mine] <= size, rows["market"][mine])
            found.append(
                {
                    "signal": signal,
                    "size": size,
                    "share": share,
                    "error": error,
                    "rows": n,
                    "kept": bool(n == 0 or share <= size + 2.0 * error),
                }
            )
    return found


def uniformity(rows: Columns, study: Study) -> list[dict[str, Any]]:
    """Return the Kolmogorov test of the p-values, ties broken at random: one row per market, so that it is one."""
    one = reference(rows, study) & np.isfinite(rows["p_uniform"])
    found = []
    for signal in study.signals:
        p = rows["p_uniform"][one & (rows["signal"] == signal)]
        distance, by_chance = kolmogorov(p) if len(p) else (math.nan, math.nan)
        found.append({"signal": signal, "markets": len(p), "distance": distance, "p": by_chance})
    p = one_of_each(rows)
    distance, by_chance = kolmogorov(p)
    found.append({"signal": POOLED, "markets": len(p), "distance": distance, "p": by_chance})
    return found


def one_of_each(rows: Columns) -> _Floats:
    """Return one p-value per market, of a row drawn at random among those that have one."""
    rng = np.random.default_rng(0)
    known = np.flatnonzero(np.isfinite(rows["p_uniform"]))
    chosen = [rng.choice(known[rows["market"][known] == market]) for market in np.unique(rows["market"][known])]
    return np.asarray(rows["p_uniform"][chosen], dtype=np.float64)


def false_winners(rows: Columns) -> dict[str, Any]:
    """Return the share of experiments that have a winner, though nothing is to be won."""
    few = rows["n_signals"] - rows["n_dropped"] < MIN_TRADES
    screen = (rows["p_adj"] <= LEVEL) & (rows["net_pnl_lo"] > 0.0) & ~few
    sure = rows["dsr"] >= _SURE
    unadjusted = rows["p_random"] <= LEVEL
    return {
        "p_adj": _experiments(rows, rows["p_adj"] <= LEVEL),
        "screen": _experiments(rows, screen),
        "dsr": _experiments(rows, sure & ~few),
        "p_random": _experiments(rows, unadjusted),
    }


def coverages(rows: Columns, study: Study) -> list[dict[str, Any]]:
    """Return how often the 95 % interval of the net PnL holds what a trade is truly worth.

    Without an effect that is what a trade without knowledge is worth, a little below 0: its mean over all markets.
    """
    traded = rows["n_signals"] - rows["n_dropped"]
    known = np.isfinite(rows["net_pnl_lo"]) & (traded >= MIN_TRADES)
    truth = _fair(rows)
    inside = (rows["net_pnl_lo"] <= truth) & (truth <= rows["net_pnl_hi"])
    groups: list[tuple[str, npt.NDArray[np.bool_]]] = [
        (signal, rows["signal"] == signal) for signal in study.signals
    ] + [
        (f"{low} to {high - 1} trades" if high else f"{low} trades or more", (traded >= low) & (traded < (high or 1e9)))
        for low, high in ((MIN_TRADES, 60), (60, 120), (120, 240), (240, 0))
    ]
    found = []
    for name, mine in (*groups, (POOLED, np.ones(len(traded), bool))):
        share, error, n = clustered_share(inside[known & mine], rows["market"][known & mine])
        found.append({"rows_of": name, "share": share, "error": error, "rows": n})
    return found


def _fair(rows: Columns) -> _Floats:
    """Return for every row what a trade with its barriers is worth on average over all markets."""
    fair = np.full(len(rows["tp_ticks"]), np.nan)
    pairs = np.stack([rows["tp_ticks"], rows["sl_ticks"]])
    for tp, sl in np.unique(pairs, axis=1).T:
        mine = (rows["tp_ticks"] == tp) & (rows["sl_ticks"] == sl)
        fair[mine] = np.nanmean(rows["fair_ticks"][mine])
    return fair


def naive(rows: Columns) -> dict[str, Any]:
    """Return what one would find by taking the best row at its word: it is worth nothing, whatever it shows."""
    traded = rows["n_signals"] - rows["n_dropped"]
    found = {}
    for metric in ("net_pnl_ticks", "tp_rate"):
        best = _best_of_each(rows, rows[metric], traded >= MIN_TRADES)
        net = rows["net_pnl_ticks"][best]
        rate, needed = rows["tp_rate"][best] / (1.0 - rows["timeout_rate"][best]), rows["breakeven_rate"][best]
        resolved = traded[best] * (1.0 - rows["timeout_rate"][best])
        lo, _ = wilson(np.rint(rate * resolved), np.rint(resolved))
        found[metric] = {
            "experiments": len(best),
            "net": _mean_of(net),
            "net_quantiles": np.quantile(net, (0.05, 0.5, 0.95)).tolist(),
            "tp_rate": _mean_of(rows["tp_rate"][best]),
            "profitable": _share(net > 0.0),
            "above_breakeven": _share(rate > needed),
            "wilson_above_breakeven": _share(lo > needed),
            "interval_above_0": _share(rows["net_pnl_lo"][best] > 0.0),
            "p_random": _share(rows["p_random"][best] <= LEVEL),
            "p_adj": _share(rows["p_adj"][best] <= LEVEL),
            "values": np.round(net, 4).tolist(),
        }
    return found


# -- with one ----------------------------------------------------------------------------------------------------------


def _power(study: Study, found: Mapping[World, Columns], part: str) -> list[dict[str, Any]]:
    by_point: dict[tuple[float, float], list[Columns]] = {}
    for world, columns in found.items():
        if world.part == NULL:
            continue
        wanted = world.minutes == study.minutes if part == ALPHA else world.alpha == DEMO_ALPHA
        asked = world.alpha in study.alphas if part == ALPHA else world.minutes in study.lengths
        if wanted and asked:
            by_point.setdefault((world.alpha, world.minutes), []).append(columns)
    points = []
    for (alpha, minutes), several in sorted(by_point.items()):
        point: dict[str, Any] = {"alpha": alpha, "minutes": minutes, "markets": len(several)}
        for price in ("mid", "touch"):
            rows = {name: np.concatenate([columns[name] for columns in several]) for name in several[0]}
            rows["market"] = np.repeat(np.arange(len(several)), [len(columns["p_adj"]) for columns in several])
            rows = {name: column[rows["price"] == price] for name, column in rows.items()}
            one = reference(rows, study)
            point[price] = {
                "signals": {
                    signal: _share(rows["p_random"][one & (rows["signal"] == signal)] <= LEVEL)
                    for signal in study.signals
                },
                "net": {
                    signal: float(np.nanmean(rows["net_pnl_ticks"][one & (rows["signal"] == signal)]))
                    for signal in study.signals
                },
                "winner": _experiments(rows, rows["p_adj"] <= LEVEL),
                "screen": _experiments(
                    rows,
                    (rows["p_adj"] <= LEVEL)
                    & (rows["net_pnl_lo"] > 0.0)
                    & (rows["n_signals"] - rows["n_dropped"] >= MIN_TRADES),
                ),
            }
        points.append(point)
    return points


# -- shares and means --------------------------------------------------------------------------------------------------


def _share(hits: npt.NDArray[np.bool_]) -> dict[str, Any]:
    """Return the share of independent hits with its Wilson interval."""
    n, k = len(hits), int(np.count_nonzero(hits))
    lo, hi = wilson(k, n)
    return {"share": k / n if n else math.nan, "lo": float(lo), "hi": float(hi), "of": n}


def _experiments(rows: Columns, hits: npt.NDArray[np.bool_]) -> dict[str, Any]:
    """Return the share of experiments with a hit among their rows."""
    return _share(np.bincount(rows["market"], weights=hits) > 0)


def _first_of_each(rows: Columns, name: str) -> _Floats:
    _, first = np.unique(rows["market"], return_index=True)
    return np.asarray(rows[name][first], dtype=np.float64)


def _best_of_each(rows: Columns, metric: _Floats, allowed: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    """Return the row with the highest figure in each experiment, the first of equals."""
    worth = np.where(allowed & np.isfinite(metric), metric, -np.inf)
    order = np.lexsort((np.arange(len(worth)), -worth, rows["market"]))
    _, first = np.unique(rows["market"][order], return_index=True)
    best = order[first]
    return np.asarray(best[np.isfinite(worth[best])], dtype=np.int64)


def _mean_of(values: _Floats) -> dict[str, float]:
    known = values[np.isfinite(values)]
    error = float(np.std(known, ddof=1)) / math.sqrt(len(known)) if len(known) > 1 else math.nan
    return {"mean": float(np.mean(known)) if len(known) else math.nan, "error": error, "of": len(known)}


def plain(value: Any) -> Any:
    """Return a value as JSON holds it: NaN is None."""
    if isinstance(value, dict):
        return {name: plain(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
