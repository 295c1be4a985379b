"""Where the lake's files live: the `Storage` protocol and local files."""

from __future__ import annotations

from vpcore.storage.local import LocalStorage
from vpcore.storage.protocol import MANIFEST, Stage, Storage, check_key

__all__ = ["MANIFEST", "LocalStorage", "Stage", "Storage", "check_key"]
