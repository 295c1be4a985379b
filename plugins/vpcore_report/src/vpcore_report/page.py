"""HTML: sections, tables, pictures inside the file. Nothing is fetched, and there is no script."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any

_CSS = """
:root{--ink:#1c2430;--muted:#6b7685;--rule:#d9dee5;--accent:#1f5fa8;--wash:#f5f7fa}
*{box-sizing:border-box}
body{margin:0;background:#fff;color:var(--ink)}
body{font:15px/1.55 -apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif}
.page{max-width:1220px;margin:0 auto;padding:40px 28px 80px}
.page{display:grid;grid-template-columns:180px minmax(0,1fr);gap:40px}
header{grid-column:1/-1;border-bottom:2px solid var(--ink);padding-bottom:18px}
h1{font-size:30px;line-height:1.2;margin:0 0 4px;letter-spacing:-.01em}
h2{font-size:19px;margin:44px 0 10px;padding-top:6px}
h3{font-size:15px;margin:22px 0 6px}
section:first-of-type h2{margin-top:0}
.sub,.note{color:var(--muted)} .note{font-size:13px;max-width:120ch}
p{margin:6px 0 12px;max-width:110ch}
nav{position:sticky;top:24px;align-self:start;font-size:13.5px}
nav a{display:block;padding:3px 0 3px 12px;border-left:2px solid var(--rule);color:var(--muted);text-decoration:none}
nav a:hover{color:var(--accent);border-color:var(--accent)}
table{border-collapse:collapse;font-size:13px;margin:8px 0 14px;font-variant-numeric:tabular-nums}
th{font-weight:600;text-align:left;border-bottom:1.5px solid var(--ink);padding:5px 12px 5px 0;vertical-align:bottom}
td{border-bottom:1px solid var(--rule);padding:4px 12px 4px 0;vertical-align:top}
.num{text-align:right} td.num{white-space:nowrap}
.facts td.key{color:var(--muted);white-space:nowrap;padding-right:22px}
.facts td{overflow-wrap:anywhere}
tr.lead td{background:var(--wash);font-weight:600}
.wide{overflow-x:auto} .wide table{font-size:12px} .wide th,.wide td{padding-right:9px}
code{font:12px/1.5 ui-monospace,"SF Mono",Menlo,Consolas,monospace;overflow-wrap:anywhere}
figure{margin:10px 0 18px} figure img{max-width:100%;height:auto;display:block}
figcaption{font-size:13px;color:var(--muted);max-width:110ch;margin-top:4px}
.verdict{border-left:4px solid var(--accent);background:var(--wash);padding:12px 18px;font-size:16px;margin:4px 0 18px}
.tiles{display:grid;grid-template-columns:repeat(3,1fr);gap:12px;margin:14px 0}
.tile{border:1px solid var(--rule);border-radius:4px;padding:10px 12px}
.tile b{display:block;font-size:21px;font-weight:600;font-variant-numeric:tabular-nums;line-height:1.25}
.tile span{font-size:12.5px;color:var(--muted)}
@media(max-width:860px){.page{grid-template-columns:minmax(0,1fr);gap:20px}.tiles{grid-template-columns:repeat(2,1fr)}nav{position:static}}
@media print{nav{display:none}.page{display:block;padding:0}h2{break-after:avoid}figure,table{break-inside:avoid}}
"""


@dataclass(slots=True)
class Page:
    """A page that grows section by section; the table of contents is made of their titles."""

    title: str
    subtitle: str
    sections: list[tuple[str, list[str]]] = field(default_factory=list)

    def section(self, title: str) -> None:
        """Begin a section."""
        self.sections.append((title, []))

    def add(self, html: str) -> None:
        """Add to the section that was begun last."""
        self.sections[-1][1].append(html)

    def text(self, text: str, *, note: bool = False) -> None:
        """Add a paragraph of plain text."""
        text = escape(text.replace(" %", "\u00a0%"))
        self.add(f'<p class="note">{text}</p>' if note else f"<p>{text}</p>")

    def figure(self, image: bytes, caption: str, *, kind: str = "svg+xml") -> None:
        """Add a picture that is kept inside the page."""
        data = base64.b64encode(image).decode()
        self.add(
            f'<figure><img alt="{escape(caption, quote=True)}" src="data:image/{kind};base64,{data}">'
            f"<figcaption>{escape(caption)}</figcaption></figure>"
        )

    def facts(self, pairs: Mapping[str, Any]) -> None:
        """Add names and values below each other."""
        lines = (f'<tr><td class="key">{escape(str(k))}</td><td>{_shown(v)}</td></tr>' for k, v in pairs.items())
        self.add(f'<table class="facts">{"".join(lines)}</table>')

    def tiles(self, pairs: Iterable[tuple[str, str]]) -> None:
        """Add the figures that are read first."""
        made = (f'<div class="tile"><b>{escape(value)}</b><span>{escape(name)}</span></div>' for name, value in pairs)
        self.add(f'<div class="tiles">{"".join(made)}</div>')

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[Any]], *, lead: int | None = None) -> None:
        """Add a table; columns of numbers are set to the right, the row `lead` stands out."""
        right = [
            all(isinstance(row[i], (int, float)) or _is_figure(row[i]) for row in rows) for i in range(len(columns))
        ]
        head = "".join(
            f"<th{_class('num' if to_right else '')}>{escape(name)}</th>"
            for name, to_right in zip(columns, right, strict=True)
        )
        lines = []
        for number, row in enumerate(rows):
            cells = "".join(
                f"<td{_class('num' if to_right else '')}>{_shown(value)}</td>"
                for value, to_right in zip(row, right, strict=True)
            )
            lines.append(f"<tr{_class('lead' if number == lead else '')}>{cells}</tr>")
        self.add(f'<div class="wide"><table><tr>{head}</tr>{"".join(lines)}</table></div>')

    def html(self) -> str:
        """Return the page."""
        marks = [f"s{number}" for number in range(1, len(self.sections) + 1)]
        links = "".join(
            f'<a href="#{mark}">{escape(title)}</a>' for mark, (title, _) in zip(marks, self.sections, strict=True)
        )
        body = "".join(
            f'<section id="{mark}"><h2>{escape(title)}</h2>{"".join(parts)}</section>'
            for mark, (title, parts) in zip(marks, self.sections, strict=True)
        )
        return (
            '<!doctype html><html lang="en"><head><meta charset="utf-8">'
            '<meta name="viewport" content="width=device-width,initial-scale=1">'
            f'<title>{escape(self.title)}</title><style>{_CSS}</style></head><body><div class="page">'
            f'<header><h1>{escape(self.title)}</h1><div class="sub">{escape(self.subtitle)}</div></header>'
            f"<nav>{links}</nav><main>{body}</main></div></body></html>\n"
        )


def _shown(value: Any) -> str:
    if value is None:
        return "–"
    text = f"{value:,}" if isinstance(value, int) else f"{value:g}" if isinstance(value, float) else str(value)
    # What is long and without spaces is a digest or an id, and may be broken anywhere.
    return f"<code>{escape(text)}</code>" if len(text) >= 16 and " " not in text else escape(text)


def _is_figure(value: Any) -> bool:
    """Return whether text is a number, maybe with a sign, an interval or a unit, or nothing."""
    return value is None or (isinstance(value, str) and value[:1] in "+-−–0123456789" and not value[-1:].isalpha())


def _class(name: str) -> str:
    return f' class="{name}"' if name else ""
