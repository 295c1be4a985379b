"""``vp list-specs``: the specs of a workspace."""

from __future__ import annotations

from typing import Any

from vpcore.errors import ConfigError
from vpcore_cli.common import CsvOption, JsonOption, RootOption, emit_table, open_workspace, say

USES = {"pipeline": "capture.symbol", "serving": "pipeline", "experiment": "serving"}
"""By kind, the key that names the instrument or the spec below."""


def list_specs(root: RootOption = None, json: JsonOption = False, csv: CsvOption = False) -> None:
    """List the specs: kind, name, spec or symbol below, file, description."""
    from vpcore_cli.specs import files_of

    store = open_workspace(root).specs
    rows = []
    for kind, path in files_of(store):
        try:
            value: Any = store.document(path).data
        except ConfigError as error:
            value = None
            say(f"Warning: {error}")
        about = value.get("description") if isinstance(value, dict) else None
        for key in USES.get(kind, "").split("."):
            value = value.get(key) if isinstance(value, dict) else None
        file = path.relative_to(store.configs.parent)
        rows.append({"kind": kind, "name": path.stem, "uses": value, "file": file, "description": about})
    empty = "configs/ holds no specs. See: vp validate"
    emit_table(rows, ("kind", "name", "uses", "file", "description"), json=json, csv=csv, empty=empty)
