"""Pipeline spec -> dataset: source, engine, writer and manifest."""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from vpcore.config.pipeline import PipelineSpec, ResolvedPipeline
from vpcore.config.serialize import pipeline_block
from vpcore.dataset import Dataset, DatasetRegistry, DatasetWriter
from vpcore.engine import Engine, FrameBlock
from vpcore.errors import EngineError, listed
from vpcore.generation.sources import check_existing, compare_sources, engine_code, open_source, source_blocks
from vpcore.source.prefetch import ReadAhead, ReadChunk
from vpcore.source.protocol import RecordStream, utc
from vpcore.storage import Storage
from vpcore.units import NS_PER_S, ms_to_ns

if TYPE_CHECKING:
    from vpcore.workspace import Workspace

LIBRARIES = ("databento-dbn", "llvmlite", "numba", "numpy", "pyarrow", "vpcore")
"""Distributions whose version may change a byte of a dataset."""

OF_VPCORE = ("", "vpcore-dbn")
"""Distributions of sources that are released with vpcore, whose version is recorded."""

UNKNOWN_RATE = 0.01
"""Share of cancels and modifies of unknown orders from which a book is not to be believed."""

INVALID_SHARE = 0.05
"""Share of invalid bins that is stated with its cause."""

UNBALANCED_SHARE = 0.01
"""Share of events with trades whose fills do not add up to their trades, above which events may be cut wrongly."""

CONTRADICTED_SHARE = 0.01
"""Share of carried orders that a later snapshot may contradict without a word."""

CLOSED_NS = 60 * NS_PER_S
"""A stretch without an event of this length is stated."""


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


def generate_dataset(
    workspace: Workspace,
    pipeline: str | Path | PipelineSpec | ResolvedPipeline,
    *,
    on_progress: OnProgress | None = None,
    notify: bool = True,
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
    notify : bool
        Call the hook `vp_dataset_generated`; a worker leaves that to its parent.

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
        manifest, created = write_dataset(
            workspace, resolved, stream, sources, registry.storage, dataset_id, registry.prefix, on_progress
        )
    if not created:  # another process was faster: its dataset must be the one this would have been
        compare_sources(dataset_id, registry.manifest(dataset_id)["sources"], sources, workspace.raw)
    dataset = registry.open(dataset_id)
    if created and notify:
        tell_generated(workspace, dataset)
    return Generated(dataset, created, tuple(manifest["warnings"]))


def tell_generated(workspace: Workspace, dataset: Dataset) -> None:
    """Call the hook `vp_dataset_generated` for a new dataset."""
    workspace.plugins.notify(
        "vp_dataset_generated", workspace=workspace, dataset_id=dataset.dataset_id, manifest=dataset.manifest
    )


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


def stream_blocks(
    engine: Engine,
    stream: RecordStream,
    sources: Sequence[Mapping[str, Any]],
    after_chunk: Callable[[ReadChunk], None] = lambda read: None,
) -> Iterator[FrameBlock]:
    """Yield the frames of an engine until its window is done or the records end; `sources` name the files."""
    file_index = 0
    with ReadAhead(stream) as chunks:
        for read in chunks:
            chunk = read.chunk
            if chunk.file_index != file_index:
                file_index = chunk.file_index
                engine.begin_file()
            try:
                yield from engine.blocks(chunk.records, chunk.instrument_id, first_record=chunk.first_record)
            except EngineError as error:
                raise EngineError(f"{error} File: {sources[file_index]['path']}.") from error
            after_chunk(read)
            if engine.done:
                break


def write_dataset(
    workspace: Workspace,
    pipeline: ResolvedPipeline,
    stream: RecordStream,
    sources: list[dict[str, Any]],
    storage: Storage,
    dataset_id: str,
    prefix: str,
    on_progress: OnProgress | None,
) -> tuple[dict[str, Any], bool]:
    """Write the dataset of a pipeline below `prefix`; return its manifest, and False if another writer was faster."""
    with DatasetWriter(
        storage,
        dataset_id,
        n_cells=pipeline.params.n_cells,
        cell_width_ns=ms_to_ns(pipeline.params.cell_width_ms),
        tick_int=pipeline.tick_int,
        columns=pipeline.params.grid_columns,
        prefix=prefix,
    ) as writer:
        manifest = _run(workspace, pipeline, stream, writer, sources, on_progress)
        return manifest, writer.commit(manifest)


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
    n_warnings: list[int] = []
    counts: list[npt.NDArray[np.int64]] = []

    def append(block: FrameBlock) -> None:
        writer.append(block)
        counts.append(block.bins["bin_event_count"].astype(np.int64))

    def after_chunk(read: ReadChunk) -> None:
        n_warnings[:] = [read.n_warnings] if engine.done else []  # those behind the window do not concern this dataset
        if on_progress is not None:
            on_progress(Progress(writer.n_bins, total, read.bytes_done, stream.bytes_total))

    for block in stream_blocks(engine, stream, sources, after_chunk):
        append(block)
    ended = not engine.done
    for block in engine.finish(stream.covered_end_ns):
        append(block)
    quality = engine.quality()
    warnings = list(stream.warnings[: n_warnings[0] if n_warnings else None])
    event_counts = np.concatenate(counts) if counts else np.empty(0, np.int64)
    warnings += data_warnings(quality, total, event_counts)
    if ended and quality["events_left_open"]:
        warnings.append("The records end within an event: the last file may be cut. Compare its size with its origin.")
    warnings += closed_stretches(event_counts, pipeline.start_ns, ms_to_ns(pipeline.params.cell_width_ms))
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


def data_warnings(quality: Mapping[str, Any], total: int, event_counts: npt.NDArray[np.int64]) -> list[str]:
    """Return the warnings on a new dataset.

    Parameters
    ----------
    quality : mapping
        From `Engine.quality`.
    total : int
        Bins of the window.
    event_counts : int64[n_bins]
        Events in each bin that was made.
    """
    warnings = []
    n_bins = len(event_counts)
    cold = quality["began_without_book"] and not quality["cold_start"]
    if 0 < n_bins < total:
        warnings.append(
            f"The files end before the window: {total - n_bins:,} of its {total:,} bins, the last ones, are not there."
        )
    if cold:
        warnings.append("The records began without a snapshot: bins are invalid until a book arrived.")
    share = quality["invalid_bins"] / n_bins if n_bins else 0.0
    if share == 1.0:
        why = "at the end of every bin the book was crossed or had one side only"
        if cold:
            why = "no book ever arrived. To build one from what comes, set capture.cold_book: build"
        warnings.append(f"No bin of the dataset is valid: {why}.")
    elif share > INVALID_SHARE:
        warnings.append(f"{share:.1%} of the bins are invalid. Since the files began: {_why_invalid(quality, cold)}.")
    rate = quality.get("unknown_order_rate") or 0.0
    if rate >= UNKNOWN_RATE:
        why = "records are missing or out of order"
        if quality["began_without_book"]:
            why = "the orders are older than the file, which began without a snapshot (a cold start)"
        warnings.append(
            f"{rate:.1%} of the cancels and modifies were of orders that the book does not know: {why}. Depth is wrong "
            "where they were."
        )
    trades, unbalanced = quality["trade_events"], quality["unbalanced_trade_events"]
    if unbalanced > UNBALANCED_SHARE * trades:
        warnings.append(
            f"In {unbalanced:,} of {trades:,} events with trades the fills do not add up to the trades. If the feed "
            "sets F_LAST on the trade, the fill and the cancel of one event alike, set capture.events: sequence."
        )
    compared = quality["carried_orders"]
    changed = sum(quality[f"carried_orders_{kind}"] for kind in ("missing", "extra", "changed"))
    if changed > CONTRADICTED_SHARE * compared:
        warnings.append(
            f"A later file's snapshot contradicts the book carried over from the file before in {changed:,} of "
            f"{compared:,} orders: records are missing between the files, or a file is of another contract."
        )
    return warnings


def _why_invalid(quality: Mapping[str, Any], cold: bool) -> str:
    causes = {
        "the records began without a snapshot": cold,
        f"the book was crossed after {quality['crossed_events']:,} events": quality["crossed_events"],
        f"one side was empty after {quality['one_sided_events']:,} events": quality["one_sided_events"],
        f"the feed called the book doubtful {quality['bad_book_spans']:,} times (F_MAYBE_BAD_BOOK)": quality[
            "bad_book_spans"
        ],
    }
    return listed([cause for cause, found in causes.items() if found] or ["no event came before them"])


def closed_stretches(event_counts: npt.NDArray[np.int64], start_ns: int, width_ns: int) -> list[str]:
    """Return a warning that names the longest stretches of at least `CLOSED_NS` without an event; else an empty list.

    Parameters
    ----------
    event_counts : int64[n_bins]
        Events in each bin.
    start_ns, width_ns : int
        Start of the first bin, and width of a bin.
    """
    busy = np.concatenate([[-1], np.flatnonzero(event_counts), [len(event_counts)]])
    gaps = np.diff(busy) - 1
    closed = np.flatnonzero(gaps * width_ns >= CLOSED_NS)
    if not len(closed):
        return []
    longest = sorted(closed[np.argsort(gaps[closed], kind="stable")[::-1][:3]])
    spans = [
        f"{utc(start_ns + int(busy[i] + 1) * width_ns)} to {utc(start_ns + int(busy[i + 1]) * width_ns)}"
        for i in longest
    ]
    n_more = len(closed) - len(spans)
    more = f" and {n_more} shorter one{'s' if n_more > 1 else ''}" if n_more else ""
    return [
        f"No event came for a minute or more: {'; '.join(spans)}{more}. The market was closed, or records are missing."
    ]


def _packages(workspace: Workspace, source: str) -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in LIBRARIES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    package = workspace.plugins.get("source", source).package
    if package.name not in OF_VPCORE:
        found[package.name] = package.version
    return dict(sorted(found.items()))
