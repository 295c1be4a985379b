"""No tracking beyond the results store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


class NoTracker:
    """Reports nothing. Parameters as in `vpcore.tracker.Tracker`."""

    def __init__(self, *, folder: Path, experiment_name: str, tags: Mapping[str, str]) -> None:
        """Take what every tracker takes."""

    def log_run(self, meta: Mapping[str, Any], rows: Sequence[Mapping[str, Any]], select_metric: str) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""
