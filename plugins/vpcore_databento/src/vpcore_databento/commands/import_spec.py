"""``vp import-spec``: specs of the older harness, converted."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vpcore_cli.common import RootOption, open_workspace, say


def import_spec(
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE...", help="YAML files, or folders of them.", show_default=False)
    ],
    root: RootOption = None,
) -> None:
    """Convert specs of the older harness and write them into configs/.

    Prints the new files, and on stderr every field that moved or was left out. Existing specs are left unchanged.
    """
    from vpcore_databento.older_specs import convert_files

    for path, notes in convert_files(open_workspace(root).specs, files):
        print(path)
        for note in notes:
            say(f"  {note}")
    say("Next: vp validate")
