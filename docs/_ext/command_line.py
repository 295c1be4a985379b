"""The directive ``vp-commands``: arguments and options of every command, from the code."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from docutils import nodes
from sphinx.util.docutils import SphinxDirective


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _parameters(command: Any, context: Any) -> Iterator[str]:
    """Yield a line of a Markdown table per parameter of a command."""
    rows = [parameter for parameter in command.get_params(context) if parameter.name != "help"]
    if rows:
        yield from ("", "| argument or option | meaning |", "|---|---|")
    for parameter in rows:
        name, text = parameter.get_help_record(context)
        if parameter.param_type_name == "argument":
            name = name.partition(" <")[0]
        yield f"| `{_cell(name)}` | {_cell(text)} |"


def reference() -> str:
    """Return the reference of all commands, built-in and of the packages, as Markdown."""
    import typer

    from vpcore.plugins.manager import Plugins
    from vpcore_cli.app import build_app

    plugins = Plugins()
    group = typer.main.get_command(build_app(plugins))
    context = group.make_context("vp", ["list-specs"], resilient_parsing=True)
    lines: list[str] = []
    headings: dict[str, list[str]] = {}
    for name, found in plugins.components("command").items():
        headings.setdefault(found.component.heading or "More commands", []).append(name)
    for heading, names in headings.items():
        lines += ["", f"## {heading}"]
        for name in names:
            lines += list(_command(group.get_command(context, name), context, f"vp {name}", "###"))
    return "\n".join(lines) + "\n"


def _command(command: Any, parent: Any, path: str, level: str) -> Iterator[str]:
    context = command.make_context(path, [], parent=parent, resilient_parsing=True)
    yield from ("", f"{level} `{path}`", "", (command.help or "").replace("\b", ""))
    inner = getattr(command, "commands", None)
    if inner is None:
        yield from _parameters(command, context)
    for name, one in (inner or {}).items():
        yield from _command(one, context, f"{path} {name}", level + "#")


class Commands(SphinxDirective):
    """Insert the reference of all commands."""

    def run(self) -> list[nodes.Node]:
        """Return the sections of the reference."""
        return self.parse_text_to_nodes(reference(), allow_section_headings=True)


def setup(app: Any) -> dict[str, bool]:
    """Register the directive."""
    app.add_directive("vp-commands", Commands)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
