"""The flat configuration of an experiment, which is made from the three layers and never written by hand."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from vpcore.config.pipeline import ResolvedPipeline
from vpcore.errors import ConfigError
from vpcore.evaluation import EvalConfig
from vpcore.projection import ProjectionConfig
from vpcore.scoring import ScoringConfig
from vpcore.signal import Extent

KEEP_MB = 1024
"""What one worker keeps of what runs share, unless `parallel.keep_mb` says otherwise."""


class SignalPlan(BaseModel):
    """One signal of an experiment and the parameter sets to run it with."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    reads_score: bool
    """Whether it reads the score: then every scoring of the experiment is a run of its own."""
    params: tuple[dict[str, Any], ...]
    """Every parameter of the signal in every set, defaults applied, as JSON holds them."""
    sampled: tuple[tuple[int, int], ...] | None = None
    """Which (scoring, parameter set) are tried, by their indices; all of them if None. The index of the scoring is 0
    for a signal that does not read the score."""


class ExperimentConfig(BaseModel):
    """What the runner takes: nothing in it has to be looked up."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    serving_name: str
    pipeline: ResolvedPipeline
    """The serving spec's: what a promoted version runs on."""
    sessions: tuple[ResolvedPipeline, ...]
    """What is evaluated on, in order of time, without overlap; often `pipeline` alone."""
    session_places: tuple[str, ...] = ()
    """Where the experiment asks for each of them, for messages."""
    projection: ProjectionConfig
    scorings: tuple[ScoringConfig, ...]
    signals: tuple[SignalPlan, ...]
    eval: EvalConfig
    select_metric: str
    min_signals: int
    executor: str
    max_workers: int | None
    keep_mb: int = KEEP_MB
    executor_options: dict[str, Any] = Field(default_factory=dict)
    tracker: str
    tracking_experiment: str
    tags: dict[str, str]
    tracking_files: tuple[str, ...] = ()
    """Kinds of files that a tracker is given, of ``report``, ``models`` and ``diagnostics``."""
    diagnostics: Extent

    @property
    def dataset_ids(self) -> tuple[str, ...]:
        """Ids of the datasets of the sessions, in order of time."""
        return tuple(session.dataset_id() for session in self.sessions)

    @property
    def dataset_id(self) -> str:
        """Id of the dataset of an experiment on one session.

        Raises
        ------
        ConfigError
            If there are several.
        """
        if len(self.sessions) != 1:
            raise ConfigError(
                f"Experiment '{self.name}' has {len(self.sessions)} sessions and no single dataset: "
                f"{', '.join(self.dataset_ids)}."
            )
        return self.sessions[0].dataset_id()

    @property
    def ranked_by(self) -> str:
        """What rows are ranked by: the figure of `select`, or it in-sample where the end of the time is kept."""
        splits = self.eval.splits
        return "in_sample" if splits is not None and splits.method == "holdout" else self.select_metric

    def scorings_of(self, signal: SignalPlan) -> tuple[ScoringConfig | None, ...]:
        """Return the scorings to run a signal with; ``(None,)`` for one that does not read the score."""
        return self.scorings if signal.reads_score else (None,)

    def points_of(self, signal: SignalPlan) -> tuple[tuple[dict[str, Any], ScoringConfig | None], ...]:
        """Return the (parameters, scoring) to run a signal with: all combinations, or those of the sample."""
        scorings = self.scorings_of(signal)
        if signal.sampled is None:
            return tuple((params, scoring) for params in signal.params for scoring in scorings)
        return tuple((signal.params[j], scorings[i]) for i, j in signal.sampled)

    @property
    def n_runs(self) -> int:
        """Number of runs: (dataset, scoring, signal with parameters)."""
        return len(self.sessions) * sum(len(self.points_of(signal)) for signal in self.signals)
