"""``vp report``: an experiment or a run as one HTML file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vpcore_cli.common import RootOption, open_workspace


def report(
    target: Annotated[
        str, typer.Argument(metavar="EXPERIMENT|RUN|ROW", help="An experiment, or a stored run or row by its id.")
    ],
    out: Annotated[Path | None, typer.Option("--out", help="The file. [default: report-NAME.html]")] = None,
    tearsheet: Annotated[
        bool, typer.Option("--tearsheet", help="Add the tear sheet of the leader's signal; takes a second more.")
    ] = False,
    against: Annotated[
        str | None,
        typer.Option("--against", metavar="ROW", help="Row to compare the leader with. [default: the best other one]"),
    ] = None,
    root: RootOption = None,
) -> None:
    """Write an experiment, a run or a row as one HTML file: ranking, doubt, trades on the market, costs, provenance."""
    from vpcore_report.quick_start import skip_docstrings

    skip_docstrings()
    from vpcore_report.write import write_report

    print(write_report(open_workspace(root), target, out, tearsheet=tearsheet, against=against))
