"""The default tracker: reports stay in the results store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from vpcore.tracker.protocol import Tracker


class NoTracker(Tracker):
    """Discards every report. Parameters as in `vpcore.tracker.Tracker`."""

    def log_run(self, meta: Mapping[str, Any], rows: Sequence[Mapping[str, Any]], select_metric: str) -> None:
        """Discard it."""
