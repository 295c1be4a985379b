"""``vp promote``: publish a row of an experiment's results."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from vpcore.errors import listed
from vpcore_cli.common import (
    ExperimentOrRow,
    JsonOption,
    RootOption,
    StrictTrackingOption,
    emit_json,
    open_workspace,
    require_tracked,
    say,
    say_hook_failures,
    shown,
)

if TYPE_CHECKING:
    from vpcore.workspace import Workspace


def promote(
    experiment: ExperimentOrRow,
    alias: Annotated[str, typer.Option("--alias", help="Name that servers ask for. Made, or moved to this version.")],
    run_id: Annotated[
        str | None,
        typer.Option(
            "--run-id", metavar="RUN", help="A run, or the beginning of its id. [default: the run of the row]"
        ),
    ] = None,
    row: Annotated[
        str | None,
        typer.Option(
            "--row", help="Row, as vp compare prints it. [default: the best of the run or experiment by select]"
        ),
    ] = None,
    force: Annotated[
        bool,
        typer.Option("--force", help="Publish an unproven row where only proven ones are published. Requires --why."),
    ] = False,
    why: Annotated[str, typer.Option("--why", metavar="TEXT", help="Reason, kept in the audit.")] = "",
    root: RootOption = None,
    json: JsonOption = False,
    strict_tracking: StrictTrackingOption = False,
) -> None:
    """Publish a row of an experiment as a serving version, and move an alias to it."""
    from vpcore_serving.promote import promote as publish

    workspace = open_workspace(root)
    done = publish(workspace, experiment, run_id, alias=alias, row=row, force=force, why=why)
    publication = done.publication
    evidence = done.spec.evidence
    say(evidence.summary)
    say(f"Verdict: {evidence.verdict}{', because' if evidence.reasons else '.'}")
    for text in evidence.reasons:
        say(f"- {text}")
    if evidence.weaknesses:
        say("Weak besides; this decides nothing:")
    for text in evidence.weaknesses:
        say(f"- {text}")
    for text in done.overridden:
        say(f"Overridden by --force: {text}")
    say_hook_failures(workspace.plugins)
    if json:
        parts = {"run_id", "row", "figures", "summary", "verdict", "reasons", "weaknesses"}
        emit_json(
            {
                **asdict(publication),
                "moved": publication.moved,
                "tied": list(done.tied),
                **evidence.model_dump(mode="json", include=parts),
            }
        )
    else:
        metric = evidence.select.metric
        chosen = "as asked for" if row is not None or evidence.row.startswith(experiment) else f"the best by {metric}"
        say(f"Row {evidence.row} of run {evidence.run_id}, {chosen}: {metric} {shown(evidence.figures.get(metric))}.")
        if done.tied:
            say(f"The first by key of {len(done.tied) + 1} tied rows. The others: {listed(done.tied[:10])}.")
        if not publication.created:
            _say_first_verdict(workspace, publication.serving_id, evidence.verdict)
        what = "Published" if publication.created else "Was published already"
        before = f", which named {publication.previous} before" if publication.previous else ""
        now = f"It is now '{publication.alias}'{before}."
        if not publication.moved:
            now = f"It was '{publication.alias}' already: nothing has changed."
        say(f"{what}: {publication.path}. {now}")
        print(publication.serving_id)
    if strict_tracking:
        require_tracked(workspace.plugins)


def _say_first_verdict(workspace: Workspace, serving_id: str, verdict: str) -> None:
    from vpcore_serving.registry import registry_of
    from vpcore_serving.spec import published

    first = published(registry_of(workspace), serving_id).evidence.verdict
    if first != verdict:
        say(f"The version was published before and never changes: its file keeps the verdict of then, {first}.")
