"""Learning signals for vpcore, and the base class for your own: `LearningSignal`."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vpcore_signals_ml.features import feature_table, registered
    from vpcore_signals_ml.learning import LearningSignal
    from vpcore_signals_ml.schedule import LearningParams, ValidatedParams
    from vpcore_signals_ml.selection import Training

__all__ = ["LearningParams", "LearningSignal", "Training", "ValidatedParams", "feature_table", "registered"]
_HOMES = {
    "LearningParams": "schedule",
    "LearningSignal": "learning",
    "Training": "selection",
    "ValidatedParams": "schedule",
    "feature_table": "features",
    "registered": "features",
}


def __getattr__(name: str) -> Any:  # imported on first use: the plugin module is read at every start
    if name not in _HOMES:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
