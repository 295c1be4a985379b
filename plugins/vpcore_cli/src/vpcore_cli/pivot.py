"""A table of two settings on a terminal."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from vpcore_cli.grouping import short

_HEAT = ((178, 24, 43), (33, 102, 172))


def print_pivot(lines: Sequence[Mapping[str, Any]], down: str, over: Sequence[str], title: str) -> None:
    """Print a table of two settings on a terminal, blue where the figure is above 0 and red where it is below."""
    known = [abs(line[name]) for line in lines for name in over if line[name] is not None]
    limit = max([value for value in known if math.isfinite(value)], default=0.0) or 1.0
    table = Table(title=title, title_justify="left", header_style="bold", show_lines=False)
    table.add_column(down, justify="right", style="bold")
    for name in over:
        table.add_column(name, justify="right")
    for line in lines:
        table.add_row(str(short(line[down])), *(_cell(line[name], limit) for name in over))
    Console().print(table)


def _cell(value: float | None, limit: float) -> Text:
    if value is None or not math.isfinite(value):
        return Text("")
    share = min(abs(value) / limit, 1.0)
    colour = tuple(round(255 + (part - 255) * share) for part in _HEAT[value >= 0])
    ink = "white" if share > 0.6 else "black"
    return Text(f"{value:.3f}", style=f"{ink} on rgb({colour[0]},{colour[1]},{colour[2]})")
