"""`Folder`: a folder of a storage, written through the storage and read as files of this machine."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from vpcore.errors import StorageError
from vpcore.storage.atomic import storage_errors, write_atomic
from vpcore.storage.local import LocalStorage
from vpcore.storage.protocol import Storage

COPIES = "files"
"""Folder of the copies, in the cache."""

_LARGE = ("*.npy", "grid_*.parquet", "*.dbn", "*.dbn.zst")
_AT_ONCE = 16
_PIECE_BYTES = 1 << 26


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder of a storage.

    Local files are read and written where they lie. Of another storage `here` keeps copies below `Storage.cache`: a
    file's name stands for its content, so each file is copied once.

    Attributes
    ----------
    storage : Storage
    key : str
        Of the folder.
    """

    storage: Storage
    key: str

    @classmethod
    def of(cls, place: Path | str | Folder) -> Folder:
        """Return a folder of the local file system, or the given folder."""
        if isinstance(place, Folder):
            return place
        path = Path(place).absolute()
        return cls(LocalStorage(path.parent), path.name)

    def __str__(self) -> str:
        local = self.storage.local_path(self.key)
        return f"{self.storage!r}/{self.key}" if local is None else str(local)

    def __truediv__(self, name: str) -> Folder:
        return Folder(self.storage, self._key(name))

    def _key(self, name: str) -> str:
        return "/".join(part for part in (self.key, name) if part)

    @property
    def is_local(self) -> bool:
        """True if the folder's files are files of this machine."""
        return self.storage.local_path(self.key) is not None

    @property
    def path(self) -> Path:
        """The folder on this machine: itself, or that of the copies. See `here`."""
        return self.storage.local_path(self.key) or self.storage.cache / COPIES / self.key

    def here(self, *, anew: bool = False) -> Path:
        """Return `path` with exactly the files that the folder has now; missing if it has none.

        Parameters
        ----------
        anew : bool
            Copy every file again: for files that writers replace.

        Raises
        ------
        StorageError
            If the storage fails.
        """
        if self.is_local:
            return self.path
        copies = LocalStorage(self.storage.cache / COPIES)
        if anew:
            shutil.rmtree(self.path, ignore_errors=True)
        there, copied = set(self.storage.list(self.key)), set(copies.list(self.key))
        for key in copied - there:
            copies.delete(key)
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            for _ in pool.map(lambda key: self._copy(copies, key), sorted(there - copied)):
                pass
        return self.path

    def _copy(self, copies: LocalStorage, key: str) -> None:
        data, target = self.storage.read(key), copies.local_path(key)
        with storage_errors(target, f"copy '{key}' to this machine"):
            write_atomic(target, data, durable=False)

    def files(self, pattern: str) -> list[Path]:
        """Return the present files of the folder whose names match, as files of this machine, sorted."""
        return sorted(self.here().glob(pattern))

    def fetch(self, name: str) -> Path:
        """Return a file as a file of this machine, copied in pieces unless the copy has the size and time of the file.

        Raises
        ------
        StorageError
            If the file is missing, or copying fails.
        """
        target = self.path / name
        if self.is_local:
            return target
        key = self._key(name)
        stat = self.storage.stat(key)
        if stat is None:
            raise StorageError(f"There is no '{key}' in {self.storage!r}.")
        starts = range(0, stat.size, _PIECE_BYTES)
        pieces = (self.storage.ranges(key, [(at, min(at + _PIECE_BYTES, stat.size))])[0] for at in starts)
        with storage_errors(target, f"copy '{key}' to this machine"):
            if not target.is_file() or (target.stat().st_size, target.stat().st_mtime_ns) != stat:
                write_atomic(target, pieces, durable=False)
            os.utime(target, ns=(time.time_ns(), stat.changed_ns))
        return target

    def get(self, name: str) -> bytes | None:
        """Return the present bytes of a file, or None if it is missing."""
        if self.is_local:
            try:
                return (self.path / name).read_bytes()
            except (FileNotFoundError, NotADirectoryError):
                return None
        key = self._key(name)
        return self.storage.read(key) if self.storage.exists(key) else None

    def put(
        self,
        name: str,
        data: bytes,
        doing: str,
        *,
        exclusive: bool = False,
        durable: bool = True,
        aside: Folder | None = None,
    ) -> bool:
        """Write a file atomically; return False if `exclusive` and it exists, which then stays unchanged.

        Parameters
        ----------
        name : str
            Of the file, below this folder; empty for the folder's own key.
        data : bytes
            Its content.
        doing : str
            What is done, for the message of a failure: "store the note".
        exclusive : bool
            Leave an existing file as it is.
        durable : bool
            Wait for the disk, where the storage is one.
        aside : Folder, optional
            For the temporary of a local file; by default the file's own.

        Raises
        ------
        StorageError
            If writing fails.
        """
        if not self.is_local:
            return self.storage.put_atomic(self._key(name), data, exclusive=exclusive)
        target = self.path / name
        with storage_errors(target, doing):
            place = None if aside is None else aside.path
            return write_atomic(target, data, exclusive=exclusive, durable=durable, aside=place)

    def remove(self, name: str) -> None:
        """Remove a file; a missing file is accepted."""
        if self.is_local:
            (self.path / name).unlink(missing_ok=True)
        else:
            self.storage.delete(self._key(name))


def touch(path: Path) -> None:
    """Note that a copy is in use."""
    with contextlib.suppress(OSError):
        os.utime(path, ns=(time.time_ns(), path.stat().st_mtime_ns))


def trim(storage: Storage, keep: Path) -> None:
    """Drop the copies of columns and large files that were unused for longest, down to `Storage.cache_bytes`.

    A file that is open or mapped stays readable. `keep` stays.
    """
    if storage.cache_bytes is None:
        return
    found = []
    for path in (path for kind in _LARGE for path in storage.cache.rglob(kind)):
        with contextlib.suppress(OSError):
            about = path.stat()
            found.append((about.st_atime_ns, about.st_size, path))
    total = sum(size for _, size, _ in found)
    for _, size, path in sorted(found):
        if total <= storage.cache_bytes:
            return
        if path != keep:
            path.unlink(missing_ok=True)
            total -= size
