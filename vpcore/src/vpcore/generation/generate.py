"""Pipeline spec -> dataset: source, engine, writer and manifest."""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vpcore.config.pipeline import PipelineSpec, ResolvedPipeline
from vpcore.config.serialize import pipeline_block, pipeline_of
from vpcore.dataset import Dataset, DatasetRegistry, DatasetWriter
from vpcore.dataset.verify import Comparison, compare_datasets
from vpcore.engine import Engine
from vpcore.errors import EngineError
from vpcore.generation.sources import check_existing, compare_sources, engine_code, open_source, source_blocks
from vpcore.source.dbn.prefetch import ReadAhead
from vpcore.source.protocol import RecordStream
from vpcore.storage import LocalStorage
from vpcore.units import ms_to_ns

if TYPE_CHECKING:
    from vpcore.workspace import Workspace

LIBRARIES = ("databento-dbn", "llvmlite", "numba", "numpy", "pyarrow", "vpcore")
"""Distributions whose version may change a byte of a dataset."""

UNKNOWN_RATE = 0.01
"""Share of cancels and modifies of unknown orders from which a book is not to be believed."""

REBUILD_PREFIX = "research/vp_rebuild"
"""Where `rebuild` works; nothing is ever published there."""


@dataclass(frozen=True, slots=True)
class Progress:
    """Progress of `generate`.

    Attributes
    ----------
    bins_done, bins_total : int
        Bins written, and bins of the window.
    bytes_done, bytes_total : int
        Bytes of the source files. Time grows with bytes: records before the window are read too.
    """

    bins_done: int
    bins_total: int
    bytes_done: int
    bytes_total: int

    @property
    def share(self) -> float:
        """Finished share of the work, 0 to 1: by bytes read, else by bins."""
        done, total = (self.bytes_done, self.bytes_total) if self.bytes_total else (self.bins_done, self.bins_total)
        return min(1.0, done / total) if total else 1.0


OnProgress = Callable[[Progress], None]


@dataclass(frozen=True, slots=True)
class Generated:
    """Result of `generate_dataset`.

    Attributes
    ----------
    dataset : Dataset
    created : bool
        False if the dataset existed.
    warnings : tuple of str
        For the user. The manifest repeats warnings about the data.
    """

    dataset: Dataset
    created: bool
    warnings: tuple[str, ...]


# -- generating --------------------------------------------------------------------------------------------------------


def generate(
    workspace: Workspace,
    pipeline: str | Path | PipelineSpec | ResolvedPipeline,
    *,
    on_progress: OnProgress | None = None,
) -> Dataset:
    """Generate or open the dataset of a pipeline. See `generate_dataset`."""
    return generate_dataset(workspace, pipeline, on_progress=on_progress).dataset


def generate_dataset(
    workspace: Workspace,
    pipeline: str | Path | PipelineSpec | ResolvedPipeline,
    *,
    on_progress: OnProgress | None = None,
) -> Generated:
    """Generate the dataset of a pipeline. An existing dataset is verified and left unchanged.

    The dataset appears once all of it is safe on the disk; an interrupted dataset never appears. Then the lifecycle
    hooks are called.

    Parameters
    ----------
    workspace : Workspace
        Whose lake gets the dataset.
    pipeline : str, Path, PipelineSpec or ResolvedPipeline
        A name or path is looked up in the workspace.
    on_progress : callable, optional
        Called with a `Progress` after every chunk of records.

    Raises
    ------
    ConfigError, SourceError, EngineError, StorageError
        As the stages say.
    DatasetError
        If an existing dataset was changed or has other source files; the message names them.
    """
    resolved = _resolve(workspace, pipeline)
    registry: DatasetRegistry = workspace.datasets
    dataset_id = resolved.dataset_id()
    if registry.exists(dataset_id):
        warnings = check_existing(workspace, resolved, dataset_id)
        return Generated(registry.open(dataset_id), False, warnings)
    with open_source(workspace, resolved) as stream:
        sources = source_blocks(stream.files, workspace.raw)
        writer = DatasetWriter(
            registry.storage,
            dataset_id,
            n_cells=resolved.params.n_cells,
            cell_width_ns=ms_to_ns(resolved.params.cell_width_ms),
            tick_int=resolved.tick_int,
            columns=resolved.params.grid_columns,
            prefix=registry.prefix,
        )
        with writer:
            manifest = _run(workspace, resolved, stream, writer, sources, on_progress)
            created = writer.commit(manifest)
    if not created:  # another process was faster: its dataset must be the one this would have been
        compare_sources(dataset_id, registry.manifest(dataset_id)["sources"], sources, workspace.raw)
    dataset = registry.open(dataset_id)
    if created:
        workspace.plugins.notify(
            "vp_dataset_generated", workspace=workspace, dataset_id=dataset_id, manifest=dataset.manifest
        )
    return Generated(dataset, created, tuple(manifest["warnings"]))


def _resolve(workspace: Workspace, pipeline: str | Path | PipelineSpec | ResolvedPipeline) -> ResolvedPipeline:
    if isinstance(pipeline, ResolvedPipeline):
        return pipeline
    spec = pipeline if isinstance(pipeline, PipelineSpec) else workspace.pipeline(pipeline)
    return spec.resolve()


def make_engine(pipeline: ResolvedPipeline) -> Engine:
    """Return the engine of a pipeline, at the start of its window."""
    return Engine(
        pipeline.params,
        tick_int=pipeline.tick_int,
        start_ns=pipeline.start_ns,
        end_ns=pipeline.end_ns,
        cold_book=pipeline.cold_book,
        symbol=pipeline.symbol,
    )


def _run(
    workspace: Workspace,
    pipeline: ResolvedPipeline,
    stream: RecordStream,
    writer: DatasetWriter,
    sources: list[dict[str, Any]],
    on_progress: OnProgress | None,
) -> dict[str, Any]:
    """Drive the records through the engine into the writer, and return the manifest."""
    engine = make_engine(pipeline)
    total = (pipeline.end_ns - pipeline.start_ns) // ms_to_ns(pipeline.params.cell_width_ms)
    file_index = 0
    n_warnings = None
    with ReadAhead(stream) as chunks:
        for read in chunks:
            chunk = read.chunk
            if chunk.file_index != file_index:
                file_index = chunk.file_index
                engine.begin_file()
            try:
                for block in engine.blocks(chunk.records, chunk.instrument_id, first_record=chunk.first_record):
                    writer.append(block)
            except EngineError as error:
                raise EngineError(f"{error} File: {sources[file_index]['path']}.") from error
            if on_progress is not None:
                on_progress(Progress(writer.n_bins, total, read.bytes_done, stream.bytes_total))
            if engine.done:
                n_warnings = read.n_warnings  # what lies behind is none of this dataset's business
                break
    for block in engine.finish(stream.covered_end_ns):
        writer.append(block)
    quality = engine.quality()
    warnings = list(stream.warnings[:n_warnings])
    warnings += data_warnings(quality, writer.n_bins, total)
    return {
        "name": pipeline.name,
        "symbol": pipeline.symbol,
        "pipeline": pipeline_block(pipeline),
        "packages": _packages(workspace, pipeline.source),
        "engine_code": engine_code(),
        "sources": sources,
        "bins_of_window": total,
        "data_quality": quality,
        "cold_start": bool(quality["cold_start"]),
        "warnings": warnings,
    }


def data_warnings(quality: Mapping[str, Any], n_bins: int, total: int) -> list[str]:
    """Return the warnings on a new dataset.

    Parameters
    ----------
    quality : mapping
        From `Engine.quality`.
    n_bins, total : int
        Bins that were made, and bins of the window.
    """
    warnings = []
    if 0 < n_bins < total:
        warnings.append(
            f"The files end before the window: {total - n_bins:,} of its {total:,} bins, the last ones, are not there."
        )
    if quality["began_without_book"] and not quality["cold_start"]:
        warnings.append("The records began without a snapshot: bins are invalid until a book arrived.")
    if n_bins and quality["invalid_bins"] == n_bins:
        why = "at the end of every bin the book was crossed or had one side only"
        if quality["began_without_book"] and not quality["cold_start"]:
            why = "no book ever arrived. To build one from what comes, set capture.cold_book: build"
        warnings.append(f"No bin of the dataset is valid: {why}.")
    rate = quality.get("unknown_order_rate") or 0.0
    if rate >= UNKNOWN_RATE:
        warnings.append(
            f"{rate:.1%} of the cancels and modifies were of orders that the book does not know: records are missing "
            "or out of order, and depth is wrong where they were."
        )
    return warnings


def _packages(workspace: Workspace, source: str) -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in LIBRARIES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    registered = workspace.plugins.get("source", source)
    if registered.distribution:
        found[registered.distribution] = registered.version
    return dict(sorted(found.items()))


# -- verifying ---------------------------------------------------------------------------------------------------------


def rebuild(workspace: Workspace, dataset_id: str, *, on_progress: OnProgress | None = None) -> Comparison:
    """Generate a dataset again from its source, in a scratch folder, and compare.

    Files are compared byte by byte if every library that decides bytes has its old version, else the values of every
    column. The scratch folder is removed; the dataset stays unchanged.

    Raises
    ------
    DatasetError
        If the dataset is missing, or its source files have changed.
    SourceError
        If a source file is gone.
    """
    registry: DatasetRegistry = workspace.datasets
    manifest = registry.manifest(dataset_id)
    pipeline = pipeline_of(manifest.get("pipeline", {}), workspace.raw)
    with workspace.storage.stage(f"{REBUILD_PREFIX}/{dataset_id}") as stage:
        scratch = LocalStorage(stage.path)
        with open_source(workspace, pipeline) as stream:
            sources = source_blocks(stream.files, workspace.raw)
            compare_sources(dataset_id, manifest["sources"], sources, workspace.raw)
            shape = manifest["shape"]
            with DatasetWriter(
                scratch,
                dataset_id,
                n_cells=shape["n_cells"],
                cell_width_ns=shape["cell_width_ns"],
                tick_int=shape["tick_int"],
                columns=shape["grid_columns"],
                prefix="rebuilt",
            ) as writer:
                again = _run(workspace, pipeline, stream, writer, sources, on_progress)
                writer.commit(again)
        same = again["packages"] == manifest.get("packages")
        return compare_datasets(registry.path(dataset_id), stage.path / "rebuilt" / dataset_id, same_libraries=same)
