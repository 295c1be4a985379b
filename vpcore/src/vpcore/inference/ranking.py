"""The figures of a row that depend on the other rows, and on what else was ever tried on the same market."""

from __future__ import annotations

import contextlib
import hashlib
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from vpcore.dataset import ColumnCache
from vpcore.inference.blocks import datasets_of, pnl_matrix
from vpcore.inference.moments import pooled_moments
from vpcore.results import COMBINATION, ROW_KEY, VECTORS, ResultsDB
from vpcore.statistics.multiple_testing import benjamini_hochberg, standardised, step_down
from vpcore.statistics.pbo import overfit_probability
from vpcore.statistics.sharpe import deflated_sharpes, expected_best_sharpe

COMPUTED = ("p_adj", "q_random", "dsr", "n_trials")
"""Columns that `weigh` adds."""

EVIDENCE = "evidence"
"""The order of `by_evidence`, where a figure is asked for."""

_ENOUGH_TO_COMPARE = 2
_KEPT = 32
_NEEDED = frozenset(
    (*ROW_KEY, "batch_id", "dataset_id", "n_signals", "n_dropped", "n_eff", "net_pnl_ticks", "net_pnl_sd",
     "net_pnl_skew", "net_pnl_kurtosis", "p_random", *VECTORS)
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known of the rows on one dataset together.

    Attributes
    ----------
    dataset_id : str
    n_rows : int
        Rows that were read.
    n_trials : int
        Combinations ever evaluated on this market, failed ones and those of other experiments included.
    pbo : float or None
        Probability of backtest overfitting, of the rows with enough trades.
    best_by_luck : float or None
        Sharpe ratio per trade that the best of so many worthless trials is expected to show.
    n_choices : int
        Rows that a search chose from, those that it did not try included; 0 where nothing was searched.
    """

    dataset_id: str
    n_rows: int
    n_trials: int
    pbo: float | None
    best_by_luck: float | None
    n_choices: int = 0

    @property
    def n_adjusted(self) -> int:
        """How many trials `p_adj` is adjusted for."""
        return max(self.n_rows, self.n_trials, self.n_choices)

    def plain(self) -> dict[str, Any]:
        """Return it as JSON holds it."""
        return asdict(self)


def weigh(
    results: ResultsDB, rows: pl.DataFrame, *, min_trades: int, cache_dir: Path | None = None, n_choices: int = 0
) -> tuple[pl.DataFrame, dict[str, Evidence]]:
    """Add to rows what depends on the other rows.

    Parameters
    ----------
    results : ResultsDB
        Where the trials are counted.
    rows : DataFrame
        All rows of an experiment, from `ResultsDB.query_runs`, or of `pool`. Rows on several datasets are weighed by
        dataset. The vectors, which are nearly all of the data, are read where rows do not have them.
    min_trades : int
        Rows with fewer take no part in `pbo` and in the spread of Sharpe ratios; `p_adj` is adjusted for all.
    cache_dir : Path, optional
        Where what depends on the vectors (`p_adj`, `pbo`) is kept, for the same rows to be weighed again without
        reading them. Nothing in it is needed.
    n_choices : int
        How many rows there were to choose from on a dataset, if which were tried hung on the results of others. A
        search goes where figures are high, so its rows count as the best of all of them.

    Returns
    -------
    rows : DataFrame
        In the same order, without the columns of lists, with

        - ``p_adj``: Romano-Wolf step-down p-value over all the rows in the draws behind `p_random`: how often the best
          of all these rows does as well at random times. If more than these rows was tried on the market, it is
          raised to what so many independent trials would make of it (`over_all_trials`): a row that was found among
          many is no better for being read alone, and neither is one that a search found. Null without draws;
        - ``q_random``: Benjamini-Hochberg q-value of ``p_random`` over all the rows: of those with this one or a lower,
          the share that is expected to be no better than random entry;
        - ``dsr``: deflated Sharpe ratio over all trials on the market, null where it is not defined;
        - ``n_trials``: number of those.
    evidence : dict
        By `dataset_id` of the rows.

    Notes
    -----
    Rotations and not a bootstrap or sign flips of the PnL of blocks: those take what a block pays as symmetric about
    its mean. With a stop wider than the take-profit it is not (most trades win a little), and among sixty rows of such
    barriers, flips of twelve blocks found a winner in noise in 13 % of cases at a level of 5 %; with two ticks against
    twelve alone in nearly all. What an entry at another time would have paid has the skewness that it has.
    """
    parts, evidence = [], {}
    # Only what is weighed is sorted and put back: rows have thirty columns more, which need not move.
    numbered = rows.select(name for name in rows.columns if name in _NEEDED).with_row_index("_order")
    for name in sorted(set(rows["dataset_id"].to_list())):
        part = numbered.filter(pl.col("dataset_id") == name).sort(*ROW_KEY, "_order")
        figures, evidence[name] = _weigh_one(results, name, part, min_trades, cache_dir, n_choices)
        parts.append(part.select("_order").with_columns(figures))
    if not parts:
        empty = (pl.lit(None, dtype=pl.Int64 if name == "n_trials" else pl.Float64).alias(name) for name in COMPUTED)
        return rows.drop(VECTORS, strict=False).with_columns(*empty), {}
    figures_of_all = pl.concat(parts).sort("_order").drop("_order")
    return rows.drop(VECTORS, strict=False).with_columns(figures_of_all.get_columns()), evidence


def _weigh_one(
    results: ResultsDB, name: str, rows: pl.DataFrame, min_trades: int, cache_dir: Path | None, n_choices: int
) -> tuple[list[pl.Series], Evidence]:
    names = datasets_of(name)
    lineage = sorted({other for one in names for other in results.lineage(one)})
    enough = (rows["n_signals"] - rows["n_dropped"] >= min_trades).fill_null(False)
    if len(names) == 1:
        n_trials = results.count_trials(*lineage)
        variance = _spread_of_sharpe(results, lineage, min_trades)
    else:
        others = sorted({*lineage} - {*names})
        n_trials = results.count_combinations(names) + (results.count_trials(*others) if others else 0)
        variance = max(_variance(_sharpe(rows.filter(enough))), _spread_over_sessions(results, names, min_trades))
    net, sd, n_eff, skew, kurtosis = (
        rows[name].cast(pl.Float64).fill_null(np.nan).to_numpy()
        for name in ("net_pnl_ticks", "net_pnl_sd", "n_eff", "net_pnl_skew", "net_pnl_kurtosis")
    )
    sharpe = np.divide(net, sd, out=np.full(net.shape, np.nan), where=sd != 0.0)
    dsr = deflated_sharpes(sharpe, n_eff, skew, kurtosis, variance=variance, n_trials=n_trials)
    p_adj, pbo = _of_vectors(results, rows, enough, cache_dir)
    luck = expected_best_sharpe(variance, n_trials) if variance > 0.0 else None
    about = Evidence(name, rows.height, n_trials, pbo, luck, n_choices)
    p_adj = over_all_trials(p_adj, about.n_rows, about.n_adjusted)
    figures = [
        p_adj,
        pl.Series(
            "q_random",
            benjamini_hochberg(rows["p_random"].cast(pl.Float64).fill_null(np.nan).to_numpy()),
            dtype=pl.Float64,
        ).fill_nan(None),
        pl.Series("dsr", dsr, dtype=pl.Float64),
        pl.Series("n_trials", [n_trials] * rows.height, dtype=pl.Int64),
    ]
    return figures, about


def over_all_trials(p_adj: pl.Series, n_rows: int, n_trials: int) -> pl.Series:
    """Return p-values adjusted for `n_rows` rows as they are among `n_trials` trials: ``1 - (1 - p)^(trials / rows)``.

    Trials that are not among the rows are taken as independent of them (Sidak 1967), which makes the answer too high
    rather than too low. With no others it is what it was.
    """
    if n_trials <= n_rows:
        return p_adj
    p = p_adj.fill_null(np.nan).to_numpy()
    with np.errstate(divide="ignore"):
        raised = -np.expm1(n_trials / n_rows * np.log1p(-p))
    return pl.Series(p_adj.name, raised, dtype=pl.Float64).fill_nan(None)


def _of_vectors(
    results: ResultsDB, rows: pl.DataFrame, enough: pl.Series, cache_dir: Path | None
) -> tuple[pl.Series, float | None]:
    """Return `p_adj` of rows and their `pbo`, from the cache if the same rows were weighed before."""

    def make() -> npt.NDArray[np.float64]:
        full = rows if set(VECTORS) <= set(rows.columns) else results.with_vectors(rows)
        pbo = overfit_probability(np.ascontiguousarray(pnl_matrix(full["block_pnl_ticks"])[enough.to_numpy()]))
        found = [*adjusted(full["rotated_net"]), pbo]
        return np.array([np.nan if value is None else value for value in found])

    if cache_dir is None or set(VECTORS) <= set(rows.columns):
        found = make()
    else:
        cache = ColumnCache(cache_dir / EVIDENCE, _identity(rows, enough))
        found = cache.get_or_make("vectors", make)
        prune(cache.folder)
    pbo = float(found[-1])
    return pl.Series("p_adj", found[:-1], dtype=pl.Float64).fill_nan(None), None if math.isnan(pbo) else pbo


def _identity(rows: pl.DataFrame, enough: pl.Series) -> str:
    """Return the sha256 of which stored rows these are, in order, which have enough trades, and of what computes."""
    hasher = hashlib.sha256()
    for module in (weigh, step_down, overfit_probability, pnl_matrix):
        hasher.update(Path(module.__code__.co_filename).read_bytes())
    # A batch is never changed, so that its id stands for what is in it.
    text = rows.select(pl.concat_str(pl.col(*ROW_KEY, "batch_id"), enough.rename("_enough"), separator=" ").alias("of"))
    hasher.update(text["of"].str.join("\n").item().encode())
    return hasher.hexdigest()


def prune(folder: Path) -> None:
    """Delete all but the latest `_KEPT` files of the cache."""
    with contextlib.suppress(OSError):  # another process prunes
        files = sorted(folder.glob("vectors.*.npy"), key=lambda path: path.stat().st_mtime, reverse=True)
        for old in files[_KEPT:]:
            old.unlink()


def adjusted(rotated: pl.Series) -> list[float | None]:
    """Return the step-down p-value of each row, None for one without draws.

    Of rows with more and fewer draws, those count that all have.
    """
    lengths = rotated.list.len().fill_null(0)
    drawn = lengths > 1
    answer: list[float | None] = [None] * len(rotated)
    if drawn.any():
        width = int(lengths.filter(drawn).min())  # type: ignore[arg-type]
        sums = rotated.filter(drawn).list.head(width).explode().to_numpy().reshape(-1, width)
        scores = standardised(sums)
        for at, p in zip(drawn.arg_true(), step_down(scores[:, 0], scores[:, 1:]), strict=True):
            answer[at] = float(p)
    return answer


def _spread_of_sharpe(results: ResultsDB, lineage: list[str], min_trades: int) -> float:
    """Return the variance of the Sharpe ratios of all trials with enough trades, 0 if there are too few."""
    traded = pl.col("n_signals") - pl.col("n_dropped")
    found = results.read(
        lambda: (
            results.runs(pl.col("dataset_id").is_in(lineage), blocks=False)
            .filter(traded >= min_trades)
            .select(*ROW_KEY, "net_pnl_ticks", "net_pnl_sd")
            .sort(ROW_KEY)
        )
    )
    return _variance(_sharpe(found))


def _spread_over_sessions(results: ResultsDB, names: list[str], min_trades: int) -> float:
    """Return the same of what was tried on several sessions, by any experiment: of all trades of a combination."""
    moments = ("net_pnl_ticks", "net_pnl_sd", "net_pnl_skew", "net_pnl_kurtosis")
    traded = (pl.col("n_signals") - pl.col("n_dropped")).alias("trades")
    stored = results.read(
        lambda: (
            results.runs(pl.col("dataset_id").is_in(names), blocks=False)
            .filter(traded > 0)
            .select(*COMBINATION, "dataset_id", traded, *moments)
            .sort(*COMBINATION, "dataset_id")
        )
    )
    enough = pl.col("trades").sum().over(COMBINATION) >= min_trades
    return _variance(_sharpe(pooled_moments(stored.filter(enough), *COMBINATION)))


def _sharpe(rows: pl.DataFrame) -> npt.NDArray[np.float64]:
    found = rows.filter(pl.col("net_pnl_sd") > 0.0)
    return (found["net_pnl_ticks"] / found["net_pnl_sd"]).to_numpy()


def _variance(values: npt.NDArray[np.float64]) -> float:
    return float(np.var(values, ddof=1)) if values.size >= _ENOUGH_TO_COMPARE else 0.0


def by_evidence(rows: pl.DataFrame) -> pl.DataFrame:
    """Return rows of `weigh`, the most evidence first: p_adj, then p_random, then the lower end of the net PnL."""
    order = ["p_adj", "p_random", "net_pnl_lo", *ROW_KEY]
    return rows.sort(order, descending=[name == "net_pnl_lo" for name in order], nulls_last=True)
