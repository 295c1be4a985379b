"""Source files of a remote storage: the first bytes of every file, and whole files where they are needed."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from vpcore.errors import SourceError
from vpcore.source.protocol import SourceRequest
from vpcore.storage import Folder
from vpcore.storage.atomic import storage_errors, write_atomic
from vpcore.storage.folder import trim
from vpcore_dbn.discovery import SUFFIXES
from vpcore_dbn.header import read_header

HEAD_BYTES = 1 << 20
"""What is read of every file for its header."""

_AT_ONCE = 16


def with_headers(raw: Folder) -> Path:
    """Return the folder of the source files on this machine. Of a remote storage, with the first bytes of each file.

    Files that are whole already stay; files that are gone, go. Provenance beside a file is copied too.

    Raises
    ------
    StorageError
        If the storage fails.
    """
    if raw.is_local:
        return raw.path
    names = [key.removeprefix(f"{raw.key}/") for key in raw.storage.list(raw.key)]
    files = [name for name in names if name.endswith(SUFFIXES)]
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        for _ in pool.map(lambda name: _head(raw, name), files):
            pass
        for _ in pool.map(raw.fetch, (name for name in names if name.endswith(".json"))):
            pass
    there = set(names)
    for path in raw.path.rglob("*"):
        if path.name.endswith((*SUFFIXES, ".json")) and path.relative_to(raw.path).as_posix() not in there:
            path.unlink(missing_ok=True)
    return raw.path


def _head(raw: Folder, name: str) -> None:
    target, stat = raw.path / name, raw.storage.stat(f"{raw.key}/{name}")
    if stat is None:
        return
    least = min(HEAD_BYTES, stat.size)
    if target.is_file():
        found = target.stat()
        if found.st_mtime_ns == stat.changed_ns and found.st_size >= least:
            return
    (head,) = raw.storage.ranges(f"{raw.key}/{name}", [(0, least)]) if least else (b"",)
    with storage_errors(target, f"copy the header of '{name}'"):
        write_atomic(target, head, durable=False)
        os.utime(target, ns=(stat.changed_ns, stat.changed_ns))


def is_held(request: SourceRequest) -> bool:
    """Return whether a file of a remote storage, by its header, may hold some of a window. False for local files."""
    if request.raw is None or request.raw.is_local:
        return False
    return any(path.exists() for path in _wanted(request.raw, request))


def fetch_files(request: SourceRequest) -> None:
    """Copy the files of a remote storage that a request may read to this machine.

    Raises
    ------
    StorageError
        If the storage fails, or a named file is missing.
    """
    raw = request.raw
    if raw is None or raw.is_local:
        return
    for path in _wanted(raw, request):
        trim(raw.storage, raw.fetch(path.relative_to(raw.path).as_posix()))


def _wanted(raw: Folder, request: SourceRequest) -> list[Path]:
    with_headers(raw)
    if request.files:
        return [path for path in request.files if path.is_relative_to(raw.path)]
    paths = (path for path in raw.path.rglob("*") if path.name.endswith(SUFFIXES))
    return [path for path in sorted(paths) if _may_hold(path, request)]


def _may_hold(path: Path, request: SourceRequest) -> bool:
    try:
        file = read_header(path)
    except SourceError:
        return True  # its header may be longer than the bytes that are here
    return file.has(request.symbol) and file.overlaps(request.start_ns, request.end_ns)
