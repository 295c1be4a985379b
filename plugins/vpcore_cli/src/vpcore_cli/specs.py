"""The spec files of a workspace: which there are, and whether they are right."""

from __future__ import annotations

from pathlib import Path

from vpcore.config import ConfigStore, InstrumentSpec
from vpcore.config.grid import require_grid, start_signals
from vpcore.config.loader import find_by_name, names_in
from vpcore.config.messages import validate_value
from vpcore.config.store import FOLDERS
from vpcore.config.workspace import WORKSPACE_FILE
from vpcore.engine import EngineParams


def files_of(store: ConfigStore) -> list[tuple[str, Path]]:
    """Return every spec file of the workspace as (kind, path), lowest layer first, sorted within a layer."""
    own = store.configs / WORKSPACE_FILE
    return [("workspace", own)] * own.is_file() + [
        (kind, find_by_name(store.configs / folder, kind, name))
        for kind, folder in FOLDERS.items()
        for name in names_in(store.configs / folder)
    ]


def check_spec(store: ConfigStore, kind: str, path: Path) -> None:
    """Load a spec and resolve its whole chain. Reads specs only.

    Raises
    ------
    VpError
        With every problem of the first stage that has one.
    """
    if kind == "workspace":
        store.workspace()
    elif kind == "pipeline":
        store.pipeline(path).resolve()
    elif kind == "serving":
        resolved = store.serving(path).resolve()
        start_signals(store.plugins, resolved.signal_name, [resolved.signal_params], resolved.pipeline)
    elif kind == "experiment":
        require_grid(store.plugins, store.experiment(path).to_harness_config())
    else:
        instrument, document = store.load(kind, InstrumentSpec, path)
        validate_value(EngineParams, instrument.engine, document, ("engine",))
