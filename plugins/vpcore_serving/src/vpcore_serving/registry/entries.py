"""Answers of the registry: a publication, a version in a listing, a line of the audit."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Publication:
    """Result of `ServingRegistry.publish`.

    Attributes
    ----------
    serving_id, alias : str
    created : bool
        False if the version was published before: then only the alias moved.
    adopted : bool
        True if an interrupted promotion had left the file.
    previous : str or None
        Previous version of the alias.
    path : Path
        The version's file.
    """

    serving_id: str
    alias: str
    created: bool
    adopted: bool
    previous: str | None
    path: Path

    @property
    def moved(self) -> bool:
        """True if the alias moved to this version."""
        return self.previous != self.serving_id


@dataclass(frozen=True, slots=True)
class VersionInfo:
    """A published version in a listing."""

    serving_id: str
    aliases: tuple[str, ...]
    created_utc: str
    created_by: str
    digest: str


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One move of an alias: who, when, from, to, why, and the evidence at that time, as JSON holds it."""

    entry: int
    at_utc: str
    who: str
    action: str
    alias: str
    from_id: str | None
    to_id: str
    forced: bool
    why: str
    evidence: dict[str, Any]
