"""Charts in a browser: the ES modules that the server's page and reports share."""

from __future__ import annotations

from importlib import resources


def modules() -> dict[str, str]:
    """Return the source of every module by file name, in alphabetical order."""
    folder = resources.files(__name__) / "modules"
    files = sorted((file.name, file) for file in folder.iterdir() if file.name.endswith(".js"))
    return {name: file.read_text(encoding="utf-8") for name, file in files}
