"""``vp plugins``: installed plugins, their components, and failures."""

from __future__ import annotations

from typing import Any

import typer

from vpcore.errors import PluginError
from vpcore_cli.common import (
    EXIT_INPUT,
    JsonOption,
    current_plugins,
    emit_json,
    emit_table,
    failed_rows,
    say,
    say_failed,
)


def plugins(json: JsonOption = False) -> None:
    """List the plugins, their components, and the failures."""
    from vpcore.plugins.manager import DISABLE_VARIABLE, HOOK_OF_KIND

    found = current_plugins()
    components: list[dict[str, Any]] = []
    duplicates: list[str] = []
    for kind in HOOK_OF_KIND:
        try:
            registered = found.components(kind)
        except PluginError as error:
            duplicates.append(str(error))
            continue
        for name, item in registered.items():
            about = {"summary": item.component.summary, "target": item.component.target}
            components.append({"kind": kind, "name": name, "plugin": item.plugin, **about})
    failed = {item.name for item in found.failed}
    items: list[tuple[Any, ...]] = [
        (p.name, p.package.name, p.package.version, "failed" if p.name in failed else "ok", p.hooks)
        for p in found.loaded
    ]
    loaded = {p.name for p in found.loaded}
    items += [(f.name, f.package.name, f.package.version, "failed", ()) for f in found.failed if f.name not in loaded]
    items += [(name, None, None, "disabled", ()) for name in found.disabled]
    columns = ("plugin", "package", "version", "status", "hooks")
    rows = [dict(zip(columns, item, strict=True)) for item in items]
    if json:
        errors = failed_rows(found.failed, "plugin")
        emit_json({"plugins": rows, "components": components, "failed": errors, "duplicates": duplicates})
    else:
        emit_table(rows, columns)
        if components:
            print()
        emit_table(components, ("kind", "name", "plugin", "summary"))
    say_failed(found)
    for name in found.unknown_disabled:
        say(f"{DISABLE_VARIABLE} names '{name}', which is not installed.")
    for message in duplicates:
        say(f"Error: {message}")
    if duplicates:
        raise typer.Exit(EXIT_INPUT)
