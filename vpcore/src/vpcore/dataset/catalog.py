"""`DatasetRegistry`: the datasets of a lake."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vpcore.dataset.manifest import BINS_FILE, DATASETS_PREFIX, GRID_FILE, MANIFEST_FILE, read_json, require_whole
from vpcore.errors import DatasetError, did_you_mean, listed
from vpcore.storage import Folder
from vpcore.storage.protocol import Storage, check_key

if TYPE_CHECKING:
    from vpcore.dataset.dataset import Dataset
    from vpcore.dataset.local_copy import FarFile
    from vpcore.dataset.reserve import Reserves


@dataclass(frozen=True, slots=True)
class DatasetInfo:
    """Entry of a dataset in a listing.

    Attributes
    ----------
    first_ns, last_ns : int
        Start of the first and end of the last bin, ns UTC.
    valid_bins : int
        Bins with a valid book.
    size_bytes : int
        Of all files.
    created : datetime
        When the manifest was written, UTC.
    """

    dataset_id: str
    symbol: str
    first_ns: int
    last_ns: int
    n_bins: int
    valid_bins: int
    size_bytes: int
    created: datetime.datetime

    @property
    def valid_share(self) -> float:
        """Share of the bins with a valid book."""
        return self.valid_bins / self.n_bins if self.n_bins else 0.0


class DatasetRegistry:
    """Lists and opens datasets.

    Parameters
    ----------
    storage : Storage
        The lake.
    prefix : str
        Folder of the datasets in it.
    reserves : Reserves, optional
        By default those in the ledger of the lake on this machine.
    """

    def __init__(self, storage: Storage, prefix: str = DATASETS_PREFIX, reserves: Reserves | None = None) -> None:
        self.storage = storage
        self.reserves = reserves
        self.prefix = check_key(prefix)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, DatasetRegistry) and hash(self) == hash(other)

    def __hash__(self) -> int:
        return hash((repr(self.storage), self.prefix))

    def ids(self) -> list[str]:
        """Return the sorted ids of the complete datasets."""
        depth = self.prefix.count("/") + 1
        parts = (key.split("/")[depth:] for key in self.storage.list(self.prefix))
        return sorted(part[0] for part in parts if len(part) == 2 and part[1] == MANIFEST_FILE)

    def exists(self, dataset_id: str) -> bool:
        """Return True if the complete dataset exists."""
        return self.storage.exists(f"{self.prefix}/{dataset_id}/{MANIFEST_FILE}")

    def path(self, dataset_id: str) -> Path:
        """Return the folder of a dataset, existing or future; for a remote storage the folder of a local copy.

        Raises
        ------
        DatasetError, StorageError
            If copying fails; see `vpcore.dataset.local_copy`.
        """
        path = self.storage.local_path(f"{self.prefix}/{dataset_id}")
        if path is None:
            from vpcore.dataset.local_copy import local_copy  # for storages that are not this machine's

            path = local_copy(self.storage, self.prefix, dataset_id)
        return path

    def read(self, dataset_id: str, file: str) -> bytes | None:
        """Return the bytes of a dataset's small file, or None if it is missing."""
        return Folder(self.storage, f"{self.prefix}/{dataset_id}").get(file)

    def manifest(self, dataset_id: str) -> dict[str, Any]:
        """Return the content of a dataset's manifest; `dataset_id` as in `find`.

        Raises
        ------
        DatasetError
            If the manifest was changed since it was written.
        """
        dataset_id = self.find(dataset_id)
        path = self._folder(dataset_id, (MANIFEST_FILE,))[0] / MANIFEST_FILE
        require_whole(path, dataset_id)
        return read_json(path, dataset_id)

    def _folder(
        self, dataset_id: str, names: Sequence[str] = (MANIFEST_FILE, BINS_FILE)
    ) -> tuple[Path, FarFile | None]:
        """Return a folder with a dataset's small files, and where its grid is read if another machine has it."""
        path = self.storage.local_path(f"{self.prefix}/{dataset_id}")
        if path is not None:
            return path, None
        from vpcore.dataset.local_copy import FarFile, local_copy

        path = local_copy(self.storage, self.prefix, dataset_id, names)
        grid = FarFile(self.storage, f"{self.prefix}/{dataset_id}/{GRID_FILE}")
        return path, None if (path / GRID_FILE).is_file() else grid

    def open(self, dataset_id: str, *, cache_dir: str | Path | None = None) -> Dataset:
        """Open a dataset; `dataset_id` as in `find`. It ends where a reserve begins. See `Dataset.open`."""
        from vpcore.dataset.dataset import Dataset  # pyarrow: not for a listing

        path, grid = self._folder(self.find(dataset_id))
        return Dataset.open(path, cache_dir=cache_dir, reserves=self.reserves, grid=grid)

    def open_whole(self, dataset_id: str, *, cache_dir: str | Path | None = None) -> Dataset:
        """Open a dataset by its id, with its reserved bins. See `vpcore.dataset.dataset.open_whole`."""
        from vpcore.dataset.dataset import open_whole

        path, grid = self._folder(dataset_id)
        return open_whole(path, cache_dir=cache_dir, grid=grid)

    def find(self, name: str) -> str:
        """Return the id of a dataset, given its id, an unambiguous beginning of the id, or the name of its pipeline.

        Raises
        ------
        DatasetError
            If no dataset or several datasets match; the message lists them.
        """
        if name and "/" not in name and self.exists(name):
            return name
        ids = self.ids()
        found = [item for item in ids if name and item.startswith(name)]
        found = found or [item for item in ids if item.split("__")[1:2] == [name]]
        if len(found) == 1:
            return found[0]
        if found:
            raise DatasetError(f"'{name}' matches {len(found)} datasets: {listed(found)}", fix="Write more of the id.")
        there = f"Datasets: {listed(ids)}." if ids else "The lake has no dataset yet. Make one: vp generate PIPELINE"
        raise DatasetError(f"No dataset is called '{name}'", fix=f"{did_you_mean(name, ids)} {there}")

    def info(self, dataset_id: str) -> DatasetInfo:
        """Return the listing entry of one dataset."""
        manifest = self.manifest(dataset_id)
        stats = {key: self.storage.stat(key) for key in self.storage.list(f"{self.prefix}/{manifest['dataset_id']}")}
        size = sum(stat.size for stat in stats.values() if stat is not None)
        n_bins = int(manifest["shape"]["n_bins"])
        stat = stats[f"{self.prefix}/{manifest['dataset_id']}/{MANIFEST_FILE}"]
        made = 0.0 if stat is None else stat.changed_ns / 1e9
        return DatasetInfo(
            dataset_id=dataset_id,
            symbol=manifest.get("symbol", ""),
            first_ns=manifest.get("first_ns", 0),
            last_ns=manifest.get("last_ns", 0),
            n_bins=n_bins,
            valid_bins=int(manifest.get("valid_bins", 0)),
            size_bytes=size,
            created=datetime.datetime.fromtimestamp(made, datetime.UTC).replace(microsecond=0),
        )
