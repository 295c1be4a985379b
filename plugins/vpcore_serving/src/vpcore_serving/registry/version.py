"""A published version as bytes: its id, its digest, and its export file for other hosts.

The bytes are a YAML mapping with the key ``runtime``. The id is a digest of this part alone, as canonical JSON.
`vpcore_serving.spec` gives types to the rest of the content.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from vpcore.canonical import bytes_digest, digest
from vpcore.errors import RegistryError

_ID_DIGITS = 12
_EXPORT = "vp_serving_export"
_EXPORT_VERSION = 1

MOST_BYTES = 200 << 20
"""Largest export: a version carries its fitted model."""


def serving_id_of(name: str, runtime: Mapping[str, Any]) -> str:
    """Return ``{name}__{hash12}``: the id of a version called `name` with this runtime part."""
    return f"{name}__{digest(runtime)[:_ID_DIGITS]}"


@dataclass(frozen=True)
class PublishedVersion:
    """A published version.

    Attributes
    ----------
    serving_id : str
    data : bytes
        The YAML file as it was published.
    digest : str
        sha256 of `data`, 64 hex digits.
    """

    serving_id: str
    data: bytes
    digest: str

    @classmethod
    def from_bytes(cls, serving_id: str, data: bytes, where: str) -> PublishedVersion:
        """Return the version in `data` after a check of its id against its runtime part.

        Raises
        ------
        RegistryError
            If the bytes are another kind of file, or were changed. `where` names them in the message.
        """
        version = cls(serving_id, data, bytes_digest(data))
        try:
            found = digest(version.document["runtime"])[:_ID_DIGITS]
        except (yaml.YAMLError, UnicodeDecodeError, KeyError, TypeError, ValueError, RecursionError) as error:
            raise RegistryError(
                f"{where} is not a published serving version: {' '.join(str(error).split())[:120]}",
                fix="Restore it from a copy, or promote again.",
            ) from error
        if serving_id.rpartition("__")[2] != found:
            raise RegistryError(
                f"{where} is not the version '{serving_id}': the digest of its runtime part",
                required=serving_id.rpartition("__")[2],
                was=found,
                fix="It was changed since its publication. Restore it from a copy, or promote again.",
            )
        return version

    @cached_property
    def document(self) -> dict[str, Any]:
        """The parsed, untyped content."""
        value = yaml.load(self.data, Loader=_PlainLoader)
        if not isinstance(value, dict):
            raise TypeError(f"it holds a {type(value).__name__}, not a mapping")
        return value

    def export(self) -> bytes:
        """Return the version as one file that carries its id and digest, for another host. See `read_export`."""
        content = {
            _EXPORT: _EXPORT_VERSION,
            "serving_id": self.serving_id,
            "sha256": self.digest,
            "yaml": self.data.decode(),
        }
        return (json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False) + "\n").encode()


class _PlainLoader(yaml.SafeLoader):
    """Refuses aliases, which no version has: a few lines of them can stand for millions of values."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("it has an alias")
        return super().compose_node(parent, index)


def read_export(path: Path) -> PublishedVersion:
    """Return the version in an exported file, its digest checked.

    Raises
    ------
    RegistryError
        If the file is unreadable, is no export, or was changed.
    """
    try:
        if Path(path).stat().st_size > MOST_BYTES:
            raise ValueError("it is too large")
        content = json.loads(Path(path).read_bytes())
        version, serving_id, sha, text = (content[key] for key in (_EXPORT, "serving_id", "sha256", "yaml"))
    except OSError as error:
        raise RegistryError(f"The export cannot be read: {error.strerror}", where=str(path)) from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise RegistryError(
            "The file is not an exported serving version", where=str(path), fix="Make one: vp serving export ID"
        ) from error
    if version != _EXPORT_VERSION:
        raise RegistryError(
            "The version of the export",
            required=str(_EXPORT_VERSION),
            was=str(version),
            where=str(path),
            fix="Export it again with this release.",
        )
    data = str(text).encode()
    if bytes_digest(data) != sha:
        raise RegistryError(
            "The export was changed on the way: its sha256",
            required=str(sha),
            was=bytes_digest(data),
            where=str(path),
            fix="Copy it again.",
        )
    return PublishedVersion.from_bytes(str(serving_id), data, str(path))
