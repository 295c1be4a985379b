"""The directives of the documentation's site: pictures from text, and the reference of the commands from the code."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

pytest.importorskip("sphinx")
DOCS = Path(__file__).parents[2] / "docs"
sys.path.insert(0, str(DOCS / "_ext"))

import command_line  # noqa: E402
import diagrams  # noqa: E402


def test_boxes_lengthen_and_widen() -> None:
    found = diagrams.parse_diagram(["a = A; small | b = B | <", "^ | | c = C", "", "a -> c: label"])
    box = found.boxes["a"]
    assert (box.lines, box.top, box.bottom, box.left, box.right) == (["A", "small"], 0, 1, 0, 0)
    assert (found.boxes["b"].left, found.boxes["b"].right) == (1, 2)
    assert found.arrows == [("a", "c", "label")]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["a = A", "a -> b"], "no box is called 'b' in: a -> b"),
        (["a = A | words"], "'words' is not a cell"),
    ],
)
def test_a_wrong_line_of_a_diagram_is_named(lines: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        diagrams.parse_diagram(lines)


def test_a_book_names_what_builds_and_what_drains() -> None:
    drawn = diagrams.draw_book(diagrams.parse_book(["ask 10.25 30 5", "bid 10.00 20 20"]), "A <book>")
    texts = [one.text for one in ElementTree.fromstring(drawn).iter() if one.text]
    assert texts == ["10.25", "-25 drains", "mid", "10.00", "unchanged"]
    with pytest.raises(ValueError, match="'ask 10.25 30' is not a level"):
        diagrams.parse_book(["ask 10.25 30"])


@pytest.mark.parametrize("page", sorted(DOCS.rglob("*.md")), ids=lambda page: f"{page.parent.name}/{page.name}")
def test_every_drawing_is_well_formed(page: Path) -> None:
    for kind, title, body in re.findall(r"^```\{(diagram|book)\} (.*?)\n(.*?)^```", page.read_text(), re.DOTALL | re.M):
        lines = body.splitlines()
        if kind == "diagram":
            drawn = diagrams.draw_diagram(diagrams.parse_diagram(lines), title)
        else:
            drawn = diagrams.draw_book(diagrams.parse_book(lines), title)
        assert ElementTree.fromstring(drawn).tag == "div"


def test_the_reference_has_every_command_with_its_options() -> None:
    from vpcore.plugins.manager import Plugins

    text = command_line.reference()
    names = re.findall(r"^### `vp ([\w-]+)`$", text, re.MULTILINE)
    assert sorted(names) == sorted(Plugins().components("command"))
    assert "#### `vp serving rollback`" in text
    assert re.search(r"^\| `--alias <str>` \| \S", text.partition("### `vp promote`")[2], re.MULTILINE)
