"""``vp plugins``: what is installed, what each plugin registers, and what failed."""

from __future__ import annotations

from typing import Any

import typer

from vpcore.cli.common import EXIT_INPUT, JsonOption
from vpcore.errors import PluginError


def plugins(json: JsonOption = False) -> None:
    """List the plugins, their components, and what did not load."""
    from vpcore.cli.common import current_plugins, emit_json, emit_table, say
    from vpcore.plugins.manager import DISABLE_VARIABLE, HOOK_OF_KIND

    found = current_plugins()
    components: list[dict[str, Any]] = []
    duplicates: list[str] = []
    for kind in HOOK_OF_KIND:
        try:
            for name, item in found.components(kind).items():
                component = item.component
                components.append(
                    {
                        "kind": kind,
                        "name": name,
                        "plugin": item.plugin,
                        "summary": component.summary,
                        "target": component.target,
                    }
                )
        except PluginError as error:
            duplicates.append(str(error))
    failed = {item.name: item.error for item in found.failed}
    rows: list[dict[str, Any]] = [
        {
            "plugin": p.name,
            "package": p.distribution,
            "version": p.version,
            "status": "failed" if p.name in failed else "ok",
            "hooks": p.hooks,
        }
        for p in found.loaded
    ]
    loaded = {p.name for p in found.loaded}
    rows += [
        {"plugin": f.name, "package": f.distribution, "version": f.version, "status": "failed", "hooks": ()}
        for f in found.failed
        if f.name not in loaded
    ]
    rows += [
        {"plugin": name, "package": None, "version": None, "status": "disabled", "hooks": ()} for name in found.disabled
    ]
    if json:
        errors = [
            {"plugin": f.name, "package": f.distribution, "version": f.version, "error": f.error} for f in found.failed
        ]
        emit_json({"plugins": rows, "components": components, "failed": errors, "duplicates": duplicates})
    else:
        emit_table(rows, ("plugin", "package", "version", "status", "hooks"))
        if components:
            print()
        emit_table(components, ("kind", "name", "plugin", "summary"))
    for failure in found.failed:
        say(f"Failed: {failure}")
    for name in found.unknown_disabled:
        say(f"{DISABLE_VARIABLE} names '{name}', which is not installed.")
    for message in duplicates:
        say(f"Error: {message}")
    if duplicates:
        raise typer.Exit(EXIT_INPUT)
