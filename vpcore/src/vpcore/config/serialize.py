"""A resolved pipeline as manifests hold it, and back."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vpcore.config.instruments import InstrumentSpec
from vpcore.config.pipeline import ResolvedPipeline
from vpcore.engine import EngineParams
from vpcore.errors import DatasetError


def pipeline_block(pipeline: ResolvedPipeline) -> dict[str, Any]:
    """Return a resolved pipeline as JSON values, free of local paths. See `pipeline_of`."""
    return {
        "name": pipeline.name,
        "label": pipeline.label,
        "instrument": pipeline.instrument.model_dump(mode="json"),
        "resolved": pipeline.resolved_dict(),
    }


def pipeline_of(block: Mapping[str, Any], raw_root: Path) -> ResolvedPipeline:
    """Return the pipeline that `pipeline_block` wrote down.

    Parameters
    ----------
    block : mapping
        ``pipeline`` of a manifest.
    raw_root : Path
        ``lake/raw`` of the workspace: relative names of files start there.

    Raises
    ------
    DatasetError
        If the block lacks something.
    """
    try:
        resolved = block["resolved"]
        keys = resolved["files"]
        return ResolvedPipeline(
            name=block["name"],
            label=block["label"],
            instrument=InstrumentSpec.model_validate(block["instrument"]),
            symbol=resolved["symbol"],
            params=EngineParams.model_validate(resolved["engine"]),
            start_ns=resolved["start_ns"],
            end_ns=resolved["end_ns"],
            source=resolved["source"],
            files=None if keys is None else tuple(raw_root / key for key in keys),
            file_keys=None if keys is None else tuple(keys),
            cold_book=resolved["cold_book"],
            events=resolved.get("events", "flags"),
            repeated=resolved.get("repeated", "refuse"),
            options=resolved["options"],
        )
    except (KeyError, TypeError, ValueError) as error:
        raise DatasetError(
            f"The manifest's pipeline cannot be read: {error}. It was written by another vpcore."
        ) from error
