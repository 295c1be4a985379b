"""The documents: short sentences, live links, pages that messages name, commands and fields that exist."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from doc_blocks import blocks_of
from pydantic import ValidationError

REPOSITORY = Path(__file__).parents[2]
PAGES = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").rglob("*.md"))]
LINKING = [*PAGES, REPOSITORY / "CONTRIBUTING.md", REPOSITORY / "CHANGELOG.md", *REPOSITORY.glob("[pv]*/**/README.md")]
LONGEST = 35

pages = pytest.mark.parametrize("page", PAGES, ids=lambda page: f"{page.parent.name}/{page.name}")


def prose(text: str) -> Iterator[str]:
    """Yield the sentences of a page, without code, tables and headings."""
    text = re.sub(r"\A---\n.*?^---$", "", text, flags=re.DOTALL | re.MULTILINE)
    text = re.sub(r"^```.*?^```$", "\n", text, flags=re.DOTALL | re.MULTILINE)
    text = re.sub(r"^(\||#| {4}|<!--).*$", "", text, flags=re.MULTILINE)
    text = re.sub(r"`[^`]*`", "X", text)
    text = re.sub(r"\]\([^)]*\)", "]", text)
    for paragraph in re.split(r"\n\s*\n|\n\s*(?:[*-]|\d+\.|:)\s", text):
        yield from re.split(r"(?<=[.!?:;])\s+", " ".join(paragraph.split()))


@pages
def test_sentences_are_short(page: Path) -> None:
    words = {sentence: len(re.findall(r"[A-Za-z][A-Za-z'-]*", sentence)) for sentence in prose(page.read_text())}
    assert {sentence: count for sentence, count in words.items() if count > LONGEST} == {}


def anchors(page: Path) -> set[str]:
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    headings = re.findall(r"^#+ (.+)$", text, flags=re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", LINKING, ids=lambda page: f"{page.parent.name}/{page.name}")
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    for target in re.findall(r"\]\(([^)\s]+)\)", re.sub(r"`[^`\n]*`", "", text)):
        place, _, anchor = target.partition("#")
        if "://" not in target:
            path = (page.parent / place).resolve() if place else page
            assert path.exists(), target
            assert not anchor or anchor in anchors(path), target


def test_every_page_that_code_names_exists() -> None:
    files = subprocess.run(
        ["git", "ls-files"], cwd=REPOSITORY, capture_output=True, text=True, check=True
    ).stdout.split()
    sources = [
        name for name in files if Path(name).suffix in (".py", ".toml", ".yaml", ".md", ".tmpl") or name == "Makefile"
    ]
    named = {
        (place, name)
        for name in sources
        for place in re.findall(r"(?<![\w/.-])docs/[\w/-]+\.(?:md|py|png)", (REPOSITORY / name).read_text())
    }
    assert {(place, name) for place, name in named if not (REPOSITORY / place).exists()} == set()


@cache
def commands() -> tuple[Any, Any]:
    import typer

    from vpcore.plugins.manager import Plugins
    from vpcore_cli.app import build_app

    group = typer.main.get_command(build_app(Plugins()))
    return group, group.make_context("vp", ["plugins"], resilient_parsing=True)


OWN = {"count-datasets"}
"""Commands that a tutorial adds."""


def calls(text: str) -> Iterator[list[str]]:
    """Yield the calls of ``vp`` in fenced, indented and inline code, as words."""
    code = re.findall(r"^```(?:bash|console|text)?$\n(.*?)^```$", text, flags=re.DOTALL | re.MULTILINE)
    code += re.findall(r"^ {4}.*$", text, flags=re.MULTILINE)
    code += [f"vp {call}" for call in re.findall(r"`vp ([^`]+)`", text)]
    for line in "\n".join(code).replace("\\\n", " ").splitlines():
        line = line.split(" #")[0]
        for call in re.findall(r"(?:^\s*\$?\s*|&& |; |\$\(|do )vp ([^|;&)]+)", line):
            try:
                yield shlex.split(call)
            except ValueError:  # a line that goes on
                yield call.split()


@pages
def test_commands_and_options_exist(page: Path) -> None:
    group, context = commands()
    for words in calls(page.read_text()):
        name = words.pop(0)
        if name.startswith("-") or name in OWN:
            continue
        command = group.get_command(context, name)
        if words and hasattr(command, "commands"):
            assert words[0] in command.commands, f"vp {name} {words[0]}"
            command = command.commands[words.pop(0)]
        known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
        used = {word.partition("=")[0] for word in words if word.startswith("--")}
        assert not used - known, f"vp {name}: {used - known}"


@pages
def test_fields_of_specs_exist(page: Path) -> None:
    from vpcore.config.loader import parse_document
    from vpcore.config.store import MODELS
    from vpcore.config.workspace import WorkspaceSpec

    for block in blocks_of(page):
        if block.language != "yaml":
            continue
        spec = parse_document(block.text, block.where).data
        wrong = []
        for model in (*MODELS.values(), WorkspaceSpec):
            try:
                model.model_validate(spec)
            except ValidationError as error:
                wrong.append([one["loc"] for one in error.errors() if one["type"] != "missing"])
            else:
                wrong.append([])
        assert [] in wrong, f"{block.where}: no kind of spec has these fields: {min(wrong, key=len)}"


def test_every_public_name_is_in_the_reference() -> None:
    import vpcore

    text = (REPOSITORY / "docs/reference/api.md").read_text() + (REPOSITORY / "docs/reference/errors.md").read_text()
    names = set(vpcore.__all__) - {"__version__"}
    assert {name for name in names if not re.search(rf"vpcore\.{name}$|`{name}`", text, re.MULTILINE)} == set()
