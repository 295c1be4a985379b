"""Canonical JSON and digests, the base of every id in vpcore.

Equal values give equal bytes: keys are sorted, white space is dropped, text is UTF-8, tuples are lists, an integral
float is written as an integer (``2.0`` is ``2``) and ``-0.0`` is ``0``.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_EXACT = 2**53
_SEAL = "sha256"
_DIGEST = re.compile("[0-9a-f]{64}")


def _normal(value: Any, where: str) -> Any:
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"{where} was {value}: canonical JSON holds finite numbers only.")
        if value == int(value) and abs(value) <= _EXACT:
            return int(value)
        return float(value)
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise TypeError(f"{where} has the key {key!r}: keys of canonical JSON are text.")
        return {key: _normal(value[key], f"{where}.{key}") for key in sorted(value)}
    if isinstance(value, (list, tuple)):
        return [_normal(item, f"{where}[{i}]") for i, item in enumerate(value)]
    item = getattr(value, "item", None)  # a numpy scalar, without importing numpy
    if callable(item) and getattr(value, "ndim", None) == 0:
        return _normal(item(), where)
    raise TypeError(f"{where} is a {type(value).__name__}, which canonical JSON cannot hold.")


def canonical_json(value: Any) -> bytes:
    """Return the canonical UTF-8 JSON of a value made of mappings, sequences, text, numbers, booleans and None.

    Raises
    ------
    TypeError
        If a key is other than text, or a value lacks a JSON form.
    ValueError
        If a number is infinite or NaN.
    """
    normal = _normal(value, "value")
    return json.dumps(normal, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def digest(value: Any) -> str:
    """Return the sha256, as 64 hex digits, of the canonical JSON of `value`."""
    return hashlib.sha256(canonical_json(value)).hexdigest()


def bytes_digest(data: bytes) -> str:
    """Return the sha256 of `data` as 64 hex digits."""
    return hashlib.sha256(data).hexdigest()


_whole: set[tuple[str, int, int, int, str]] = set()
"""Files whose bytes were found whole in this process: path, size, time of change, inode, digest."""


def is_whole(path: Path, expected: str, digits: int = 64) -> bool:
    """Return True if the first `digits` of a file's digest are the expected ones.

    One pass over the file per process and state of the file.

    Raises
    ------
    OSError
        If the file cannot be read.
    """
    state = path.stat()
    key = (str(path), state.st_size, state.st_mtime_ns, state.st_ino, expected)
    if key not in _whole:
        if file_digest(path)[:digits] != expected:
            return False
        _whole.add(key)
    return True


def file_digest(path: Path) -> str:
    """Return the sha256 of a file's bytes as 64 hex digits. One pass, constant memory."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def sealed(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return `content` with its digest under ``sha256``, for a file whose every change must be noticed."""
    return {**content, _SEAL: digest(content)}


def unsealed(data: bytes) -> dict[str, Any] | None:
    """Return the content of a JSON file that `sealed` made; None if it was changed.

    A file of an earlier release has no digest, and is taken as it is.
    """
    try:
        found = json.loads(data)
        if not isinstance(found, dict):
            return None
        if not any(isinstance(value, str) and _DIGEST.fullmatch(value) for value in found.values()):
            return None if _SEAL in found else found
        return found if found.pop(_SEAL, None) == digest(found) else None
    except (ValueError, TypeError, RecursionError):
        return None
