"""The content of a page, section by section, and its HTML. The page needs no other file and no network."""

from __future__ import annotations

import base64
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any, Literal

import jinja2
import numpy as np

from vpcore_charts import bundle, modules

if TYPE_CHECKING:
    from vpcore_report.chart_data import Pivot

_LONG_ID = 16
"""Characters from which text without spaces is an id or a digest, and may be broken anywhere."""
_PIXELS_PER_INCH = 96


@dataclass(frozen=True, slots=True)
class Block:
    """A part of a section; `kind` names the macro of the template that shows `content`."""

    kind: Literal["text", "note", "verdict", "figure", "facts", "tiles", "table", "heat", "chart"]
    content: Any


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture inside the page, with its natural width in CSS pixels."""

    source: str
    caption: str
    width: int


@dataclass(frozen=True, slots=True)
class Table:
    """Cells as text; `right` says which columns hold numbers, `lead` which row stands out; a long one has a name."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    right: tuple[bool, ...]
    lead: int | None
    name: str = ""


@dataclass(frozen=True, slots=True)
class Heat:
    """A table of two settings; a cell has its text, its hue (``up``, ``down`` or empty) and its share of the limit."""

    down: str
    across: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, tuple[tuple[str, str, float], ...]], ...]
    caption: str


@dataclass(slots=True)
class Section:
    """A section with its title."""

    title: str
    blocks: list[Block] = field(default_factory=list)


@dataclass(slots=True)
class Page:
    """A page that grows section by section. The titles of the sections are its table of contents.

    `data` is the text of `vpcore_report.payload.Packer` behind the charts that a reader moves; without them the page
    has no script.
    """

    title: str
    subtitle: str
    sections: list[Section] = field(default_factory=list)
    data: str = ""

    def section(self, title: str) -> None:
        """Begin a section."""
        self.sections.append(Section(title))

    def _add(self, kind: Any, content: Any) -> None:
        self.sections[-1].blocks.append(Block(kind, content))

    def text(self, text: str, *, note: bool = False) -> None:
        """Add a paragraph of plain text."""
        self._add("note" if note else "text", text.replace(" %", "\u00a0%"))

    def verdict(self, text: str) -> None:
        """Add the sentence that answers the question of the page."""
        self._add("verdict", text.replace(" %", "\u00a0%"))

    def figure(self, image: bytes, caption: str, size: tuple[float, float], *, kind: str = "svg+xml") -> None:
        """Add a picture of `size` inches, kept inside the page."""
        source = f"data:image/{kind};base64,{base64.b64encode(image).decode()}"
        self._add("figure", Picture(source, caption, round(size[0] * _PIXELS_PER_INCH)))

    def facts(self, pairs: Mapping[str, Any]) -> None:
        """Add names and values below each other."""
        self._add("facts", [(name, shown(value)) for name, value in pairs.items()])

    def tiles(self, pairs: Iterable[tuple[str, str]]) -> None:
        """Add the most important figures, each with its name."""
        self._add("tiles", list(pairs))

    def table(
        self, columns: Sequence[str], rows: Sequence[Sequence[Any]], *, lead: int | None = None, name: str = ""
    ) -> None:
        """Add a table. Columns of numbers are aligned to the right, the row `lead` stands out.

        A table with a name scrolls, and charts find it by the name.
        """
        right = tuple(all(_is_figure(row[i]) for row in rows) for i in range(len(columns)))
        cells = tuple(tuple(shown(value) for value in row) for row in rows)
        self._add("table", Table(tuple(columns), cells, right, lead, name))

    def heat(self, data: Pivot, caption: str) -> None:
        """Add a table of two settings as a heat map of cells: blue above 0 and red below."""
        known = np.abs(data.median[np.isfinite(data.median)])
        limit = max(float(known.max()) if known.size else 0.0, 1e-9)
        rows = tuple(
            (name, tuple(_heated(float(value), limit) for value in line))
            for name, line in zip(data.values_down[::-1], data.median[::-1], strict=True)
        )
        self._add("heat", Heat(data.down, data.across, data.values_across, rows, caption))

    def chart(self, name: Literal["equity", "market", "maps", "parallel"], caption: str) -> None:
        """Add a chart that a reader moves, made of `data` in the browser."""
        self._add("chart", (name, caption))

    def html(self) -> str:
        """Return the page."""
        return _template().render(page=self, script=script() if self.data else "")


@cache
def script() -> str:
    """Return the script of a page: the modules of this package and of `vpcore_charts` in one piece."""
    own = modules(resources.files(__package__) / "browser")
    return bundle("report.js", modules() | own)


@cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader(__package__),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.tests["long_id"] = lambda text: len(text) >= _LONG_ID and " " not in text
    return environment.get_template("page.html.j2")


def _heated(value: float, limit: float) -> tuple[str, str, float]:
    if not math.isfinite(value):
        return "", "", 0.0
    return f"{value:+.2f}", "up" if value >= 0.0 else "down", round(0.85 * abs(value) / limit, 2)


def shown(value: Any) -> str:
    """Return a value as a cell shows it; a dash for None."""
    if value is None:
        return "–"
    return f"{value:,}" if isinstance(value, int) else f"{value:g}" if isinstance(value, float) else str(value)


def _is_figure(value: Any) -> bool:
    """Return whether a value is a number: maybe as text, with a sign, an interval or a unit; None counts as one."""
    if isinstance(value, str):
        return value[:1] in tuple("+-−–0123456789") and not value[-1:].isalpha()
    return value is None or isinstance(value, (int, float))
