"""A fitted model as files: what it is, what it belongs to, and digests. Reading one executes nothing.

``model.json`` holds names, labels, library versions and the sha256 of every other file, and its own digest; the others
are plain arrays (``.npz`` without pickle) or LightGBM's text.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from vpcore import SignalError, TradeRules

HEAD = "model.json"
FORMAT = 1
MAX_BYTES = 256 << 20
"""A model file larger than this is refused unread."""


def label_block(rules: TradeRules, tick_int: int) -> dict[str, Any]:
    """Return the part of the rules that decides labels, with the tick: a model belongs to it."""
    names = ("tp_ticks", "sl_ticks", "max_hold_bins", "latency_bins", "price")
    return {**{name: getattr(rules, name) for name in names}, "tick_int": tick_int}


def describe(
    name: str,
    version: int,
    features: tuple[str, ...],
    params: Mapping[str, Any],
    labels: Mapping[str, Any],
    library: str,
    retrains: Sequence[Any],
) -> dict[str, Any]:
    """Return what a model belongs to. The time that its fit took is not among it: the same fit gives the same bytes."""
    packages = ("vpcore", "vpcore-signals-ml", "numpy", "numba", *((library,) if library else ()))
    last = retrains[-1] if retrains else None
    return {
        "format": FORMAT,
        "signal": name,
        "version": version,
        "features": list(features),
        "params": dict(params),
        "labels": dict(labels),
        "libraries": {package: importlib.metadata.version(package) for package in packages},
        "fit": {"bin_seq": last.bin_seq, "n_train": last.n_train, "n_valid": last.n_valid} if last else None,
    }


def write_artifact(folder: Path, facts: Mapping[str, Any], files: Mapping[str, bytes]) -> None:
    """Write a model into an existing folder."""
    for name, data in files.items():
        (folder / name).write_bytes(data)
    content = {**facts, "files": {name: hashlib.sha256(data).hexdigest() for name, data in sorted(files.items())}}
    content["digest"] = _digest(content)
    (folder / HEAD).write_text(json.dumps(content, indent=1, sort_keys=True) + "\n")


def read_artifact(
    folder: Path, name: str, version: int, features: tuple[str, ...], labels: Mapping[str, Any]
) -> dict[str, bytes]:
    """Return the files of a model, after checking that it is unchanged and belongs to a signal.

    Raises
    ------
    SignalError
        If it is not there, was changed, or is of another signal, version, feature list or labels.
    """
    where = folder / HEAD
    try:
        content = json.loads(_read(where))
        wanted: dict[str, str] = dict(content["files"])
        digest = content.pop("digest")
        facts = {key: content[key] for key in ("format", "signal", "version", "features", "labels")}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise SignalError(f"{where} is no model of signal '{name}': {error}.") from None
    if _digest(content) != digest:
        raise SignalError(f"{where} was changed after it was saved: its digest does not match. Restore it from a copy.")
    expected = {"format": FORMAT, "signal": name, "version": version, "labels": dict(labels)}
    for key, value in expected.items():
        if facts[key] != value:
            raise SignalError(f"{where} is no model for signal '{name}': its {key} is {facts[key]!r}, not {value!r}.")
    if facts["features"] != list(features):
        raise SignalError(
            f"{where} has other features than signal '{name}': {_difference(facts['features'], features)}"
        )
    files = {}
    for file, sha in sorted(wanted.items()):
        if Path(file).name != file:
            raise SignalError(f"{where} names a file outside its folder: {file!r}.")
        try:
            files[file] = _read(folder / file)
        except (OSError, ValueError) as error:
            raise SignalError(f"{folder / file} cannot be read: {error}.") from None
        if hashlib.sha256(files[file]).hexdigest() != sha:
            raise SignalError(f"{folder / file} was changed after it was saved: its sha256 does not match {where}.")
    return files


def _read(path: Path) -> bytes:
    if path.stat().st_size > MAX_BYTES:
        raise ValueError(f"it is larger than {MAX_BYTES} bytes")
    return path.read_bytes()


def _digest(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _difference(found: Any, features: tuple[str, ...]) -> str:
    if not isinstance(found, list) or len(found) != len(features):
        return f"{len(features)} are required, {len(found) if isinstance(found, list) else 'no list'} was found."
    at = next(i for i, (a, b) in enumerate(zip(found, features, strict=True)) if a != b)
    return f"number {at + 1} is {found[at]!r}, not {features[at]!r}."


def arrays_to_bytes(arrays: Mapping[str, npt.NDArray[Any]]) -> bytes:
    """Return arrays as the bytes of an ``.npz`` file; the same arrays give the same bytes."""
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **dict(arrays))
    return buffer.getvalue()


def arrays_of(
    data: bytes, shapes: Mapping[str, tuple[int | None, ...]], where: str
) -> dict[str, npt.NDArray[np.float64]]:
    """Return the float64 arrays in the bytes of an ``.npz`` file; None in a shape stands for any length.

    Raises
    ------
    SignalError
        If one is missing, of another type or shape, or not finite.
    """
    arrays: dict[str, npt.NDArray[np.float64]] = {}
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as saved:
            for name in shapes:
                arrays[name] = saved[name]
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise SignalError(f"{where} holds no model: {error}.") from None
    for name, shape in shapes.items():
        found = arrays[name]
        fits = len(found.shape) == len(shape) and all(
            size in (None, length) for size, length in zip(shape, found.shape, strict=True)
        )
        if not fits or found.dtype != np.float64 or not np.isfinite(found).all():
            raise SignalError(
                f"{where} holds no model: '{name}' must be finite float64 of shape {shape}, was {found.dtype} of shape "
                f"{found.shape}."
            )
        arrays[name] = np.ascontiguousarray(found)
    return arrays
