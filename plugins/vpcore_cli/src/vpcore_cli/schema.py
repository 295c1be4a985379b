"""``vp schema``: the specs as JSON schemas for editors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from vpcore.errors import ConfigError, did_you_mean, listed
from vpcore_cli.common import emit_json


def schema(
    kind: Annotated[
        str | None,
        typer.Argument(
            metavar="[KIND]", help="instrument, pipeline, serving, experiment or workspace. [default: all, by kind]"
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Write <kind>.schema.json files there.")
    ] = None,
) -> None:
    """Print the JSON schemas of the specs."""
    from vpcore.config.store import MODELS
    from vpcore.config.workspace import WorkspaceSpec
    from vpcore.storage.atomic import storage_errors
    from vpcore_cli.output import write_output

    schemas = {name: model.model_json_schema() for name, model in (MODELS | {"workspace": WorkspaceSpec}).items()}
    if kind is not None and kind not in schemas:
        fix = f"{did_you_mean(kind, schemas)} Kinds: {listed(schemas)}."
        raise ConfigError(f"No kind of spec is called '{kind}'", fix=fix)
    chosen = schemas if kind is None else {kind: schemas[kind]}
    if out is not None:
        for name, content in chosen.items():
            path = out / f"{name}.schema.json"
            with storage_errors(path, "write the schema"):
                write_output(path, (json.dumps(content, indent=2) + "\n").encode())
            print(path)
    else:
        emit_json(chosen if kind is None else schemas[kind])
