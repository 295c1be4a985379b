"""Where things that can be computed again are kept between processes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path


@cache
def writable_cache(name: str) -> Path | None:
    """Return a writable folder called `name`, or None.

    It lies in ``NUMBA_CACHE_DIR`` if that is set, else in the user's cache directory, else beside the temporary files.
    """
    for candidate in _candidates():
        folder = candidate / name
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError:
            continue
        if os.access(folder, os.W_OK):
            return folder
    return None


def _candidates() -> Iterator[Path]:
    if base := os.environ.get("NUMBA_CACHE_DIR"):
        yield Path(base)
    try:
        home_cache = os.environ.get("XDG_CACHE_HOME")
        yield Path(home_cache) if home_cache else Path.home() / ".cache"
    except RuntimeError:  # no home directory
        pass
    import tempfile  # 3 ms that most processes save

    yield Path(tempfile.gettempdir()) / f"vpcore-cache-{os.getuid() if hasattr(os, 'getuid') else 0}"
