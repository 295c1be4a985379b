"""``vp init``: make a workspace."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vpcore.cli.common import NestedOption, refuse_nested, say


def init(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Directory of the workspace; made if missing.")],
    nested: NestedOption = False,
) -> None:
    """Make a workspace: configs/ with the instruments that come with vpcore, and an empty lake/.

    Existing files keep their content.
    """
    from vpcore.workspace import Workspace

    if not nested:
        refuse_nested(directory)
    workspace, written = Workspace.create(directory)
    print(workspace.root)
    say(f"{len(written)} files written." if written else "Everything was there already; nothing was changed.")
    say(
        "Put .dbn or .dbn.zst files below lake/raw, describe a capture in configs/pipelines/<name>.yaml, and "
        "check it: vp validate"
    )
