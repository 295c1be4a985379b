"""Libraries that only fits need: whether they are installed."""

from __future__ import annotations

import importlib.util

from vpcore import PluginError


def missing(library: str) -> str:
    """Return what is to be done if a library is not installed, empty if it is; it is not imported."""
    if importlib.util.find_spec(library) is not None:
        return ""
    return f"{library}, which is not installed. Run: pip install 'vpcore-signals-ml[models]'"


def check(library: str, signal: str) -> None:
    """Raise `PluginError` if a library is not installed."""
    needed = missing(library)
    if needed:
        raise PluginError(f"Signal '{signal}' needs {needed}")
