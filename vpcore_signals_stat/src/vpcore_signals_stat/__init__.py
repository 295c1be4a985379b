"""Statistical signals for vpcore, and the registry of features that they share with learning signals."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vpcore_signals_stat.features import feature_table, registered

__all__ = ["feature_table", "registered"]


def __getattr__(name: str) -> Any:  # imported on first use: the plugin module is read at every start
    if name not in __all__:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    return getattr(import_module(f"{__name__}.features"), name)
