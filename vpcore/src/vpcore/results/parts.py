"""Names of the store's parts. A name has a digest of the bytes, which is checked before a number is read from them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from vpcore.canonical import bytes_digest, is_whole
from vpcore.errors import ResultsError

_DIGITS = 16


def part_name(part: str, data: bytes) -> str:
    """Return the file name of a part with these bytes."""
    return f"part-{part}.{bytes_digest(data)[:_DIGITS]}.parquet"


def part_id(path: Path) -> str:
    """Return the id of a part. Both tables' parts of a batch have the same."""
    return path.stem.removeprefix("part-").partition(".")[0]


def is_damaged(path: Path) -> bool:
    """Return whether a part's bytes differ from the digest in its name; False for a name of earlier releases.

    Raises
    ------
    OSError
        If the file cannot be read.
    """
    expected = path.stem.partition(".")[2]
    return bool(expected) and not is_whole(path, expected, _DIGITS)


def require_whole(parts: Iterable[Path]) -> None:
    """Refuse damaged parts. Each is read once per process and state of its file.

    Raises
    ------
    ResultsError
        With every damaged part.
    FileNotFoundError
        If a part is gone: another process has merged it.
    """
    damaged = [path for path in parts if is_damaged(path)]
    if damaged:
        raise ResultsError(
            f"{len(damaged)} file{'s' if len(damaged) > 1 else ''} of the results changed since they were written",
            where=", ".join(str(path) for path in damaged[:5]),
            fix="Restore them from a backup, or move them away and run their experiments again. See: vp doctor",
        )
