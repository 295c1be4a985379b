"""Figures of a row that depend on the other rows of its family and on every trial of its market.

The *family* of a row is the set of rows that compete with it. `with_evidence` takes rows with known families and adds
the figures; `vpcore.experiment.leaderboard` decides the families.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from vpcore.dataset import ColumnCache
from vpcore.inference.blocks import RowsOf, VectorTable, engines_of, padded, pnl_matrix
from vpcore.inference.moments import pooled_moments
from vpcore.inference.summaries import Evidence
from vpcore.results import COMBINATION, ROW_KEY, TRADES, TRIAL_KEY, VECTORS, ResultsDB, traded
from vpcore.statistics.multiple_testing import benjamini_hochberg, standardised, step_down
from vpcore.statistics.pbo import overfit_probability
from vpcore.statistics.sharpe import deflated_sharpes, expected_best_sharpe

COMPUTED = ("p_adj", "q_random", "dsr", "pbo", "n_trials")
"""Columns that `with_evidence` adds."""

FAMILY = "family"
"""Column with the id of a row's family."""

EVIDENCE = "evidence"
"""Name of the order of `by_evidence`, in place of a figure."""

_ENOUGH_TO_COMPARE = 2
_MOST_CACHED = 256
_TYPES = {name: pl.Int64 if name == "n_trials" else pl.Float64 for name in COMPUTED}
_MOMENTS = ("net_pnl_ticks", "net_pnl_sd", "net_pnl_skew", "net_pnl_kurtosis")
_TRADED = ("n_signals", "n_dropped")
RANKED_BY = ("dataset_id", *_TRADED, "n_eff", "p_random", *_MOMENTS)
"""Columns that `with_evidence` requires beside `FAMILY`, the key and the batch of a row."""

_NEEDED = frozenset((*ROW_KEY, FAMILY, "batch_id", *RANKED_BY, *VECTORS))

_Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Family:
    """Common properties of the rows of a family.

    Attributes
    ----------
    experiment : str
        Name of the experiment that computed the rows.
    dataset_id : str
        Dataset of the rows; several datasets in one id for combinations over sessions and for rows of several engines,
        see `vpcore.inference.blocks.engines_of`.
    min_trades : int
        `select.min_signals` of the experiment. `pbo` and the spread of Sharpe ratios leave out rows with fewer trades.
        Every row counts for `p_adj`.
    n_choices : int
        Number of candidate rows of a search, including untried rows; 0 without a search.
    config_hash : str
        Digest of the resolved experiment. With its name it identifies the batch of the rows in the ledger.
    rings : mapping of str to str
        Of rows of several engines, by the `dataset_id` of a row: rows with one text share their rotations in time, as
        engines with bins of one width do. Empty if all rows share them.
    """

    experiment: str
    dataset_id: str
    min_trades: int
    n_choices: int = 0
    config_hash: str = ""
    rings: Mapping[str, str] = field(default_factory=dict)

    def rings_of(self, dataset_ids: pl.Series) -> pl.Series:
        """Return the number of the ring of each row, given its `dataset_id`."""
        names = {name: self.rings.get(name, name) if self.rings else "" for name in dataset_ids.unique()}
        number = {ring: i for i, ring in enumerate(sorted(set(names.values())))}
        ring = {name: number[of] for name, of in names.items()}
        return dataset_ids.replace_strict(ring, return_dtype=pl.Int64).alias("ring")


def with_evidence(
    results: ResultsDB, rows: pl.DataFrame, families: Mapping[str, Family], *, cache_dir: Path | None = None
) -> tuple[pl.DataFrame, dict[str, Evidence]]:
    """Add the figures that depend on other rows.

    Parameters
    ----------
    results : ResultsDB
        Store with all trials of the market.
    rows : DataFrame
        All rows of the families, from `ResultsDB.query_runs` or `pool`, with the column `FAMILY`. Missing vectors are
        read from the store; vectors are most of the data.
    families : mapping of str to Family
        By the values of `FAMILY`.
    cache_dir : Path, optional
        Cache of the figures that depend on the vectors (`p_adj`, `pbo`). Any file in it may be deleted.

    Returns
    -------
    rows : DataFrame
        In the same order, without list columns, with

        - ``p_adj``: of the first batch on a market, the Romano-Wolf step-down p-value over the family, in the draws
          behind `p_random`: the share of draws in which the best row at random times does as well. Later batches were
          written after a look at the results, and a search looks at every round: of these `over_all_trials`. Null for
          0 draws. Rows of engines with bins of several widths are rotated on rings of their own: the step-down runs
          within each width, and its p-value is multiplied by the number of widths (Bonferroni);
        - ``q_random``: Benjamini-Hochberg q-value of ``p_random`` over the family: the expected share of random rows
          among the rows up to this ``p_random``;
        - ``dsr``: deflated Sharpe ratio over all trials of the market, null if undefined;
        - ``pbo``: probability of backtest overfitting of the family, equal in all its rows;
        - ``n_trials``: number of trials of the market.
    evidence : dict
        By family.

    Notes
    -----
    `p_adj` uses rotations: entries at another time have the skewness of the market itself. A bootstrap and sign flips
    of block PnL assume a symmetric PnL, and a stop wider than the take-profit makes the PnL skewed (most trades win a
    little). Among sixty rows with such barriers, flips of twelve blocks found a winner in noise in 13 % of cases at a
    level of 5 %; with barriers of two against twelve ticks alone, in nearly all cases.
    """
    # The columns that are needed: whole rows have thirty more. Rows that are in order already are not copied.
    ordered = rows.select(name for name in rows.columns if name in _NEEDED).with_row_index("_order")
    order = ordered.select(pl.arg_sort_by(FAMILY, *ROW_KEY, "_order")).to_series()
    if not (order == ordered["_order"]).all():
        ordered = ordered[order]
    lengths, start = ordered[FAMILY].rle().struct.unnest(), 0
    found = {name: np.full(rows.height, np.nan) for name in COMPUTED}
    parts: dict[str, pl.DataFrame] = dict.fromkeys(rows[FAMILY].unique(maintain_order=True), ordered)
    for name, length in zip(lengths["value"], lengths["len"], strict=True):
        parts[name], start = ordered.slice(start, length), start + length
    of_vectors = _vector_figures(results, parts, families, cache_dir)
    evidence, market = {}, _Market(results, ordered)
    for name, part in parts.items():
        evidence[name], figures = _figures(market, families[name], part, *of_vectors[name])
        for column, values in figures.items():
            found[column][part["_order"].to_numpy()] = values
    columns = (pl.Series(name, found[name]).fill_nan(None).cast(_TYPES[name]) for name in COMPUTED)
    return rows.drop(VECTORS, strict=False).with_columns(columns), evidence


def _figures(
    market: _Market, family: Family, rows: pl.DataFrame, p_adj: _Floats, pbo: float | None
) -> tuple[Evidence, dict[str, _Floats]]:
    engines, least = engines_of(family.dataset_id), family.min_trades
    names = [name for engine in engines for name in engine]
    if len(engines[0]) == 1:
        n_trials, variance = market.trials.count(names), market.spread(names[0], least)
    else:
        own = _variance(_sharpe(rows.filter(traded(least))))
        n_trials, variance = market.trials.count_joint(engines), max(own, market.joint_spread(engines, least))
    lost = (family.experiment, family.config_hash) in market.lost
    first = not family.n_choices and market.trials.is_first(family.experiment, family.config_hash, names) and not lost
    dsr = _deflated(rows, variance, n_trials)
    best = expected_best_sharpe(variance, n_trials) if variance > 0.0 else None
    about = Evidence(
        family.experiment, family.dataset_id, rows.height, n_trials, pbo, best, family.n_choices, first, lost
    )
    p_random = rows["p_random"].cast(pl.Float64).fill_null(np.nan).to_numpy()
    return about, {
        "p_adj": p_adj if first else over_all_trials(p_random, about.n_adjusted),
        "q_random": benjamini_hochberg(p_random),
        "dsr": dsr,
        "pbo": np.full(rows.height, np.nan if pbo is None else pbo),
        "n_trials": np.full(rows.height, float(n_trials)),
    }


def _deflated(rows: pl.DataFrame, variance: float, n_trials: int) -> _Floats:
    net, sd, skew, kurtosis, n_eff = (
        rows[name].cast(pl.Float64).fill_null(np.nan).to_numpy() for name in (*_MOMENTS, "n_eff")
    )
    sharpe = np.divide(net, sd, out=np.full(net.shape, np.nan), where=sd != 0.0)
    return deflated_sharpes(sharpe, n_eff, skew, kurtosis, variance=variance, n_trials=n_trials)


def alone(rows: pl.DataFrame, *, min_trades: int) -> dict[str, _Floats]:
    """Return `p_adj`, `dsr` and `pbo` of rows that are all trials of their market; NaN if undefined.

    Parameters
    ----------
    rows : DataFrame
        With ``n_signals``, ``n_dropped``, ``n_eff``, the moments of the net PnL and the vectors.
    min_trades : int
        As in `Family`.
    """
    enough = rows.select(traded(min_trades)).to_series()
    p_adj, pbo = _of_vectors(rows, enough)
    dsr = _deflated(rows, _variance(_sharpe(rows.filter(enough))), rows.height)
    return {"p_adj": p_adj, "dsr": dsr, "pbo": np.full(rows.height, np.nan if pbo is None else pbo)}


def over_all_trials(p: _Floats, n_trials: int) -> _Floats:
    """Return p-values of single rows raised to the best of `n_trials` independent trials: ``1 - (1 - p)^n_trials``.

    An upper estimate (Sidak 1967). An exponent of trials per row is none: near-copies of a winner pass it.
    """
    with np.errstate(divide="ignore"):
        raised: _Floats = -np.expm1(n_trials * np.log1p(-p))
    return raised


# -- figures of the vectors --------------------------------------------------------------------------------------------


def _vector_figures(
    results: ResultsDB, parts: Mapping[str, pl.DataFrame], families: Mapping[str, Family], cache_dir: Path | None
) -> dict[str, tuple[_Floats, float | None]]:
    """Return `p_adj` and `pbo` of every family, from the cache if it has the same rows."""
    enough = {name: part.select(traded(families[name].min_trades)).to_series() for name, part in parts.items()}
    rings = {name: families[name].rings_of(part["dataset_id"]) for name, part in parts.items()}
    found: dict[str, tuple[_Floats, float | None]] = {}
    stores: dict[str, ColumnCache] = {}
    for name, part in parts.items():
        if cache_dir is None or set(VECTORS) <= set(part.columns):
            continue
        stores[name] = ColumnCache(cache_dir / EVIDENCE, _identity(part, enough[name], rings[name]))
        kept = stores[name].get("vectors")
        if kept is not None:
            found[name] = np.array(kept[:-1]), None if np.isnan(kept[-1]) else float(kept[-1])
    missing = {name: part for name, part in parts.items() if name not in found}
    for name, (p_adj, pbo) in _of_families(results, missing, enough, rings).items():
        found[name] = p_adj, pbo
        if name in stores:
            kept = np.array([*p_adj, np.nan if pbo is None else pbo])
            stores[name].get_or_make("vectors", lambda kept=kept: kept)  # type: ignore[misc]
            prune(stores[name].folder)
    return found


def _of_families(
    results: ResultsDB,
    parts: Mapping[str, pl.DataFrame],
    enough: Mapping[str, pl.Series],
    rings: Mapping[str, pl.Series],
) -> dict[str, tuple[_Floats, float | None]]:
    """Return `p_adj` and `pbo` of families. The store is read once, a part at a time: most of its data are vectors."""
    if not parts or all(set(VECTORS) <= set(part.columns) for part in parts.values()):
        return {name: _of_vectors(part, enough[name], rings[name]) for name, part in parts.items()}
    table, start = VectorTable(sum(part.height for part in parts.values())), 0
    keys = pl.concat(part.select(*ROW_KEY, "batch_id") for part in parts.values())
    results.each_vectors(keys, table.columns, table.put)
    found: dict[str, tuple[_Floats, float | None]] = {}
    for name, part in parts.items():
        rows = np.arange(start, start + part.height)
        pbo = overfit_probability(table.blocks(rows[enough[name].to_numpy()]))
        found[name] = _over_rings(table.sums, rows, table.n_sums[rows], rings[name]), pbo
        start += part.height
    return found


def _of_vectors(rows: pl.DataFrame, enough: pl.Series, rings: pl.Series | None = None) -> tuple[_Floats, float | None]:
    pbo = overfit_probability(np.ascontiguousarray(pnl_matrix(rows["block_pnl_ticks"])[enough.to_numpy()]))
    return adjusted(rows["rotated_net"], rings), pbo


def _identity(rows: pl.DataFrame, enough: pl.Series, rings: pl.Series) -> str:
    """Return the sha256 of the keys of stored rows, of what decides their figures, and of the code behind these."""
    hasher = hashlib.sha256()
    for module in (with_evidence, step_down, overfit_probability, pnl_matrix):
        hasher.update(Path(module.__code__.co_filename).read_bytes())
    # A batch is never changed: its id stands for its content. Neighbours are of one run.
    for name in ("run_id", "batch_id"):
        texts = rows[name].rle().struct.unnest()
        hasher.update(repr([texts["value"].to_list(), texts["len"].to_list()]).encode())
    for column in (*rows.select(TRIAL_KEY).get_columns(), enough.cast(pl.Int8), rings):
        hasher.update(column.to_numpy().tobytes())
    return hasher.hexdigest()


def prune(folder: Path) -> None:
    """Delete all but the latest `_MOST_CACHED` files of the cache."""
    with contextlib.suppress(OSError):  # another process prunes
        files = sorted(folder.glob("vectors.*.npy"), key=lambda path: path.stat().st_mtime, reverse=True)
        for old in files[_MOST_CACHED:]:
            old.unlink()


def adjusted(rotated: pl.Series, rings: pl.Series | None = None) -> _Floats:
    """Return the step-down p-value of each row, NaN for a row that lacks draws.

    The row with the fewest draws sets the number of compared draws. `rings`: as of `Family.rings_of`; one by default.
    """
    sums, n_sums = padded(rotated)
    one = pl.Series([0] * len(rotated), dtype=pl.Int64) if rings is None else rings
    return _over_rings(sums, np.arange(len(rotated)), n_sums, one)


def _over_rings(
    sums: npt.NDArray[Any], rows: npt.NDArray[np.int64], n_sums: npt.NDArray[np.int64], rings: pl.Series
) -> _Floats:
    """Return the step-down p-value of each row on its ring, times the number of rings, at most 1.

    Draws of two rings move trades by other times, so that their maximum says nothing of both. Bonferroni over the rings
    holds whatever their dependence.
    """
    answer = np.empty(len(rows))
    numbers = rings.to_numpy()
    every = np.unique(numbers)
    for ring in every:
        on = np.flatnonzero(numbers == ring)
        answer[on] = np.minimum(1.0, len(every) * _step_down(sums, rows[on], n_sums[on]))
    return answer


def _step_down(sums: npt.NDArray[Any], rows: npt.NDArray[np.int64], n_sums: npt.NDArray[np.int64]) -> _Floats:
    """Return the step-down p-value of some rows of a table, of which each has its first `n_sums` numbers."""
    answer = np.full(len(rows), np.nan)
    drawn = np.flatnonzero(n_sums > 1)
    if drawn.size:
        width = int(n_sums[drawn].min())
        observed = RowsOf(sums, rows[drawn], width, lambda part: standardised(part)[:, 0])
        draws = RowsOf(sums, rows[drawn], width, lambda part: standardised(part)[:, 1:], width - 1)
        answer[drawn] = step_down(observed.all(), draws)
    return answer


# -- trials of the market ----------------------------------------------------------------------------------------------


class _Market:
    """Trials of markets, counted once per question.

    The number of trials raises `p_adj`. The same number and the spread of Sharpe ratios decide `dsr`.
    """

    def __init__(self, results: ResultsDB, ranked: pl.DataFrame) -> None:
        self._results, self._ranked = results, ranked
        self.trials = results.trials()
        self.lost = results.lost()
        self.spread = cache(self._spread)

    def _spread(self, dataset_id: str, min_trades: int) -> float:
        """Return the variance of the Sharpe ratios of all trials with enough trades, 0 for fewer than two."""
        lineage = self.trials.market(dataset_id)
        found = self._of_market(lineage)
        if found is None:
            found = self._results.query_runs(
                dataset_id=lineage, status=None, columns=("net_pnl_ticks", "net_pnl_sd", *_TRADED)
            )
        return _variance(_sharpe(found.filter(traded(min_trades))))

    def _of_market(self, lineage: Sequence[str]) -> pl.DataFrame | None:
        """Return the ranked rows of some datasets, in order of keys, if the store has no other commit of them.

        A commit of which one row is ranked is ranked whole: its rows agree in code, status and family.
        """
        on = ["run_id", "batch_id"]
        ranked = self._ranked.lazy().filter(pl.col("dataset_id").is_in(lineage))
        have = ranked.select(on).unique().cast(pl.String).collect()
        if self._results.batches(dataset_id=lineage).join(have, on=on, how="anti").height:
            return None
        found = ranked.select(*ROW_KEY, "net_pnl_ticks", "net_pnl_sd", *_TRADED).collect()
        return found if self._ranked[FAMILY].n_unique() == 1 else found.sort(ROW_KEY)

    def joint_spread(self, engines: Sequence[Sequence[str]], min_trades: int) -> float:
        """Return the variance of the Sharpe ratios of all combinations on several sessions, of some engines."""
        place = {name: i for i, names in enumerate(engines) for name in names}
        names = list(place)
        columns = (*COMBINATION, "dataset_id", *_TRADED, *_MOMENTS)
        stored = self._results.query_runs(dataset_id=names, status=None, columns=columns)
        stored = stored.filter(TRADES > 0).with_columns(TRADES).sort(*COMBINATION, "dataset_id")
        stored = stored.with_columns(engine=pl.col("dataset_id").replace_strict(place, return_dtype=pl.Int64))
        enough = pl.col("trades").sum().over(*COMBINATION, "engine") >= min_trades
        return _variance(_sharpe(pooled_moments(stored.filter(enough), *COMBINATION, "engine")))


def _sharpe(rows: pl.DataFrame) -> _Floats:
    found = rows.filter(pl.col("net_pnl_sd") > 0.0)
    return (found["net_pnl_ticks"] / found["net_pnl_sd"]).to_numpy()


def _variance(values: _Floats) -> float:
    return float(np.var(values, ddof=1)) if values.size >= _ENOUGH_TO_COMPARE else 0.0


def by_evidence(rows: pl.DataFrame) -> pl.DataFrame:
    """Return rows with the most evidence first: by p_adj, then p_random, then the lower end of the net PnL."""
    order = ["p_adj", "p_random", "net_pnl_lo", *ROW_KEY]
    return rows.sort(order, descending=[name == "net_pnl_lo" for name in order], nulls_last=True)
