"""Fill tables: virtual orders of every bin of a dataset, followed through a replay of its sources."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from vpcore.backtest.maker import FILLS, FillTable, cached_fills
from vpcore.canonical import digest
from vpcore.config.pipeline import ResolvedPipeline
from vpcore.config.serialize import pipeline_of
from vpcore.dataset import Dataset
from vpcore.dataset.cache import ColumnCache
from vpcore.engine import Engine, EngineParams
from vpcore.errors import DatasetError, SourceError
from vpcore.generation.generate import stream_blocks
from vpcore.generation.sources import compare_sources, engine_code, open_source, source_blocks

if TYPE_CHECKING:
    from vpcore.workspace import Workspace


def fills_tag(dataset: Dataset) -> str:
    """Return the digest that names a dataset's fill table in the cache: dataset, sources and code of the engine."""
    return digest([dataset.manifest["dataset_id"], list(dataset.source_digests), engine_code()])


def fill_table(workspace: Workspace, dataset: Dataset) -> FillTable:
    """Return when a virtual order that joins the queue at the end of each bin is filled.

    The table of the whole dataset is made once, from a replay of its sources, and kept in ``lake/cache``.

    Parameters
    ----------
    workspace : Workspace
        Its lake holds the dataset and the sources.
    dataset : Dataset
        Of its workspace, whole or in part. Fills behind its last bin are left out.

    Raises
    ------
    DatasetError
        If the dataset lies in memory only, its sources are gone or were changed, or the replay gives another book.

    Notes
    -----
    The first call costs about as much as the dataset's generation without frames; later calls read a file.
    """
    name = dataset.manifest["dataset_id"]
    if not dataset.manifest.get("sources"):
        raise DatasetError(
            f"entry: maker follows orders through the sources of a dataset, and '{name}' lies in memory only",
            fix="Open a generated dataset, or use entry: taker.",
        )
    found = cached_fills(workspace.cache_dir, dataset, fills_tag(dataset))
    if found is None:
        whole = _replay(workspace, dataset)
        ColumnCache(workspace.cache_dir / name, fills_tag(dataset)).put(FILLS, whole)
        found = FillTable.of(whole, dataset)
    return found


def _replay(workspace: Workspace, dataset: Dataset) -> npt.NDArray[np.int64]:
    name, n_bins = dataset.manifest["dataset_id"], int(dataset.manifest["shape"]["n_bins"])
    pipeline = pipeline_of(dataset.manifest.get("pipeline", {}), workspace.raw)
    try:
        with open_source(workspace, pipeline) as stream:
            sources = source_blocks(stream.files, workspace.raw)
            compare_sources(name, dataset.manifest["sources"], sources, workspace.raw)
            engine = _engine(pipeline, n_bins)
            for _ in stream_blocks(engine, stream, sources):
                pass
            for _ in engine.finish(stream.covered_end_ns):
                pass
    except SourceError as error:
        raise DatasetError(
            f"entry: maker follows orders through the sources of dataset '{name}', which cannot be read: {error}"
        ) from error
    return engine.fills()[:, : engine.bins_emitted]


def _engine(pipeline: ResolvedPipeline, n_bins: int) -> Engine:
    """Return the engine of a pipeline with virtual orders and the smallest frames."""
    smallest: dict[str, Any] = {"grid_radius_ticks": 1, "band_margin_ticks": 0, "flow_windows": (1,)}
    return Engine(
        EngineParams(cell_width_ms=pipeline.params.cell_width_ms, columns=("add_mass",), **smallest),
        tick_int=pipeline.tick_int,
        start_ns=pipeline.start_ns,
        end_ns=pipeline.end_ns,
        cold_book=pipeline.cold_book,
        symbol=pipeline.symbol,
        virtual_bins=n_bins,
    )
