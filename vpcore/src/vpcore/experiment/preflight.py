"""Check that every session of an experiment has data, before any work starts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vpcore.config import ExperimentConfig
from vpcore.errors import SourceError
from vpcore.generation.sources import check_source

if TYPE_CHECKING:
    from vpcore.workspace import Workspace


def without_data(workspace: Workspace, config: ExperimentConfig) -> list[str]:
    """Return the sessions without a dataset and without data: name, place in the spec, and reason.

    Reads the headers of files only.
    """
    found: dict[str, None] = {}
    places = config.session_places or ("",) * len(config.sessions)
    for session, place in zip(config.sessions, places, strict=True):
        if workspace.datasets.exists(session.dataset_id()):
            continue
        try:
            check_source(workspace, session)
        except SourceError as error:
            found[f"{session.symbol} {session.label}{f' ({place})' if place else ''}: {error}"] = None
    return list(found)


def require_data(workspace: Workspace, config: ExperimentConfig) -> None:
    """Refuse an experiment with sessions that lack data, and name every such session.

    Raises
    ------
    SourceError
        With a line per session.
    """
    if config.n_sessions == 1:
        return  # its dataset is made first anyway, and says the same
    found = without_data(workspace, config)
    if found:
        lines = "\n".join(f"  {text}" for text in found)
        raise SourceError(
            f"{len(found)} of the {config.n_sessions} sessions of experiment '{config.name}' cannot be made, and "
            f"nothing was computed. Fetch the files, or leave these out:\n{lines}"
        )
