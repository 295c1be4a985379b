"""Rounds of an adaptive search: the stored proposals of an experiment and its next round.

Every round is a function of the experiment and the results of earlier rounds. Workers and interruptions leave it
unchanged. The proposals are stored beside the results, per signal, so that every reader of an experiment finds its runs
there and needs no sampler.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from vpcore.canonical import canonical_json, digest, sealed, unsealed
from vpcore.config import ExperimentConfig, Search, SignalPlan
from vpcore.dataset import Dataset
from vpcore.errors import ResultsError
from vpcore.experiment.reserve import open_sessions
from vpcore.experiment.runs import Run, signal_code
from vpcore.experiment.session_members import pooled_rows
from vpcore.inference.out_of_sample import in_sample
from vpcore.results import traded
from vpcore.sampler import Indices, Sampler
from vpcore.storage import Folder

if TYPE_CHECKING:
    from vpcore.experiment.plan import Plan
    from vpcore.workspace import Workspace

PROPOSALS = "proposals"
"""Folder of what was proposed, beside the results."""

_Round = dict[str, Any]


def with_proposals(workspace: Workspace, config: ExperimentConfig) -> ExperimentConfig:
    """Return an experiment with the combinations that were proposed so far.

    The proposals exist once all datasets of the experiment exist.

    Raises
    ------
    ResultsError
        If the stored proposals are damaged.
    """
    if not config.searched or not all(workspace.datasets.exists(name) for name in config.dataset_ids):
        return config
    return Searches(workspace, config, open_sessions(workspace, config)).config


def searches_of(config: ExperimentConfig) -> dict[str, Search]:
    """Return the signals of an experiment whose combinations are proposed."""
    return {plan.name: plan.search for plan in config.signals if plan.search is not None}


def choices(config: ExperimentConfig, runs: Sequence[Run]) -> int:
    """Return the number of rows per session that a search chooses from, untried rows included; 0 without a search.

    Parameters
    ----------
    config : ExperimentConfig
        The experiment.
    runs : sequence of Run
        All known runs of the experiment, of all sessions.
    """
    if not config.searched:
        return 0
    rows: dict[str, int] = {}
    tried: dict[str, set[bytes]] = {}
    for run in runs:
        rows[run.signal_name] = max(rows.get(run.signal_name, 0), len(run.trials))
        tried.setdefault(run.signal_name, set()).add(canonical_json([run.params, run.scoring]))
    searches = searches_of(config)
    return sum(
        rows[name] * (searches[name].n_points if name in searches else len(points)) for name, points in tried.items()
    )


def unfinished(config: ExperimentConfig) -> dict[str, int]:
    """Return the number of remaining proposals of each signal that has some."""
    left = {plan.name: plan.search.n - len(plan.proposed) for plan in config.signals if plan.search is not None}
    return {name: count for name, count in left.items() if count > 0}


def require_samplers(workspace: Workspace, config: ExperimentConfig) -> None:
    """Make the samplers of the remaining proposals, as a check of their installation.

    Raises
    ------
    VpError
        If a sampler or a library that it needs is missing.
    """
    for name in unfinished(config):
        _make_sampler(workspace, searches_of(config)[name], [])


def _make_sampler(workspace: Workspace, search: Search, seed: Sequence[Any]) -> Sampler:
    sampler: Sampler = workspace.plugins.load("sampler", search.sampler)(search.axes, seed)
    return sampler


class Searches:
    """The searches of an experiment.

    Parameters
    ----------
    workspace : Workspace
        Place of the stored proposals.
    config : ExperimentConfig
        The experiment.
    datasets : sequence of Dataset
        Datasets of all sessions.

    Raises
    ------
    ResultsError
        If the stored proposals are damaged.
    """

    def __init__(self, workspace: Workspace, config: ExperimentConfig, datasets: Sequence[Dataset]) -> None:
        self.workspace = workspace
        self._plans = {plan.name: plan for plan in config.signals if plan.search is not None}
        self._paths = {
            name: workspace.results.folder / PROPOSALS / f"{_key(workspace, config, plan, datasets)}.json"
            for name, plan in self._plans.items()
        }
        self._rounds = {name: _read(path, searches_of(config)[name]) for name, path in self._paths.items()}
        self._figures: dict[bytes, float] = {}
        self.config = self._at(config)

    def rows_to_come(self, plan: Plan) -> int:
        """Return the number of rows still to be proposed, with the plan's number of rows per combination."""
        rows: dict[str, int] = {}
        for run in plan.runs:
            rows[run.signal_name] = max(rows.get(run.signal_name, 0), len(run.trials))
        left = unfinished(self.config)
        return self.config.n_sessions * sum(count * rows.get(name, 0) for name, count in left.items())

    def learn(self, runs: Sequence[Run]) -> None:
        """Look up the objectives of stored or failed runs, all sessions of a combination together."""
        mine = [run for run in runs if run.signal_name in self._plans]
        if mine:
            of_run = {run.run_id: canonical_json([run.signal_name, run.params, run.scoring]) for run in mine}
            for run_id, figure in figures(self.workspace, self.config, mine).items():
                self._figures[of_run[run_id]] = figure

    def ask(self, *, first: bool = False) -> dict[str, list[Indices]]:
        """Return the next round, by signal, and store it; an empty one at the end of the search.

        Call `learn` first with all runs of earlier rounds. With `first`, only signals without a proposal take part.

        Raises
        ------
        VpError
            If the sampler is missing.
        ResultsError
            If the stored proposals are damaged.
        StorageError
            If storing the round fails.
        """
        asked: dict[str, list[Indices]] = {}
        for name, left in unfinished(self.config).items():
            search, rounds, path = searches_of(self.config)[name], self._rounds[name], self._paths[name]
            if first and rounds:
                continue
            kept = _read(path, search)[len(rounds) :]  # another process may be ahead
            if kept:
                rounds.append(kept[0])
            else:
                sampler = _make_sampler(self.workspace, search, [search.seed, name, len(rounds)])
                for point in _points(rounds):
                    sampler.tell(point, self._figure(name, search, point))
                new = sampler.ask(min(search.round, search.n_points - len(sampler.known)))
                rounds.append({search.sampler: sampler.version, "points": new})
                _write(path, name, rounds)
            asked[name] = rounds[-1]["points"][:left]
        self.config = self._at(self.config)
        return asked

    def _at(self, config: ExperimentConfig) -> ExperimentConfig:
        searches = searches_of(config)
        return config.with_proposed(
            {name: _points(rounds)[: searches[name].n] for name, rounds in self._rounds.items()}
        )

    def _figure(self, name: str, search: Search, point: Indices) -> float:
        values, scoring = search.point(point)
        params = self.workspace.plugins.load("signal", name).Params.parse(values, name).plain()
        scored = scoring.model_dump(mode="json") if self._plans[name].reads_score else None
        return self._figures.get(canonical_json([name, params, scored]), -np.inf)


def _points(rounds: Sequence[_Round]) -> list[Indices]:
    return [point for each in rounds for point in each["points"]]


def figures(workspace: Workspace, config: ExperimentConfig, runs: Sequence[Run]) -> dict[str, float]:
    """Return the objective of a search per run: the figure of `select` of its best row with enough trades.

    On several sessions rows are combinations over all of them, as `compare` ranks them, and the last session names the
    run. With `eval.splits`, figure and trades come from the training part of the first fold alone, which no fold
    judges.

    Returns
    -------
    dict of run id to float
        -inf where every row has too few trades. Failed runs are left out.
    """
    splits = config.eval.splits
    if config.n_sessions > 1:
        rows, _ = pooled_rows(workspace, config, runs)
    else:
        keys = [(run.run_id, trial) for run in runs for trial in run.trials]
        rows = workspace.results.query_runs(keys=keys, blocks=splits is not None)
    if rows.is_empty():
        return {}
    if splits is not None:
        scores = in_sample(rows, metric=config.select_metric, min_trades=config.min_signals)[:, 0]
    else:
        enough = rows.select(traded(config.min_signals)).to_series().to_numpy()
        figure = rows[config.select_metric].cast(pl.Float64).fill_null(np.nan).to_numpy()
        scores = np.where(enough & ~np.isnan(figure), figure, -np.inf)
    best = pl.DataFrame({"run_id": rows["run_id"], "score": scores}).group_by("run_id").agg(pl.col("score").max())
    return dict(best.iter_rows())


# -- what is kept ------------------------------------------------------------------------------------------------------


def _key(workspace: Workspace, config: ExperimentConfig, plan: SignalPlan, datasets: Sequence[Dataset]) -> str:
    """Return the digest of everything that decides the proposals for a signal. Their number is not part of it."""
    assert plan.search is not None
    return digest(
        {
            "signal": signal_code(plan.name, workspace.plugins.load("signal", plan.name)),
            "search": plan.search.model_dump(mode="json", exclude={"n"}),
            "sessions": [[dataset.dataset_id, list(dataset.source_digests)] for dataset in datasets],
            "eval": config.eval.model_dump(mode="json"),
            "select": [config.select_metric, config.min_signals],
        }
    )


def _read(file: Folder, search: Search) -> list[_Round]:
    data = file.get("")
    if data is None:
        return []
    content = unsealed(data) or {}
    try:
        rounds = [{**each, "points": [tuple(point) for point in each["points"]]} for each in content["rounds"]]
        points = _points(rounds)
        sound = len(set(points)) == len(points) and all(map(search.has, points))
    except (ValueError, TypeError, KeyError):
        sound = False
    if not sound:
        raise ResultsError(
            f"{file} does not hold what was proposed in this search. Delete it: running the experiment again writes it "
            "anew, from the stored rows."
        )
    return rounds


def _write(file: Folder, name: str, rounds: list[_Round]) -> None:
    content = canonical_json(sealed({"signal": name, "rounds": rounds}))
    file.put("", content, f"keep what was proposed for signal '{name}'")
