"""``vp plot-pivot``: the table of ``vp compare --pivot`` as a picture."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from vpcore_cli.common import RootOption, open_workspace


def plot_pivot(
    experiment: Annotated[str, typer.Argument(help="An experiment.")],
    down: Annotated[str, typer.Argument(help="Setting on the vertical axis.")],
    across: Annotated[str, typer.Argument(help="Setting on the horizontal axis.")],
    out: Annotated[Path | None, typer.Option("--out", help="The PNG file. [default: EXPERIMENT-pivot.png]")] = None,
    signal: Annotated[str | None, typer.Option("--signal", help="Only rows of this signal.")] = None,
    sort: Annotated[str | None, typer.Option("--sort", help="Figure. [default: the experiment's]")] = None,
    root: RootOption = None,
) -> None:
    """Draw the median figure for every pair of values of two settings of an experiment, as a PNG."""
    from vpcore_report.quick_start import skip_docstrings

    skip_docstrings()
    from vpcore.experiment.leaderboard import leaderboard
    from vpcore.experiment.tables import HEADINGS
    from vpcore_report import chart_data, charts
    from vpcore_report.commands.plot import png_path
    from vpcore_report.style import write_png

    path = png_path(out, f"{experiment}-pivot.png")
    down, across = HEADINGS.get(down, down), HEADINGS.get(across, across)
    board = leaderboard(open_workspace(root), experiment)
    sort = HEADINGS.get(sort or "", sort) or board.select
    data = chart_data.pivot(board.rows(sort=sort, signal=signal), down, across, sort)
    write_png(path, partial(charts.pivot, data=data), charts.pivot_size(data))
    print(path)
