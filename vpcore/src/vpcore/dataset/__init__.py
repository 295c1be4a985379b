"""Datasets: written as a stream, immutable, read as dense ``(n_bins, n_cells)`` arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vpcore._lazy import exports

if TYPE_CHECKING:
    from vpcore.dataset.cache import ColumnCache
    from vpcore.dataset.catalog import DatasetInfo, DatasetRegistry
    from vpcore.dataset.dataset import Dataset
    from vpcore.dataset.verify import FileCheck, VerifyReport, verify_files
    from vpcore.dataset.writer import DatasetWriter

__getattr__ = exports(
    __name__,
    cache="ColumnCache",
    dataset="Dataset",
    catalog="DatasetInfo DatasetRegistry",
    verify="FileCheck VerifyReport verify_files",
    writer="DatasetWriter",
)

__all__ = [
    "ColumnCache",
    "Dataset",
    "DatasetInfo",
    "DatasetRegistry",
    "DatasetWriter",
    "FileCheck",
    "VerifyReport",
    "verify_files",
]
