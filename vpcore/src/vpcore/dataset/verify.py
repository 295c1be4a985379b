"""Integrity of a dataset, and equality of two datasets."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from vpcore.canonical import file_digest
from vpcore.dataset.manifest import CHECKED_FILES, CHECKSUMS_FILE, read_json
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
