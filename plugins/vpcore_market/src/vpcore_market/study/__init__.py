"""The size-and-power study: whether the figures against luck keep their word, where the truth is known."""

from vpcore_market.study.plan import Study, World, worlds
from vpcore_market.study.run import StudyProgress, run_study

__all__ = ["Study", "StudyProgress", "World", "run_study", "worlds"]
