"""`ServingRegistry`: which versions are published, which alias names which, and the audit of every move."""

from __future__ import annotations

import datetime
import getpass
import json
import re
import sqlite3
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from vpcore.canonical import bytes_digest
from vpcore.errors import RegistryError, did_you_mean, listed
from vpcore.storage import Folder
from vpcore.storage.atomic import storage_errors, write_atomic
from vpcore_serving.registry.database import reading, writing
from vpcore_serving.registry.entries import AuditEntry, Publication, VersionInfo
from vpcore_serving.registry.version import PublishedVersion

if TYPE_CHECKING:
    from vpcore.workspace import Workspace

_ALIAS = re.compile(r"[a-z0-9](?:[a-z0-9_.-]{0,62}[a-z0-9])?\Z")
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,120}__[0-9a-f]{12}\Z")


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):  # a container without an entry for this user
        return "unknown"


def registry_of(workspace: Workspace) -> ServingRegistry:
    """Return the registry of a workspace: its published serving versions and their aliases."""
    return ServingRegistry(workspace.folder(workspace.registry_path), workspace.serving_versions_dir)


class ServingRegistry:
    """The published versions of a workspace.

    A version is a file, written once, and a row; **the row is the commit**. A file that lacks a row is unpublished; the
    next publication of this version adopts it. Safe for several processes of one host.

    Parameters
    ----------
    path : Path or Folder
        The SQLite file, or the folder of its generations on an object store; made with the first publication.
    versions_dir : Path
        Folder of the versions' files, ``<serving_id>.yaml``.
    """

    def __init__(self, path: Path | Folder, versions_dir: Path) -> None:
        self._place = Folder.of(path)
        self.path = self._place.path
        self.versions_dir = Path(versions_dir).absolute()

    def __repr__(self) -> str:
        return f"ServingRegistry({str(self.path)!r})"

    def file_of(self, serving_id: str) -> Path:
        """Return where a version's file is, or would be."""
        return self.versions_dir / f"{serving_id}.yaml"

    # -- publishing ----------------------------------------------------------------------------------------------------

    def publish(
        self,
        serving_id: str,
        data: bytes,
        alias: str,
        *,
        why: str = "",
        forced: bool = False,
        evidence: Mapping[str, Any] | None = None,
        who: str | None = None,
        action: str = "promote",
    ) -> Publication:
        """Publish a version and move an alias to it. An alias that already names the version stays unchanged, with its
        history.

        Parameters
        ----------
        serving_id : str
            Id of the runtime part of `data`, see `vpcore_serving.registry.serving_id_of`.
        data : bytes
            The YAML file. An existing file of the version (published, or left by an interrupted promotion) stays: only
            parts outside the id could differ.
        alias : str
            Lower case letters, digits, ``_ . -``; a new alias is made.
        why, forced, evidence, who
            For the audit.
        action : {'promote', 'import'}
            For the audit.

        Raises
        ------
        RegistryError
            If id, data and alias contradict each other, or the published file has been changed.
        StorageError
            If writing fails. The alias then keeps its version.
        """
        self._check_names(serving_id, alias)
        version = PublishedVersion.from_bytes(serving_id, data, f"The version '{serving_id}'")
        path = self.file_of(serving_id)
        row = self._row(serving_id)
        content = version.data if row is None else _copy(row, self.path)
        with storage_errors(path, f"write the serving version '{serving_id}'"):
            written = write_atomic(path, content, exclusive=True)
        if not written:
            content = self._existing(path, serving_id, row)
        with writing(self._place) as connection:
            created = self._insert(connection, serving_id, content, path, who or _user())
            previous = self._move(
                connection, alias, serving_id, action, who or _user(), why=why, forced=forced, evidence=evidence or {}
            )
        return Publication(serving_id, alias, created, created and not written, previous, path)

    def _check_names(self, serving_id: str, alias: str) -> None:
        if not _ID.match(serving_id):
            raise RegistryError("A serving id", required="of the form NAME__HASH12", was=f"'{serving_id}'")
        if not _ALIAS.match(alias) or "__" in alias:
            raise RegistryError(
                "An alias",
                required="1 to 64 lower case letters, digits, '_', '.' or '-', without '__'",
                was=f"'{alias}'",
            )

    def _existing(self, path: Path, serving_id: str, row: sqlite3.Row | None) -> bytes:
        with storage_errors(path, f"read the serving version '{serving_id}'"):
            content = path.read_bytes()
        if row is not None:
            _same_digest(path, content, row)
        return PublishedVersion.from_bytes(serving_id, content, str(path)).data

    def _insert(self, connection: sqlite3.Connection, serving_id: str, content: bytes, path: Path, who: str) -> bool:
        found = _stored(connection, serving_id)
        if found is not None:
            _same_digest(path, content, found)
            return False
        connection.execute(
            "INSERT INTO versions VALUES (?, ?, ?, ?, ?)", (serving_id, bytes_digest(content), content, _now(), who)
        )
        return True

    def _move(
        self,
        connection: sqlite3.Connection,
        alias: str,
        serving_id: str,
        action: str,
        who: str,
        *,
        why: str,
        forced: bool,
        evidence: Mapping[str, Any],
    ) -> str | None:
        found = connection.execute("SELECT serving_id FROM aliases WHERE alias = ?", (alias,)).fetchone()
        previous = None if found is None else str(found["serving_id"])
        if previous == serving_id:
            return previous
        now = _now()
        connection.execute(
            "INSERT INTO aliases VALUES (?, ?, ?) ON CONFLICT (alias) DO UPDATE SET serving_id = excluded.serving_id, "
            "moved_utc = excluded.moved_utc",
            (alias, serving_id, now),
        )
        connection.execute(
            "INSERT INTO audit (at_utc, who, action, alias, from_id, to_id, forced, why, figures) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                now,
                who,
                action,
                alias,
                previous,
                serving_id,
                int(forced),
                why,
                json.dumps(dict(evidence), sort_keys=True),
            ),
        )
        return previous

    def rollback(self, alias: str, *, to: str | None = None, why: str = "", who: str | None = None) -> Publication:
        """Move an alias back to its previous version.

        Each further rollback goes one version further back. Promote again to undo a rollback.

        Parameters
        ----------
        alias : str
            Must exist.
        to : str, optional
            Id of the version; by default the previous version in the alias's history.
        why, who : str, optional
            For the audit.

        Raises
        ------
        RegistryError
            If the alias or version is unknown, the history is too short, or the version's file has been changed.
        """
        with writing(self._place) as connection:
            names = [row["alias"] for row in connection.execute("SELECT alias FROM aliases")]
            if alias not in names:
                self._unknown(alias, names, "alias")
            target = to if to is not None else self._before(connection, alias)
            found = _stored(connection, target)
            if found is None:
                ids = [row["serving_id"] for row in connection.execute("SELECT serving_id FROM versions")]
                self._unknown(target, ids, "version")
            self._load(found)
            previous = self._move(
                connection, alias, target, "rollback", who or _user(), why=why, forced=False, evidence={}
            )
        return Publication(target, alias, False, False, previous, self.file_of(target))

    def previous(self, alias: str) -> str:
        """Return the id of the version that a rollback of an alias would name.

        Raises
        ------
        RegistryError
            If the alias is unknown, or has one version only.
        """
        if alias not in (names := self.aliases()):
            self._unknown(alias, names, "alias")
        with reading(self._place) as connection:
            assert connection is not None
            return self._before(connection, alias)

    def _before(self, connection: sqlite3.Connection, alias: str) -> str:
        stack: list[str] = []
        for row in connection.execute("SELECT action, to_id FROM audit WHERE alias = ? ORDER BY entry", (alias,)):
            target = str(row["to_id"])
            if row["action"] == "rollback" and target in stack:
                while stack[-1] != target:
                    stack.pop()
            elif not stack or stack[-1] != target:
                stack.append(target)
        if len(stack) < 2:
            raise RegistryError(
                f"Alias '{alias}' has named no version before {stack[-1]}: there is nothing to roll back to",
                fix="Name a version: --to ID",
            )
        return stack[-2]

    # -- reading -------------------------------------------------------------------------------------------------------

    def resolve(self, alias_or_id: str) -> PublishedVersion:
        """Return the version that an alias names, or of an id, after checking its file against the published digest.

        Raises
        ------
        RegistryError
            If the name is unknown (the message lists aliases and versions), or the file is missing or changed.
        """
        return self._load(self._find(alias_or_id))

    def verify(self, alias_or_id: str) -> str:
        """Return the id of a version after checking its file against the published digest.

        It costs a twentieth of `resolve`, which also parses the file.

        Raises
        ------
        RegistryError
            See `resolve`.
        """
        row = self._find(alias_or_id)
        self._content(row)
        return str(row["serving_id"])

    def _find(self, alias_or_id: str) -> sqlite3.Row:
        row = self._row(alias_or_id)
        if row is None:
            with reading(self._place) as connection:
                query = "SELECT v.* FROM versions v JOIN aliases a USING (serving_id) WHERE a.alias = ?"
                row = connection.execute(query, (alias_or_id,)).fetchone() if connection is not None else None
        if row is None:
            names = [*self.aliases(), *(version.serving_id for version in self.versions())]
            self._unknown(alias_or_id, names, "serving version or alias")
        return row

    def _row(self, serving_id: str) -> sqlite3.Row | None:
        with reading(self._place) as connection:
            return None if connection is None else _stored(connection, serving_id)

    def _load(self, row: sqlite3.Row) -> PublishedVersion:
        serving_id = str(row["serving_id"])
        return PublishedVersion.from_bytes(serving_id, self._content(row), str(self.file_of(serving_id)))

    def _content(self, row: sqlite3.Row) -> bytes:
        """Return the bytes of a version's file, after checking their digest."""
        serving_id = str(row["serving_id"])
        path = self.file_of(serving_id)
        if not self._place.is_local and not path.exists():
            self.restore(serving_id)  # another machine published it
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            raise RegistryError(
                f"The file of serving version '{serving_id}' is missing",
                where=str(path),
                fix=f"The registry holds a copy. Write it back: vp serving restore {serving_id}",
            ) from None
        except OSError as error:
            raise RegistryError(
                f"The file of serving version '{serving_id}' cannot be read: {error.strerror}", where=str(path)
            ) from error
        _same_digest(path, content, row)
        return content

    def restore(self, serving_id: str) -> Path:
        """Write a published version's file again, from the registry's copy, and return its path."""
        row = self._row(serving_id)
        if row is None:
            self._unknown(serving_id, [version.serving_id for version in self.versions()], "serving version")
        path = self.file_of(serving_id)
        data = _copy(row, self.path)
        with storage_errors(path, f"write the serving version '{serving_id}'"):
            write_atomic(path, data)
        return path

    def aliases(self) -> dict[str, str]:
        """Return which version each alias names, sorted by alias."""
        with reading(self._place) as connection:
            if connection is None:
                return {}
            rows = connection.execute("SELECT alias, serving_id FROM aliases ORDER BY alias").fetchall()
        return {row["alias"]: row["serving_id"] for row in rows}

    def versions(self) -> list[VersionInfo]:
        """Return the published versions, the latest first."""
        named = self.aliases()
        with reading(self._place) as connection:
            if connection is None:
                return []
            query = (
                "SELECT serving_id, created_utc, created_by, digest FROM versions ORDER BY created_utc DESC, serving_id"
            )
            rows = connection.execute(query).fetchall()
        return [
            VersionInfo(
                row["serving_id"],
                tuple(alias for alias, serving_id in named.items() if serving_id == row["serving_id"]),
                row["created_utc"],
                row["created_by"],
                row["digest"],
            )
            for row in rows
        ]

    def history(self, alias: str | None = None) -> list[AuditEntry]:
        """Return every move of an alias, or of all, the latest first.

        Raises
        ------
        RegistryError
            If the alias is unknown.
        """
        if alias is not None and alias not in (names := self.aliases()):
            self._unknown(alias, names, "alias")
        with reading(self._place) as connection:
            if connection is None:
                return []
            rows = connection.execute(
                "SELECT * FROM audit WHERE ?1 IS NULL OR alias = ?1 ORDER BY entry DESC", (alias,)
            ).fetchall()
        return [
            AuditEntry(
                **{name: value for name, value in dict(row).items() if name not in ("forced", "figures")},
                forced=bool(row["forced"]),
                evidence=json.loads(row["figures"]),
            )
            for row in rows
        ]

    def _unknown(self, name: str, names: Iterable[str], kind: str) -> NoReturn:
        known = sorted(names)
        there = f"Published: {listed(known)}." if known else "Nothing is published yet. Publish: vp promote EXPERIMENT"
        raise RegistryError(f"No {kind} is called '{name}'", fix=f"{did_you_mean(name, known)} {there}")


def _stored(connection: sqlite3.Connection, serving_id: str) -> sqlite3.Row | None:
    row: sqlite3.Row | None = connection.execute(
        "SELECT * FROM versions WHERE serving_id = ?", (serving_id,)
    ).fetchone()
    return row


def _copy(row: sqlite3.Row, path: Path) -> bytes:
    """Return the registry's copy of a version."""
    data = bytes(row["data"])
    if bytes_digest(data) != row["digest"]:
        raise RegistryError(
            f"The registry's copy of serving version '{row['serving_id']}' was changed since it was written",
            where=str(path),
            fix="Restore the file from a backup.",
        )
    return data


def _same_digest(path: Path, content: bytes, row: sqlite3.Row) -> None:
    found = bytes_digest(content)
    if found != row["digest"]:
        raise RegistryError(
            f"The file of serving version '{row['serving_id']}' was changed: its sha256",
            required=row["digest"],
            was=found,
            where=str(path),
            fix=f"Write the published file back: vp serving restore {row['serving_id']}",
        )
