"""Libraries that only fits need, imported when the first one happens."""

from __future__ import annotations

import importlib
import importlib.util
from typing import Any

from vpcore import PluginError


def check(library: str, signal: str) -> None:
    """Raise `PluginError` if a library is not installed, without importing it."""
    if importlib.util.find_spec(library) is None:
        raise PluginError(
            f"Signal '{signal}' needs {library}, which is not installed. Run: pip install 'vpcore-signals-ml[models]'"
        )


def require(library: str) -> Any:
    """Return a library."""
    return importlib.import_module(library)
