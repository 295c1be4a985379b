"""Remaining work of an experiment, in portions for workers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from vpcore.dataset import DatasetRegistry
from vpcore.experiment.runs import Run
from vpcore.experiment.worker import Task
from vpcore.results import ResultsDB, StoredRun

RUNS_PER_TASK = 16
"""At most. A task's rows are stored together, and what it shares is computed once per worker anyway."""

TASKS_PER_WORKER = 4
"""At least, if there are runs enough: so that no worker is left with the last long task alone."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The runs of an experiment and their state in the results.

    Attributes
    ----------
    runs : tuple of Run
        All.
    missing : tuple of Run
        Runs with remaining work; their `trials` are the remaining trials.
    absent : tuple of str
        Datasets still to be generated; their runs appear nowhere here.
    n_failed : int
        Trials stored as failed, which stay as they are.
    failed : tuple of str
        Ids of their runs.
    """

    runs: tuple[Run, ...]
    missing: tuple[Run, ...]
    absent: tuple[str, ...] = ()
    n_failed: int = 0
    failed: tuple[str, ...] = ()

    @property
    def n_trials(self) -> int:
        """Number of trials of the experiment."""
        return sum(len(run.trials) for run in self.runs)

    @property
    def n_missing(self) -> int:
        """Number of trials that are left."""
        return sum(len(run.trials) for run in self.missing)


def make_plan(runs: Sequence[Run], results: ResultsDB, *, force: bool = False, retry_failed: bool = False) -> Plan:
    """Compare runs with the results store.

    A failed run is a result: the same code fails again, and other code makes another run. `retry_failed` computes it
    again. A run that failed because the system lacked disk, memory or descriptors is always computed again.

    Parameters
    ----------
    runs : sequence of Run
        All runs of the experiment.
    results : ResultsDB
        The store.
    force : bool
        Compute everything again.
    retry_failed : bool
        Compute the failed trials again.
    """
    if force:
        return Plan(tuple(runs), tuple(runs))
    stored = results.stored(run.run_id for run in runs)
    missing, n_failed, of_runs = [], 0, []
    for run in runs:
        there = stored.get(run.run_id, StoredRun())
        failed = set() if retry_failed else there.failed & set(run.trials)
        n_failed += len(failed)
        of_runs += [run.run_id] if failed else []
        done = there.ok | failed
        left = tuple(trial for trial in run.trials if trial not in done)
        if left:
            missing.append(replace(run, trials=left))
    return Plan(tuple(runs), tuple(missing), n_failed=n_failed, failed=tuple(of_runs))


def tasks(runs: Iterable[Run], datasets: DatasetRegistry, max_workers: int) -> list[Task]:
    """Return the runs in portions that share a dataset and a score, in order."""
    runs = list(runs)
    size = max(1, min(RUNS_PER_TASK, len(runs) // (TASKS_PER_WORKER * max_workers)))
    portions: list[list[Run]] = []
    for run in runs:
        if portions and len(portions[-1]) < size and _share(portions[-1][0], run):
            portions[-1].append(run)
        else:
            portions.append([run])
    return [
        Task(
            datasets,
            portion[0].meta["dataset_id"],
            tuple(run.item for run in portion),
            end_bin=portion[0].meta["end_bin"],
        )
        for portion in portions
    ]


def _share(one: Run, other: Run) -> bool:
    return one.scoring == other.scoring and one.meta["dataset_id"] == other.meta["dataset_id"]
