"""Fitted models: files beside the results of a run. Only the signal interprets them (`MLSignal.save_model`)."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

from vpcore.errors import SignalError
from vpcore.signal.base import MLSignal
from vpcore.storage import Folder

MODELS = "models"
"""Folder of the fitted models, beside the results."""

Place = TypeVar("Place", Path, Folder)


def model_folder(root: Place, run_id: str, tp_ticks: int, sl_ticks: int) -> Place:
    """Return the folder of the model of a run; the labels, and so the model, depend on the barriers."""
    return root / run_id / f"tp{tp_ticks}_sl{sl_ticks}"


def keep_model(signal: MLSignal, state: Any, folder: Path | Folder) -> bool:
    """Write the fitted model of a state into a new folder, atomically; return False without a fitted model.

    Parameters
    ----------
    signal : MLSignal
        The signal, for its `save_model`.
    state : object
        The signal's state after the last bin; None if `compute` returned values alone.
    folder : Path or Folder
        Destination. An existing folder is replaced.
    """
    if state is None:
        return False
    place = Folder.of(folder)
    with place.storage.stage(place.key) as stage:
        try:
            signal.save_model(state, stage.path)
        except SignalError:  # nothing was fitted: the session was too short, or its trades too few
            return False
        # Another worker, with the same run and so the same bytes, may be quicker.
        place.storage.commit(place.key, stage, min(path.name for path in stage.path.iterdir()), replace=True)
    return True
