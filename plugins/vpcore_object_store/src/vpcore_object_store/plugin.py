"""Components of this package. Nothing is imported before it is used."""

from __future__ import annotations

from vpcore import Component, hookimpl


@hookimpl
def vp_storages() -> tuple[Component, ...]:
    return (
        Component(
            "object", "vpcore_object_store.storage:ObjectStorage", "S3, Google Cloud Storage, Azure, or memory, by URL."
        ),
    )
