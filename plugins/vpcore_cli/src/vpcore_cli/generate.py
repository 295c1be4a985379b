"""``vp generate``: generate the dataset of a pipeline, or those of an experiment's sessions."""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vpcore.errors import VpError
from vpcore_cli.common import (
    JsonOption,
    RootOption,
    StrictTrackingOption,
    emit_json,
    open_workspace,
    progress,
    require_tracked,
    say,
    say_hook_failures,
)

if TYPE_CHECKING:
    from vpcore.generation.generate import Generated
    from vpcore.workspace import Workspace


def generate(
    spec: Annotated[str, typer.Argument(metavar="SPEC", help="Name or path of a pipeline or an experiment.")],
    max_workers: Annotated[
        int | None, typer.Option(min=1, help="Processes for an experiment. [default: the experiment's]")
    ] = None,
    root: RootOption = None,
    json: JsonOption = False,
    strict_tracking: StrictTrackingOption = False,
) -> None:
    """Generate the dataset of a pipeline, or those of an experiment's sessions, several at a time.

    An existing dataset is verified and left unchanged.
    """
    workspace = open_workspace(root)
    if _is_experiment(workspace, spec):
        _sessions(workspace, spec, max_workers, json)
    else:
        _one(workspace, spec, json)
    say_hook_failures(workspace.plugins)
    if strict_tracking:
        require_tracked(workspace.plugins)


def _has_sessions(workspace: Workspace, experiment: str) -> bool:
    """Return True if an experiment names sessions of its own."""
    with suppress(VpError):  # the command is about the pipeline of this name
        spec = workspace.experiment(experiment)
        return bool(spec.dates or spec.pipelines)
    return False


def _is_experiment(workspace: Workspace, spec: str) -> bool:
    from vpcore.config.store import kind_of

    names = [kind for kind in ("pipeline", "experiment") if spec in workspace.specs.names(kind)]
    if len(names) == 2 and _has_sessions(workspace, spec):
        path = workspace.specs.path_of("experiment", spec).relative_to(workspace.root)
        say(f"'{spec}' is an experiment as well. To generate all of its sessions: vp generate {path}")
    if names:
        return names == ["experiment"]
    path = workspace.specs.path_of("pipeline", spec)
    return Path(path).exists() and kind_of(workspace.specs.document(path)) == "experiment"


def _one(workspace: Workspace, pipeline: str, json: bool) -> None:
    from vpcore.generation.generate import Progress, generate_dataset

    began = time.perf_counter()
    with progress(f"Generating {pipeline}", 1.0) as update:

        def show(done: Progress) -> None:
            update(done.share, description=f"Generating {pipeline}: {done.bins_done:,} of {done.bins_total:,} bins")

        result = generate_dataset(workspace, pipeline, on_progress=show)
    elapsed = time.perf_counter() - began
    for warning in result.warnings:
        say(f"Warning: {warning}")
    if json:
        emit_json(_facts(result, elapsed))
    else:
        line = _line(result, elapsed)
        say(line[0].upper() + line[1:])
        print(result.dataset.dataset_id)


def _sessions(workspace: Workspace, experiment: str, max_workers: int | None, json: bool) -> None:
    from contextlib import ExitStack

    from vpcore.experiment.preflight import require_data
    from vpcore.experiment.run import harness_config
    from vpcore.experiment.sessions import generate_sessions
    from vpcore.experiment.workers import make_pool
    from vpcore_cli.watch import watched

    config = harness_config(workspace, experiment).with_executor(None, max_workers)
    require_data(workspace, config)
    facts: dict[str, dict[str, Any]] = {}
    with ExitStack() as opened, watched(config.name) as on_progress:
        made = generate_sessions(
            workspace, config, lambda: opened.enter_context(make_pool(workspace, config)), on_progress
        )
        for session, result, elapsed in made:
            facts[session.dataset_id()] = _facts(result, elapsed)
            for warning in result.warnings:
                say(f"Warning: {config.label_of(session)}: {warning}")
            if not json:
                say(f"{len(facts)} of {len(config.sessions)}: {_line(result, elapsed)}")
    if json:
        emit_json([facts[dataset_id] for dataset_id in config.dataset_ids])
    else:
        for dataset_id in config.dataset_ids:
            print(dataset_id)


def _line(result: Generated, elapsed: float) -> str:
    dataset = result.dataset
    what = f"made in {elapsed:.1f} s" if result.created else "was there already"
    invalid = dataset.n_bins - int(dataset.manifest["valid_bins"])
    return f"{what}: {dataset.n_bins:,} bins, {invalid:,} invalid, in {dataset.path}"


def _facts(result: Generated, elapsed: float) -> dict[str, Any]:
    dataset = result.dataset
    return {
        "dataset_id": dataset.dataset_id,
        "created": result.created,
        "path": dataset.path,
        "n_bins": dataset.n_bins,
        "valid_bins": int(dataset.manifest["valid_bins"]),
        "seconds": round(elapsed, 3),
        "warnings": list(result.warnings),
    }
