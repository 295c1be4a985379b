"""Settings of a whole workspace: its storage, and the default executor and tracker of experiments."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from vpcore.config.fields import Spec

WORKSPACE_FILE = "workspace.yaml"
"""Name of the file below ``configs/``. A workspace without the file has the defaults."""


class StorageSpec(Spec):
    """Where the lake is kept."""

    backend: str = Field("local", description="Name of a storage, see `vp plugins`")
    options: dict[str, Any] = Field(default_factory=dict, description="Options of the storage")


class ExecutorSpec(Spec):
    """Default executor of experiments."""

    name: str = Field("local", description="Name of an executor, see `vp plugins`")
    max_workers: int | None = Field(None, ge=1, le=4096, description="Processes; default: one per core")
    options: dict[str, Any] = Field(default_factory=dict, description="Options of the executor")


class TrackerSpec(Spec):
    """Default tracker of experiments."""

    backend: str = Field("none", description="Name of a tracker, see `vp plugins`")


class PromotionSpec(Spec):
    """What a row needs to be published."""

    require: Literal["nothing", "proven"] = Field(
        "nothing", description="proven: `vp promote` refuses a row without a confirmation, unless --force --why"
    )


class WorkspaceSpec(Spec):
    """The defaults of a workspace; an experiment overrides executor and tracker."""

    storage: StorageSpec = Field(StorageSpec(), description="Where the lake is kept")
    executor: ExecutorSpec = Field(ExecutorSpec(), description="Who does the work of experiments that name no executor")
    tracker: TrackerSpec = Field(
        TrackerSpec(), description="Where runs of experiments that name no tracker are reported"
    )
    promotion: PromotionSpec = Field(PromotionSpec(), description="What a row needs to be published")
