"""``vp track``: report stored results to a tracker later."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from vpcore_cli.common import (
    EXIT_REFUSED,
    ExperimentArgument,
    JsonOption,
    RootOption,
    emit_json,
    open_workspace,
    progress,
    say,
)


def track(
    experiment: ExperimentArgument,
    tracker: Annotated[str | None, typer.Option("--tracker", help="Instead of tracking.backend.")] = None,
    root: RootOption = None,
    json: JsonOption = False,
) -> None:
    """Report the stored runs of an experiment to its tracker, each run once."""
    from vpcore.experiment.run import harness_config
    from vpcore_cli.tracking import track_experiment

    workspace = open_workspace(root)
    config = harness_config(workspace, experiment)
    with progress(f"{experiment}: reporting", 1.0) as update:
        report = track_experiment(
            workspace,
            config,
            tracker=tracker,
            on_progress=lambda done, total: update(done, total=total),
        )
    if json:
        emit_json(asdict(report))
    else:
        print(f"{report.n_reported} of {report.n_runs} runs of {report.experiment} are reported to {report.tracker}.")
    for text in report.failures[:5]:
        say(f"Reporting failed, {text}.")
    if report.failures:
        say(f"Nothing is lost. To try again: vp track {experiment}")
        raise typer.Exit(EXIT_REFUSED)
