"""Durable, atomic writes to a local file system, and temporary files whose writer may die.

A temporary file or folder stands beside its target, is named ``.tmp-<name>-<random>`` and is held with ``flock`` for as
long as its writer lives. The kernel drops the lock with the process, so a free lock means a dead writer. This needs
neither process ids, which are reused, nor time limits, and parallel writers leave each other alone.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import secrets
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

from vpcore.errors import StorageError
from vpcore.storage.protocol import TEMPORARY

_FULL = (errno.ENOSPC, errno.EDQUOT)
_DENIED = (errno.EACCES, errno.EPERM, errno.EROFS)
_BUSY = (errno.EAGAIN, errno.EACCES)
_COPY_BYTES = 1 << 20

Content = Path | bytes | Iterable[bytes | memoryview]


def free_bytes(path: Path) -> int | None:
    """Return the bytes free for an ordinary user on the file system of `path`, or None if unknown."""
    for place in (path, *path.parents):
        with contextlib.suppress(OSError):
            return shutil.disk_usage(place).free
    return None


def _size_text(size: int | None) -> str:
    return "unknown" if size is None else f"{size / 1e6:,.1f} MB"


@contextlib.contextmanager
def storage_errors(path: Path, doing: str) -> Iterator[None]:
    """Turn an `OSError` of the body into a `StorageError` with action, place and remedy."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            text = (
                f"The disk is full: could not {doing} ({path}). Free there: {_size_text(free_bytes(path))}. Make room "
                "and run the command again; nothing half-written is left in the lake."
            )
        elif error.errno in _DENIED:
            text = (
                f"No permission: could not {doing} ({path}): {os.strerror(error.errno or 0)}. Free there: "
                f"{_size_text(free_bytes(path))}. Give this user the right to write there, or choose another workspace."
            )
        elif error.errno == errno.ENOENT:
            text = f"Could not {doing}: {path} does not exist."
        else:
            reason = os.strerror(error.errno) if error.errno else str(error)
            text = f"Could not {doing} ({path}): {reason}. Free there: {_size_text(free_bytes(path))}."
        raise StorageError(text) from error


def fsync_path(path: Path) -> None:
    """Force a file's bytes, or a folder's entries, to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def make_folder(path: Path) -> None:
    """Create a folder and its missing parents, each entry on the disk before the next is made."""
    missing = []
    place = path
    while not place.is_dir():
        missing.append(place)
        place = place.parent
    for folder in reversed(missing):
        folder.mkdir(exist_ok=True)
        fsync_path(folder.parent)


def _held(path: Path, handle: int) -> bool:
    """Lock an open temporary; True if the lock is ours and `path` still names this file (a sweeper may have been
    faster).
    """
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _BUSY:
            return False
        # A file system without locks: nothing is ever swept there either, see sweep_dead.
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return False
    mine = os.fstat(handle)
    return (found.st_dev, found.st_ino) == (mine.st_dev, mine.st_ino)


def _temporary_name(target: Path) -> Path:
    return target.parent / f"{TEMPORARY}{target.name[:100]}-{secrets.token_hex(8)}"


def temporary_file(target: Path) -> tuple[Path, int]:
    """Create a held temporary file beside `target`. Returns its path and a descriptor open for writing."""
    while True:
        path = _temporary_name(target)
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        if _held(path, handle):
            return path, handle
        os.close(handle)


def temporary_folder(target: Path) -> tuple[Path, int]:
    """Create a held temporary folder beside `target`. Returns its path and the descriptor that holds it."""
    while True:
        path = _temporary_name(target)
        path.mkdir()
        try:
            handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:  # swept between the two calls
            continue
        if _held(path, handle):
            return path, handle
        os.close(handle)


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def sweep_dead(folder: Path) -> list[Path]:
    """Remove the temporaries of dead writers in `folder`, and return them. Others stay."""
    removed: list[Path] = []
    try:
        entries = sorted(entry for entry in folder.iterdir() if entry.name.startswith(TEMPORARY))
    except OSError:
        return removed
    for path in entries:
        try:
            handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError:
            continue
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _remove(path)
            removed.append(path)
        except OSError:
            continue  # held by a living writer, or a file system without locks
        finally:
            os.close(handle)
    return removed


def _fill(handle: int, data: Content) -> None:
    if not isinstance(data, Path):
        for piece in (data,) if isinstance(data, bytes) else data:
            view = memoryview(piece)
            while view:
                view = view[os.write(handle, view) :]
        return
    with data.open("rb") as reader, os.fdopen(os.dup(handle), "wb") as writer:
        shutil.copyfileobj(reader, writer, _COPY_BYTES)


def write_atomic(
    target: Path, data: Content, *, exclusive: bool = False, durable: bool = True, aside: Path | None = None
) -> bool:
    """Write a file atomically. A crash leaves at most a dead temporary.

    Parameters
    ----------
    target : Path
        Replaced if it exists, unless `exclusive`. Its folder is created. Dead temporaries beside it are removed.
    data : bytes, iterable of bytes or Path
        The content, in one piece or several, or a file to copy it from.
    exclusive : bool
        Leave an existing target as it is and return False; of several writers at once exactly one gets True.
    durable : bool
        Wait until file and folder are on the disk. False for files that can be made again.
    aside : Path, optional
        Folder of the temporary, on the same file system; by default the target's.

    Raises
    ------
    OSError
        As the file system reports it, the temporary removed. Callers wrap it with `storage_errors`.
    """
    beside = target if aside is None else aside / target.name
    for folder in {beside.parent, target.parent}:
        make_folder(folder)
    sweep_dead(beside.parent)
    path, handle = temporary_file(beside)
    try:
        _fill(handle, data)
        if durable:
            os.fsync(handle)
        if exclusive:
            try:
                os.link(path, target)
            except FileExistsError:
                return False
        else:
            os.replace(path, target)
        if durable:
            fsync_path(target.parent)
        return True
    finally:
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
        os.close(handle)
