"""The hooks of vpcore: everything a plugin can add or listen to, in the order in which they are called.

A plugin is a module with functions of these names, marked with ``@hookimpl``, and one entry point of the group
``vpcore`` that names the module. A function may leave out arguments that it does not use. `docs/plugins.md` repeats
the signatures; a test compares the two.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import pluggy

from vpcore.plugins.component import Component

if TYPE_CHECKING:
    from pathlib import Path

    from vpcore.config import ExperimentConfig
    from vpcore.serving.spec import PublishedServingSpec
    from vpcore.workspace import Workspace

_F = TypeVar("_F", bound=Callable[..., Any])

PROJECT = "vpcore"
"""Project name of pluggy and name of the entry-point group."""

hookspec: Callable[[_F], _F] = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)
"""Marks a function of a plugin as the implementation of the hook of the same name."""


# -- 1. Registration: called once, when the components of a kind are first asked for. Nothing is imported for it ------


@hookspec
def vp_signals() -> Iterable[Component]:
    """Return the signals of this plugin.

    A target is a subclass of `vpcore.Signal`. None means no signals.
    """
    raise NotImplementedError


@hookspec
def vp_sources() -> Iterable[Component]:
    """Return the sources of this plugin, named by `capture.source` of a pipeline.

    A target is a subclass of `vpcore.source.Source` that takes no arguments. None means no sources.
    """
    raise NotImplementedError


@hookspec
def vp_storages() -> Iterable[Component]:
    """Return the storage backends of this plugin.

    A target is a subclass of `vpcore.storage.Storage` that takes the root of the lake. None means none.
    """
    raise NotImplementedError


@hookspec
def vp_trackers() -> Iterable[Component]:
    """Return the trackers of this plugin, named by `tracking.backend` of an experiment.

    A target is a subclass of `vpcore.tracker.Tracker`. None means no trackers.
    """
    raise NotImplementedError


@hookspec
def vp_executors() -> Iterable[Component]:
    """Return the executors of this plugin, named by `parallel.executor` of an experiment.

    A target is a class or function that takes `max_workers`, and by name its options (`parallel.options`), and
    returns a `vpcore.executor.Executor` or another `concurrent.futures.Executor`. None means no executors.
    """
    raise NotImplementedError


@hookspec
def vp_samplers() -> Iterable[Component]:
    """Return the samplers of this plugin, named by `sweep.sample.method` of an experiment.

    A target is a subclass of `vpcore.sampler.Sampler`. None means no samplers.
    """
    raise NotImplementedError


@hookspec
def vp_commands() -> Iterable[Component]:
    """Return the commands of this plugin.

    A target is a function with the options of a `typer` command, or a `typer.Typer` with a group of commands. The
    summary is its line in ``vp --help``, `heading` the heading above that line. None means no commands.
    """
    raise NotImplementedError


# -- 2. Lifecycle: called in the parent process, after the result is safe on disk. A hook that raises loses nothing:
#       the failure is counted and shown, and ends the command only under --strict-tracking ----------------------------


@hookspec
def vp_dataset_generated(workspace: Workspace, dataset_id: str, manifest: Mapping[str, Any]) -> None:
    """A new dataset was committed.

    Existing datasets are left out. `manifest` is the content of its `manifest.json`.
    """
    raise NotImplementedError


@hookspec
def vp_run_started(workspace: Workspace, experiment: str, run_id: str, meta: Mapping[str, Any]) -> None:
    """The work of a run that was not in the results was handed to the executor.

    `meta` has the columns of `runs_meta` that are known beforehand: dataset, signal, parameters, scoring, evaluation.
    """
    raise NotImplementedError


@hookspec
def vp_run_stored(
    workspace: Workspace,
    experiment: str,
    run_id: str,
    meta: Mapping[str, Any],
    rows: Sequence[Mapping[str, Any]],
) -> None:
    """A run that succeeded is committed to the results: `meta` is its row of `runs_meta`, `rows` its rows of `runs`."""
    raise NotImplementedError


@hookspec
def vp_run_finished(workspace: Workspace, experiment: str, run_id: str, status: str, error: str | None) -> None:
    """A run is over, the last call for it.

    `status` is ``"ok"`` or ``"failed"``; `error` is the message of a failed run, else None.
    """
    raise NotImplementedError


@hookspec
def vp_experiment_finished(
    workspace: Workspace, experiment: str, config: ExperimentConfig, run_ids: Sequence[str], folder: Path | None
) -> None:
    """An experiment was run or reported: the end of ``vp run`` and of ``vp track``.

    `config` has every combination that was proposed, `run_ids` every run of the experiment. A plugin may write files
    into `folder`: the tracker gets them, then the folder is deleted. `folder` is None without
    a tracker of files, after a failure of the tracker, and if `tracking.files` leaves out ``report``.
    """
    raise NotImplementedError


@hookspec
def vp_promoted(workspace: Workspace, serving_id: str, alias: str, spec: PublishedServingSpec) -> None:
    """A serving version was published, or `alias` was moved to one."""
    raise NotImplementedError
