"""Where the lake's files live: the `Storage` protocol and local files."""

from __future__ import annotations

from vpcore.storage.folder import Folder
from vpcore.storage.local import LocalStorage
from vpcore.storage.protocol import MANIFEST, Stage, Stat, Storage, check_key

__all__ = ["MANIFEST", "Folder", "LocalStorage", "Stage", "Stat", "Storage", "check_key"]
