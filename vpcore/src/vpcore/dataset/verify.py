"""Integrity of a dataset, and equality of two datasets."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow.parquet as pq

from vpcore.canonical import file_digest
from vpcore.dataset.columns import numpy_of
from vpcore.dataset.manifest import CHECKED_FILES, CHECKSUMS_FILE, DATA_FILES, read_json
from vpcore.errors import DatasetError

Status = Literal["ok", "changed", "missing", "unexpected"]


@dataclass(frozen=True, slots=True)
class FileCheck:
    """One file of a dataset: expected and actual digest."""

    name: str
    status: Status
    expected: str | None
    found: str | None


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """Result of `verify_files`."""

    dataset_id: str
    files: tuple[FileCheck, ...]

    @property
    def ok(self) -> bool:
        """True if the folder holds exactly the written files, unchanged."""
        return all(file.status == "ok" for file in self.files)


def verify_files(path: Path) -> VerifyReport:
    """Recompute the checksums of a dataset's files. One pass over the bytes, constant memory.

    Raises
    ------
    DatasetError
        If the folder or its ``checksums.json`` is missing.
    """
    folder = Path(path)
    if not folder.is_dir():
        raise DatasetError(f"There is no dataset '{folder.name}' ({folder}). Datasets: vp list-datasets")
    expected = read_json(folder / CHECKSUMS_FILE, folder.name)
    present = {entry.name for entry in folder.iterdir()}
    checks = []
    for name in sorted({*CHECKED_FILES, *expected}):
        wanted = expected.get(name)
        found = file_digest(folder / name) if name in present else None
        status: Status = "missing" if found is None else "ok" if found == wanted else "changed"
        checks.append(FileCheck(name, status, wanted, found))
    extra = sorted(present - {*expected, *CHECKED_FILES, CHECKSUMS_FILE})
    checks += [FileCheck(name, "unexpected", None, None) for name in extra]
    return VerifyReport(folder.name, tuple(checks))


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
