"""Where things that can be computed again are kept between processes."""

from __future__ import annotations

import os
import tempfile
from functools import cache
from pathlib import Path


@cache
def writable_cache(name: str) -> Path | None:
    """Return a writable folder called `name`, or None.

    It lies in ``NUMBA_CACHE_DIR`` if that is set, else in the user's cache directory, else beside the temporary files.
    """
    base = os.environ.get("NUMBA_CACHE_DIR")
    candidates = [Path(base)] if base else []
    home_cache = os.environ.get("XDG_CACHE_HOME")
    try:
        candidates.append(Path(home_cache) if home_cache else Path.home() / ".cache")
    except RuntimeError:  # no home directory
        pass
    candidates.append(Path(tempfile.gettempdir()) / f"vpcore-cache-{os.getuid() if hasattr(os, 'getuid') else 0}")
    for candidate in candidates:
        folder = candidate / name
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError:
            continue
        if os.access(folder, os.W_OK):
            return folder
    return None
