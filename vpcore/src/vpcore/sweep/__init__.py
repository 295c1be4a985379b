"""Experiments: from axes to runs, to work that is shared, to stored results."""

from __future__ import annotations

from vpcore.sweep.expand import Run, expand
from vpcore.sweep.keeper import SweepReport
from vpcore.sweep.plan import Plan, make_plan
from vpcore.sweep.progress import Best, SweepProgress
from vpcore.sweep.run import expand_sessions, harness_config, plan_experiment, run_experiment
from vpcore.sweep.search import with_proposals
from vpcore.sweep.track import TrackReport, track_experiment

__all__ = [
    "Best",
    "Plan",
    "Run",
    "SweepProgress",
    "SweepReport",
    "TrackReport",
    "expand",
    "expand_sessions",
    "harness_config",
    "make_plan",
    "plan_experiment",
    "run_experiment",
    "track_experiment",
    "with_proposals",
]
