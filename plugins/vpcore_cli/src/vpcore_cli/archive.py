"""Results and their ledger as one file, for another workspace: rows, commits, trials, reserves and confirmations.

The archive is an uncompressed zip file of the stored files, with a digest of each. An import checks all of them before
it writes the first, and adds what is missing: the ledger first, the commits last.
"""

from __future__ import annotations

import io
import json
import re
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from vpcore.canonical import bytes_digest, canonical_json, unsealed
from vpcore.dataset.reserve import RESERVES
from vpcore.errors import ResultsError
from vpcore.results.db import ResultsDB
from vpcore.results.ledger import LEDGER, LEDGER_VERSION
from vpcore.results.parts import part_id, part_name, require_whole
from vpcore.results.writer import TABLES, table_folder
from vpcore.storage import Folder

ARCHIVE_VERSION = 1
_INDEX = "vp_results.json"
_PART = re.compile(r"part-[0-9a-f]{1,64}\.[0-9a-f]{16}\.parquet")
_SEALED = re.compile(r"[0-9a-f]{16}\.(reserve|confirmation-\d{1,6})\.json")
_SECTIONS = (RESERVES, "ledger", "runs", "runs_meta")
"""Folders of the archive, in the order of an import."""


@dataclass(frozen=True, slots=True)
class ImportReport:
    """Number of files by kind that an import added, and that were there before."""

    reserves: int
    ledger: int
    runs: int
    present: int


def _folders(db: ResultsDB) -> dict[str, Folder]:
    ledger = db.ledger.folder
    tables = {table: table_folder(db.folder, table) for table in TABLES}
    return {RESERVES: ledger / RESERVES, "ledger": ledger / f"v{LEDGER_VERSION}", **tables}


def export_archive(db: ResultsDB) -> bytes:
    """Return everything stored by this version of the tables, as one archive.

    Raises
    ------
    ResultsError
        If a stored file is damaged.
    """
    return db.again(lambda: _packed(db))


def _packed(db: ResultsDB) -> bytes:
    files: dict[str, bytes] = {}
    for section, folder in _folders(db).items():
        if section == RESERVES:
            files |= {f"{section}/{path.name}": path.read_bytes() for path in folder.files("*.json")}
            continue
        parts = folder.files("part-*.parquet")
        require_whole(parts)
        for path in parts:
            data = path.read_bytes()
            files[f"{section}/{part_name(part_id(path), data)}"] = data
    index = {"version": ARCHIVE_VERSION, "files": {name: bytes_digest(data) for name, data in files.items()}}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, data in {_INDEX: canonical_json(index), **files}.items():
            archive.writestr(zipfile.ZipInfo(name), data)  # without a time: the same content, the same bytes
    return buffer.getvalue()


def import_archive(db: ResultsDB, path: Path) -> ImportReport:
    """Add the content of an archive to a store. Everything is checked before anything is written.

    Raises
    ------
    ResultsError
        If the file is no archive, was changed, is of another version, or has another confirmation than is stored.
    StorageError
        If writing fails. A repeated import adds the rest.
    """
    files = _checked(path)
    folders = _folders(db)
    targets = {name: (folders[name.partition("/")[0]], name.partition("/")[2]) for name in files}
    stored = {name: folder.get(file) for name, (folder, file) in targets.items()}
    for name, (folder, file) in targets.items():
        if stored[name] not in (None, files[name]):
            raise ResultsError(
                f"This workspace has another {file}: its confirmations are not those of the archive",
                where=str(folder / file),
                fix="Import into a workspace that has not confirmed on this reserve. Nothing was imported.",
            )
    added = dict.fromkeys(_SECTIONS, 0)
    for section in _SECTIONS:
        for name in sorted(name for name in files if name.startswith(f"{section}/") and stored[name] is None):
            folder, file = targets[name]
            added[section] += folder.put(file, files[name], "import results", exclusive=True)
    new = sum(added.values())
    return ImportReport(added[RESERVES], added["ledger"], added["runs_meta"], len(files) - new)


def _checked(path: Path) -> dict[str, bytes]:
    """Return the files of an archive by name, every one of them as it was written."""
    try:
        with zipfile.ZipFile(path) as archive:
            if any(item.compress_type != zipfile.ZIP_STORED for item in archive.infolist()):
                raise ValueError("it is compressed")
            files = {item.filename: archive.read(item) for item in archive.infolist()}
        index: dict[str, Any] = json.loads(files.pop(_INDEX))
        version, digests = int(index["version"]), dict(index["files"])
    except OSError as error:
        raise ResultsError(f"The archive cannot be read: {error.strerror}", where=str(path)) from None
    except (zipfile.BadZipFile, KeyError, TypeError, ValueError, NotImplementedError, RecursionError) as error:
        raise ResultsError(
            f"The file is no archive of results, or was changed: {' '.join(str(error).split())[:100]}",
            where=str(path),
            fix="Make one: vp results export --out FILE.zip",
        ) from None
    if version != ARCHIVE_VERSION:
        raise ResultsError(
            "The version of the archive", required=str(ARCHIVE_VERSION), was=str(version), where=str(path)
        )
    bad = sorted(
        name for name in {*files, *digests} if name not in files or bytes_digest(files[name]) != digests.get(name)
    )
    bad += [name for name, data in files.items() if name not in bad and not _is_right(name, data)]
    ids = {table: {part_id(Path(name)) for name in files if name.startswith(f"{table}/")} for table in TABLES}
    bad += sorted(f"runs/{name}" for name in ids["runs_meta"] - ids["runs"])
    if bad:
        raise ResultsError(
            f"{len(bad)} files of the archive were changed since they were written, or are missing",
            where=f"{path}: {', '.join(bad[:5])}",
            fix="Copy it again. Nothing was imported.",
        )
    return files


def _is_right(name: str, data: bytes) -> bool:
    """Return whether a file has its place in a store of this version."""
    section, _, file = name.partition("/")
    if section == RESERVES:
        return _SEALED.fullmatch(file) is not None and unsealed(data) is not None
    schema = {**TABLES, "ledger": LEDGER}.get(section)
    if schema is None or not _PART.fullmatch(file) or part_name(part_id(Path(file)), data) != file:
        return False
    try:
        frame = pl.DataFrame(pq.read_schema(io.BytesIO(data)).empty_table())
    except (pl.exceptions.PolarsError, pa.ArrowException, OSError):
        return False
    return dict(frame.schema) == schema
