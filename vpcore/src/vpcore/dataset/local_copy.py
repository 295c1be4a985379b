"""Datasets of a remote storage: small files are copied to this machine, grid columns are read by ranges."""

from __future__ import annotations

import io
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

from vpcore.canonical import is_whole
from vpcore.dataset.manifest import BINS_FILE, CHECKSUMS_FILE, GRID_FILE, MANIFEST_FILE, read_json
from vpcore.errors import DatasetError
from vpcore.storage import Folder
from vpcore.storage.folder import trim
from vpcore.storage.protocol import Storage

_TAIL_BYTES = 1 << 16


ALL = (MANIFEST_FILE, BINS_FILE, GRID_FILE)


def local_copy(storage: Storage, prefix: str, dataset_id: str, names: Sequence[str] = ALL) -> Path:
    """Return a folder of this machine with a dataset's files, each copied once and checked.

    Parameters
    ----------
    storage : Storage
        Where the dataset is.
    prefix, dataset_id : str
        Its key.
    names : sequence of str
        Its files that are needed. The grid is most of the bytes.

    Raises
    ------
    DatasetError
        If a file contradicts its checksum.
    StorageError
        If the storage fails, lacks the dataset, or writing the copy fails.
    """
    folder = Folder(storage, f"{prefix}/{dataset_id}")
    expected = read_json(folder.fetch(CHECKSUMS_FILE), dataset_id)
    for name in names:
        for again in (False, True):  # a copy that was damaged here is made again
            path = folder.fetch(name)
            if is_whole(path, str(expected.get(name))):
                break
            path.unlink()
            if again:
                raise DatasetError(f"Dataset '{dataset_id}' did not arrive from {storage!r} as it was written: {name}.")
    if GRID_FILE in names:
        trim(storage, folder.path / GRID_FILE)
    return folder.path


class FarFile:
    """A Parquet file of a remote storage, of which single columns are read.

    Parameters
    ----------
    storage : Storage
    key : str
        Of the file.
    """

    def __init__(self, storage: Storage, key: str) -> None:
        self.storage = storage
        self.key = key

    @cached_property
    def _footer(self) -> tuple[int, bytes]:
        """Size of the file, and its last bytes with the whole footer."""
        stat = self.storage.stat(self.key)
        if stat is None:
            raise FileNotFoundError(self.key)
        tail = self._ranges([(max(0, stat.size - _TAIL_BYTES), stat.size)])[0]
        length = int.from_bytes(tail[-8:-4], "little") + 8
        if length > len(tail):
            tail = self._ranges([(max(0, stat.size - length), stat.size)])[0]
        return stat.size, tail

    def _ranges(self, spans: list[tuple[int, int]]) -> list[bytes]:
        return self.storage.ranges(self.key, spans)

    def open(self, names: list[str]) -> io.BufferedIOBase:
        """Return the file for a reader of some columns: their bytes are here, the others are zero.

        Raises
        ------
        StorageError
            If the storage fails, or the bytes are not those that were written.
        """
        import pyarrow.parquet as pq

        size, tail = self._footer
        pieces = {size - len(tail): tail}
        meta = pq.read_metadata(_Pieces(size, pieces))
        chunks = [
            meta.row_group(group).column(column)
            for group in range(meta.num_row_groups)
            for column in range(meta.num_columns)
        ]
        wanted = [chunk for chunk in chunks if chunk.path_in_schema in names]
        starts = [
            min(at for at in (chunk.dictionary_page_offset, chunk.data_page_offset) if at is not None)
            for chunk in wanted
        ]
        spans = [(at, at + chunk.total_compressed_size) for at, chunk in zip(starts, wanted, strict=True)]
        return _Pieces(size, pieces | dict(zip(starts, self._ranges(spans), strict=True)))


class _Pieces(io.BufferedIOBase):
    """A file of which some pieces are here."""

    def __init__(self, size: int, pieces: dict[int, bytes]) -> None:
        self._size = size
        self._pieces = pieces
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        return self._at

    def tell(self) -> int:
        return self._at

    def read(self, size: int | None = -1) -> bytes:
        end = self._size if size is None or size < 0 else min(self._size, self._at + size)
        start, self._at = self._at, end
        for at, piece in self._pieces.items():
            if at <= start and end <= at + len(piece):
                return piece[start - at : end - at]
        raise OSError(f"bytes {start} to {end} were not asked for")
