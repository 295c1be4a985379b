"""Local files: a folder of the file system as a `Storage`."""

from __future__ import annotations

import builtins
import contextlib
import errno
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from vpcore.errors import StorageError
from vpcore.storage.atomic import fsync_path, make_folder, storage_errors, sweep_dead, temporary_folder, write_atomic
from vpcore.storage.protocol import MANIFEST, TEMPORARY, Stage, Stat, Storage, check_key


class LocalStorage(Storage):
    """Files below `root` on a local file system (POSIX: Linux, macOS).

    A file becomes visible by renaming a finished temporary, a collection by renaming its folder. Files and folders are
    forced to the disk before a call returns. Temporaries of dead writers are removed when their folder is next written.

    Parameters
    ----------
    root : Path
        Created when something is first written.
    """

    def __init__(self, root: Path) -> None:
        self.root = Path(root).absolute()

    def __repr__(self) -> str:
        return f"LocalStorage({str(self.root)!r})"

    @property
    def cache(self) -> Path:
        """Uncompressed columns for workers."""
        return self.root / "cache"

    def _path(self, key: str) -> Path:
        return self.root / check_key(key)

    def local_path(self, key: str) -> Path:
        """Return where `key` is, or would be, on this machine."""
        return self._path(key)

    def read(self, key: str) -> bytes:
        """Return the bytes of a file. A missing file is a `StorageError` that names it."""
        path = self._path(key)
        with storage_errors(path, f"read '{key}'"):
            return path.read_bytes()

    def exists(self, key: str) -> bool:
        """Return True if `key` is a finished file."""
        path = self._path(key)
        with storage_errors(path, f"look for '{key}'"):
            return path.is_file()

    def stat(self, key: str) -> Stat | None:
        """Return size and time of a file, or None if it is missing."""
        path = self._path(key)
        with storage_errors(path, f"look for '{key}'"):
            found = path.stat() if path.is_file() else None
        return None if found is None else Stat(found.st_size, found.st_mtime_ns)

    def ranges(self, key: str, spans: Sequence[tuple[int, int]]) -> builtins.list[bytes]:
        """Return the bytes of a file from each start to each end, the end excluded."""
        path = self._path(key)
        with storage_errors(path, f"read '{key}'"), path.open("rb") as file:
            return [os.pread(file.fileno(), end - start, start) for start, end in spans]

    def list(self, prefix: str = "") -> builtins.list[str]:
        """Return the sorted keys of the files below `prefix`, temporaries left out."""
        base = self._path(prefix) if prefix else self.root
        found = []
        with storage_errors(base, f"list '{prefix}'"):
            for folder, folders, files in os.walk(base):
                folders[:] = [name for name in folders if not name.startswith(TEMPORARY)]
                place = Path(folder).relative_to(self.root)
                found += [(place / name).as_posix() for name in files if not name.startswith(TEMPORARY)]
        return sorted(found)

    def put_atomic(self, key: str, file: Path | bytes, *, exclusive: bool = False) -> bool:
        """Store a file or bytes under `key`; see `Storage.put_atomic`."""
        path = self._path(key)
        with storage_errors(path, f"write '{key}'"):
            return write_atomic(path, file, exclusive=exclusive)

    def delete(self, key: str) -> None:
        """Remove a file. A missing file is accepted."""
        path = self._path(key)
        with storage_errors(path, f"remove '{key}'"), contextlib.suppress(FileNotFoundError):
            path.unlink()
            fsync_path(path.parent)

    def stage(self, prefix: str) -> Stage:
        """Return a folder beside `prefix` to write its files into; see `Storage.stage`."""
        target = self._path(prefix)
        with storage_errors(target, f"prepare '{prefix}'"):
            make_folder(target.parent)
            sweep_dead(target.parent)
            path, handle = temporary_folder(target)

        def discard() -> None:
            shutil.rmtree(path, ignore_errors=True)
            os.close(handle)

        return Stage(prefix, path, discard)

    def commit(self, prefix: str, stage: Stage, manifest_last: str = MANIFEST, *, replace: bool = False) -> bool:
        """Rename the staged folder to `prefix`; see `Storage.commit`. One rename publishes all files at once."""
        target = self._path(prefix)
        with stage, storage_errors(target, f"publish '{prefix}'"):
            if not (stage.path / manifest_last).is_file():
                raise StorageError(f"'{prefix}' cannot be published: it has no {manifest_last}.")
            for folder, _, files in os.walk(stage.path, topdown=False):
                for name in files:
                    fsync_path(Path(folder) / name)
                fsync_path(Path(folder))
            if replace:
                shutil.rmtree(target, ignore_errors=True)
            try:
                os.rename(stage.path, target)
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
                    raise
                if (target / manifest_last).is_file():
                    return False
                raise StorageError(
                    f"'{prefix}' cannot be published: {target} exists already but has no {manifest_last}, so it was "
                    "not finished by vp. Move it away and run the command again."
                ) from error
            fsync_path(target.parent)
            return True
