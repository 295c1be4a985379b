"""Rows as commands show them: which, in which order, and weighed against each other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import polars as pl

    from vpcore.backtest.cross_validation import SplitSpec
    from vpcore.config import ExperimentConfig
    from vpcore.inference.out_of_sample import OutOfSample
    from vpcore.inference.ranking import Evidence
    from vpcore.workspace import Workspace

EXPORTED = (
    "row", "run_id", "signal", "dataset_id", "varied", "threshold", "cooldown_bins", "tp_ticks", "sl_ticks", "trades",
    "n_eff", "net_pnl_ticks", "net_pnl_lo", "net_pnl_hi", "p_random", "p_adj", "q_random", "n_trials", "dsr", "tp_rate",
    "tp_rate_lo", "tp_rate_hi", "timeout_rate", "tp_resolved", "tp_resolved_lo", "tp_resolved_hi", "breakeven_rate",
    "driftless_rate", "mean_pnl_ticks", "net_pnl_sd", "net_pnl_skew", "net_pnl_kurtosis", "block_length",
    "events_per_hour", "sl_rate", "tie_rate",
    "median_time_to_outcome_ms", "max_concurrent", "n_signals", "n_up", "n_down", "n_dropped",
    "experiment_name", "code_digest", "in_sample", "net_in_sample", "net_out_of_sample", "trades_out_of_sample",
    "sessions", "sessions_paid", "worst_session_net", "threshold_quantile",
)  # fmt: skip
"""Columns of a CSV."""

SPARE = (
    "driftless", "timeouts", "mean", "resolved 95 %", "n_trials", "dsr", "n_eff", "breakeven", "resolved", "net 95 %",
    "run",
)  # fmt: skip
"""Those that a narrow terminal goes without, in this order."""


@dataclass(frozen=True, slots=True)
class Ranking:
    """Rows in order, weighed against each other.

    Attributes
    ----------
    rows : DataFrame
        Those with enough trades.
    n_few : int
        How many have fewer.
    why_few : str
        What is to be said if none has enough.
    evidence : dict
        By dataset.
    n_incomplete : int
        Combinations on several sessions that are not stored on all of them, and therefore not ranked.
    splits : OutOfSample or None
        What choosing in-sample comes to, of an experiment with `eval.splits`.
    searched : bool
        Whether which combinations were tried hung on the results of others.
    """

    rows: pl.DataFrame
    n_few: int
    why_few: str
    evidence: dict[str, Evidence]
    n_incomplete: int = 0
    splits: OutOfSample | None = None
    searched: bool = False

    @property
    def pooled(self) -> bool:
        """Whether a row is a combination over several sessions."""
        return "sessions" in self.rows.columns


def rank_experiment(
    workspace: Workspace,
    config: ExperimentConfig,
    *,
    sort: str,
    min_signals: int,
    signal: str | None = None,
    per_session: bool = False,
) -> Ranking:
    """Return the rows of an experiment as it is now, ranked; of one on several sessions its combinations.

    Parameters
    ----------
    workspace : Workspace
        Where they are stored.
    config : ExperimentConfig
        The experiment.
    sort, min_signals, signal
        As in `rank`.
    per_session : bool
        Rows and not combinations.
    """
    from vpcore.experiment.adaptive_search import choices
    from vpcore.experiment.run import plan_experiment
    from vpcore.experiment.session_members import pooled_rows

    plan = plan_experiment(workspace, config)
    runs = plan.runs if plan is not None else ()
    cut = None if config.eval.splits is None else (config.eval.splits, config.select_metric)
    if len(config.sessions) == 1 or per_session:
        keys = [(run.run_id, trial) for run in runs for trial in run.trials]
        filters = {"keys": keys, "signal": signal}
        whole = len(config.sessions) == 1
        found = rank(
            workspace,
            filters,
            sort=sort,
            min_signals=min_signals,
            cut=cut if whole else None,
            n_choices=choices(config, runs),
        )
        return replace(found, searched=config.searched)
    family, n_incomplete = pooled_rows(workspace, config, runs)
    found = rank(
        workspace,
        {"signal": signal},
        sort=sort,
        min_signals=min_signals,
        family=family,
        cut=cut,
        n_choices=choices(config, runs),
    )
    return replace(found, n_incomplete=n_incomplete, searched=config.searched)


def rank(
    workspace: Workspace,
    filters: Mapping[str, Any],
    *,
    sort: str,
    min_signals: int,
    family: pl.DataFrame | None = None,
    cut: tuple[SplitSpec, str] | None = None,
    n_choices: int = 0,
) -> Ranking:
    """Return the rows of a query, or of `family`, ranked, with what depends on the other rows.

    A filter by signal is applied after weighing: leaving rows out does not make the others less lucky. `cut` says how
    they were split, and by which figure is chosen in-sample; `n_choices` as `weigh` takes it.

    Raises
    ------
    ResultsError
        If `sort` is neither a figure nor ``evidence``.
    """
    import polars as pl

    from vpcore.errors import ResultsError, did_you_mean, listed
    from vpcore.experiment.tables import HEADINGS
    from vpcore.inference.evidence import too_few
    from vpcore.inference.out_of_sample import SPLIT_FIGURES, out_of_sample
    from vpcore.inference.ranking import COMPUTED, EVIDENCE, by_evidence, weigh
    from vpcore.results import ROW_KEY, SORTABLE, in_order

    derived = {
        "trades": pl.col("n_signals") - pl.col("n_dropped"),
        "tp_resolved": pl.col("tp_rate") / (pl.col("tp_rate") + pl.col("sl_rate")),
    }
    pooled = ("sessions_paid", "worst_session_net") if family is not None else ()
    weighed_figures = (*COMPUTED, EVIDENCE, *(SPLIT_FIGURES if cut is not None else ()), *derived, *pooled)
    if sort not in (*SORTABLE, *weighed_figures):
        names = (*SORTABLE, *weighed_figures)
        near = did_you_mean(sort, (*names, *(name for name, column in HEADINGS.items() if column in names)))
        raise ResultsError(f"Rows cannot be sorted by '{sort}'.{near} Figures: {listed(names)}.")
    stored = None if sort in weighed_figures else sort
    if family is None:
        others = {name: value for name, value in filters.items() if name != "signal"}
        found = workspace.results.query_runs(**others, sort=stored, blocks=cut is not None)
    else:
        found = in_order(family, stored)
    splits = None
    if cut is not None:
        found, splits = out_of_sample(found, cut[0], metric=cut[1], min_trades=min_signals)
    kept = workspace.cache_dir
    weighed, evidence = weigh(workspace.results, found, min_trades=min_signals, cache_dir=kept, n_choices=n_choices)
    if filters.get("signal") is not None:
        weighed = weighed.filter(pl.col("signal_name") == filters["signal"])
    if sort == EVIDENCE:
        weighed = by_evidence(weighed)
    elif sort in weighed_figures:
        if sort in derived:
            weighed = weighed.with_columns(derived[sort].fill_nan(None).alias(sort))
        order, low = [sort, *ROW_KEY], sort in ("p_adj", "q_random", "n_trials")
        weighed = weighed.sort(order, descending=[not low] + [False] * len(ROW_KEY), nulls_last=True)
    enough = weighed.filter(weighed["n_signals"] - weighed["n_dropped"] >= min_signals)
    why = too_few(weighed, min_signals)
    return Ranking(enough, weighed.height - enough.height, why, evidence, splits=splits)
