"""Getting an executor, and making sure that its workers see the same lake and run the same code."""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import vpcore
from vpcore.canonical import bytes_digest
from vpcore.dataset import DatasetRegistry
from vpcore.dataset.manifest import MANIFEST_FILE
from vpcore.errors import DatasetError, PluginError, VpError
from vpcore.executor import Executor, adapted
from vpcore.kernels.jit import sources_digest
from vpcore.plugins.component import check_options

if TYPE_CHECKING:
    from vpcore.config import ExperimentConfig
    from vpcore.workspace import Workspace

LIBRARIES = ("numba", "numpy", "polars", "vpcore")
"""Distributions whose version is recorded with a run."""


def make_pool(workspace: Workspace, config: ExperimentConfig) -> Executor:
    """Return the experiment's executor.

    Raises
    ------
    ConfigError
        If an option is unknown.
    PluginError
        If the executor is unknown or fails to start.
    """
    make = workspace.plugins.load("executor", config.executor)
    check_options(make, "executor", config.executor, config.executor_options, "parallel.options")
    return adapted(make(config.max_workers, **config.executor_options))


# -- the workers -------------------------------------------------------------------------------------------------------


def surroundings(datasets: DatasetRegistry, ids: Iterable[str]) -> dict[str, str]:
    """Return the versions that every process of a sweep must share, by name.

    Parameters
    ----------
    datasets : DatasetRegistry
        As it is here and there.
    ids : iterable of str
        Ids of the needed datasets.
    """
    found = {"python": ".".join(platform.python_version_tuple()[:2])}
    found |= {name: importlib.metadata.version(name) for name in LIBRARIES}
    found["the code of vpcore"] = sources_digest(Path(vpcore.__file__).parent)
    for dataset_id in ids:
        try:
            found[dataset_id] = bytes_digest(datasets.read(dataset_id, MANIFEST_FILE) or b"")
        except VpError:
            found[dataset_id] = ""
    return found


def check_workers(pool: Executor, datasets: DatasetRegistry, ids: Collection[str]) -> None:
    """Refuse remote workers that lack the datasets or have other code.

    Only an executor whose processes may be of another machine or environment answers `on_every_worker`.

    Raises
    ------
    DatasetError
        If a worker lacks a dataset.
    PluginError
        If a worker has other versions, or lacks vpcore.
    """
    if type(pool).on_every_worker is Executor.on_every_worker:
        return
    wanted = surroundings(datasets, ids)
    try:
        answers = pool.on_every_worker(surroundings, datasets, list(ids))
    except ModuleNotFoundError as error:
        raise PluginError(
            f"A worker cannot import {error.name}. Install there what is installed here, vpcore and the packages of "
            "the signals."
        ) from None
    for worker, found in sorted(answers.items()):
        for what, value in wanted.items():
            if found[what] == value:
                continue
            if what in ids:
                raise unseen(f"{datasets.storage!r}, '{what}'", worker)
            raise PluginError(
                f"Worker {worker} would compute other bytes: {what} differs ({found[what][:16]}, here {value[:16]}). "
                "Install the same versions there."
            )


def unseen(what: str, worker: str) -> DatasetError:
    """Return the error of a worker that lacks a dataset."""
    return DatasetError(
        f"Worker {worker} does not see the dataset in {what}. Workers read the lake, and write proofs and models "
        "into it, by the path that it has here: mount it there under the same path (a shared file system), keep the "
        "lake on an object store (storage.backend: object), or set parallel.executor: local."
    )
