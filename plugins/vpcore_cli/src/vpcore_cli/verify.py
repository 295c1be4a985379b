"""``vp verify``: check the files of a dataset."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from vpcore_cli.common import JsonOption, RootOption, emit_json, emit_table, fail, open_workspace, progress, say


def verify(
    dataset: Annotated[str, typer.Argument(metavar="ID", help="Id of a dataset, or an unambiguous beginning of it.")],
    rebuild: Annotated[bool, typer.Option("--rebuild", help="Generate it again and compare.")] = False,
    root: RootOption = None,
    json: JsonOption = False,
) -> None:
    """Recompute the checksums of a dataset; with --rebuild, generate it again from its source and compare.

    Exits 1 if a file differs.
    """
    from vpcore.dataset import verify_files
    from vpcore_cli.rebuild import rebuild as generate_again

    workspace = open_workspace(root)
    dataset_id = workspace.datasets.find(dataset)
    report = verify_files(workspace.datasets.path(dataset_id))
    rows: list[dict[str, Any]] = [
        {"file": file.name, "result": file.status, "expected": file.expected, "found": file.found}
        for file in report.files
    ]
    answer: dict[str, Any] = {"dataset_id": dataset_id, "ok": report.ok, "files": rows}
    ok = report.ok
    if rebuild and ok:
        with progress(f"Rebuilding {dataset_id}", 1.0) as update:
            comparison = generate_again(workspace, dataset_id, on_progress=lambda done: update(done.share))
        answer |= {"rebuilt": comparison.equal, "compared_by": comparison.by, "different": list(comparison.different)}
        ok = answer["ok"] = comparison.equal
    if json:
        emit_json(answer)
    else:
        emit_table(rows, ("file", "result"))
        if "rebuilt" in answer:
            how = (
                "byte for byte"
                if answer["compared_by"] == "bytes"
                else "by the values of every column (other library versions)"
            )
            found = "equal" if answer["rebuilt"] else f"different in {', '.join(answer['different'])}"
            say(f"Rebuilt from source and compared {how}: {found}.")
    if not ok:
        if report.ok:
            fail(f"Dataset '{dataset_id}' is as it was written, but is not what its source gives now.")
        fail(f"Dataset '{dataset_id}' is not as it was written. Move its folder away and generate it again.")
