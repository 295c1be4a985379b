"""The base class of storages. `vpcore.testing.storage_checks` checks an implementation.

A *key* is a path inside the storage, written with ``/``, relative, without ``.`` or ``..``; a *prefix* is the key of a
folder. A reader never sees half a file (`put_atomic`) nor half a collection (`commit`): a collection such as a dataset
exists when its manifest does, and the manifest appears last.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

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
    """A local folder in which the files of one collection are written before `Storage.commit` publishes them.

    Leaving it as a context manager discards what has not been committed.

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


class Storage(ABC):
    """A place for finished files. Every failure of the medium is a `StorageError`.

    The root of a workspace's storage is the only argument without a default; options are keyword arguments
    (`storage.options` of ``configs/workspace.yaml``).
    """

    @abstractmethod
    def read(self, key: str) -> bytes:
        """Return the bytes of a file. A missing file is a `StorageError` that names the key."""

    @abstractmethod
    def exists(self, key: str) -> bool:
        """Return whether a finished file is stored under `key`."""

    @abstractmethod
    def list(self, prefix: str = "") -> list[str]:
        """Return the sorted keys of every finished file below `prefix`; none for a prefix that does not exist."""

    @abstractmethod
    def put_atomic(self, key: str, file: Path | bytes, *, exclusive: bool = False) -> bool:
        """Store a file (left where it is) or bytes under `key`, durably; readers see all of it or none.

        Returns
        -------
        bool
            True if this call stored it. False only with `exclusive`, if the key existed: then nothing is changed, and
            of several writers at once exactly one is told True.
        """

    @abstractmethod
    def delete(self, key: str) -> None:
        """Remove a file. A missing one is not an error: somebody else removed it first."""

    @abstractmethod
    def stage(self, prefix: str) -> Stage:
        """Return a local folder to write a collection into, invisible to readers.

        Folders left by writers that died are removed; those of living ones are not touched.
        """

    @abstractmethod
    def commit(self, prefix: str, stage: Stage, manifest_last: str = MANIFEST) -> bool:
        """Publish a staged folder as `prefix`, durably and at once; its manifest appears no earlier than the rest.

        Returns
        -------
        bool
            True if this call published it. False if the collection existed already: it is left as it is. The staged
            folder is gone in both cases.
        """

    def local_path(self, key: str) -> Path | None:
        """Return the path of a key or prefix on this machine, or None, the default, if there is none."""
        return None
