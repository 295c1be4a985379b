"""``vp plot-equity``: cumulative net PnL of rows over each other."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from vpcore.errors import ConfigError
from vpcore_cli.common import RootOption, open_workspace

MOST_ROWS = 8
"""Lines of a picture that can be told apart."""


def plot_equity(
    rows: Annotated[list[str], typer.Argument(metavar="ROW...", help="Rows, as vp compare prints them.")],
    out: Annotated[Path | None, typer.Option("--out", help="The PNG file. [default: equity.png]")] = None,
    root: RootOption = None,
) -> None:
    """Draw the cumulative net PnL of one or several rows over each other, as a PNG."""
    from vpcore_report.quick_start import skip_docstrings

    skip_docstrings()
    from vpcore.experiment.trades import leaders_of
    from vpcore_report import chart_data, charts
    from vpcore_report.commands.plot import png_path
    from vpcore_report.style import write_png

    path = png_path(out, "equity.png")
    if len(rows) > MOST_ROWS:
        raise ConfigError("vp plot-equity", required=f"at most {MOST_ROWS} rows", was=str(len(rows)))
    workspace = open_workspace(root)
    lines = []
    for name in rows:
        leaders = leaders_of(workspace, name)
        label = f"{leaders[-1].row['signal_name']} {leaders[-1].row['row']}"
        lines.append((label, chart_data.equity_of(leaders)))
    write_png(path, partial(charts.equities, lines=lines), (11.0, 4.6))
    print(path)
