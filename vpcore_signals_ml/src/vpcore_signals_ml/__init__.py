"""Learning signals for vpcore, and the base class for your own: `LearningSignal`."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vpcore_signals_ml.learning import LearningSignal
    from vpcore_signals_ml.schedule import LearningParams, ValidatedParams
    from vpcore_signals_ml.selection import Training
    from vpcore_signals_stat.features import registered

__all__ = ["LearningParams", "LearningSignal", "Training", "ValidatedParams", "registered"]


def __getattr__(name: str) -> Any:  # imported on first use: the plugin module is read at every start
    if name not in __all__:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    home = "vpcore_signals_stat.features" if name == "registered" else f"{__name__}.learning"
    return getattr(import_module(home), name)
