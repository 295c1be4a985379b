"""``vp validate``: check specs and everything they refer to."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vpcore.errors import ConfigError, VpError, did_you_mean, listed
from vpcore_cli.common import EXIT_INPUT, JsonOption, RootOption, emit_table, open_workspace, say

if TYPE_CHECKING:
    from vpcore.config.store import ConfigStore


NEXT = {
    "pipeline": "configs/pipelines/NAME.yaml, which describes a capture",
    "serving": "configs/serving/NAME.yaml, which names a pipeline and a signal",
    "experiment": "configs/experiments/NAME.yaml, which names a serving spec and the values to try",
}
"""The kinds of specs in the order of writing, for a workspace that lacks one."""


def validate(
    files: Annotated[
        list[str] | None,
        typer.Argument(metavar="[FILE...]", help="Names, files or folders of specs. [default: all of the workspace]"),
    ] = None,
    root: RootOption = None,
    json: JsonOption = False,
) -> None:
    """Check specs and their references, signal parameters and sweep axes included. Reads specs only."""
    from vpcore_cli.specs import check_spec

    workspace = open_workspace(root)
    store = workspace.specs
    rows: list[dict[str, Any]] = []
    messages: list[str] = []
    for kind, path in _wanted(store, files or []):
        row: dict[str, Any] = {"kind": kind, "file": _shown(store, path), "result": "ok", "error": None}
        try:
            check_spec(store, kind, path)
        except VpError as error:
            row |= {"result": "wrong", "error": str(error)}
            if str(error) not in messages:  # one wrong pipeline is the same message for everything above it
                messages.append(str(error))
        rows.append(row)
    emit_table(rows, ("kind", "file", "result"), json=json, empty="configs/ holds no specs.")
    for message in messages:
        say(f"Error: {message}")
    for kind, what in NEXT.items():
        if not files and kind not in {row["kind"] for row in rows}:
            say(f"Next: write {what} (fields: docs/reference/configuration.md, vp schema {kind}; an example: vp demo).")
            break
    if messages:
        raise typer.Exit(EXIT_INPUT)


def _wanted(store: ConfigStore, files: list[str]) -> list[tuple[str, Path]]:
    from vpcore.config.store import kind_of
    from vpcore_cli.specs import files_of

    everything = files_of(store)
    if not files:
        return everything
    found = []
    for text in files:
        named = [(kind, path) for kind, path in everything if path.stem == text]
        if not named and Path(text).is_dir():
            folder = Path(text).resolve()
            named = [(kind, path) for kind, path in everything if path.resolve().is_relative_to(folder)]
            if not named:
                what = f"{text} holds no spec of this workspace"
                raise ConfigError(what, where=str(store.configs), fix="Name files or specs.")
        if named:
            found += named
        elif Path(text).suffix in (".yaml", ".yml") or Path(text).exists():
            path = store.path_of("pipeline", text)
            found.append((kind_of(store.document(path)), path))
        else:
            names = {path.stem for _, path in everything}
            fix = f"{did_you_mean(text, names)} There are: {listed(names)}."
            raise ConfigError(f"No spec is called '{text}'", fix=fix)
    return found


def _shown(store: ConfigStore, path: Path) -> str:
    full = path.absolute()
    base = store.configs.parent
    return full.relative_to(base).as_posix() if full.is_relative_to(base) else str(path)
