"""Selection in-sample, evaluation out of sample: the net PnL of selected rows on unseen parts of the time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from vpcore.backtest.cross_validation import SPLIT_COLUMNS, SplitSpec
from vpcore.inference.blocks import lists, pnl_matrix
from vpcore.inference.summaries import Choice, OutOfSample
from vpcore.results import ROW_KEY, RUNS
from vpcore.statistics.intervals import wilson

SPLIT_FIGURES = ("in_sample", "net_in_sample", "net_out_of_sample", "trades_out_of_sample")
"""Columns that `out_of_sample` adds."""

_Floats = npt.NDArray[np.float64]


def out_of_sample(
    rows: pl.DataFrame, spec: SplitSpec, *, metric: str, min_trades: int
) -> tuple[pl.DataFrame, OutOfSample]:
    """Choose the best row in the training part of every fold and measure its net PnL in the test part.

    Parameters
    ----------
    rows : DataFrame
        All rows of an experiment, with `vpcore.backtest.cross_validation.SPLIT_COLUMNS`.
    spec : SplitSpec
        Splits behind these columns.
    metric : str
        One of `vpcore.backtest.cross_validation.IN_SAMPLE_METRICS`.
    min_trades : int
        Trades in a training part that a candidate row requires.

    Returns
    -------
    rows : DataFrame
        In the same order, with `SPLIT_FIGURES`: the metric and the net PnL per trade over all training parts, the net
        PnL per trade and the number of trades over all test groups.
    summary : OutOfSample

    Notes
    -----
    Ties go to the first row by key. Paths follow Lopez de Prado (2018), chapter 12: the first fold with a given test
    group belongs to the first path, the second fold to the second path.
    """
    parts = {name: pnl_matrix(rows[name]).astype(np.float64) for name in _USED}
    n_groups = parts["group_trades"].shape[1]
    if rows.is_empty() or not n_groups:
        figures = [pl.lit(None, dtype=_TYPES[name]).alias(name) for name in SPLIT_FIGURES]
        nothing = OutOfSample(spec.method, spec.by, metric, 0, (), (), None, None)
        return rows.with_columns(figures), nothing
    train, test = spec.folds(n_groups)
    n_train, n_group = parts["train_trades"], parts["group_trades"]
    n_test, net_test = n_group @ test.T, parts["group_net_ticks"] @ test.T
    score = _scores(parts, metric, min_trades)
    order = rows.with_row_index("_at").sort(*ROW_KEY, "_at")["_at"].to_numpy()
    names = rows.select("row", "run_id", "signal_name").rows()
    choices, chosen = [], {}
    for fold in range(train.shape[0]):
        best = int(order[int(np.argmax(score[order, fold]))])
        if not np.isfinite(score[best, fold]):
            continue
        chosen[fold] = best
        trades, net = int(n_test[best, fold]), float(net_test[best, fold])
        others = np.delete(n_test[:, fold] > 0, best), np.delete(_share(net_test[:, fold], n_test[:, fold]), best)
        rivals = others[1][others[0]]
        row, run_id, signal = names[best]
        choices.append(
            Choice(
                fold=fold,
                tested=tuple(int(group) for group in np.flatnonzero(test[fold])),
                row=row,
                run_id=run_id,
                signal=signal,
                in_sample=float(score[best, fold]),
                net_in=float(parts["train_net_ticks"][best, fold] / n_train[best, fold]),
                net_out=net / trades if trades else None,
                trades_in=int(n_train[best, fold]),
                trades_out=trades,
                rank_out=float(np.mean(rivals < net / trades)) if trades and rivals.size else None,
            )
        )
    paths = _paths(test, chosen, parts)
    promised = sum(choice.net_in * choice.trades_in for choice in choices)
    n_in = sum(choice.trades_in for choice in choices)
    n_out = sum(trades for _, trades in paths)
    paid = sum(net * trades for net, trades in paths if net is not None)
    summary = OutOfSample(
        spec.method,
        spec.by,
        metric,
        rows.height,
        tuple(choices),
        tuple(paths),
        promised / n_in if n_in else None,
        paid / n_out if n_out else None,
    )
    return rows.with_columns(_figures(parts, test, metric, min_trades)), summary


_USED = (
    "group_trades", "group_net_ticks", "train_trades", "train_tp", "train_net_ticks", "train_gross_ticks",
)  # fmt: skip
_TYPES = {name: pl.Int64 if name == "trades_out_of_sample" else pl.Float64 for name in SPLIT_FIGURES}


def _share(total: _Floats, count: _Floats) -> _Floats:
    found: _Floats = np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)
    return found


def in_sample(rows: pl.DataFrame, *, metric: str, min_trades: int) -> _Floats:
    """Return the metric of every row in every training part, float64[n_rows, n_folds]; -inf with too few trades.

    Arguments as in `out_of_sample`.
    """
    return _scores({name: pnl_matrix(rows[name]).astype(np.float64) for name in _USED}, metric, min_trades)


def _scores(parts: Mapping[str, _Floats], metric: str, min_trades: int) -> _Floats:
    return np.where(parts["train_trades"] >= max(min_trades, 1), _metric(metric, parts), -np.inf)


def _metric(metric: str, parts: Mapping[str, _Floats]) -> _Floats:
    """Return a metric of the training parts; -inf without trades."""
    n = parts["train_trades"]
    if metric == "tp_rate_lo":
        found = wilson(parts["train_tp"], n)[0]
    else:
        sums = {"net_pnl_ticks": "train_net_ticks", "mean_pnl_ticks": "train_gross_ticks", "tp_rate": "train_tp"}
        found = _share(parts[sums[metric]], n)
    return np.where(np.isnan(found), -np.inf, found)


def _paths(
    test: npt.NDArray[np.bool_], chosen: Mapping[int, int], parts: Mapping[str, _Floats]
) -> list[tuple[float | None, int]]:
    sums: dict[int, list[float]] = {}
    for group in range(test.shape[1]):
        for path, fold in enumerate(np.flatnonzero(test[:, group])):
            total = sums.setdefault(path, [0.0, 0.0])
            if int(fold) in chosen:
                total[0] += parts["group_net_ticks"][chosen[int(fold)], group]
                total[1] += parts["group_trades"][chosen[int(fold)], group]
    return [(net / n if n else None, int(n)) for _, (net, n) in sorted(sums.items())]


def _figures(
    parts: Mapping[str, _Floats], test: npt.NDArray[np.bool_], metric: str, min_trades: int
) -> list[pl.Series]:
    whole = {name: values.sum(axis=1, keepdims=True) for name, values in parts.items() if name.startswith("train")}
    tested = test.any(axis=0)
    n_out = parts["group_trades"][:, tested].sum(axis=1)
    enough = whole["train_trades"][:, 0] >= max(min_trades, 1) * test.shape[0]
    columns: dict[str, npt.NDArray[Any]] = {
        "in_sample": np.where(enough, _metric(metric, whole)[:, 0], np.nan),
        "net_in_sample": _share(whole["train_net_ticks"], whole["train_trades"])[:, 0],
        "net_out_of_sample": _share(parts["group_net_ticks"][:, tested].sum(axis=1), n_out),
        "trades_out_of_sample": n_out,
    }
    return [pl.Series(name, values).fill_nan(None).cast(_TYPES[name]) for name, values in columns.items()]


def split_vectors(members: pl.DataFrame, n_sessions: int, spec: SplitSpec | None) -> list[pl.Series]:
    """Return the columns of splits of combinations over sessions.

    Parameters
    ----------
    members : DataFrame
        Rows of complete combinations, sorted by ``combination`` and ``session``, with ``trades``.
    n_sessions : int
        Number of rows per combination.
    spec : SplitSpec or None
        Splits by time add the columns of the sessions; splits by session make each session a group. Without splits
        the columns are null.
    """
    height = members.height // n_sessions
    if spec is None or not height:
        return [pl.Series(name, [None] * height, dtype=RUNS[name]) for name in SPLIT_COLUMNS]
    sessions = [members.filter(pl.col("session") == session) for session in range(n_sessions)]
    if spec.by == "time":
        added = {name: np.sum([pnl_matrix(part[name]) for part in sessions], axis=0) for name in SPLIT_COLUMNS}
    else:
        group = {name: np.stack([_sums(part)[name] for part in sessions], axis=1) for name in _sums(sessions[0])}
        train, _ = spec.folds(n_sessions)
        added = {f"group_{name}": values for name, values in group.items()}
        added |= {f"train_{name}": values @ train.T.astype(np.float64) for name, values in group.items()}
    return [lists(added[name], RUNS[name]).alias(name) for name in SPLIT_COLUMNS]


def _sums(rows: pl.DataFrame) -> dict[str, _Floats]:
    """Return sums over all trades of each row, computed from the means."""
    n, mean, sd, gross, tp = (
        rows[name].cast(pl.Float64).fill_null(0.0).to_numpy()
        for name in ("trades", "net_pnl_ticks", "net_pnl_sd", "mean_pnl_ticks", "tp_rate")
    )
    squares = sd * sd * np.maximum(n - 1.0, 0.0) + n * mean * mean
    sums = {"trades": n, "tp": np.round(tp * n), "net_ticks": n * mean, "net_ticks2": squares, "gross_ticks": n * gross}
    return sums


def split_summary(summary: OutOfSample) -> str:
    """Return the results of in-sample choices as sentences."""
    if not summary.choices:
        return "In-sample no row has enough trades to be chosen, so nothing is known out of sample."
    net_in, net_out = signed_ticks(summary.net_in), signed_ticks(summary.net_out)
    if summary.method == "holdout":
        (choice,) = summary.choices
        paid = "does not trade" if choice.net_out is None else f"pays {net_out} in {choice.trades_out} trades"
        rank = "" if choice.rank_out is None else f", more than {choice.rank_out:.0%} of the other rows"
        return (
            f"In-sample, {choice.signal} {choice.row} is the best by {summary.metric} of {summary.n_rows} rows: "
            f"{net_in} ticks a trade in {choice.trades_in} trades. Out of sample it {paid}{rank}."
        )
    found = [
        f"Chosen by {summary.metric} on each of {len(summary.choices)} training parts, the winner of {summary.n_rows} "
        f"rows pays {net_in} ticks a trade there, and {net_out} where it was not chosen."
    ]
    if len(summary.paths) > 1:
        nets = [net for net, _ in summary.paths if net is not None]
        if nets:
            low, middle, high = np.quantile(nets, (0.0, 0.5, 1.0))
            found.append(
                f"Along {len(nets)} paths it pays {low:+.2f} to {high:+.2f}, in the middle {middle:+.2f}; "
                f"{sum(net > 0 for net in nets)} of them pay."
            )
    if summary.below_median is not None:
        found.append(f"In {summary.below_median:.0%} of the tests it is in the lower half of all rows.")
    return " ".join(found)


def signed_ticks(value: float | None) -> str:
    """Return a net PnL per trade as `split_summary` names it."""
    return "nothing" if value is None else f"{value:+.2f}"
