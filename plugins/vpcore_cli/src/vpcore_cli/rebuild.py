"""A dataset generated again from its source, and compared with what is there."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow.parquet as pq

from vpcore.canonical import file_digest
from vpcore.config.serialize import pipeline_of
from vpcore.dataset.columns import numpy_of
from vpcore.dataset.manifest import DATA_FILES
from vpcore.generation.generate import OnProgress, write_dataset
from vpcore.generation.sources import compare_sources, open_source, source_blocks
from vpcore.storage import LocalStorage
from vpcore.workspace import Workspace

REBUILD_PREFIX = "research/vp_rebuild"
"""Where `rebuild` works; nothing is ever published there."""


def rebuild(workspace: Workspace, dataset_id: str, *, on_progress: OnProgress | None = None) -> Comparison:
    """Generate a dataset again from its source, in a scratch folder, and compare.

    Files are compared byte by byte if every library that decides bytes has its old version, else the values of every
    column. The scratch folder is removed; the dataset stays unchanged.

    Raises
    ------
    DatasetError
        If the dataset is missing, or its source files have changed.
    SourceError
        If a source file is gone.
    """
    registry = workspace.datasets
    manifest = registry.manifest(dataset_id)
    pipeline = pipeline_of(manifest.get("pipeline", {}), workspace.raw)
    with workspace.storage.stage(f"{REBUILD_PREFIX}/{dataset_id}") as stage:
        with open_source(workspace, pipeline) as stream:
            sources = source_blocks(stream.files, workspace.raw)
            compare_sources(dataset_id, manifest["sources"], sources, workspace.raw)
            again, _ = write_dataset(
                workspace, pipeline, stream, sources, LocalStorage(stage.path), dataset_id, "rebuilt", on_progress
            )
        same = again["packages"] == manifest.get("packages")
        return compare_datasets(registry.path(dataset_id), stage.path / "rebuilt" / dataset_id, same_libraries=same)


def column_digests(path: Path) -> dict[str, str]:
    """Return the sha256 of every column's values, little-endian in file order, by ``file:column``.

    Compression and row groups leave it unchanged, so it compares files of different library versions. One row group in
    memory at a time.
    """
    digests: dict[str, str] = {}
    for name in DATA_FILES:
        with pq.ParquetFile(Path(path) / name) as reader:
            columns = reader.schema_arrow.names
            running = {column: hashlib.sha256() for column in columns}
            for i in range(reader.num_row_groups):
                table = reader.read_row_group(i)
                for column in columns:
                    values = numpy_of(table.column(column))
                    running[column].update(np.ascontiguousarray(values).data)
        digests |= {f"{name}:{column}": value.hexdigest() for column, value in running.items()}
    return digests


@dataclass(frozen=True, slots=True)
class Comparison:
    """How two datasets of one id compare.

    Attributes
    ----------
    by : {'bytes', 'values'}
        Files were compared, or the values of columns because library versions differ.
    different : tuple of str
        Files, or ``file:column``, that differ.
    """

    by: Literal["bytes", "values"]
    different: tuple[str, ...]

    @property
    def equal(self) -> bool:
        """True if everything is equal."""
        return not self.different


def compare_datasets(one: Path, other: Path, *, same_libraries: bool) -> Comparison:
    """Compare the data files of two datasets, by bytes if the same libraries wrote them, else by column values."""
    if same_libraries:
        different = [name for name in DATA_FILES if file_digest(Path(one) / name) != file_digest(Path(other) / name)]
        return Comparison("bytes", tuple(different))
    a, b = column_digests(one), column_digests(other)
    return Comparison("values", tuple(sorted(name for name in {*a, *b} if a.get(name) != b.get(name))))
