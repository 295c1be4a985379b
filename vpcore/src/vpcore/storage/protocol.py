"""The base class of storages. `vpcore.testing.storage_checks` checks an implementation.

A *key* is a relative path inside the storage, with ``/`` between names and free of ``.`` and ``..``; a *prefix* is the
key of a folder. Readers see whole files (`put_atomic`) and whole collections (`commit`): a collection such as a dataset
exists when its manifest exists, and the manifest appears last.
"""

from __future__ import annotations

import builtins
import os
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

from vpcore.canonical import digest
from vpcore.errors import StorageError

MANIFEST = "manifest.json"
"""Name of the file whose presence makes a collection exist."""

TEMPORARY = ".tmp-"
"""Names that begin with this are files in the making. They are never listed."""


def check_key(key: str) -> str:
    """Return `key` if it has the form of a key.

    Raises
    ------
    StorageError
        If it is empty, absolute, or has a part that is empty, ``.``, ``..`` or reserved for temporary files.
    """
    parts = key.split("/")
    if any(part in ("", ".", "..") or part.startswith(TEMPORARY) or "\\" in part or "\0" in part for part in parts):
        raise StorageError(
            f"The storage key {key!r} is not usable. A key is a relative path with '/' between its parts, none of them "
            f"empty, '.', '..' or beginning with '{TEMPORARY}'."
        )
    return key


class Stage:
    """A local folder for the files of one collection, until `Storage.commit` publishes them.

    Leaving it as a context manager discards an uncommitted collection.

    Parameters
    ----------
    prefix : str
        The collection that the files will become.
    path : Path
        The folder. It belongs to the caller until the commit.
    discard : callable
        Removes the folder and gives up the claim on it; called at most once.
    """

    def __init__(self, prefix: str, path: Path, discard: Callable[[], None]) -> None:
        self.prefix = prefix
        self.path = path
        self._discard: Callable[[], None] | None = discard

    def discard(self) -> None:
        """Remove the folder, if it is still there. Safe to call again."""
        discard, self._discard = self._discard, None
        if discard is not None:
            discard()

    def __enter__(self) -> Stage:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.discard()


class Stat(NamedTuple):
    """Size of a stored file in bytes, and the time of its last change, ns since the epoch."""

    size: int
    changed_ns: int


class Storage(ABC):
    """A place for finished files. Every failure of the medium is a `StorageError`.

    The root of a workspace's storage is the only required argument; options are keyword arguments (`storage.options` of
    ``configs/workspace.yaml``).
    """

    @abstractmethod
    def read(self, key: str) -> bytes:
        """Return the bytes of a file. A missing file is a `StorageError` that names the key."""

    @abstractmethod
    def exists(self, key: str) -> bool:
        """Return True if a finished file is stored under `key`."""

    @abstractmethod
    def list(self, prefix: str = "") -> list[str]:
        """Return the sorted keys of every finished file below `prefix`; empty for an unknown prefix."""

    @abstractmethod
    def put_atomic(self, key: str, file: Path | bytes, *, exclusive: bool = False) -> bool:
        """Store a copy of a file, or bytes, under `key`, durably and atomically.

        Returns
        -------
        bool
            True if this call stored it. False only with `exclusive` and an existing key, which stays unchanged; of
            several parallel writers with different bytes exactly one gets True.
        """

    @abstractmethod
    def delete(self, key: str) -> None:
        """Remove a file. A missing file is accepted: another process removed it first."""

    @abstractmethod
    def stage(self, prefix: str) -> Stage:
        """Return a local folder to write a collection into, invisible to readers.

        Folders of dead writers are removed; folders of living writers stay.
        """

    @abstractmethod
    def commit(self, prefix: str, stage: Stage, manifest_last: str = MANIFEST, *, replace: bool = False) -> bool:
        """Publish a staged folder as `prefix`, durably and at once; its manifest appears no earlier than the rest.

        Returns
        -------
        bool
            True if this call published it. False if the collection existed and `replace` is False: then it stays
            unchanged. The staged folder is gone in both cases.
        """

    # -- defaults of a storage whose files are not this machine's ------------------------------------------------------

    cache_bytes: int | None = None
    """Most bytes that copies of columns and source files take on this machine; None for no limit."""

    def stat(self, key: str) -> Stat | None:
        """Return size and time of a file, or None if it is missing."""
        return Stat(len(self.read(key)), 0) if self.exists(key) else None

    def ranges(self, key: str, spans: Sequence[tuple[int, int]]) -> builtins.list[bytes]:
        """Return the bytes of a file from each start to each end, the end excluded."""
        whole = self.read(key)
        return [whole[start:end] for start, end in spans]

    @property
    def cache(self) -> Path:
        """Folder of this machine for copies and computed columns. Any file in it may be deleted at any time."""
        chosen = os.environ.get("XDG_CACHE_HOME")
        try:
            home = Path(chosen) if chosen else Path.home() / ".cache"
        except RuntimeError:  # no home directory
            home = Path(tempfile.gettempdir())
        return home / "vpcore-lake" / digest(repr(self))[:16]

    def local_path(self, key: str) -> Path | None:
        """Return the local path of a key or prefix, or None (the default) for a remote storage."""
        return None
