"""The hooks of vpcore, in the order of the calls: components that a plugin adds, and events that it hears.

A plugin is a module with functions of these names, marked with ``@hookimpl``, and one entry point of the group
``vpcore`` that names the module. A function may leave out unused arguments. A test compares the
signatures with those in `docs/reference/hooks.md`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import pluggy

from vpcore.plugins.component import Component

if TYPE_CHECKING:
    from pathlib import Path

    from vpcore.config import ExperimentConfig
    from vpcore.workspace import Workspace
    from vpcore_serving.spec import PublishedServingSpec

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

    A target is a subclass of `vpcore.Signal`. Every registration hook may return None for an empty list.
    """
    raise NotImplementedError


@hookspec
def vp_sources() -> Iterable[Component]:
    """Return the sources of this plugin, named by `capture.source` of a pipeline.

    A target is a subclass of `vpcore.source.Source` with a constructor of zero arguments.
    """
    raise NotImplementedError


@hookspec
def vp_storages() -> Iterable[Component]:
    """Return the storage backends of this plugin.

    A target is a subclass of `vpcore.storage.Storage` that takes the root of the lake.
    """
    raise NotImplementedError


@hookspec
def vp_trackers() -> Iterable[Component]:
    """Return the trackers of this plugin, named by `tracking.backend` of an experiment.

    A target is a subclass of `vpcore.tracker.Tracker`.
    """
    raise NotImplementedError


@hookspec
def vp_executors() -> Iterable[Component]:
    """Return the executors of this plugin, named by `parallel.executor` of an experiment.

    A target is a class or function that takes `max_workers`, and by name its options (`parallel.options`), and
    returns a `vpcore.executor.Executor` or another `concurrent.futures.Executor`.
    """
    raise NotImplementedError


@hookspec
def vp_samplers() -> Iterable[Component]:
    """Return the samplers of this plugin, named by `sweep.sample.method` of an experiment.

    A target is a subclass of `vpcore.sampler.Sampler`.
    """
    raise NotImplementedError


@hookspec
def vp_feeds() -> Iterable[Component]:
    """Return the feeds of this plugin, named by ``vp serve --feed``.

    A target is a subclass of `vpcore_serving.feed.Feed` that takes a `FeedRequest`.
    """
    raise NotImplementedError


@hookspec
def vp_commands() -> Iterable[Component]:
    """Return the commands of this plugin.

    A target is a function with the options of a `typer` command, or a `typer.Typer` with a group of commands. The
    summary is its line in ``vp --help``, `heading` the heading above that line.
    """
    raise NotImplementedError


@hookspec
def vp_functions() -> Iterable[Component]:
    """Return the functions and classes that this plugin adds to the notebook API.

    ``vpcore.NAME`` is the target of that name, imported on first use.
    """
    raise NotImplementedError


# -- 2. Lifecycle: called in the parent process, after the result is safe on disk. A hook that raises loses nothing:
#       the failure is counted and shown, and ends the command only under --strict-tracking ----------------------------


@hookspec
def vp_dataset_generated(workspace: Workspace, dataset_id: str, manifest: Mapping[str, Any]) -> None:
    """A new dataset was committed.

    Existing datasets are left out. `manifest` is the content of its `manifest.json`.
    """


@hookspec
def vp_run_started(workspace: Workspace, experiment: str, run_id: str, meta: Mapping[str, Any]) -> None:
    """The executor received a missing run of an experiment.

    `meta` has the columns of `runs_meta` known by then: dataset, signal, parameters, scoring, evaluation.
    """


@hookspec
def vp_run_stored(
    workspace: Workspace,
    experiment: str,
    run_id: str,
    meta: Mapping[str, Any],
    rows: Sequence[Mapping[str, Any]],
) -> None:
    """A successful run was stored: `meta` is its row of `runs_meta`, `rows` its rows of `runs`."""


@hookspec
def vp_run_finished(workspace: Workspace, experiment: str, run_id: str, status: str, error: str | None) -> None:
    """A run is over. This is the last call of a run.

    `status` is ``"ok"`` or ``"failed"``; `error` is the message of a failed run, otherwise None.
    """


@hookspec
def vp_experiment_finished(
    workspace: Workspace, experiment: str, config: ExperimentConfig, run_ids: Sequence[str], folder: Path | None
) -> None:
    """``vp run`` or ``vp track`` has finished an experiment.

    `config` has every proposed combination, `run_ids` every run of the experiment. A plugin may write files into
    `folder`: the tracker gets them, then the folder is deleted. `folder` is None if the tracker takes no files or has
    failed, or if `tracking.files` leaves out ``report``.
    """


@hookspec
def vp_promoted(workspace: Workspace, serving_id: str, alias: str, spec: PublishedServingSpec) -> None:
    """A serving version was published, or `alias` was moved to one."""
