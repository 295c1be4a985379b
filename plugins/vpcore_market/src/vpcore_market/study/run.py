"""Running a study: one file per simulated market, so that it can be stopped and gone on with at any time."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vpcore.errors import StorageError
from vpcore.experiment.dispatch import dispatch
from vpcore.plugins.manager import Plugins
from vpcore.signal import Signal
from vpcore.storage.atomic import make_folder, storage_errors, write_atomic
from vpcore_market.study.experiment import Columns, run_world
from vpcore_market.study.plan import Study, World, load_signals, study_key, world_key, worlds
from vpcore_market.study.scenarios import MINUTES, MODES, Case, run_case

MARKETS = "markets"
"""Folder of the finished markets, below that of the study."""


@dataclass(frozen=True, slots=True)
class StudyProgress:
    """How far a study is, in simulated minutes of market: those that were there, that are done, and all."""

    reused: float
    done: float
    total: float


def run_study(
    study: Study,
    folder: Path,
    *,
    workers: int = 1,
    plugins: Plugins | None = None,
    on_progress: Callable[[StudyProgress], None] = lambda progress: None,
) -> dict[World, Columns]:
    """Simulate what is missing of a study and return the rows of every market.

    Parameters
    ----------
    study : Study
        What to simulate.
    folder : Path
        Where finished markets are kept. Those of the same market, settings and code are not computed again.
    workers : int
        Processes.
    plugins : Plugins, optional
        Where the signals and the executor are.
    on_progress : callable
        Called with a `StudyProgress`.

    Raises
    ------
    ConfigError, PluginError
        If a signal is unknown or does not fit the grid.
    StorageError
        If the folder cannot be written.
    """
    plugins = plugins or Plugins()
    signals = load_signals(plugins, study.signals)
    planned = worlds(study)
    paths = {world: folder / MARKETS / f"{world_key(study, world, signals)}.npz" for world in planned}
    missing = [world for world in planned if not paths[world].exists()]
    total = sum(world.minutes for world in planned)
    reused = total - sum(world.minutes for world in missing)
    done = reused
    on_progress(StudyProgress(reused, done, total))
    if missing:
        with storage_errors(folder, "make the folder of the study"):
            make_folder(folder / MARKETS)
        for world, columns in _computed(study, missing, signals, plugins, workers):
            _write(paths[world], columns)
            done += world.minutes
            on_progress(StudyProgress(reused, done, total))
    return {world: _read(path) for world, path in paths.items()}


def _computed(
    study: Study, missing: list[World], signals: dict[str, Signal], plugins: Plugins, workers: int
) -> Iterator[tuple[World, Columns]]:
    for index, result in _each(run_world, [(study, world, signals) for world in missing], plugins, workers):
        yield missing[index], result


def run_scenarios(
    study: Study,
    folder: Path,
    *,
    workers: int = 1,
    plugins: Plugins | None = None,
    on_progress: Callable[[StudyProgress], None] = lambda progress: None,
) -> dict[Case, dict[str, float]]:
    """Compute what is missing of the scenarios and return the deciding p-values of every market; see `run_study`."""
    plugins = plugins or Plugins()
    signals = load_signals(plugins, study.signals)
    seeds = range(study.first_seed, study.first_seed + study.scenario_seeds)
    planned = [Case(mode, seed) for seed in seeds for mode in MODES]
    keys = {case: study_key(study, {"case": [case.mode, case.seed, study.minutes]}, signals, "study/scenarios.py")
            for case in planned}  # fmt: skip
    paths = {case: folder / MARKETS / f"{key}.json" for case, key in keys.items()}
    missing = [case for case in planned if not paths[case].exists()]
    total = MINUTES * len(planned)
    reused = done = total - MINUTES * len(missing)
    on_progress(StudyProgress(reused, done, total))
    for index, result in _each(run_case, [(study, case, signals) for case in missing], plugins, workers):
        path = paths[missing[index]]
        with storage_errors(path, "keep a market of the study"):
            write_atomic(path, plain_json(result), durable=False)
        done += MINUTES
        on_progress(StudyProgress(reused, done, total))
    return {case: json.loads(path.read_bytes()) for case, path in paths.items()}


def _each(
    function: Callable[..., Any], calls: list[tuple[Any, ...]], plugins: Plugins, workers: int
) -> Iterator[tuple[int, Any]]:
    pool = plugins.load("executor", "local" if workers > 1 else "serial")(workers)
    with pool, closing(dispatch(pool, function, calls)) as results:
        for index, result in results:
            if isinstance(result, BaseException):
                raise result
            yield index, result


def _write(path: Path, columns: Columns) -> None:
    data = io.BytesIO()
    np.savez_compressed(data, allow_pickle=False, **columns)
    with storage_errors(path, "keep a market of the study"):
        write_atomic(path, data.getvalue(), durable=False)


def _read(path: Path) -> Columns:
    try:
        with np.load(path, allow_pickle=False) as stored:
            return {name: stored[name] for name in stored.files}
    except Exception as error:  # zip, zlib and numpy each have their own
        raise StorageError(f"{path} cannot be read: {error}. Delete it and run the study again.") from error


def plain_json(value: Any) -> bytes:
    """Return the bytes of a JSON file; NaN is null."""
    return (json.dumps(value, indent=1, sort_keys=True, allow_nan=False) + "\n").encode()
