"""``vp generate``: generate the dataset of a pipeline."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from vpcore.cli.common import (
    JsonOption,
    RootOption,
    StrictTrackingOption,
    emit_json,
    open_workspace,
    progress,
    say,
    say_hook_failures,
)


def generate(
    pipeline: Annotated[str, typer.Argument(help="Name or path of a pipeline.")],
    root: RootOption = None,
    json: JsonOption = False,
    strict_tracking: StrictTrackingOption = False,
) -> None:
    """Generate the dataset of a pipeline. An existing dataset is verified and left unchanged."""
    from vpcore.generation.generate import Progress, generate_dataset

    workspace = open_workspace(root)
    began = time.perf_counter()
    with progress(f"Generating {pipeline}", 1.0) as update:

        def show(done: Progress) -> None:
            update(done.share, description=f"Generating {pipeline}: {done.bins_done:,} of {done.bins_total:,} bins")

        result = generate_dataset(workspace, pipeline, on_progress=show)
    elapsed = time.perf_counter() - began
    dataset = result.dataset
    for warning in result.warnings:
        say(f"Warning: {warning}")
    say_hook_failures(workspace.plugins)
    n_valid = int(dataset.manifest["valid_bins"])
    if json:
        emit_json(
            {
                "dataset_id": dataset.dataset_id,
                "created": result.created,
                "path": dataset.path,
                "n_bins": dataset.n_bins,
                "valid_bins": n_valid,
                "seconds": round(elapsed, 3),
                "warnings": list(result.warnings),
            }
        )
    else:
        what = f"made in {elapsed:.1f} s" if result.created else "was there already"
        say(f"{what.capitalize()}: {dataset.n_bins:,} bins, {dataset.n_bins - n_valid:,} invalid, in {dataset.path}")
        print(dataset.dataset_id)
    if strict_tracking:
        workspace.plugins.raise_hook_failures()
