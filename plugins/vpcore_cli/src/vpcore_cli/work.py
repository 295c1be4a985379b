"""The work of an experiment before it is done: computations that runs share, and combinations still to be proposed."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from vpcore.config import ExperimentConfig
from vpcore.experiment.adaptive_search import unfinished
from vpcore.experiment.runs import Run
from vpcore.sampler import Indices
from vpcore.sampler.designs import RandomSampler
from vpcore.scoring import ScoringConfig, z_nodes
from vpcore.signal import MLSignal


@dataclass(frozen=True, slots=True)
class SharedWork:
    """One level of the work of an experiment.

    Attributes
    ----------
    name : str
        Datasets, z-scores, scores, signal values, outcome tables or rows.
    made : int
        Number of computations.
    unshared : int
        Number of computations if runs shared nothing.
    """

    name: str
    made: int
    unshared: int


def shared_work(runs: Sequence[Run]) -> list[SharedWork]:
    """Return the amount of work per level, shared and unshared."""
    z, scores, tables = set(), set(), set()
    n_z = n_scores = values = rows = 0
    for run in runs:
        dataset = run.meta["dataset_id"]
        rows += len(run.trials)
        barriers = {(trial.tp_ticks, trial.sl_ticks) for trial in run.trials}
        values += len(barriers) if isinstance(run.signal, MLSignal) else 1
        hold = (run.eval.max_hold_bins, run.eval.price, run.eval.entry, run.eval.patience_bins)
        tables |= {(dataset, *pair, *hold) for pair in barriers}
        if run.scoring is not None:
            scoring = ScoringConfig.model_validate(run.scoring)
            nodes = list(enumerate(z_nodes(scoring)))
            z |= {(dataset, *node) for node in nodes}
            n_z += len(nodes)
            n_scores += 1
            scores.add((dataset, scoring.model_dump_json()))
    return [
        SharedWork("datasets", len({run.meta["dataset_id"] for run in runs}), len(runs)),
        SharedWork("z-scores", len(z), n_z),
        SharedWork("scores", len(scores), n_scores),
        SharedWork("signal values", values, rows),
        SharedWork("outcome tables", len(tables), rows),
        SharedWork("rows", rows, rows),
    ]


def stand_ins(config: ExperimentConfig) -> ExperimentConfig:
    """Return an experiment with others, drawn at random, for the combinations that are still to be proposed alone."""
    found: dict[str, list[Indices]] = {}
    for plan in config.signals:
        left = unfinished(config).get(plan.name, 0)
        if plan.search is None or not left:
            continue
        drawn = RandomSampler(plan.search.axes, [plan.search.seed, plan.name]).ask(plan.search.n)
        free = [point for point in drawn if point not in set(plan.proposed)]
        found[plan.name] = random.Random(0).sample(free, left)
    return config.with_proposed(found)
