"""How much work is left, what of it is shared, and about how long it takes: from a short trial of the real thing."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from vpcore.dataset import Dataset
from vpcore.executor.local import usable_cores
from vpcore.experiment.causality import unproven_runs
from vpcore.experiment.plan import Plan, work_item
from vpcore.experiment.runs import Run
from vpcore.experiment.worker import Session, Task
from vpcore.scoring import ScoringConfig, z_nodes
from vpcore.signal import MLSignal
from vpcore.signal.conformance.proof import prove

PROBE_BINS = 6000
PROBE_ROWS = 64
PROBE_SECONDS = 15.0
"""No further signal is tried after so long."""

_WARM_BINS = 600


@dataclass(frozen=True, slots=True)
class Level:
    """One kind of shared work: how much of it there is, and how much there would be if nothing were shared."""

    name: str
    made: int
    unshared: int


@dataclass(frozen=True, slots=True)
class Forecast:
    """What is left of an experiment, in seconds of one core.

    Attributes
    ----------
    seconds : float
        Of evaluation.
    proof_seconds : float
        Of the proofs that are missing.
    n_proofs : int
    workers : int
        Among how many it is divided.
    bins, of_bins : int
        What was tried, and the length of its dataset.
    rows : int
        Rows that were tried.
    spent : float
        Seconds that trying took.
    untried : tuple of str
        Signals that are not in the estimate, because trying the others took long enough.
    """

    seconds: float
    proof_seconds: float
    n_proofs: int
    workers: int
    bins: int
    of_bins: int
    rows: int
    spent: float
    untried: tuple[str, ...]


def levels(runs: Sequence[Run]) -> list[Level]:
    """Return what some runs share at every level of the work."""
    z, scores, tables = set(), set(), set()
    n_z = n_scores = values = rows = 0
    for run in runs:
        dataset = run.meta["dataset_id"]
        rows += len(run.trials)
        barriers = {(trial.tp_ticks, trial.sl_ticks) for trial in run.trials}
        values += len(barriers) if isinstance(run.signal, MLSignal) else 1
        hold = (run.settings["max_hold_bins"], run.settings["price"])
        tables |= {(dataset, *pair, *hold) for pair in barriers}
        if run.scoring is not None:
            scoring = ScoringConfig.model_validate(run.scoring)
            nodes = list(enumerate(z_nodes(scoring)))
            z |= {(dataset, *node) for node in nodes}
            n_z += len(nodes)
            n_scores += 1
            scores.add((dataset, scoring.model_dump_json()))
    return [
        Level("datasets", len({run.meta["dataset_id"] for run in runs}), len(runs)),
        Level("z-scores", len(z), n_z),
        Level("scores", len(scores), n_scores),
        Level("signal values", values, rows),
        Level("outcome tables", len(tables), rows),
        Level("rows", rows, rows),
    ]


def forecast(plan: Plan, dataset: Dataset, proofs: Path, executor: str, max_workers: int | None) -> Forecast:
    """Try one run of every signal on the first bins of a dataset, and scale by bins, settings and rows.

    Nothing is stored. Code that is already compiled is loaded first; compiling it is not in the estimate, nor is the
    start of workers.

    Parameters
    ----------
    plan : Plan
        With something missing.
    dataset : Dataset
        One of its datasets.
    proofs : Path
        Where proofs are kept.
    executor : str
        Its name.
    max_workers : int or None
        As the experiment or the command says.
    """
    began = time.perf_counter()
    first: dict[str, Run] = {}
    for run in plan.missing:
        first.setdefault(run.signal_name, run)
    bins = min(PROBE_BINS, dataset.n_bins)
    session = Session(dataset.slice(0, bins))
    warm = Session(dataset.slice(0, min(_WARM_BINS, bins)))
    task = Task(None, "", "", ())
    tried: dict[str, int] = {}
    for name, run in first.items():
        if tried and time.perf_counter() - began > PROBE_SECONDS:
            break
        item = work_item(replace(run, trials=run.trials[:: max(1, len(run.trials) // PROBE_ROWS)]))
        warm.evaluate(item, task)
        session.evaluate(item, task)
        tried[name] = len(item.trials)
    cost = session.shared.tallies
    each = {kind: tally.seconds / tally.made for kind, tally in cost.items() if tally.made}
    total = 0.0
    for level in levels([run for run in plan.missing if run.signal_name in tried]):
        total += level.made * each.get(level.name, 0.0)
    for name, rows in tried.items():
        mine = [run for run in plan.missing if run.signal_name == name]
        (values,) = (level.made for level in levels(mine) if level.name == "signal values")
        total += values * each[f"values of {name}"]
        total += sum(len(run.trials) for run in mine) * cost[f"rows of {name}"].seconds / rows
    unproven = unproven_runs(plan.missing, proofs)
    return Forecast(
        seconds=total * dataset.n_bins / bins,
        proof_seconds=_proof_seconds(unproven),
        n_proofs=len(unproven),
        workers=max_workers or (usable_cores() if executor == "local" else 1),
        bins=bins,
        of_bins=dataset.n_bins,
        rows=sum(tried.values()),
        spent=time.perf_counter() - began,
        untried=tuple(name for name in first if name not in tried),
    )


def _proof_seconds(unproven: Sequence[Sequence[Run]]) -> float:
    """Return what the missing proofs take, by making that of one set of parameters, which is not kept."""
    if not unproven:
        return 0.0
    run = unproven[0][0]
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        prove(run.signal, Path(folder), name=run.signal_name)
        return (time.perf_counter() - began) * len(unproven)
