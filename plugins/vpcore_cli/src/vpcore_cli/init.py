"""``vp init``: make a workspace."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vpcore_cli.common import NestedOption, refuse_nested, say


def init(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Directory of the workspace; made if missing.")],
    nested: NestedOption = False,
) -> None:
    """Make a workspace: configs/ and an empty lake/.

    Existing files keep their content.
    """
    from vpcore.workspace import Workspace

    if not nested:
        refuse_nested(directory)
    workspace, written = Workspace.create(directory)
    print(workspace.root)
    say("The workspace is ready." if written else "Everything was there already; nothing was changed.")
    say("Next: put .dbn or .dbn.zst files below lake/raw, then: vp new-pipeline lake/raw/FILE")
