"""Fitted models as text with digests, for a published version. Packing and unpacking copy bytes and execute none."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import zlib
from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from vpcore.errors import SignalError

MAX_FILE_BYTES = 256 << 20
"""Largest size of an unpacked model file."""


class PackedModel(BaseModel):
    """The files of a fitted model as text, with a digest over names and bytes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sha256: str
    files: dict[str, str] = Field(description="Name and content, compressed, in base64")


def pack_model(folder: Path) -> PackedModel:
    """Return the files of a stored model as text."""
    contents = {path.name: path.read_bytes() for path in sorted(folder.iterdir())}
    files = {name: base64.b64encode(zlib.compress(data, 9)).decode() for name, data in contents.items()}
    return PackedModel(sha256=_digest(contents), files=files)


def unpack_model(packed: PackedModel, folder: Path) -> None:
    """Write the files of a packed model into an empty folder, after checking its digest.

    Raises
    ------
    SignalError
        If the model is damaged, changed, or names a file outside the folder.
    """
    contents: dict[str, bytes] = {}
    try:
        for name, text in packed.files.items():
            if Path(name).name != name or name in ("", ".", ".."):
                raise SignalError(f"The published model names a file outside its folder: {name!r}.")
            inflate = zlib.decompressobj()
            contents[name] = inflate.decompress(base64.b64decode(text, validate=True), MAX_FILE_BYTES)
            if not inflate.eof:
                raise ValueError(f"'{name}' is cut off, or larger than {MAX_FILE_BYTES} bytes")
    except (ValueError, binascii.Error, zlib.error) as error:
        raise SignalError(f"The published model cannot be read ({error}). Restore it from a copy.") from error
    if _digest(contents) != packed.sha256:
        raise SignalError(
            f"The published model was changed: its sha256 was {packed.sha256} and is {_digest(contents)} now. "
            "Restore it from a copy, or promote again."
        )
    for name, data in contents.items():
        (folder / name).write_bytes(data)


def _digest(contents: Mapping[str, bytes]) -> str:
    names = {name: hashlib.sha256(data).hexdigest() for name, data in sorted(contents.items())}
    return hashlib.sha256(json.dumps(names, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
