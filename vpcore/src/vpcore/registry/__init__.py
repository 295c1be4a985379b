"""Published serving versions: their bytes and digests, the aliases that name them, and who moved those and why."""

from __future__ import annotations

from vpcore.registry.entries import AuditEntry, Publication, VersionInfo
from vpcore.registry.registry import ServingRegistry
from vpcore.registry.version import PublishedVersion, read_export, serving_id_of

__all__ = [
    "AuditEntry",
    "Publication",
    "PublishedVersion",
    "ServingRegistry",
    "VersionInfo",
    "read_export",
    "serving_id_of",
]
