"""Where runs are reported beside the results store. A tracker that fails loses nothing: results are stored first."""

from __future__ import annotations

from vpcore.tracker.none import NoTracker
from vpcore.tracker.protocol import Tracker

__all__ = ["NoTracker", "Tracker"]
