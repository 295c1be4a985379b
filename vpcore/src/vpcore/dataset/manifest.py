"""The files of a dataset and its manifest.

``manifest.json`` and ``checksums.json`` exclude time and host of writing: equal inputs give equal bytes in every file
of a dataset.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vpcore.canonical import file_digest, is_whole
from vpcore.errors import DatasetError
from vpcore.schema import FORMAT_VERSION, GRID_VALUES

BINS_FILE = "bins.parquet"
GRID_FILE = "grid_clean.parquet"
MANIFEST_FILE = "manifest.json"
CHECKSUMS_FILE = "checksums.json"

DATASETS_PREFIX = "research/vp_immutable"
"""Where datasets lie in the lake."""

DATA_FILES = (BINS_FILE, GRID_FILE)
CHECKED_FILES = (BINS_FILE, GRID_FILE, MANIFEST_FILE)

META_ID = b"vpcore.dataset_id"
META_FORMAT = b"vpcore.format_version"


def json_bytes(value: Mapping[str, Any]) -> bytes:
    """Return `value` as indented JSON with sorted keys, the same bytes for the same content."""
    return (json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n").encode()


def read_json(path: Path, dataset: str) -> dict[str, Any]:
    """Return the mapping in a JSON file of a dataset.

    Raises
    ------
    DatasetError
        If the file is missing, or holds anything but a JSON mapping.
    """
    try:
        value = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise DatasetError(
            f"Dataset '{dataset}' is not complete: {path} is missing. Move the folder away and generate the dataset "
            "again."
        ) from None
    except (OSError, ValueError) as error:
        raise DatasetError(
            f"Dataset '{dataset}' cannot be read: {path} is not a JSON file ({error}). It was changed since it was "
            f"written; move the folder away and generate the dataset again."
        ) from error
    if not isinstance(value, dict):
        raise DatasetError(f"Dataset '{dataset}' cannot be read: {path} holds a {type(value).__name__}, not a mapping.")
    return value


def require_whole(path: Path, dataset_id: str) -> None:
    """Refuse a file whose bytes differ from its checksum. One pass over the file per process and state of the file."""
    expected = str(read_json(path.parent / CHECKSUMS_FILE, dataset_id).get(path.name))
    try:
        whole = is_whole(path, expected)
    except OSError:
        return  # the reader says what is wrong
    if not whole:
        raise DatasetError(
            f"{path} was changed since it was written: its checksum is another. Restore it from a backup, or move the "
            f"folder away and generate the dataset again. See: vp verify {dataset_id}"
        )


def checksums(folder: Path, names: Sequence[str] = CHECKED_FILES) -> dict[str, str]:
    """Return the sha256 of each named file in `folder`."""
    return {name: file_digest(folder / name) for name in names}


def shape_block(
    *, n_bins: int, n_cells: int, cell_width_ns: int, tick_int: int, columns: Sequence[str] = GRID_VALUES
) -> dict[str, Any]:
    """Return the part of a manifest from which a `Dataset` knows its form."""
    return {
        "n_bins": n_bins,
        "n_cells": n_cells,
        "radius_ticks": n_cells // 2,
        "cell_width_ns": cell_width_ns,
        "tick_int": tick_int,
        "grid_columns": list(columns),
    }


def check_manifest(manifest: Mapping[str, Any], dataset: str) -> None:
    """Check the entries that reading depends on.

    Raises
    ------
    DatasetError
        If the manifest is of another format version, lacks its shape, or names another dataset.
    """
    version = manifest.get("format_version")
    if version != FORMAT_VERSION:
        raise DatasetError(
            f"Dataset '{dataset}' has format version {version}; this vpcore reads version {FORMAT_VERSION}. Generate "
            "it again, or use the vpcore that wrote it."
        )
    if manifest.get("dataset_id") != dataset:
        raise DatasetError(
            f"The folder '{dataset}' holds the dataset '{manifest.get('dataset_id')}'. A dataset's folder carries "
            "its id: rename the folder back."
        )
    missing = sorted(
        set(shape_block(n_bins=0, n_cells=1, cell_width_ns=1, tick_int=1)) - set(manifest.get("shape", {}))
    )
    if missing:
        raise DatasetError(
            f"The manifest of dataset '{dataset}' lacks shape.{missing[0]}. It was changed since it was written: vp "
            f"verify {dataset}"
        )


def source_digests(manifest: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the sha256 of the source files, in reading order."""
    return tuple(str(item["sha256"]) for item in manifest.get("sources", ()))
