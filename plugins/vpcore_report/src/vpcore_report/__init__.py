"""An experiment or a run as one HTML file that needs nothing else: to be read, passed around and kept."""

from __future__ import annotations

from vpcore.experiment.row_facts import Facts, gather
from vpcore_report.write import write_report

__all__ = ["Facts", "gather", "write_report"]
