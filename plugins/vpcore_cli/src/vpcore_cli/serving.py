"""``vp serving``: the published serving versions."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vpcore.errors import RegistryError, VpError
from vpcore_cli.common import CsvOption, JsonOption, RootOption, emit_json, emit_table, open_workspace, say

if TYPE_CHECKING:
    from vpcore_serving.registry import Publication

Version = Annotated[str, typer.Argument(metavar="VERSION", help="Alias or id.")]
Why = Annotated[str, typer.Option("--why", metavar="TEXT", help="Reason, kept in the audit.")]


def list_versions(root: RootOption = None, json: JsonOption = False, csv: CsvOption = False) -> None:
    """List the published versions, the latest first: id, aliases, signal, symbol, threshold, barriers, verdict."""
    from vpcore_serving.registry import registry_of
    from vpcore_serving.spec import list_published

    rows = []
    for info, spec in list_published(registry_of(open_workspace(root))):
        row: dict[str, Any] = {
            "serving_id": info.serving_id,
            "aliases": list(info.aliases) if json else ", ".join(info.aliases),
        }
        if isinstance(spec, RegistryError):
            row["error"] = str(spec)
            say(f"Warning: {spec}")
        else:
            rules = spec.runtime.rules
            row |= {
                "signal": spec.runtime.signal.name,
                "symbol": spec.runtime.pipeline.symbol,
                "threshold": spec.runtime.threshold,
                "tp_ticks": rules.tp_ticks,
                "sl_ticks": rules.sl_ticks,
                "max_hold_bins": rules.max_hold_bins,
                "verdict": spec.evidence.verdict,
            }
        rows.append(row | {"created_utc": info.created_utc, "created_by": info.created_by, "sha256": info.digest})
    columns = (
        "serving_id", "aliases", "signal", "symbol", "threshold", "tp_ticks", "sl_ticks", "max_hold_bins", "verdict",
        "created_utc",
    )  # fmt: skip
    empty = "Nothing is published yet. Publish with: vp promote EXPERIMENT --alias ALIAS"
    emit_table(rows, columns, json=json, csv=csv, empty=empty, spare=("created_utc", "max_hold_bins"))


def show(version: Version, root: RootOption = None, json: JsonOption = False) -> None:
    """Show a published version, its file checked against the published digest."""
    from vpcore_serving.registry import registry_of
    from vpcore_serving.spec import published

    found = published(registry_of(open_workspace(root)), version)
    if json:
        emit_json(found.spec.model_dump(mode="json"))
    else:
        print(found.spec.to_yaml().decode(), end="")


def diff(
    a: Annotated[str, typer.Argument(metavar="A", help="Alias or id.")],
    b: Annotated[str, typer.Argument(metavar="B", help="Alias or id.")],
    root: RootOption = None,
    json: JsonOption = False,
    csv: CsvOption = False,
) -> None:
    """Show every setting that differs between two published versions, and how their rows differ."""
    from vpcore.experiment.compare_rows import compare_rows
    from vpcore_cli.compare import of_two
    from vpcore_serving.registry import registry_of
    from vpcore_serving.spec import diff as differences, published

    workspace = open_workspace(root)
    one, other = (published(registry_of(workspace), version).spec for version in (a, b))
    rows = [asdict(difference) for difference in differences(one, other)]
    emit_table(rows, ("name", "a", "b"), json=json, csv=csv, empty="The two versions have the same settings.")
    if json or csv or one.evidence.row == other.evidence.row:
        return
    try:
        found = compare_rows(workspace, one.evidence.row, other.evidence.row)
    except VpError as error:
        say(f"Their trades are not compared: {error}")
    else:
        for text in of_two(found):
            say(text)


def history(
    alias: Annotated[str | None, typer.Argument(help="An alias. [default: all]")] = None,
    root: RootOption = None,
    json: JsonOption = False,
    csv: CsvOption = False,
) -> None:
    """Show every move of an alias, the latest first: who, when, from, to, why."""
    from vpcore_serving.registry import registry_of

    rows = [asdict(entry) for entry in registry_of(open_workspace(root)).history(alias)]
    columns = ("at_utc", "who", "action", "alias", "from_id", "to_id", "forced", "why")
    emit_table(rows, columns, json=json, csv=csv, empty="Nothing was promoted yet.")


def rollback(
    alias: Annotated[str, typer.Argument(help="An alias.")],
    to: Annotated[
        str | None, typer.Option("--to", metavar="ID", help="A version. [default: the previous version]")
    ] = None,
    why: Why = "",
    root: RootOption = None,
    json: JsonOption = False,
) -> None:
    """Move an alias to its previous version, or to a given version."""
    from vpcore_serving.registry import registry_of
    from vpcore_serving.spec import roll_back

    _moved(roll_back(registry_of(open_workspace(root)), alias, to=to, why=why), json)


def export(
    version: Version,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="File to write. [default: <id>.serving.json here]")
    ] = None,
    root: RootOption = None,
) -> None:
    """Write a version as one file that carries its digest, for a server on another host."""
    from vpcore.storage.atomic import storage_errors
    from vpcore_cli.output import write_output
    from vpcore_serving.registry import registry_of

    found = registry_of(open_workspace(root)).resolve(version)
    path = (out if out is not None else Path(f"{found.serving_id}.serving.json")).absolute()
    with storage_errors(path, f"export the serving version '{found.serving_id}'"):
        write_output(path, found.export())
    say(f"Exported {found.serving_id}. Publish it elsewhere with: vp serving import {path.name} --alias ALIAS")
    print(path)


def import_version(
    file: Annotated[Path, typer.Argument(help="A file that vp serving export wrote.")],
    alias: Annotated[str, typer.Option("--alias", help="Name that servers ask for.")],
    why: Why = "",
    root: RootOption = None,
    json: JsonOption = False,
) -> None:
    """Publish an exported version in this workspace after a check of its digest and content."""
    from vpcore_serving.registry import registry_of
    from vpcore_serving.spec import import_version as publish

    _moved(publish(registry_of(open_workspace(root)), file, alias, why=why), json)


def restore(
    version: Version,
    root: RootOption = None,
) -> None:
    """Write the file of a published version again, from the registry's copy."""
    from vpcore_serving.registry import registry_of

    registry = registry_of(open_workspace(root))
    print(registry.restore(registry.aliases().get(version, version)))


def _moved(done: Publication, json: bool) -> None:
    if json:
        emit_json({"alias": done.alias, "serving_id": done.serving_id, "previous": done.previous, "path": done.path})
    else:
        say(f"'{done.alias}' now names {done.serving_id}, before {done.previous or 'nothing'}.")
        print(done.serving_id)


app = typer.Typer(help="The published serving versions.", no_args_is_help=True)
app.command("list")(list_versions)
app.command("show")(show)
app.command("diff")(diff)
app.command("history")(history)
app.command("rollback")(rollback)
app.command("export")(export)
app.command("import")(import_version)
app.command("restore")(restore)
