"""``vp new-pipeline``: pipeline, serving spec and a small experiment from a file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vpcore.errors import ConfigError
from vpcore_cli.common import RootOption, open_workspace, progress, say

FEW_RECORDS = 1_000
"""Live records of a window below which the command warns. An hour of a quiet evening of ES has some 60,000."""


def new_pipeline(
    files: Annotated[list[Path], typer.Argument(metavar="FILE", help="One .dbn or .dbn.zst file.", show_default=False)],
    symbol: Annotated[str | None, typer.Option(help="A symbol of the file. [default: the busiest]")] = None,
    name: Annotated[str | None, typer.Option(help="Name of the specs. [default: symbol, date and time]")] = None,
    signal: Annotated[str | None, typer.Option(help="Signal to try. [default: the first that fits]")] = None,
    minutes: Annotated[int, typer.Option(min=1, max=1439, help="Longest window: the busiest minutes in a row.")] = 60,
    root: RootOption = None,
) -> None:
    """Write a pipeline, a serving spec and a small experiment for a file, from its symbols, span and time zone.

    The window is the busiest hour of the file. Existing specs are left unchanged.
    """
    if len(files) > 1:
        raise ConfigError(
            f"vp new-pipeline takes one file, was given {len(files)}",
            fix=f"Begin with one: vp new-pipeline {files[-1]}. For many days see docs/how-to/data.md#many-days.",
        )
    from vpcore.source.protocol import utc
    from vpcore_databento.new_specs import new_experiment
    from vpcore_dbn.inspect import inspect_file

    (file,) = files
    store = open_workspace(root).specs
    with progress(f"Reading {file.name}") as update:
        found = inspect_file(file, lambda done, total: update(done, total=total))
    written, window = new_experiment(store, found, symbol=symbol, name=name, signal=signal, minutes=minutes)
    for path in written:
        print(path)
    say(f"Window: {utc(window.start_ns)} to {utc(window.end_ns)} UTC, {window.records:,} records.")
    if window.records < FEW_RECORDS:
        say(
            f"Warning: {window.records:,} records are too few for a market, at least {FEW_RECORDS:,} are usual: is "
            "this the right file and symbol? See: vp inspect FILE"
        )
    say(f"Next: vp run {written[-1].stem}")
