"""Two directives that draw inline SVG from text: ``diagram`` (boxes and arrows) and ``book`` (an order book, twice).

``diagram`` takes rows of cells separated by ``|``, then arrows. A cell is ``name = Title; second line; ...``; ``^``
lengthens the cell above, ``<`` widens the cell to the left, and an empty cell stays empty. An arrow is
``name -> name`` or ``name -> name: label``.

``book`` takes a line per price, highest first: ``ask 4805.50 30 6`` is side, price, size before and size after.

Colours come from the classes in ``site.css``, so that pictures follow the theme.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from html import escape

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.util.docutils import SphinxDirective

WIDTH, HEIGHT, GAP_X, GAP_Y, LINE = 176, 62, 52, 34, 16
_CELL = re.compile(r"^(\w+) *= *(.+)$")
_ARROW = re.compile(r"^(\w+) *-> *(\w+)(?: *: *(.+))?$")


@dataclass
class Box:
    """A cell of a diagram: its lines of text, and the rows and columns that it covers."""

    lines: list[str]
    top: int
    left: int
    bottom: int
    right: int

    @property
    def area(self) -> tuple[float, float, float, float]:
        """x, y, width and height in pixels."""
        columns, rows = self.right - self.left + 1, self.bottom - self.top + 1
        return (
            self.left * (WIDTH + GAP_X) + 1,
            self.top * (HEIGHT + GAP_Y) + 1,
            columns * WIDTH + (columns - 1) * GAP_X,
            rows * HEIGHT + (rows - 1) * GAP_Y,
        )


@dataclass
class Diagram:
    """Boxes by name, and arrows (from, to, label)."""

    boxes: dict[str, Box] = field(default_factory=dict)
    arrows: list[tuple[str, str, str]] = field(default_factory=list)


def parse_diagram(lines: list[str]) -> Diagram:
    """Return the diagram that the lines describe.

    Raises
    ------
    ValueError
        If a line is neither a row nor an arrow, or an arrow names an unknown box.
    """
    found = Diagram()
    above: list[Box | None] = []
    row = 0
    for line in (line.strip() for line in lines):
        if not line:
            continue
        if arrow := _ARROW.match(line):
            for name in arrow.group(1, 2):
                if name not in found.boxes:
                    raise ValueError(f"no box is called '{name}' in: {line}")
            found.arrows.append((arrow[1], arrow[2], arrow[3] or ""))
            continue
        current: list[Box | None] = []
        for column, text in enumerate(part.strip() for part in line.split("|")):
            if text == "^" and column < len(above) and (box := above[column]):
                box.bottom = row
            elif text == "<" and current and (box := current[-1]):
                box.right = column
            elif cell := _CELL.match(text):
                box = Box([part.strip() for part in cell[2].split(";")], row, column, row, column)
                found.boxes[cell[1]] = box
            elif text:
                raise ValueError(f"'{text}' is not a cell: write name = Title; second line")
            else:
                box = None
            current.append(box)
        above, row = current, row + 1
    return found


def _text(x: float, y: float, text: str, style: str, anchor: str = "middle") -> str:
    return f'<text x="{x:g}" y="{y:g}" class="{style}" text-anchor="{anchor}">{escape(text)}</text>'


def _svg(width: float, height: float, title: str, parts: list[str]) -> str:
    kind = ' class="wide"' if width > 480 else ""
    return (
        f'<div class="drawing"><svg{kind} viewBox="0 0 {width:g} {height:g}" style="width: {width:g}px" role="img" '
        f'aria-label="{escape(title, quote=True)}" xmlns="http://www.w3.org/2000/svg">'
        '<defs><marker id="arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0,0 L8,4 L0,8 z" class="head"/></marker></defs>' + "".join(parts) + "</svg></div>"
    )


def _arrow(one: Box, other: Box, label: str) -> str:
    """Return an arrow between facing edges: across where the boxes share a row, else up or down."""
    (x1, y1, w1, h1), (x2, y2, w2, h2) = one.area, other.area
    top, bottom = max(y1, y2), min(y1 + h1, y2 + h2)
    left, right = max(x1, x2), min(x1 + w1, x2 + w2)
    if top < bottom:
        y = (top + bottom) / 2
        start, end = (x1 + w1, x2) if x1 < x2 else (x1, x2 + w2)
        points, at, anchor = f"{start:g},{y:g} {end:g},{y:g}", ((start + end) / 2, y - 6), "middle"
    elif left < right:
        x = (left + right) / 2
        start, end = (y1 + h1, y2) if y1 < y2 else (y1, y2 + h2)
        points, at, anchor = f"{x:g},{start:g} {x:g},{end:g}", (x + 7, (start + end) / 2 + 4), "start"
    else:
        down = y1 < y2
        start, end = (y1 + h1, y2) if down else (y1, y2 + h2)
        y = (start + end) / 2
        points = f"{x1 + w1 / 2:g},{start:g} {x1 + w1 / 2:g},{y:g} {x2 + w2 / 2:g},{y:g} {x2 + w2 / 2:g},{end:g}"
        at, anchor = ((x1 + w1 / 2 + x2 + w2 / 2) / 2, y - 5), "middle"
    drawn = f'<polyline points="{points}" class="arrow" marker-end="url(#arrow)"/>'
    return drawn + (_text(*at, label, "label", anchor) if label else "")


def draw_diagram(diagram: Diagram, title: str) -> str:
    """Return a diagram as SVG."""
    parts = []
    for name, box in diagram.boxes.items():
        x, y, width, height = box.area
        kind = "box plugin" if name.startswith("p_") else "box"
        parts.append(f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="6" class="{kind}"/>')
        first = y + height / 2 - (len(box.lines) - 1) * LINE / 2 + 5
        for i, text in enumerate(box.lines):
            parts.append(_text(x + width / 2, first + i * LINE, text, "small" if i else "title"))
    parts += [_arrow(diagram.boxes[one], diagram.boxes[other], label) for one, other, label in diagram.arrows]
    areas = [box.area for box in diagram.boxes.values()]
    return _svg(max(x + w for x, _, w, _ in areas) + 1, max(y + h for _, y, _, h in areas) + 1, title, parts)


@dataclass
class Level:
    """One price of a book."""

    side: str
    price: str
    before: int
    after: int


def parse_book(lines: list[str]) -> list[Level]:
    """Return the levels that the lines describe, highest first.

    Raises
    ------
    ValueError
        If a line is not side, price, size before and size after.
    """
    found = []
    for line in lines:
        if line.strip():
            parts = line.split()
            if len(parts) != 4 or parts[0] not in ("bid", "ask"):
                raise ValueError(f"'{line}' is not a level: write ask 4805.50 30 6")
            found.append(Level(parts[0], parts[1], int(parts[2]), int(parts[3])))
    return found


def draw_book(levels: list[Level], title: str) -> str:
    """Return a book as SVG: sizes before as outlines, sizes after as bars, and the change in words."""
    scale, left, row = 200 / max(max(level.before, level.after) for level in levels), 84, 26
    parts, y, side = [], 4.0, levels[0].side
    for level in levels:
        if level.side != side:
            parts += [
                f'<line x1="0" x2="440" y1="{y + 7:g}" y2="{y + 7:g}" class="mid"/>',
                _text(438, y + 4, "mid", "label", "end"),
            ]
            side, y = level.side, y + 16
        change = level.after - level.before
        style = "building" if change > 0 else "draining" if change < 0 else "still"
        parts.append(_text(left - 10, y + 15, level.price, "price", "end"))
        for kind, size in ((style, level.after), ("before", level.before)):
            parts.append(f'<rect x="{left}" y="{y:g}" width="{size * scale:g}" height="{row - 6}" class="{kind}"/>')
        words = f"{change:+d} {'builds' if change > 0 else 'drains'}" if change else "unchanged"
        parts.append(_text(left + max(level.before, level.after) * scale + 8, y + 15, words, "small", "start"))
        y += row
    return _svg(440, y, title, parts)


class _Drawing(SphinxDirective):
    """A drawing with its title as the caption."""

    has_content = True
    required_arguments = 1
    final_argument_whitespace = True
    option_spec = {"class": directives.class_option}  # noqa: RUF012

    def draw(self, lines: list[str], title: str) -> str:
        """Return the SVG."""
        raise NotImplementedError

    def run(self) -> list[nodes.Node]:
        """Return a figure with the drawing."""
        title = self.arguments[0]
        try:
            drawn = self.draw(list(self.content), title)
        except ValueError as error:
            raise self.error(str(error)) from None
        figure = nodes.figure("", nodes.raw("", drawn, format="html"), align="default")
        figure += nodes.caption("", "", *self.state.inline_text(title, self.lineno)[0])
        return [figure]


class DiagramDirective(_Drawing):
    """Boxes and arrows."""

    def draw(self, lines: list[str], title: str) -> str:
        """Return the SVG."""
        return draw_diagram(parse_diagram(lines), title)


class BookDirective(_Drawing):
    """An order book before and after."""

    def draw(self, lines: list[str], title: str) -> str:
        """Return the SVG."""
        return draw_book(parse_book(lines), title)


def setup(app: object) -> dict[str, bool]:
    """Register the directives."""
    app.add_directive("diagram", DiagramDirective)  # type: ignore[attr-defined]
    app.add_directive("book", BookDirective)  # type: ignore[attr-defined]
    return {"parallel_read_safe": True, "parallel_write_safe": True}
