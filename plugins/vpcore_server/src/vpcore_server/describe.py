"""What a published version is, as JSON: for `hello`, for the endpoints and for the page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vpcore.units import ms_to_ns
from vpcore_server.wire import PROTOCOL

if TYPE_CHECKING:
    from pathlib import Path

    from vpcore_serving.spec import ServedVersion


def described(root: Path, name: str) -> dict[str, Any]:
    """Return what `describe` says of an alias or id of a workspace, and the alias. The reader calls it.

    Raises
    ------
    RegistryError
        If the version is unknown or damaged.
    """
    from vpcore.workspace import Workspace
    from vpcore_serving.registry import registry_of
    from vpcore_serving.spec import published

    workspace = Workspace(root)
    version = published(registry_of(workspace), name)
    return describe(version, workspace.instrument(version.symbol).multiplier) | {"alias": version.alias}


def describe(version: ServedVersion, multiplier: float | None) -> dict[str, Any]:
    """Return everything that a client needs to know about a version.

    Parameters
    ----------
    version : ServedVersion
        The version.
    multiplier : float or None
        Value of one point of one contract, in the instrument's currency.
    """
    runtime, evidence = version.spec.runtime, version.evidence
    rules = version.barriers
    return {
        "protocol": PROTOCOL,
        "serving_id": version.serving_id,
        "published_utc": version.spec.published_utc,
        "description": version.spec.description,
        "signal": version.signal,
        "params": runtime.signal.params,
        "code_digest": runtime.signal.code_digest,
        "symbol": version.symbol,
        "tick_size": version.tick_size,
        "tick_int": runtime.pipeline.tick_int,
        "multiplier": multiplier,
        "timezone": runtime.pipeline.timezone,
        "bin_ns": ms_to_ns(runtime.pipeline.engine.cell_width_ms),
        "radius": runtime.pipeline.engine.grid_radius_ticks,
        "horizons_ms": list(runtime.projection.horizons_ms),
        "threshold": version.threshold,
        "cooldown_bins": runtime.cooldown_bins,
        "barriers": rules.model_dump(mode="json"),
        "verdict": evidence.verdict,
        "reasons": list(evidence.reasons),
        "weaknesses": list(evidence.weaknesses),
        "summary": evidence.summary,
        "experiment": evidence.experiment,
        "row": evidence.row,
        "warning": version.warning,
    }
