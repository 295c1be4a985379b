"""``vp serving``: the published serving versions."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vpcore.cli.common import CsvOption, JsonOption, RootOption

if TYPE_CHECKING:
    from vpcore.registry import Publication

Version = Annotated[str, typer.Argument(metavar="VERSION", help="Alias or id.")]
Why = Annotated[str, typer.Option("--why", metavar="TEXT", help="Reason, kept in the audit.")]


def list_versions(root: RootOption = None, json: JsonOption = False, csv: CsvOption = False) -> None:
    """List the published versions, the latest first, and the aliases that name them."""
    from vpcore.cli.common import emit_table, open_workspace

    rows = [
        {
            "serving_id": version.serving_id,
            "aliases": list(version.aliases) if json else ", ".join(version.aliases),
            "created_utc": version.created_utc,
            "created_by": version.created_by,
            "sha256": version.digest,
        }
        for version in open_workspace(root).registry.versions()
    ]
    columns = ("serving_id", "aliases", "created_utc", "created_by")
    empty = "Nothing is published yet. Publish with: vp promote EXPERIMENT --run-id RUN --alias ALIAS"
    emit_table(rows, columns, json=json, csv=csv, empty=empty)


def show(version: Version, root: RootOption = None, json: JsonOption = False) -> None:
    """Show a published version, its file checked against the published digest."""
    from vpcore.cli.common import emit_json, open_workspace

    found = open_workspace(root).registry.resolve(version)
    if json:
        emit_json({"serving_id": found.serving_id, "sha256": found.digest, **found.document})
    else:
        print(found.data.decode(), end="")


def history(
    alias: Annotated[str | None, typer.Argument(help="An alias. [default: all]")] = None,
    root: RootOption = None,
    json: JsonOption = False,
    csv: CsvOption = False,
) -> None:
    """Show every move of an alias, the latest first: who, when, from, to, why."""
    from dataclasses import asdict

    from vpcore.cli.common import emit_table, open_workspace

    rows = [asdict(entry) for entry in open_workspace(root).registry.history(alias)]
    columns = ("at_utc", "who", "action", "alias", "from_id", "to_id", "forced", "why")
    emit_table(rows, columns, json=json, csv=csv, empty="Nothing was promoted yet.")


def rollback(
    alias: Annotated[str, typer.Argument(help="An alias.")],
    to: Annotated[str | None, typer.Option("--to", metavar="ID", help="A version. [default: the one before]")] = None,
    why: Why = "",
    root: RootOption = None,
    json: JsonOption = False,
) -> None:
    """Let an alias name the version before, or a given one."""
    from vpcore.cli.common import open_workspace

    _moved(open_workspace(root).registry.rollback(alias, to=to, why=why), json)


def export(
    version: Version,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="File to write. [default: <id>.serving.json here]")
    ] = None,
    root: RootOption = None,
) -> None:
    """Write a version as one file that carries its digest, for a server on another host."""
    from vpcore.cli.common import open_workspace, say
    from vpcore.storage.atomic import storage_errors, write_atomic

    found = open_workspace(root).registry.resolve(version)
    path = (out if out is not None else Path(f"{found.serving_id}.serving.json")).absolute()
    with storage_errors(path, f"export the serving version '{found.serving_id}'"):
        write_atomic(path, found.export())
    say(f"Exported {found.serving_id}. Publish it elsewhere with: vp serving import {path.name} --alias ALIAS")
    print(path)


def import_version(
    file: Annotated[Path, typer.Argument(help="A file that vp serving export wrote.")],
    alias: Annotated[str, typer.Option("--alias", help="Name that servers ask for.")],
    why: Why = "",
    root: RootOption = None,
    json: JsonOption = False,
) -> None:
    """Publish an exported version in this workspace, its digest checked."""
    from vpcore.cli.common import open_workspace
    from vpcore.registry import read_export

    _moved(open_workspace(root).registry.import_version(read_export(file), alias, why=why), json)


def restore(
    version: Version,
    root: RootOption = None,
) -> None:
    """Write the file of a published version again, from the registry's copy."""
    from vpcore.cli.common import open_workspace

    registry = open_workspace(root).registry
    print(registry.restore(registry.aliases().get(version, version)))


def _moved(done: Publication, json: bool) -> None:
    from vpcore.cli.common import emit_json, say

    if json:
        emit_json({"alias": done.alias, "serving_id": done.serving_id, "previous": done.previous, "path": done.path})
    else:
        say(f"'{done.alias}' now names {done.serving_id}, before {done.previous or 'nothing'}.")
        print(done.serving_id)


app = typer.Typer(help="The published serving versions.", no_args_is_help=True)
app.command("list")(list_versions)
app.command("show")(show)
app.command("history")(history)
app.command("rollback")(rollback)
app.command("export")(export)
app.command("import")(import_version)
app.command("restore")(restore)
