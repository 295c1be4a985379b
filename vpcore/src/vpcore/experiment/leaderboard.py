"""The leaderboard: stored rows, ranked, each with the evidence of its family.

Every command that ranks rows or speaks of their evidence reads it here, so that a row has one `p_adj`, one `dsr` and
one `pbo` at a time.

**The family of a row** is decided by the row. A row belongs to the experiment that computed it. Its family is every row
of the installed code that the same batch (one resolved experiment) stored on the same session, on the datasets of all
engines of `sweep.pipeline`, whichever experiment, run or filter leads to the row. Rows with `select.min_signals` trades
of its experiment have enough trades.
A combination over several sessions belongs to the experiment that pools it; its family is every combination in this
experiment. Rows of other code than the installed one are families of their own.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

import polars as pl

from vpcore.errors import ResultsError, SignalError, VpError, did_you_mean, listed
from vpcore.experiment.engines import SESSION, rings_of, with_engines
from vpcore.experiment.tables import HEADINGS, with_rates
from vpcore.inference.blocks import ENGINES
from vpcore.inference.evidence import verdict
from vpcore.inference.out_of_sample import SPLIT_FIGURES, out_of_sample
from vpcore.inference.ranking import COMPUTED, EVIDENCE, FAMILY, RANKED_BY, Family, by_evidence, with_evidence
from vpcore.results import ROW_KEY, RUNS, SORTABLE, TRADES, in_order
from vpcore.results.frames import best_first, coded, key_frame
from vpcore.signal import InstalledCode, code_digest, core_digest, declared_digests

if TYPE_CHECKING:
    from vpcore.config import ExperimentConfig, ExperimentSpec
    from vpcore.experiment.run import Experiment
    from vpcore.experiment.runs import Run
    from vpcore.inference.summaries import Evidence, OutOfSample
    from vpcore.results import ResultsDB
    from vpcore.workspace import Workspace

T = TypeVar("T")

METRIC = "net_pnl_ticks"
"""Figure by which rows are ranked where no experiment decides."""

MIN_SIGNALS = 5
"""Least number of trades of a ranked row where no experiment decides."""

_SETTINGS = ("experiment_name", "dataset_id", "eval_json", "config_hash")
_RANKED = (
    *RANKED_BY, "net_pnl_ticks", "net_pnl_lo", *_SETTINGS, "signal_name", "signal_params_json", "scoring_json",
)  # fmt: skip
"""Columns of rows that are ranked, beside the figure that they are ranked by."""

_OF_EVIDENCE = ("n_signals", "n_dropped", "n_eff", "net_pnl_sd", "net_pnl_skew", "net_pnl_kurtosis")
"""Of these the columns that only `with_evidence` requires."""

LEADERS = 5
"""Number of verdicts that commands print."""


@dataclass(frozen=True, slots=True)
class RankedRow:
    """One row of a leaderboard.

    Attributes
    ----------
    row, run_id, signal, dataset_id : str
        Short name of the row, its run, signal and dataset.
    verdict : str
        One sentence without a full stop.
    figures : dict
        Every column of `Leaderboard.frame`.
    """

    row: str
    run_id: str
    signal: str
    dataset_id: str
    verdict: str
    figures: dict[str, Any]


@dataclass(frozen=True)
class Leaderboard:
    """Ranked rows with their evidence.

    A million rows in order take 200 MB, and their other columns 500 MB more: these are read for the rows that are
    shown, and by `frame` for all.

    Attributes
    ----------
    ranking : DataFrame
        Every row in the order of `frame`, with the columns that a ranking needs; texts of runs as `pl.Enum`.
    frame : DataFrame
        Every row, the best by `select` first, with all columns: those of `ResultsDB.query_runs`, ``trades``, the rates
        of `vpcore.experiment.tables.with_rates`, `vpcore.inference.ranking.COMPUTED`, ``family``; with rows of several
        engines ``pipeline_json``, the engine parameters of a row's dataset; of combinations over
        sessions also `vpcore.inference.pooling.POOLED`, and with `eval.splits`
        `vpcore.inference.out_of_sample.SPLIT_FIGURES`.
    evidence : dict of str to Evidence
        By ``family``.
    select : str
        Figure by which rows are ranked.
    min_signals : int
        Least number of trades of a ranked row.
    splits : OutOfSample or None
        Result of choosing in-sample, of an experiment with `eval.splits`.
    searched : bool
        True if a search proposed combinations from earlier results.
    n_incomplete : int
        Combinations that lack a session and are left out of `frame`.
    n_asked : int
        Rows that the experiment asks for, on all sessions; 0 of a run and of the workspace.
    reserve : str
        What the experiment keeps back, and what was confirmed there, in words; empty if nothing is kept back.
    """

    ranking: pl.DataFrame
    evidence: dict[str, Evidence]
    select: str = METRIC
    min_signals: int = MIN_SIGNALS
    splits: OutOfSample | None = None
    searched: bool = False
    n_incomplete: int = 0
    n_asked: int = 0
    reserve: str = ""
    title: str = field(default="", repr=False)
    results: ResultsDB | None = field(default=None, repr=False, compare=False)

    @cached_property
    def frame(self) -> pl.DataFrame:
        """Every row with all columns; see the attributes."""
        return self.whole(self.ranking)

    def whole(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Return some rows of `ranking` with all columns of `frame`, and with any that were added."""
        if self.results is None:
            return rows
        found = [name for name in (FAMILY, "pipeline_json", *COMPUTED) if name in rows.columns]
        frame = with_rates(self.results.whole(rows).hstack(rows.select(found).cast({FAMILY: pl.String})))
        return frame.hstack(rows.select(name for name in rows.columns if name not in frame.columns))

    @property
    def pooled(self) -> bool:
        """True if a row is a combination over several sessions."""
        return "sessions" in self.ranking.columns

    @property
    def best(self) -> RankedRow | None:
        """The best row by `select` with enough trades; of tied rows the first by key."""
        rows = self.whole(self.selected().filter(pl.col(self.select).is_not_null()).head(1))
        return self.ranked_row(rows.row(0, named=True)) if rows.height else None

    def ranked_row(self, figures: Mapping[str, Any]) -> RankedRow:
        """Return a row of `frame` with its verdict."""
        return RankedRow(
            figures["row"],
            figures["run_id"],
            figures["signal_name"],
            figures["dataset_id"],
            self.verdict(figures),
            dict(figures),
        )

    def evidence_of(self, row: Mapping[str, Any]) -> Evidence:
        """Return the evidence of a row's family."""
        return self.evidence[row["family"]]

    def verdict(self, row: Mapping[str, Any]) -> str:
        """Return the verdict on a row of `frame`: one sentence, no full stop."""
        return verdict(row, self.evidence_of(row))

    def rows(self, *, limit: int | None = None, **view: Any) -> pl.DataFrame:
        """Return the first rows of a view with all columns; `view` as in `selected`. By default every row."""
        found = self.selected(**view)
        return self.whole(found if limit is None else found.head(limit))

    def selected(
        self,
        *,
        sort: str | None = None,
        min_signals: int | None = None,
        signal: str | None = None,
        dataset_id: str | None = None,
    ) -> pl.DataFrame:
        """Return a view of `ranking`. Every figure of a row stays the same under any filter.

        Parameters
        ----------
        sort : str, optional
            A figure, best first, or ``evidence``; by default `select`. Null comes last; ties are sorted by key.
        min_signals : int, optional
            Least number of trades; by default `min_signals` of the leaderboard.
        signal, dataset_id : str, optional
            Only rows of this signal or dataset.

        Raises
        ------
        ResultsError
            If `sort` is unknown.
        """
        least = self.min_signals if min_signals is None else min_signals
        frame = self.ranking
        self.require_figure(sort or self.select)
        for column, value in (("signal_name", signal), ("dataset_id", dataset_id)):
            if value is not None:
                frame = frame.filter(pl.col(column) == value)
        if least > 0:
            frame = frame.filter(pl.col("trades") >= least)
        if sort == EVIDENCE:
            return by_evidence(frame)
        if sort is None or sort == self.select:
            return frame
        if sort not in frame.columns:
            frame = frame.with_columns(self._figure(frame, sort))
        return in_order(frame, sort)

    def _figure(self, rows: pl.DataFrame, name: str) -> pl.Series:
        """Return a figure of rows of `ranking` that lack it."""
        assert self.results is not None
        if name in RUNS:
            return self.results.whole(rows, [name])[name]
        return with_rates(self.results.whole(rows, ["n_signals", "n_dropped", "tp_rate", "sl_rate"]))[name]

    def require_figure(self, sort: str) -> None:
        """Refuse an unknown figure."""
        some = ("sessions_paid", "worst_session_net", *SPLIT_FIGURES)
        more = (*COMPUTED, "trades", "tp_resolved", *(name for name in some if name in self.ranking.columns))
        names = (*SORTABLE, EVIDENCE, *more)
        if sort not in names:
            near = did_you_mean(sort, (*names, *(name for name, column in HEADINGS.items() if column in names)))
            raise ResultsError(f"Rows cannot be sorted by '{sort}'.{near} Figures: {listed(names)}.")

    def leaders(self, rows: pl.DataFrame) -> list[RankedRow]:
        """Return the first row of each signal on each dataset of a view, at most `LEADERS`."""
        first = rows.unique(["dataset_id", "signal_name"], keep="first", maintain_order=True).head(LEADERS)
        return [self.ranked_row(row) for row in self.whole(first).to_dicts()]


def leaderboard(
    workspace: Workspace, target: Experiment | None = None, *, per_session: bool = False, stale: bool = False
) -> Leaderboard:
    """Return the stored rows of an experiment, of a run, or of the workspace, with their evidence.

    Parameters
    ----------
    workspace : Workspace
        Where the rows are stored.
    target : str, path, ExperimentSpec or ExperimentConfig, optional
        An experiment: the rows that its spec asks for now, combinations over its sessions if it has several. Or a run:
        its id or a prefix. By default every row.
    per_session : bool
        Rows instead of combinations, for an experiment on several sessions.
    stale : bool
        Only the rows of other code than the installed one; of an experiment, the rows that it computed.

    Raises
    ------
    ResultsError
        If the run is unknown.
    ConfigError
        If the experiment's specs are wrong.

    Notes
    -----
    Cost: one read of 20 columns of the rows. The figures that depend on the vectors are kept in
    ``lake/cache/evidence``; the vectors are read for new rows, and for an experiment with `eval.splits` or several
    sessions.
    """
    if target is None:
        return _board(workspace, _stored(workspace, stale), stale=stale)
    if isinstance(target, str) and not is_experiment(workspace, target):
        return _of_run(workspace, target)

    from vpcore.experiment.run import harness_config  # imports what runs an experiment

    config = harness_config(workspace, target)
    if stale:
        rows = _stored(workspace, True, config.select_metric).filter(pl.col("experiment_name") == config.name)
        return _board(workspace, rows, config, stale=True)
    return _of_experiment(workspace, config, per_session)


def is_experiment(workspace: Workspace, target: str) -> bool:
    """Return True if a text names an experiment by name or path, False for a run."""
    by_path = os.sep in target or target.endswith((".yaml", ".yml"))
    return by_path or target in workspace.specs.names("experiment")


def row_of(workspace: Workspace, name: str, *, per_session: bool = False) -> RankedRow:
    """Return a stored row by its short name or an unambiguous beginning of it, ranked by its own experiment.

    Parameters
    ----------
    workspace : Workspace
        Where the row is stored.
    name : str
        Short name, as `vp compare` prints it.
    per_session : bool
        The row itself. By default, a row of an experiment on several sessions stands for its combination.

    Raises
    ------
    ResultsError
        If no row or several rows match.
    """
    stored = workspace.results.find_row(name)
    spec = None if per_session else _spec(workspace, stored["experiment_name"])
    if spec is not None and (spec.dates or spec.pipelines):
        of = leaderboard(workspace, spec.name)
        named = pl.col("session_rows").list.contains(stored["row"]) if of.pooled else pl.col("row") == stored["row"]
        if (found := of.frame.filter(named)).height:
            return of.ranked_row(found.row(0, named=True))
    of = _of_run(workspace, stored["run_id"])
    return of.ranked_row(of.frame.row(by_predicate=pl.col("row") == stored["row"], named=True))


def experiment_of(workspace: Workspace, target: T, row: str | None) -> tuple[T | str, str | None]:
    """Return an experiment and a row of it, where the short name of a row may stand in the place of the experiment."""
    if row is None and isinstance(target, str) and not is_experiment(workspace, target):
        with suppress(ResultsError):
            stored = workspace.results.find_row(target)
            return stored["experiment_name"], stored["row"]
    return target, row


def installed_code(workspace: Workspace) -> InstalledCode:
    """Return the digests of the core and of the installed signals, read as files without import."""
    components = workspace.plugins.components("signal")
    found = declared_digests({name: registered.component.target for name, registered in components.items()})
    others = [name for name in components if name not in found]
    loaded = workspace.plugins.resolve("signal", others) if others else ()
    for registered, cls, _ in loaded:
        with suppress(SignalError):
            found |= {registered.component.name: code_digest(cls)} if cls is not None else {}
    return InstalledCode(core_digest(), found)


def _stored(workspace: Workspace, stale: bool, select: str = METRIC) -> pl.DataFrame:
    """Return all rows of the installed or of other code, with the columns that a ranking needs."""
    return workspace.results.query_runs(code=installed_code(workspace), stale=stale, columns=(*_RANKED, select))


def _of_run(workspace: Workspace, run_id: str) -> Leaderboard:
    meta = workspace.results.find_run(run_id)
    code = installed_code(workspace)
    stale = (code.core, code.signals.get(meta["signal_name"])) != (meta["core_digest"], meta["code_digest"])
    spec = _spec(workspace, meta["experiment_name"])
    select = spec.select.metric if spec is not None else METRIC
    return _board(
        workspace,
        _stored(workspace, stale, select),
        stale=stale,
        shown=pl.DataFrame({"run_id": [meta["run_id"]]}),
        select=select,
        min_signals=1,
        title=f"{meta['signal_name']} {meta['run_id'][:8]}",
    )


def _of_experiment(workspace: Workspace, config: ExperimentConfig, per_session: bool) -> Leaderboard:
    from vpcore.experiment.run import runs_of

    runs = runs_of(workspace, config)
    if config.n_sessions > 1 and not per_session:
        return _of_combinations(workspace, config, runs)
    keys = key_frame(ROW_KEY, [(run.run_id, *trial) for run in runs for trial in run.trials]).collect()
    board = _board(workspace, _stored(workspace, False, config.select_metric), config, shown=keys, runs=runs)
    if config.eval.splits is None or config.n_sessions > 1:
        return board
    return _with_splits(workspace, board, config)


def _of_combinations(workspace: Workspace, config: ExperimentConfig, runs: Sequence[Run]) -> Leaderboard:
    from vpcore.experiment.session_members import pooled_rows

    rows, n_incomplete = pooled_rows(workspace, config, runs)
    splits, select = None, config.select_metric
    if config.eval.splits is not None:
        metric, least, select = config.select_metric, config.min_signals, config.ranked_by
        rows, splits = out_of_sample(rows, config.eval.splits, metric=metric, min_trades=least)
    rows = rows.with_columns(experiment_name=pl.lit(config.name))
    return _board(workspace, rows, config, runs=runs, select=select, splits=splits, n_incomplete=n_incomplete)


def _with_splits(workspace: Workspace, board: Leaderboard, config: ExperimentConfig) -> Leaderboard:
    assert config.eval.splits is not None
    full, splits = out_of_sample(
        workspace.results.with_vectors(workspace.results.whole(board.ranking)),
        config.eval.splits,
        metric=config.select_metric,
        min_trades=config.min_signals,
    )
    ranking = board.ranking.hstack(full.select(SPLIT_FIGURES))
    return replace(board, ranking=in_order(ranking, config.ranked_by), select=config.ranked_by, splits=splits)


def _board(
    workspace: Workspace,
    rows: pl.DataFrame,
    config: ExperimentConfig | None = None,
    *,
    stale: bool = False,
    shown: pl.DataFrame | None = None,
    runs: Sequence[Run] = (),
    **about: Any,
) -> Leaderboard:
    """Return the leaderboard of rows; with `shown` (keys to join with), of some of the rows.

    Their families are whole in any case.
    """
    if shown is not None:
        shown = shown.cast({"run_id": rows.schema["run_id"]}, strict=False)
    rows, families = _with_families(workspace, rows, stale, config, runs, shown)
    rows = with_engines(workspace, rows, families)
    rows, evidence = with_evidence(workspace.results, rows, families, cache_dir=workspace.cache_dir)
    if shown is not None:
        rows = rows.join(shown, on=shown.columns, how="semi", maintain_order="left")
    if config is not None:
        from vpcore.experiment.reserve import describe_reserve

        about = {"select": config.select_metric, "min_signals": config.min_signals, "title": config.name, **about}
        about["reserve"] = describe_reserve(workspace, config)
        about["n_asked"] = sum(len(run.trials) for run in runs)
    select = about.get("select", METRIC)
    if whole := "row" in rows.columns:
        rows = with_rates(rows).cast({FAMILY: pl.String}).sort(ROW_KEY)
    else:
        rows = rows.with_columns(TRADES).drop(name for name in _OF_EVIDENCE if name != select)
    rows = best_first(rows, select)
    evidence = {name: evidence[name] for name in rows[FAMILY].unique(maintain_order=True)}
    about["searched"] = any(family.n_choices for family in families.values())
    return Leaderboard(rows, evidence, results=None if whole else workspace.results, **about)


def _with_families(
    workspace: Workspace,
    rows: pl.DataFrame,
    stale: bool,
    config: ExperimentConfig | None,
    runs: Sequence[Run],
    shown: pl.DataFrame | None,
) -> tuple[pl.DataFrame, dict[str, Family]]:
    """Return the rows of every family that has a shown row, with their families."""
    from vpcore.canonical import digest

    together = ["experiment_name", "_session", "eval_json", "config_hash"]
    asked = rows if shown is None else rows.join(shown, on=shown.columns, how="semi")
    every, wanted = (_settings(some).with_columns(_session=SESSION) for some in (rows, asked))
    whole = every.join(wanted, on=together, how="semi")
    datasets = pl.col("dataset_id").unique().sort().str.join(ENGINES)
    keys = whole.group_by(together).agg(datasets).sort("experiment_name", "dataset_id", "eval_json", "config_hash")
    parts = keys.select("experiment_name", "dataset_id", "eval_json", "config_hash").rows()
    names = [digest([*key, stale])[:8] for key in parts]
    keyed = keys.select(together).with_columns(coded(pl.Series(FAMILY, names, dtype=pl.String)))
    least: dict[str, tuple[int, int]] = {}
    families = {}
    for name, (experiment, dataset_id, _, config_hash) in zip(names, parts, strict=True):
        if experiment not in least:
            mine = config if config is not None and config.name == experiment else None
            least[experiment] = _selection(workspace, experiment, mine, runs)
        rings = rings_of(workspace, experiment, dataset_id)
        families[name] = Family(experiment, dataset_id, *least[experiment], config_hash, rings)
    of = whole.join(keyed, on=together).select(*_SETTINGS, FAMILY).cast({name: rows.schema[name] for name in _SETTINGS})
    named = rows.select(_SETTINGS).join(of, on=_SETTINGS, how="left", maintain_order="left")[FAMILY]
    rows = rows.with_columns(named)
    return rows if shown is None else rows.filter(pl.col(FAMILY).is_not_null()), families


def _settings(rows: pl.DataFrame) -> pl.DataFrame:
    """Return what decides the family of a row, once for all that agree in it."""
    return rows.select(_SETTINGS).unique().cast(pl.String)


def _selection(
    workspace: Workspace, experiment: str, config: ExperimentConfig | None, runs: Sequence[Run]
) -> tuple[int, int]:
    """Return `select.min_signals` of an experiment, and the number of rows that its search could have chosen."""
    if config is None:
        spec = _spec(workspace, experiment)
        if spec is None:
            return MIN_SIGNALS, 0
        if not spec.sweep.sample.adaptive:
            return spec.select.min_signals, 0

        from vpcore.experiment.run import harness_config, runs_of

        try:
            config = harness_config(workspace, spec)
            runs = runs_of(workspace, config)
        except VpError:
            return spec.select.min_signals, 0

    from vpcore.experiment.adaptive_search import choices

    return config.min_signals, choices(config, runs)


def _spec(workspace: Workspace, experiment: str) -> ExperimentSpec | None:
    """Return the spec of an experiment, None if its file is gone or no longer valid."""
    if not (workspace.configs / "experiments" / f"{experiment}.yaml").is_file():
        return None
    try:
        return workspace.experiment(experiment)
    except VpError:
        return None
