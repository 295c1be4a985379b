"""What the rows of an experiment are worth together: the figures that depend on what else was tried.

A row's own figures are stored with it. These are computed whenever rows are read, because one more experiment on the
same market makes every row found there a little more likely to be luck.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from vpcore.canonical import digest
from vpcore.dataset import DatasetRegistry
from vpcore.evaluation import PNL_BLOCK_NS, deflated_sharpes, expected_best_sharpe, overfit_probability, step_down
from vpcore.results import ROW_KEY, ResultsDB

LEVEL = 0.05
"""A p-value up to this counts as evidence."""

COMPUTED = ("p_adj", "dsr", "n_trials")
"""Columns that `weigh` adds."""

MIN_TRADES = 30
"""Rows with fewer trades are not promoted, whatever an experiment requires: their intervals mean little."""

STATED = ("net_pnl_ticks", "net_pnl_lo", "net_pnl_hi", "p_random", "p_adj", "dsr")
"""Figures that are said with every promotion."""

EVIDENCE = "evidence"
"""The order of `by_evidence`, where a figure is asked for."""

_ENOUGH_TO_COMPARE = 2


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known of the rows on one dataset together.

    Attributes
    ----------
    dataset_id : str
    n_rows : int
        Rows that `p_adj` is adjusted for.
    n_trials : int
        Combinations ever evaluated on this market, failed ones and those of other experiments included.
    pbo : float or None
        Probability of backtest overfitting, of the rows with enough trades.
    best_by_luck : float or None
        Sharpe ratio per trade that the best of so many worthless trials is expected to show.
    """

    dataset_id: str
    n_rows: int
    n_trials: int
    pbo: float | None
    best_by_luck: float | None

    def plain(self) -> dict[str, Any]:
        """Return it as JSON holds it."""
        return asdict(self)


def weigh(
    results: ResultsDB, datasets: DatasetRegistry, rows: pl.DataFrame, *, min_trades: int
) -> tuple[pl.DataFrame, dict[str, Evidence]]:
    """Add to rows what depends on the other rows.

    Parameters
    ----------
    results : ResultsDB
        Where the trials are counted.
    datasets : DatasetRegistry
        Says how long a bin is.
    rows : DataFrame
        All rows of an experiment, from `ResultsDB.query_runs` with ``blocks=True``. Rows on several datasets are
        weighed by dataset.
    min_trades : int
        Rows with fewer take no part in `pbo` and in the spread of Sharpe ratios; `p_adj` is adjusted for all.

    Returns
    -------
    rows : DataFrame
        In the same order, without the PnL vectors, with

        - ``p_adj``: Romano-Wolf step-down p-value over all the rows, see `step_down`;
        - ``dsr``: deflated Sharpe ratio over all trials on the market, null where it is not defined;
        - ``n_trials``: number of those.
    evidence : dict
        By dataset.

    Notes
    -----
    The draws are seeded with the sorted run ids, so that the same rows always get the same figures.
    """
    parts, evidence = [], {}
    numbered = rows.with_row_index("_order")
    for name in sorted(set(rows["dataset_id"].to_list())):
        part = numbered.filter(pl.col("dataset_id") == name).sort(ROW_KEY)
        figures, evidence[name] = _weigh_one(results, datasets, name, part, min_trades)
        parts.append(part.with_columns(figures))
    if not parts:
        empty = (pl.lit(None, dtype=pl.Int64 if name == "n_trials" else pl.Float64).alias(name) for name in COMPUTED)
        return rows.drop("block_pnl_ticks").with_columns(*empty), {}
    return pl.concat(parts).sort("_order").drop("_order", "block_pnl_ticks"), evidence


def _weigh_one(
    results: ResultsDB, datasets: DatasetRegistry, name: str, rows: pl.DataFrame, min_trades: int
) -> tuple[list[pl.Series], Evidence]:
    blocks = pnl_matrix(rows["block_pnl_ticks"])
    seed = int(digest(sorted(set(rows["run_id"].to_list())))[:8], 16)
    p_adj = step_down(blocks, seed=seed, width=_blocks_per_trade(datasets, name, rows))
    lineage = results.lineage(name)
    n_trials = results.count_trials(*lineage)
    variance = _spread_of_sharpe(results, lineage, min_trades)
    net, sd, n_eff, skew, kurtosis = (
        rows[name].cast(pl.Float64).fill_null(np.nan).to_numpy()
        for name in ("net_pnl_ticks", "net_pnl_sd", "n_eff", "net_pnl_skew", "net_pnl_kurtosis")
    )
    sharpe = np.divide(net, sd, out=np.full(net.shape, np.nan), where=sd != 0.0)
    dsr = deflated_sharpes(sharpe, n_eff, skew, kurtosis, variance=variance, n_trials=n_trials)
    enough = (rows["n_signals"] - rows["n_dropped"] >= min_trades).fill_null(False).to_numpy()
    pbo = overfit_probability(np.ascontiguousarray(blocks[enough]))
    figures = [
        pl.Series("p_adj", p_adj, dtype=pl.Float64),
        pl.Series("dsr", dsr, dtype=pl.Float64),
        pl.Series("n_trials", [n_trials] * rows.height, dtype=pl.Int64),
    ]
    luck = expected_best_sharpe(variance, n_trials) if variance > 0.0 else None
    return figures, Evidence(name, rows.height, n_trials, pbo, luck)


def pnl_matrix(blocks: pl.Series) -> npt.NDArray[np.float64]:
    """Return PnL vectors as float64[n_rows, n_blocks]; where there is none, zeros."""
    lengths = blocks.list.len().fill_null(0)
    width = int(lengths.max() or 0)  # type: ignore[arg-type]
    if width and bool((lengths == width).all()):
        return blocks.explode().to_numpy().reshape(len(blocks), width)
    matrix = np.zeros((len(blocks), width))
    for row, vector in enumerate(blocks.to_list()):
        matrix[row, : len(vector or ())] = vector or ()
    return matrix


def _blocks_per_trade(datasets: DatasetRegistry, name: str, rows: pl.DataFrame) -> int:
    """Return how many blocks the longest trade reaches over; 1 if the dataset is gone."""
    if not datasets.exists(name):
        return 1
    hold = max(int(json.loads(text)["max_hold_bins"]) for text in set(rows["eval_json"].to_list()))
    return max(1, math.ceil(hold * datasets.open(name).cell_width_ns / PNL_BLOCK_NS))


def _spread_of_sharpe(results: ResultsDB, lineage: list[str], min_trades: int) -> float:
    """Return the variance of the Sharpe ratios of all trials with enough trades, 0 if there are too few."""
    traded = pl.col("n_signals") - pl.col("n_dropped")
    found = results.read(
        lambda: (
            results.runs(pl.col("dataset_id").is_in(lineage), blocks=False)
            .filter((traded >= min_trades) & (pl.col("net_pnl_sd") > 0.0))
            .select(*ROW_KEY, (pl.col("net_pnl_ticks") / pl.col("net_pnl_sd")).alias("sharpe"))
            .sort(ROW_KEY)
        )
    )["sharpe"].to_numpy()
    return float(np.var(found, ddof=1)) if found.size >= _ENOUGH_TO_COMPARE else 0.0


def by_evidence(rows: pl.DataFrame) -> pl.DataFrame:
    """Return rows of `weigh`, the most evidence first: p_adj, then p_random, then the lower end of the net PnL."""
    order = ["p_adj", "p_random", "net_pnl_lo", *ROW_KEY]
    return rows.sort(order, descending=[name == "net_pnl_lo" for name in order], nulls_last=True)


def verdict(row: Mapping[str, Any], evidence: Evidence) -> str:
    """Return in words what is to be thought of a row of `weigh`: one sentence without a full stop."""
    net, by_chance, p_adj, lo = (row[name] for name in ("net_pnl_ticks", "p_random", "p_adj", "net_pnl_lo"))
    trials = f"{evidence.n_rows:,} trial{'s' if evidence.n_rows != 1 else ''}"
    if net is None:
        return "did not trade"
    if by_chance is None:
        timing = "was not held against random entry"
    elif by_chance <= LEVEL:
        timing = "beats random entry"
    else:
        timing = f"is no better than random entry ({_percent(by_chance)} of random entries pay as much)"
    if net <= 0.0:
        joint = ", but" if by_chance is not None and by_chance <= LEVEL else " and"
        return f"{timing}{joint} loses {-net:.2f} ticks a trade after costs"
    if p_adj > LEVEL:
        draws = f"the best of {evidence.n_rows:,} lucky draws" if evidence.n_rows > 1 else "a lucky draw"
        size = "experiments this size" if evidence.n_rows > 1 else "such trials"
        return f"{timing}, and may be {draws}: {_percent(p_adj)} of {size} on pure noise do better"
    survives = f"survives {trials}"
    if by_chance is None or by_chance > LEVEL:
        return f"{survives}, but {timing}: what pays may be the market's drift and not the timing"
    if lo is None or lo <= 0.0:
        return f"{timing}, {survives}, but its mean may be 0 (95 %: {_ticks(lo)} to {_ticks(row['net_pnl_hi'])} ticks)"
    return f"{timing}, {survives}"


def wanting(row: Mapping[str, Any], evidence: Evidence, *, min_trades: int, required_by: str) -> list[str]:
    """Return why a row of `weigh` is not to be promoted, each reason with its figure and what is required.

    Parameters
    ----------
    row : mapping
        The row.
    evidence : Evidence
        Of its dataset.
    min_trades : int
        What the experiment requires; `MIN_TRADES` are required in any case.
    required_by : str
        Where that is written.
    """
    found, name = [], f"row {row['row']}"
    traded = (row["n_signals"] or 0) - (row["n_dropped"] or 0)
    if traded < min_trades:
        found.append(f"{name} has {traded} signals that traded; {required_by} requires {min_trades}.")
    elif traded < MIN_TRADES:
        found.append(f"{name} has {traded} trades; at least {MIN_TRADES} are required.")
    lo = row["net_pnl_lo"]
    if lo is None:
        found.append(
            f"{name} has no interval of its net PnL (eval.bootstrap_draws is 0, or it has fewer than 2 trades)."
        )
    elif lo <= 0.0:
        found.append(
            f"the net PnL of {name} is {row['net_pnl_ticks']:.3f} ticks a trade, 95 % from {lo:.3f} to "
            f"{row['net_pnl_hi']:.3f}; the lower end must be above 0."
        )
    if row["p_adj"] > LEVEL:
        found.append(
            f"p_adj of {name} is {row['p_adj']:.3f} and must be at most {LEVEL}: of experiments with "
            f"{evidence.n_rows} rows on pure noise, that share has a row that does as well."
        )
    return found


def statement(row: Mapping[str, Any], evidence: Evidence) -> str:
    """Return the verdict on a row of `weigh` with the figures behind it."""
    figures = (f"{name} {'none' if row[name] is None else format(row[name], '.4g')}" for name in STATED)
    return (
        f"Row {row['row']} {verdict(row, evidence)}. {', '.join(figures)}; {evidence.n_rows} rows in the experiment, "
        f"{evidence.n_trials} trials on this market in all."
    )


def _percent(p: float) -> str:
    return f"{100 * p:.0f} %" if p >= 0.095 else f"{100 * p:.1f} %"


def _ticks(value: float | None) -> str:
    return "?" if value is None else f"{value:.2f}"
