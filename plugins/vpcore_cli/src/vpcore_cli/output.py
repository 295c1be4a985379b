"""Files that a user names, outside the lake."""

from __future__ import annotations

from pathlib import Path

from vpcore.storage.atomic import write_atomic


def write_output(target: Path, data: bytes, *, exclusive: bool = False) -> bool:
    """Write a file that a user named, outside the lake.

    A file is replaced atomically. A link stays, and its file is replaced. A device or a pipe stays, and gets the bytes.

    Parameters
    ----------
    target : Path
        Its folder is created.
    data : bytes
        The content.
    exclusive : bool
        Leave an existing file as it is and return False.

    Raises
    ------
    OSError
        As the file system reports it. Callers wrap it with `storage_errors`.
    """
    if target.exists() and not target.is_file():
        with target.open("wb") as device:  # a folder is refused here
            device.write(data)
        return True
    return write_atomic(target.resolve(), data, exclusive=exclusive, durable=False)
