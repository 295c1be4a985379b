"""Which rows of an experiment on several sessions are one thing that was tried."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import polars as pl

from vpcore.canonical import canonical_json
from vpcore.config import ExperimentConfig
from vpcore.experiment.runs import Run
from vpcore.inference.pooling import MemberTable, pool
from vpcore.results import ROW_KEY, RUNS

if TYPE_CHECKING:
    from vpcore.workspace import Workspace

_COLUMNS: dict[str, Any] = {
    "combination": pl.Int64,
    "session": pl.Int64,
    **{name: RUNS[name] for name in ROW_KEY},
    "threshold_quantile": pl.Float64,
}


def members(config: ExperimentConfig, runs: Sequence[Run]) -> MemberTable:
    """Return the combinations of an experiment with the row that each is on every session.

    Signal, parameters, scoring, cooldown, barriers and the position of the threshold identify a combination: a quantile
    gives another threshold on every session.

    Parameters
    ----------
    config : ExperimentConfig
        The experiment, on one engine.
    runs : sequence of Run
        Of all its sessions, as far as they are known.
    """
    place = {name: i for i, name in enumerate(config.dataset_ids)}
    same: dict[bytes, dict[int, Run]] = {}
    for run in runs:
        key = canonical_json([run.signal_name, run.params, run.scoring])
        same.setdefault(key, {})[place[run.meta["dataset_id"]]] = run
    quantiles = config.eval.threshold_quantiles
    rest = [
        (cooldown, tp, sl)
        for cooldown in config.eval.cooldown_bins
        for tp in config.eval.tp_ticks
        for sl in config.eval.sl_ticks
    ]
    lines: list[tuple[Any, ...]] = []
    number = 0
    for on in same.values():
        known: set[tuple[float, ...]] = set()
        for i in range(min(len(run.thresholds) for run in on.values())):
            numbers = tuple(on[session].thresholds[i] for session in sorted(on))
            if numbers in known:  # two quantiles that are the same everywhere
                continue
            known.add(numbers)
            quantile = None if quantiles is None else quantiles[i]
            for trial in rest:
                lines += [
                    (number, session, on[session].run_id, on[session].thresholds[i], *trial, quantile)
                    for session in sorted(on)
                ]
                number += 1
    return MemberTable(config.dataset_ids, pl.DataFrame(lines, schema=_COLUMNS, orient="row"))


def pooled_rows(workspace: Workspace, config: ExperimentConfig, runs: Sequence[Run]) -> tuple[pl.DataFrame, int]:
    """Return the stored combinations of an experiment (see `vpcore.inference.pooling`) and the number that lack a
    session.
    """
    keys = [(run.run_id, trial) for run in runs for trial in run.trials]
    rows = workspace.results.query_runs(keys=keys, blocks=True)
    parts = []
    for each in config.by_engine():
        names = set(each.dataset_ids)
        mine = [run for run in runs if run.meta["dataset_id"] in names]
        parts.append(pool(rows, members(each, mine), each.pipeline.width_ns, splits=config.eval.splits))
    return pl.concat([found for found, _ in parts]), sum(n_incomplete for _, n_incomplete in parts)
