"""The fenced blocks of a document, in order."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

_FENCE = re.compile(r"^```(?P<language>\w*)(?: title=\"(?P<title>[^\"]+)\")?$")
_DIRECTIVE = re.compile(r"^```\{(?P<name>[\w-]+)\}")


@dataclass(frozen=True)
class Block:
    """One block: ``python``, ``bash``, ``yaml``, ...; with a title it is the content of the file of that name."""

    language: str
    title: str | None
    text: str
    document: Path
    line: int

    @property
    def where(self) -> str:
        return f"{self.document.name}:{self.line}"


def blocks_of(document: Path) -> list[Block]:
    """Return the blocks of a document; an unclosed or malformed fence is an error.

    Directives of the site (``{toctree}``, ``{diagram}``) are left out. A cell of a notebook has the language ``cell``.
    """
    found: list[Block] = []
    opened: tuple[str, str | None, int] | None = None
    lines: list[str] = []
    for number, line in enumerate(document.read_text().splitlines(), 1):
        if opened is None and line.lstrip().startswith("```"):
            if directive := _DIRECTIVE.match(line):
                opened, lines = ("cell" if directive["name"] == "code-cell" else "directive", None, number), []
                continue
            match = _FENCE.match(line)
            assert match, f"{document.name}:{number}: this fence is not one that the tests understand: {line}"
            opened, lines = (match["language"], match["title"], number), []
        elif opened is not None and line == "```":
            if opened[0] != "directive":
                found.append(Block(opened[0], opened[1], "\n".join(lines) + "\n", document, opened[2]))
            opened = None
        elif opened is not None:
            lines.append(line)
    assert opened is None, f"{document.name}:{opened[2]}: this fence is not closed"
    return found
