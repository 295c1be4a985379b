"""Datasets of a remote storage, copied to this machine at their first opening."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from vpcore.canonical import digest
from vpcore.dataset.manifest import CHECKSUMS_FILE
from vpcore.dataset.verify import verify_files
from vpcore.errors import DatasetError
from vpcore.storage import LocalStorage
from vpcore.storage.protocol import Storage


def mirrored(storage: Storage, prefix: str, dataset_id: str) -> Path:
    """Return the folder of a local copy of a dataset. A missing or outdated copy is made again.

    Columns are mapped from files, so there have to be some. Copies are shared by all processes of a user, below the
    cache directory (``XDG_CACHE_HOME``, ``~/.cache``), and may be deleted at any time.

    Parameters
    ----------
    storage : Storage
        Where the dataset is; its ``repr`` says which storage it is.
    prefix, dataset_id : str
        Its key.

    Raises
    ------
    DatasetError
        If the copy contradicts its checksums.
    StorageError
        If the storage fails, lacks the dataset, or writing the copy fails.
    """
    key = f"{prefix}/{dataset_id}"
    wanted = storage.read(f"{key}/{CHECKSUMS_FILE}")
    copies = LocalStorage(_cache_home() / "vpcore-datasets" / digest(repr(storage))[:16])
    folder = copies.local_path(key)
    if folder.is_dir():
        if copies.exists(f"{key}/{CHECKSUMS_FILE}") and copies.read(f"{key}/{CHECKSUMS_FILE}") == wanted:
            return folder
        shutil.rmtree(folder)
    with copies.stage(key) as stage:
        for file in storage.list(key):
            (stage.path / file.removeprefix(f"{key}/")).write_bytes(storage.read(file))
        report = verify_files(stage.path)
        if not report.ok:
            bad = ", ".join(check.name for check in report.files if check.status != "ok")
            raise DatasetError(f"Dataset '{dataset_id}' did not arrive from {storage!r} as it was written: {bad}.")
        copies.commit(key, stage)
    return folder


def _cache_home() -> Path:
    chosen = os.environ.get("XDG_CACHE_HOME")
    try:
        return Path(chosen) if chosen else Path.home() / ".cache"
    except RuntimeError:  # no home directory
        return Path(tempfile.gettempdir())
