"""Disk space of an experiment's datasets: of those on disk, and an estimate of the missing ones."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from vpcore.config import ResolvedPipeline
from vpcore.dataset.manifest import DATASETS_PREFIX
from vpcore.errors import VpError
from vpcore.schema import BIN_COLUMNS

if TYPE_CHECKING:
    from vpcore.workspace import Workspace

_VALUE_BYTES = 4
_BIN_BYTES = 6 * len(BIN_COLUMNS)
_MEASURED = 8


@dataclass(frozen=True, slots=True)
class DiskSpace:
    """Datasets of an experiment and their disk space, in bytes.

    Attributes
    ----------
    n_there, n_missing : int
        Datasets on disk and still to be generated.
    bytes_there : int
    bytes_missing : int
        Estimate: the uncompressed size, times `compression`.
    compression : float
        Size on disk over uncompressed size, of datasets of this lake; 1 for an empty lake.
    bytes_free : int or None
        Of the disk of the lake; None for a lake on another machine.
    """

    n_there: int
    n_missing: int
    bytes_there: int
    bytes_missing: int
    compression: float
    bytes_free: int | None

    def plain(self) -> dict[str, Any]:
        """Return it as JSON holds it."""
        return asdict(self)

    def words(self) -> str:
        """Return it as a sentence."""
        there = f"{self.n_there} of {self.n_there + self.n_missing} datasets are generated, {_size(self.bytes_there)}"
        if not self.n_missing:
            return f"{there}."
        about = "about" if self.compression < 1.0 else "at most"
        free = f" of {_size(self.bytes_free)} free" if self.bytes_free is not None else ""
        return f"{there}; the others take {about} {_size(self.bytes_missing)}{free}."


def disk_space(workspace: Workspace, sessions: Sequence[ResolvedPipeline]) -> DiskSpace:
    """Return the disk space of the datasets of some sessions. Reads manifests only."""
    there = [name for session in sessions if workspace.datasets.exists(name := session.dataset_id())]
    sizes = {name: workspace.datasets.info(name).size_bytes for name in there}
    missing = [session for session in sessions if session.dataset_id() not in sizes]
    compression = _compression(workspace, there) if missing else 1.0
    here = workspace.storage.local_path(DATASETS_PREFIX) is not None
    raw = sum(
        _uncompressed(session.n_bins, session.params.n_cells, len(session.params.grid_columns)) for session in missing
    )
    return DiskSpace(
        n_there=len(there),
        n_missing=len(missing),
        bytes_there=sum(sizes.values()),
        bytes_missing=round(raw * compression),
        compression=round(compression, 4),
        bytes_free=shutil.disk_usage(workspace.lake).free if here else None,
    )


def _compression(workspace: Workspace, first: Sequence[str]) -> float:
    on_disk = raw = 0
    for name in [*first, *(name for name in workspace.datasets.ids() if name not in first)][:_MEASURED]:
        with suppress(VpError, KeyError):
            shape: Mapping[str, Any] = workspace.datasets.manifest(name)["shape"]
            on_disk += workspace.datasets.info(name).size_bytes
            raw += _uncompressed(shape["n_bins"], shape["n_cells"], len(shape["grid_columns"]))
    return min(1.0, on_disk / raw) if raw else 1.0


def _uncompressed(n_bins: int, n_cells: int, n_columns: int) -> int:
    return n_bins * (_BIN_BYTES + n_cells * n_columns * _VALUE_BYTES)


def _size(n_bytes: int) -> str:
    return f"{n_bytes / 1e9:,.2f} GB" if n_bytes >= 1e8 else f"{n_bytes / 1e6:,.1f} MB"
