"""What is damaged, lost, left over or open to others in a workspace, file by file, and what mends it."""

from __future__ import annotations

import hashlib
import json
import shlex
import stat
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from vpcore.dataset.manifest import CHECKED_FILES, CHECKSUMS_FILE, DATASETS_PREFIX, MANIFEST_FILE
from vpcore.dataset.verify import verify_files
from vpcore.errors import VpError
from vpcore.results.parts import is_damaged, part_id
from vpcore.results.writer import STAGING
from vpcore.storage.folder import COPIES
from vpcore.storage.protocol import TEMPORARY
from vpcore_serving.registry import registry_of
from vpcore_serving.spec import PublishedServingSpec

if TYPE_CHECKING:
    from vpcore.workspace import Workspace

_PIECE_BYTES = 1 << 24

DAMAGED, LOST, ORPHANED, LEFT_OVER, STALE, EXPOSED = "damaged", "lost", "orphaned", "left over", "stale", "exposed"
"""Kinds of findings, the worst first."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong.

    Attributes
    ----------
    kind : str
        ``damaged``, ``lost``, ``orphaned``, ``left over``, ``stale`` or ``exposed`` (others may write it).
    file : str
        File or folder, below the workspace where it lies there.
    problem, fix : str
        One sentence each; `fix` has the command.
    """

    kind: str
    file: str
    problem: str
    fix: str

    def plain(self) -> dict[str, Any]:
        """Return the finding as JSON values."""
        return asdict(self)


def examine(workspace: Workspace) -> list[Finding]:
    """Return everything that is wrong in a workspace, the worst first. Reads every stored byte; changes nothing.

    Specs are checked by ``vp validate`` and not here.
    """
    found = [
        *_results(workspace),
        *_ledger(workspace),
        *_datasets(workspace),
        *_registry(workspace),
        *_left_over(workspace),
        *_exposed(workspace),
    ]
    order = [DAMAGED, LOST, ORPHANED, LEFT_OVER, STALE, EXPOSED]
    return sorted(found, key=lambda finding: (order.index(finding.kind), finding.file))


def _results(workspace: Workspace) -> Iterator[Finding]:
    db = workspace.results
    try:
        parts = {table: db.parts(table) for table in ("runs", "runs_meta")}
    except VpError as error:
        yield Finding(DAMAGED, _shown(workspace, db.root), str(error), "Install the vpcore that wrote them.")
        return
    whole: dict[str, list[Path]] = {"runs": [], "runs_meta": []}
    for table, paths in parts.items():
        for path in paths:
            problem = _part_problem(path)
            if problem:
                yield Finding(DAMAGED, _shown(workspace, path), problem, _set_aside(workspace, path))
            else:
                whole[table].append(path)
    ids = {table: {part_id(path): path for path in paths} for table, paths in parts.items()}
    for name in sorted(ids["runs_meta"].keys() - ids["runs"].keys()):
        path = ids["runs_meta"][name]
        yield Finding(LOST, _shown(workspace, path), "Its rows are gone.", _set_aside(workspace, path))
    for name in sorted(ids["runs"].keys() - ids["runs_meta"].keys()):
        path = ids["runs"][name]
        yield Finding(
            ORPHANED,
            _shown(workspace, path),
            "Its rows were never committed, or their commit is gone; no command reads them.",
            f"If no run is under way: {_removal(workspace, path)}",
        )
    if all(len(whole[table]) == len(parts[table]) for table in parts):
        try:
            for experiment, _ in sorted(db.lost()):
                problem = f"The ledger has trials of experiment '{experiment}' whose rows are gone."
                yield Finding(LOST, _shown(workspace, db.root), problem, f"vp run {experiment}")
        except VpError as error:
            yield Finding(DAMAGED, _shown(workspace, db.root), str(error), "See the other findings.")


def _part_problem(path: Path) -> str:
    try:
        if is_damaged(path):
            return "Its bytes changed since it was written."
        pq.read_schema(path)
    except (OSError, pa.ArrowException) as error:
        return f"It cannot be read: {' '.join(str(error).split())[:100]}"
    return ""


def _ledger(workspace: Workspace) -> Iterator[Finding]:
    fix = "Restore it from a backup: the ledger cannot be made again."
    for path in workspace.results.ledger.files():
        problem = _part_problem(path)
        if problem:
            yield Finding(DAMAGED, _shown(workspace, path), problem, fix)
    try:
        for reserve in workspace.reserves.all():
            workspace.reserves.confirmations(reserve)
    except VpError as error:
        yield Finding(DAMAGED, _shown(workspace, Path(error.where)), error.what, fix)


def _datasets(workspace: Workspace) -> Iterator[Finding]:
    folder = workspace.lake / DATASETS_PREFIX
    if not workspace.folder(folder).is_local:
        yield from _far_datasets(workspace)
        return
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if not path.is_dir() or path.name.startswith(TEMPORARY):
            continue
        if not (path / MANIFEST_FILE).is_file():
            fix = f"rm -r {shlex.quote(str(path))}"
            yield Finding(LEFT_OVER, _shown(workspace, path), "It is no complete dataset.", fix)
            continue
        again = f"mv {shlex.quote(str(path))} {shlex.quote(f'{path}.damaged')}, then vp generate its pipeline again"
        try:
            report = verify_files(path)
        except VpError as error:
            yield Finding(DAMAGED, _shown(workspace, path), str(error), again)
            continue
        for file in report.files:
            if file.status != "ok":
                kind = LEFT_OVER if file.status == "unexpected" else DAMAGED
                fix = f"rm {shlex.quote(str(path / file.name))}" if kind == LEFT_OVER else again
                yield Finding(kind, _shown(workspace, path / file.name), f"The file is {file.status}.", fix)
    cache = workspace.cache_dir
    for path in sorted(cache.iterdir()) if cache.is_dir() else ():
        if path.is_dir() and "_" in path.name and not (folder / path.name).is_dir():
            fix = f"rm -r {shlex.quote(str(path))}"
            yield Finding(STALE, _shown(workspace, path), "Columns of a dataset that is gone.", fix)


def _far_datasets(workspace: Workspace) -> Iterator[Finding]:
    """Read every byte of the datasets of another storage; keep none."""
    storage = workspace.storage
    for dataset_id in workspace.datasets.ids():
        prefix = f"{DATASETS_PREFIX}/{dataset_id}"
        again = f"delete the objects below {prefix} in {storage!r}, then vp generate its pipeline again"
        try:
            expected = json.loads(storage.read(f"{prefix}/{CHECKSUMS_FILE}"))
            for name in CHECKED_FILES:
                about, found = storage.stat(f"{prefix}/{name}"), hashlib.sha256()
                size = 0 if about is None else about.size
                for at in range(0, size, _PIECE_BYTES):
                    found.update(storage.ranges(f"{prefix}/{name}", [(at, min(at + _PIECE_BYTES, size))])[0])
                if about is None or found.hexdigest() != expected.get(name):
                    status = "missing" if about is None else "changed"
                    yield Finding(DAMAGED, f"{prefix}/{name}", f"The file is {status}.", again)
        except (VpError, ValueError) as error:
            yield Finding(DAMAGED, prefix, str(error), again)


def _registry(workspace: Workspace) -> Iterator[Finding]:
    registry = registry_of(workspace)
    known: set[str] = set()
    if workspace.registry_path.is_file() or not workspace.folder(workspace.registry_path).is_local:
        try:
            known = {info.serving_id for info in registry.versions()}
            aliases = registry.aliases()
        except VpError as error:
            yield Finding(
                DAMAGED, _shown(workspace, workspace.registry_path), str(error), "Restore the file from a backup."
            )
            return
        for serving_id in sorted(known):
            try:
                PublishedServingSpec.from_version(registry.resolve(serving_id))
            except VpError as error:
                fix = f"vp serving restore {serving_id}"
                yield Finding(DAMAGED, _shown(workspace, registry.file_of(serving_id)), str(error), fix)
        for alias, serving_id in sorted(aliases.items()):
            if serving_id not in known:
                problem = f"Alias '{alias}' names the version '{serving_id}', which is gone."
                yield Finding(LOST, _shown(workspace, workspace.registry_path), problem, f"vp serving rollback {alias}")
    for path in sorted(workspace.serving_versions_dir.glob("*.yaml")):
        if path.stem not in known:
            yield Finding(
                ORPHANED,
                _shown(workspace, path),
                "The registry does not know this version: nobody can serve it.",
                f"rm {shlex.quote(str(path))}, or restore {workspace.registry_path.name}",
            )


def _left_over(workspace: Workspace) -> Iterator[Finding]:
    for root in (workspace.lake, workspace.configs):
        for path in sorted(root.rglob(f"{TEMPORARY}*")):
            yield Finding(
                LEFT_OVER,
                _shown(workspace, path),
                "A temporary of a command that runs, or that was killed.",
                f"If no command runs: rm -r {shlex.quote(str(path))}",
            )
    staging = workspace.results_dir / STAGING
    for path in sorted(staging.iterdir()) if staging.is_dir() else ():
        if not path.name.startswith(TEMPORARY):
            yield Finding(LEFT_OVER, _shown(workspace, path), "Never finished.", f"rm -r {shlex.quote(str(path))}")


def _exposed(workspace: Workspace) -> Iterator[Finding]:
    for path in (workspace.root, workspace.configs, workspace.lake, workspace.harness_dir, workspace.registry_path):
        if path.exists() and path.stat().st_mode & stat.S_IWOTH and not path.stat().st_mode & stat.S_ISVTX:
            fix = f"chmod o-w {shlex.quote(str(path))}"
            yield Finding(EXPOSED, _shown(workspace, path), "Every user of this machine may write it.", fix)


def _set_aside(workspace: Workspace, path: Path) -> str:
    if _key(workspace, path):
        return f"{_removal(workspace, path)}, then vp run EXPERIMENT"
    return f"mv {shlex.quote(str(path))} {shlex.quote(f'{path}.damaged')}, then vp run EXPERIMENT"


def _removal(workspace: Workspace, path: Path) -> str:
    key = _key(workspace, path)
    return f"delete the object {key} in {workspace.storage!r}" if key else f"rm {shlex.quote(str(path))}"


def _key(workspace: Workspace, path: Path) -> str:
    """Return the key of a copy of another storage's file; empty for a file of this machine."""
    copies = workspace.storage.cache / COPIES
    return path.relative_to(copies).as_posix() if path.is_relative_to(copies) else ""


def _shown(workspace: Workspace, path: Path) -> str:
    if key := _key(workspace, path):
        return key
    return str(path.relative_to(workspace.root)) if path.is_relative_to(workspace.root) else str(path)
