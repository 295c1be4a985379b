"""``vp doctor``: what is damaged, lost, left over or open to others, and the command that mends it."""

from __future__ import annotations

import typer

from vpcore_cli.common import EXIT_REFUSED, JsonOption, RootOption, emit_json, emit_table, open_workspace, say


def doctor(root: RootOption = None, json: JsonOption = False) -> None:
    """Read every stored file of the workspace and say what is wrong, file by file, with the command that mends it.

    Changes nothing. Specs: vp validate. Exits 1 if something is wrong. On an object store every object of the lake is
    read; objects of unfinished uploads stay unseen, and the next publication beside them removes them after a day.
    """
    from vpcore_cli.examination import examine

    workspace = open_workspace(root)
    found = examine(workspace)
    if json:
        emit_json({"findings": [finding.plain() for finding in found]})
    elif found:
        emit_table([finding.plain() for finding in found], ("kind", "file", "problem", "fix"))
    else:
        say("Nothing is damaged, lost or left over.")
    if found:
        raise typer.Exit(EXIT_REFUSED)
