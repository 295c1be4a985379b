"""The registry's SQLite file: schema, connections, errors.

An object store holds the file as a row of generations, ``00000001.sqlite`` and so on. A writer changes a copy of the
last generation and stores the copy under the next number; of two writers one gets the number.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from pathlib import Path

from vpcore.errors import RegistryError
from vpcore.storage import Folder
from vpcore.storage.atomic import free_bytes, make_folder, storage_errors

SCHEMA_VERSION = 2
"""Since version 2: `seal`."""

BUSY_SECONDS = 30.0
"""How long a writer waits for another before it gives up. A transaction here takes milliseconds."""

_SCHEMA = """
CREATE TABLE versions (
    serving_id  TEXT PRIMARY KEY,
    digest      TEXT NOT NULL,
    data        BLOB NOT NULL,
    created_utc TEXT NOT NULL,
    created_by  TEXT NOT NULL
) STRICT;
CREATE TABLE aliases (
    alias      TEXT PRIMARY KEY,
    serving_id TEXT NOT NULL REFERENCES versions (serving_id),
    moved_utc  TEXT NOT NULL
) STRICT;
CREATE TABLE audit (
    entry   INTEGER PRIMARY KEY AUTOINCREMENT,
    at_utc  TEXT NOT NULL,
    who     TEXT NOT NULL,
    action  TEXT NOT NULL CHECK (action IN ('promote', 'rollback', 'import')),
    alias   TEXT NOT NULL,
    from_id TEXT,
    to_id   TEXT NOT NULL REFERENCES versions (serving_id),
    forced  INTEGER NOT NULL,
    why     TEXT NOT NULL,
    figures TEXT NOT NULL
) STRICT;
CREATE INDEX audit_alias ON audit (alias, entry);
"""
_SEAL = "CREATE TABLE seal (digest TEXT NOT NULL) STRICT"
"""One row: the digest of all others. SQLite itself does not notice a changed byte in a value."""

_KEPT = 3
"""Generations that stay: readers may have just chosen the last but one."""

_whole: set[tuple[str, int, int, int]] = set()
"""Files found whole in this process: path, size, time of change, inode."""


def _check_version(connection: sqlite3.Connection, path: Path) -> int:
    found = int(connection.execute("PRAGMA user_version").fetchone()[0])
    if found > SCHEMA_VERSION:
        raise RegistryError(
            "The version of the serving registry",
            required=f"at most {SCHEMA_VERSION}",
            was=str(found),
            where=str(path),
            fix="Install the vpcore that wrote it, or a newer one.",
        )
    return found


def _digest(connection: sqlite3.Connection) -> str:
    """Return the digest of every value but the versions' content, which has a digest of its own."""
    found = hashlib.sha256()
    columns = {"versions": "serving_id, digest, created_utc, created_by", "aliases": "*", "audit": "*"}
    for table, names in columns.items():
        for row in connection.execute(f"SELECT {names} FROM {table} NOT INDEXED ORDER BY rowid"):
            found.update(repr((table, *row)).encode())
    return found.hexdigest()


def _require_whole(connection: sqlite3.Connection, path: Path) -> None:
    """Refuse a registry whose values or indices changed since they were written. Once per process and file state."""
    state = path.stat()
    key = (str(path), state.st_size, state.st_mtime_ns, state.st_ino)
    if key in _whole:
        return
    seals = [row[0] for row in connection.execute("SELECT digest FROM seal")]
    sick = [row[0] for row in connection.execute("PRAGMA integrity_check") if row[0] != "ok"]
    if sick or seals != [_digest(connection)]:
        raise RegistryError(
            "The serving registry was changed since it was written",
            where=str(path),
            fix="Restore the file from a backup; nothing is served or moved until then.",
        )
    _whole.add(key)


@contextlib.contextmanager
def _errors(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        text = str(error)
        what, fix = f"The serving registry cannot be used: {text}", "Nothing was changed."
        if "locked" in text or "busy" in text:
            what = f"The serving registry is in use: another process has held it for {BUSY_SECONDS:.0f} s"
            fix += " Run the command again."
        elif "full" in text:
            free = free_bytes(path)
            what = "The disk is full: could not write the serving registry"
            room = "unknown" if free is None else f"{free / 1e6:,.1f} MB"
            fix = f"Free there: {room}. Nothing was changed. Make room and run the command again."
        raise RegistryError(what, where=str(path), fix=fix) from error


def _generations(place: Folder) -> list[Path]:
    return [place.path] if place.is_local else place.files("*.sqlite")


@contextlib.contextmanager
def reading(place: Folder) -> Iterator[sqlite3.Connection | None]:
    """Yield a read-only connection, or None before the first publication."""
    path = max(_generations(place), default=place.path / "none")
    if not path.exists():
        yield None
        return
    with _errors(path):
        # A journal that a killed writer left can only be rolled back by a connection that may write.
        mode = "rw" if os.access(path, os.W_OK) else "ro"
        connection = sqlite3.connect(f"{path.as_uri()}?mode={mode}", uri=True, timeout=BUSY_SECONDS)
        with contextlib.closing(connection):
            connection.row_factory = sqlite3.Row
            version = _check_version(connection, path)
            if version == SCHEMA_VERSION:
                connection.execute("BEGIN")  # the values that are checked are those that are read
                _require_whole(connection, path)
            yield connection if version else None


@contextlib.contextmanager
def writing(place: Folder) -> Iterator[sqlite3.Connection]:
    """Yield a connection inside one transaction that excludes other writers; it is committed if the body returns.

    Raises
    ------
    RegistryError
        If another machine wrote the next generation meanwhile.
    """
    if place.is_local:
        with _transaction(place.path) as connection:
            yield connection
        return
    there = _generations(place)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "registry.sqlite"
        if there:
            shutil.copyfile(there[-1], path)
        with _transaction(path) as connection:
            yield connection
        number = int(there[-1].stem) + 1 if there else 1
        if not place.put(f"{number:08d}.sqlite", path.read_bytes(), "write the serving registry", exclusive=True):
            raise RegistryError(
                "Another machine changed the serving registry meanwhile",
                where=str(place),
                fix="Nothing was changed by this command. Run it again.",
            )
    for old in there[: 1 - _KEPT]:
        place.remove(old.name)


@contextlib.contextmanager
def _transaction(path: Path) -> Iterator[sqlite3.Connection]:
    """Yield a connection to a file inside one transaction.

    A rollback journal instead of WAL keeps one file that can be copied and read with read permission alone. It is slow
    enough for a few transactions a day. ``synchronous=EXTRA`` also syncs the journal's removal: a finished commit
    survives a power cut.
    """
    with storage_errors(path, "open the serving registry"):
        make_folder(path.parent)
    with _errors(path):
        connection = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None)
        with contextlib.closing(connection):
            connection.row_factory = sqlite3.Row
            connection.execute("PRAGMA foreign_keys = ON")
            connection.execute("PRAGMA synchronous = EXTRA")
            connection.execute("BEGIN IMMEDIATE")
            try:
                version = _check_version(connection, path)
                if version == 0:
                    for statement in _SCHEMA.split(";"):
                        connection.execute(statement)
                if version < SCHEMA_VERSION:
                    connection.execute(_SEAL)
                    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
                else:
                    _require_whole(connection, path)
                yield connection
                connection.execute("DELETE FROM seal")
                connection.execute("INSERT INTO seal VALUES (?)", (_digest(connection),))
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise
