"""Charts in a browser: the ES modules that the server's page and reports share."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib import resources
from importlib.resources.abc import Traversable

_IMPORT = re.compile(r'^import (\{[^}]*\}) from "\./([\w.]+)";$', re.MULTILINE)
_EXPORT = re.compile(r"^export ((?:async )?(?:const|function|class) (\w+))", re.MULTILINE)


def modules(folder: Traversable | None = None) -> dict[str, str]:
    """Return the source of every module of a folder by file name, by default of the shared ones."""
    where = resources.files(__name__) / "modules" if folder is None else folder
    files = sorted((file.name, file) for file in where.iterdir() if file.name.endswith(".js"))
    return {name: file.read_text(encoding="utf-8") for name, file in files}


def bundle(main: str, sources: Mapping[str, str]) -> str:
    """Return a module and all that it imports as one script, which needs no other file.

    Parameters
    ----------
    main : str
        File name of the module that runs.
    sources : mapping of str to str
        Source of every module by file name. Imports and exports stand at the beginning of a line, one name or several
        in braces; a module has no default export.
    """
    order: list[str] = []

    def visit(name: str) -> None:
        if name not in order:
            for _, other in _IMPORT.findall(sources[name]):
                visit(other)
            order.append(name)

    def variable(name: str) -> str:
        return "$" + name.partition(".")[0]

    visit(main)
    parts = []
    for name in order:
        text = _IMPORT.sub(lambda found: f"const {found[1]} = {variable(found[2])};", sources[name])
        exported = ", ".join(found[1] for found in _EXPORT.findall(text))
        text = _EXPORT.sub(r"\1", text)
        parts.append(
            text if name == main else f"const {variable(name)} = (() => {{\n{text}return {{ {exported} }};\n}})();\n"
        )
    return "".join(parts)
