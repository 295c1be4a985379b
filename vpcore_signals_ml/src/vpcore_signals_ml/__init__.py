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
_HOMES = {
    "LearningParams": "vpcore_signals_ml.schedule",
    "LearningSignal": "vpcore_signals_ml.learning",
    "Training": "vpcore_signals_ml.selection",
    "ValidatedParams": "vpcore_signals_ml.schedule",
    "registered": "vpcore_signals_stat.features",
}


def __getattr__(name: str) -> Any:  # imported on first use: the plugin module is read at every start
    if name not in _HOMES:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    return getattr(import_module(_HOMES[name]), name)
