"""Published serving versions: their bytes and digests, the aliases that name them, and who moved those and why."""

from __future__ import annotations

from vpcore_serving.registry.entries import (
    AuditEntry as AuditEntry,
    Publication as Publication,
    VersionInfo as VersionInfo,
)
from vpcore_serving.registry.registry import ServingRegistry as ServingRegistry, registry_of as registry_of
from vpcore_serving.registry.version import (
    PublishedVersion as PublishedVersion,
    read_export as read_export,
    serving_id_of as serving_id_of,
)
