"""Datasets: written as a stream, immutable, read as dense ``(n_bins, n_cells)`` arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vpcore._lazy import exports

if TYPE_CHECKING:
    from vpcore.dataset.cache import ColumnCache as ColumnCache
    from vpcore.dataset.catalog import DatasetInfo as DatasetInfo, DatasetRegistry as DatasetRegistry
    from vpcore.dataset.dataset import Dataset as Dataset
    from vpcore.dataset.verify import FileCheck as FileCheck, VerifyReport as VerifyReport, verify_files as verify_files
    from vpcore.dataset.writer import DatasetWriter as DatasetWriter

__getattr__, __all__ = exports(__name__)
