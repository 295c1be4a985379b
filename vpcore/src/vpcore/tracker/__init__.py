"""Trackers report runs beside the results store. Results are stored first, so a failing tracker is harmless."""

from __future__ import annotations

from vpcore.tracker.none import NoTracker
from vpcore.tracker.protocol import Tracker

__all__ = ["NoTracker", "Tracker"]
