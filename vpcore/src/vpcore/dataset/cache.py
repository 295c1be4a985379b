"""Uncompressed grid columns that the workers of one machine share by memory-mapping.

Any file of a cache may be deleted at any time, even during its use. A file is named ``<column>.<tag>.<digest>.npy``.
`tag` identifies its data: a dataset generated anew ignores old columns. `digest` covers the column's name and the bytes
of the file, and is checked at its first mapping: a damaged or renamed file is made again.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from vpcore.errors import StorageError
from vpcore.storage.atomic import storage_errors, write_atomic

Array = npt.NDArray[Any]

_DIGITS = 16
_log = logging.getLogger(__name__)


class ColumnCache:
    """The cache of one dataset.

    Parameters
    ----------
    folder : Path
        ``lake/cache/<dataset_id>``; created when something is first put.
    tag : str
        Digest of the columns' origin, letters and digits only.
    """

    def __init__(self, folder: Path, tag: str) -> None:
        self.folder = Path(folder)
        self.tag = tag[:_DIGITS]

    def __repr__(self) -> str:
        return f"ColumnCache({str(self.folder)!r}, {self.tag!r})"

    def get(self, name: str) -> Array | None:
        """Return the column as a read-only memory map, or None if it is missing or damaged.

        Cost: one pass over the file to check it, then only the touched pages.
        """
        for path in sorted(self.folder.glob(f"{name}.{self.tag}.*.npy")):
            with contextlib.suppress(Exception):  # numpy parses a damaged header with Python's own parser
                array: Array = np.load(path, mmap_mode="r", allow_pickle=False)
                # Checked after mapping: the map stays what was checked, even if the file is deleted or replaced.
                with path.open("rb") as handle:
                    found = hashlib.file_digest(handle, lambda: hashlib.sha256(name.encode())).hexdigest()
                if found[:_DIGITS] == path.name.split(".")[-2]:
                    return array
            with contextlib.suppress(OSError):
                path.unlink()
        return None

    def put(self, name: str, array: Array) -> Path:
        """Write a column, atomically; two workers that put the same one write the same file.

        Raises
        ------
        StorageError
            If writing fails.
        """
        whole = np.ascontiguousarray(array)
        head = io.BytesIO()
        np.lib.format.write_array_header_1_0(head, np.lib.format.header_data_from_array_1_0(whole))
        pieces = (head.getvalue(), whole.reshape(-1).view(np.uint8).data)  # of the array itself, not of a copy
        digest = hashlib.sha256(name.encode())
        for piece in pieces:
            digest.update(piece)
        path = self.folder / f"{name}.{self.tag}.{digest.hexdigest()[:_DIGITS]}.npy"
        with storage_errors(path, f"write the column '{name}' to the cache"):
            write_atomic(path, pieces, durable=False)
        return path

    def get_or_make(self, name: str, make: Callable[[], Array]) -> Array:
        """Return the column from the cache, or make it and put it there.

        A failure to write the cache costs time and memory only: the new array is returned, and the failure is logged.
        """
        found = self.get(name)
        if found is not None:
            return found
        array = make()
        try:
            self.put(name, array)
        except StorageError as error:
            _log.warning("%s The column is used from memory instead.", error)
            return array
        found = self.get(name)
        return array if found is None else found
