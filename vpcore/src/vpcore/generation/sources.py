"""Sources of a dataset, and the integrity of both."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import vpcore
from vpcore.canonical import canonical_json, digest
from vpcore.config.pipeline import ResolvedPipeline
from vpcore.dataset import verify_files
from vpcore.errors import DatasetError, SourceError, listed
from vpcore.kernels.jit import sources_digest
from vpcore.source.prepare import Prepared
from vpcore.source.protocol import FileInfo, RecordStream, Source, SourceRequest
from vpcore.storage.atomic import write_atomic

if TYPE_CHECKING:
    from vpcore.workspace import Workspace

CHECKED = "checked"
"""Folder below ``lake/cache`` with what `check_existing` found, one file per dataset. Deletable at any time."""


def open_source(workspace: Workspace, pipeline: ResolvedPipeline) -> RecordStream:
    """Open the capture window of a pipeline; its files are known and hashed when this returns."""
    stream = _source(workspace, pipeline).open(_request(workspace, pipeline))
    return Prepared(stream, pipeline.events, pipeline.repeated)


def check_source(workspace: Workspace, pipeline: ResolvedPipeline) -> None:
    """Raise the errors of `open_source` that need no records."""
    _source(workspace, pipeline).check(_request(workspace, pipeline))


def _source(workspace: Workspace, pipeline: ResolvedPipeline) -> Source:
    source: Source = workspace.plugins.load("source", pipeline.source)()
    return source


def _request(workspace: Workspace, pipeline: ResolvedPipeline) -> SourceRequest:
    return SourceRequest(
        symbol=pipeline.symbol,
        start_ns=pipeline.start_ns,
        end_ns=pipeline.end_ns,
        files=tuple(workspace.raw / key for key in pipeline.file_keys or ()),
        raw=workspace.raw_folder,
        options=pipeline.options,
    )


def engine_code() -> str:
    """Return the sha256 over the sources of the engine and of the compiled code, 64 hex digits.

    It is recorded outside the dataset's id: `vpcore.schema.FORMAT_VERSION` marks intended changes of bytes. This digest
    and ``vp verify --rebuild`` find accidental changes.
    """
    return digest([sources_digest(Path(vpcore.__path__[0]) / part) for part in ("engine", "kernels")])


def source_blocks(files: Sequence[FileInfo], raw_root: Path) -> list[dict[str, Any]]:
    """Return ``sources`` of a manifest: path (below `raw_root` where possible), sha256 and size of every file."""
    return [{"path": _shown(file.path, raw_root), "sha256": file.sha256, "size": file.size} for file in files]


def _shown(path: Path, raw_root: Path) -> str:
    full = Path(path).absolute()
    return full.relative_to(raw_root).as_posix() if full.is_relative_to(raw_root) else full.as_posix()


def compare_sources(
    dataset_id: str, recorded: Sequence[Mapping[str, Any]], found: Sequence[Mapping[str, Any]], raw_root: Path
) -> None:
    """Compare the sources of a manifest with the present sources of its window.

    Raises
    ------
    DatasetError
        If they differ; the message names the file and both digests.
    """
    if [item["sha256"] for item in recorded] == [item["sha256"] for item in found]:
        return
    fix = (
        "Datasets are never overwritten. Put the old files back, or give the pipeline another name, "
        "or name its files in capture.files."
    )
    now = {item["path"]: item["sha256"] for item in found}
    for item in recorded:
        path, sha = item["path"], item["sha256"]
        if path in now and now[path] != sha:
            raise DatasetError(
                f"Dataset '{dataset_id}' was made from another {path}: its sha256 was {sha} then and is {now[path]} "
                f"now (in {raw_root}). {fix}"
            )
    before = {item["path"]: item["sha256"] for item in recorded}
    raise DatasetError(
        f"Dataset '{dataset_id}' was made from {_digests(before)}; the window is now read from {_digests(now)} (in "
        f"{raw_root}). {fix}"
    )


def _digests(files: Mapping[str, str]) -> str:
    return ", ".join(f"{path} (sha256 {sha})" for path, sha in files.items()) or "no file"


# -- datasets that are there -------------------------------------------------------------------------------------------


def check_existing(workspace: Workspace, pipeline: ResolvedPipeline, dataset_id: str) -> tuple[str, ...]:
    """Check that a dataset, its source files and the engine's code are unchanged.

    Hashing all files of a large dataset takes seconds, so ``lake/cache`` keeps the result until a file of the dataset
    or below ``lake/raw`` changes its size or time stamp.

    Returns
    -------
    tuple of str
        Warnings: missing source files, and other code of the engine. The dataset stays right in both cases.

    Raises
    ------
    DatasetError
        If a file of the dataset was changed, or the pipeline now reads other source files.
    SourceError
        If the source refuses the files.
    """
    manifest = workspace.datasets.manifest(dataset_id)
    if workspace.datasets.storage.local_path(dataset_id) is None:
        return ()  # every read is checked; hashing all of it would copy all of it to this machine
    state = _state(workspace, pipeline, dataset_id, manifest)
    stamp = workspace.cache_dir / CHECKED / f"{dataset_id}.json"
    known = _read_stamp(stamp)
    if state is not None and known.get("state") == state:
        return tuple(known["warnings"])
    report = verify_files(workspace.datasets.path(dataset_id))
    if not report.ok:
        wrong = listed(f"{file.name} is {file.status}" for file in report.files if file.status != "ok")
        raise DatasetError(
            f"Dataset '{dataset_id}' is not as it was written: {wrong}. Move its folder away and generate it again "
            f"({workspace.datasets.path(dataset_id)})."
        )
    warnings = _check_sources(workspace, pipeline, manifest)
    if manifest.get("engine_code") != engine_code():
        warnings += (
            f"The engine's code has changed since dataset '{dataset_id}' was made. Whether that changes the data is "
            f"shown by: vp verify {dataset_id} --rebuild",
        )
    if state is not None:
        _write_stamp(stamp, state, warnings)
    return warnings


def _check_sources(workspace: Workspace, pipeline: ResolvedPipeline, manifest: Mapping[str, Any]) -> tuple[str, ...]:
    recorded = manifest["sources"]
    try:
        with open_source(workspace, pipeline) as stream:
            found = source_blocks(stream.files, workspace.raw)
    except SourceError:
        gone = [item["path"] for item in recorded if not (workspace.raw / item["path"]).exists()]
        if not gone:
            raise
        # A dataset may outlive its source, or be copied to a machine without it: gone is not changed.
        return (f"The source files of the dataset could not be checked: {listed(gone)} is not in {workspace.raw}.",)
    compare_sources(manifest["dataset_id"], recorded, found, workspace.raw)
    return ()


def _state(
    workspace: Workspace, pipeline: ResolvedPipeline, dataset_id: str, manifest: Mapping[str, Any]
) -> str | None:
    """Return a digest that changes with any file; None if some files of the source are unknown."""
    if not _source(workspace, pipeline).reads_files or not manifest["sources"]:
        return None
    raw = [Path(folder) / name for folder, _, names in os.walk(workspace.raw) for name in names]
    named = [workspace.raw / item["path"] for item in manifest["sources"]]
    own = workspace.datasets.path(dataset_id).iterdir()
    files = {str(path): _stat(path) for path in (*raw, *named, *(pipeline.files or ()), *own)}
    wanted = None if pipeline.files is None else [str(path) for path in pipeline.files]
    return digest({"files": files, "wanted": wanted, "engine_code": engine_code()})


def _stat(path: Path) -> list[int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    # The time of the last change of status cannot be set by a copy that keeps the time of modification.
    return [found.st_size, found.st_ino, found.st_mtime_ns, found.st_ctime_ns]


def _read_stamp(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    whole = isinstance(found, dict) and {"state", "warnings"} <= found.keys()
    return found if whole else {}


def _write_stamp(path: Path, state: str, warnings: Sequence[str]) -> None:
    try:
        write_atomic(path, canonical_json({"state": state, "warnings": list(warnings)}), durable=False)
    except OSError:
        return  # a lake that cannot be written is checked anew every time
