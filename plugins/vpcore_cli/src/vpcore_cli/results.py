"""``vp results``: show a run, export and import, compact the store."""

from __future__ import annotations

import io
import json as json_module
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from vpcore.errors import ConfigError
from vpcore_cli.common import (
    CsvOption,
    DatasetOption,
    JsonOption,
    RootOption,
    SignalOption,
    emit_json,
    emit_table,
    open_workspace,
    say,
)

SUFFIXES = (".parquet", ".csv", ".ndjson", ".zip")

LOOKED_AT = ("tp", "sl", "predictions", "auc", "log_loss", "brier", "fits", "most_used", "moved_most", "note", "error")


def show(
    run: Annotated[str, typer.Argument(help="Id of a run, or an unambiguous beginning of it.")],
    root: RootOption = None,
    json: JsonOption = False,
    csv: CsvOption = False,
) -> None:
    """Show a run: its settings, every row, the best first, and the accuracy of a learning signal."""
    from vpcore.experiment.tables import with_rates
    from vpcore.results import VECTORS
    from vpcore.signal import DIAGNOSTICS, read_diagnostics
    from vpcore_cli.tables import EXPORTED, for_people, ranked, short_columns

    workspace = open_workspace(root)
    meta = workspace.results.find_run(run)
    found = with_rates(
        workspace.results.query_runs(run_id=[meta["run_id"]], status=None, sort="net_pnl_ticks", blocks=json)
    )
    rows = ranked(found, found)
    looks = read_diagnostics(workspace.results.folder / DIAGNOSTICS / meta["run_id"])
    about = {name: value for name, value in meta.items() if name != "batch_id"}
    for name in ("started_utc", "finished_utc"):
        about[name] = about[name].isoformat()
    if json:
        for name in [name for name in about if name.endswith("_json")]:
            about[name.removesuffix("_json")] = json_module.loads(about.pop(name) or "null")
        vectors = found.select(name for name in VECTORS if found[name].null_count() < found.height).to_dicts()
        whole = [{**row, **more} for row, more in zip(rows, vectors or [{}] * len(rows), strict=True)]
        emit_json({"run": about, "rows": whole, "diagnostics": looks})
        return
    if csv:
        emit_table(rows, EXPORTED, csv=True)
        return
    for name, value in about.items():
        if value is not None and name != "traceback":
            say(f"{name.removesuffix('_json'):20} {value}")
    if about["traceback"]:
        say(about["traceback"])
    columns = short_columns("net_pnl_ticks", alone=True)
    emit_table(for_people(rows), columns, title=meta["run_id"], one_line=True)
    if looks:
        print()
        title = "Predictions against outcomes (95 % interval; all figures: --json)"
        lines = [_summary(item) for item in looks]
        emit_table(lines, [name for name in LOOKED_AT if any(name in line for line in lines)], title=title)


def _summary(look: dict[str, Any]) -> dict[str, Any]:
    """Return the diagnostics of one take-profit and stop as a table row."""
    row = {"tp": look["tp_ticks"], "sl": look["sl_ticks"]}
    if "error" in look:
        return {**row, "error": look["error"]}
    row["predictions"] = look.get("n")
    for name in ("auc", "log_loss", "brier"):
        if name in look:
            row[name] = _interval(look[name])
    fits = look.get("retrains", ())
    spent = sum(look.get("circumstances", {}).get("fit_ms", ()))
    row["fits"] = f"{len(fits)} in {spent:,.0f} ms" if fits else "none"
    for name, key in (("most_used", "importance"), ("moved_most", "drift")):
        if key in look:
            row[name] = ", ".join(item["feature"] for item in look[key][:3]) or "-"
    if look.get("note"):
        row["note"] = look["note"]
    return row


def _interval(figure: list[float | None]) -> str:
    value, low, high = figure
    if value is None:
        return "-"
    return f"{value:.3f}" if low is None or high is None else f"{value:.3f} ({low:.3f} to {high:.3f})"


def compact(root: RootOption = None, json: JsonOption = False) -> None:
    """Merge the parts of the results store. Queries give the same rows. Other processes may read and write."""
    from vpcore.results import compact as merge

    workspace = open_workspace(root)
    report = merge(workspace.results)
    if json:
        emit_json(asdict(report))
    else:
        say(
            f"{report.parts_before} parts are now {report.parts_after}: {report.rows} rows; "
            f"{report.duplicates} that newer ones had replaced are gone."
        )


def export(
    out: Annotated[
        Path, typer.Option("--out", help="File to write; .parquet, .csv, .ndjson, or .zip for vp results import.")
    ],
    signal: SignalOption = None,
    dataset_id: DatasetOption = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the file if it exists.")] = False,
    root: RootOption = None,
) -> None:
    """Write the rows, failed rows included, with their settings into one file for other tools.

    A .zip file holds everything, with the ledger, for another workspace.
    """
    workspace = open_workspace(root)
    if out.suffix not in SUFFIXES:
        raise ConfigError("--out", required=f"a file that ends in {', '.join(SUFFIXES)}", was=str(out))
    if dataset_id is not None:
        dataset_id = workspace.datasets.find(dataset_id)
    if out.suffix == ".zip":
        from vpcore_cli.archive import export_archive

        if signal is not None or dataset_id is not None:
            raise ConfigError(
                "A .zip file holds all results and their ledger", fix="Leave out --signal and --dataset-id."
            )
        data = export_archive(workspace.results)
        _write(out, data, force)
        say(f"Results and ledger in {out}. Elsewhere: vp results import {out.name}")
        return
    flat = out.suffix == ".csv"  # which cannot hold lists
    frame = workspace.results.query_runs(signal_name=signal, dataset_id=dataset_id, status=None, blocks=not flat)
    buffer = io.BytesIO()
    write = {".parquet": frame.write_parquet, ".csv": frame.write_csv, ".ndjson": frame.write_ndjson}[out.suffix]
    write(buffer)  # type: ignore[operator]
    _write(out, buffer.getvalue(), force)
    say(f"{frame.height} rows in {out}")


def _write(out: Path, data: bytes, force: bool) -> None:
    from vpcore.storage.atomic import storage_errors
    from vpcore_cli.output import write_output

    with storage_errors(out, "write the export"):
        written = write_output(out, data, exclusive=not force)
    if not written:
        raise ConfigError(f"{out} exists already", fix="Choose another name, or replace it with --force.")


def import_(
    archive: Annotated[Path, typer.Argument(help="A .zip file of vp results export.")],
    root: RootOption = None,
    json: JsonOption = False,
) -> None:
    """Add the results and the ledger of another workspace. The file is checked before anything is written."""
    from vpcore_cli.archive import import_archive

    report = import_archive(open_workspace(root).results, archive)
    if json:
        emit_json(asdict(report))
    else:
        say(
            f"Added {report.runs} parts of results, {report.ledger} of the ledger, {report.reserves} reserves and "
            f"confirmations; {report.present} files were there already."
        )


RowArgument = Annotated[str, typer.Argument(metavar="ROW", help="A row, as vp compare prints it.")]


def tag(
    row: RowArgument,
    tags: Annotated[list[str], typer.Argument(metavar="TAG...", help="Words without blanks and commas.")],
    remove: Annotated[bool, typer.Option("--remove", help="Take the tags away.")] = False,
    root: RootOption = None,
) -> None:
    """Tag a row. vp compare --tag TAG shows the rows with a tag."""
    _noted(root, row, **{"untag" if remove else "tags": tags})


def note(
    row: RowArgument,
    text: Annotated[str, typer.Argument(metavar="TEXT", help="At most 2,000 characters.")],
    root: RootOption = None,
) -> None:
    """Add a note to a row. Edited code that computes the row again keeps it."""
    if not text.strip():
        raise ConfigError("A note", required="some text", was="empty")
    _noted(root, row, text=text)


def archive(
    row: RowArgument,
    undo: Annotated[bool, typer.Option("--undo", help="Show the row again.")] = False,
    root: RootOption = None,
) -> None:
    """Hide a row in vp compare. Every figure counts the row as before."""
    _noted(root, row, archived=not undo)


def _noted(root: Path | None, name: str, **remark: Any) -> None:
    from vpcore_cli.notes import notes_of

    workspace = open_workspace(root)
    row = workspace.results.find_row(name)
    found = notes_of(workspace).add(row, **remark)
    say(f"Row {row['row']}{', archived' if found.archived else ''}: {', '.join(found.tags) or 'no tags'}.")
    for text in found.texts:
        say(f"- {text}")


app = typer.Typer(
    help="The results store: show a run, export, import, tag, note, archive, compact.", no_args_is_help=True
)
app.command("show")(show)
app.command("export")(export)
app.command("import")(import_)
app.command("tag")(tag)
app.command("note")(note)
app.command("archive")(archive)
app.command("compact")(compact)
