"""A storage whose files are not this machine's: what it holds can only be read."""

from __future__ import annotations

from typing import Any

from vpcore.storage import LocalStorage, Storage


class FarStorage(LocalStorage):
    """As a bucket would be: no path leads to its keys. `damage` is put in front of every Parquet file that is read."""

    damage = b""

    def __repr__(self) -> str:
        return f"FarStorage({str(self.root)!r})"

    def local_path(self, key: str) -> Any:
        return None

    @property
    def cache(self) -> Any:
        return Storage.cache.fget(self)  # type: ignore[attr-defined]

    def ranges(self, key: str, spans: Any) -> Any:
        damage = self.damage if key.endswith(".parquet") else b""
        return [damage + part for part in super().ranges(key, spans)]
