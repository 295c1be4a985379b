"""The highest layer: which signals, parameters and barriers are tried on a serving spec's sessions."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from typing import Annotated, Any, Literal, get_args

from pydantic import BeforeValidator, Field, PrivateAttr, field_validator, model_validator

from vpcore.axes import axis_values
from vpcore.backtest.cache import KEEP_MB
from vpcore.backtest.config import EvalConfig
from vpcore.backtest.cross_validation import IN_SAMPLE_METRICS
from vpcore.config.fields import Spec, SpecName
from vpcore.config.resolved import ExperimentConfig
from vpcore.config.sessions import Day, one_range
from vpcore.errors import ConfigError
from vpcore.sampler.designs import DESIGNS
from vpcore.signal import Extent

ALL_SIGNALS = "all"

Metric = Literal["net_pnl_ticks", "mean_pnl_ticks", "tp_rate", "tp_rate_lo", "events_per_hour", "n_signals", "n_eff"]
"""Figures of a row of which more is better."""

Axis = Annotated[tuple[Any, ...], Field(min_length=1), BeforeValidator(axis_values)]
"""Values written out, or a range: ``{from: 60, to: 480, step: 60}``, ``{log: [1e-3, 1], num: 7}``."""


class SelectSpec(Spec):
    """Which row of the results is the winner."""

    metric: Metric = Field("net_pnl_ticks", description="Figure by which rows are ranked, the highest first")
    min_signals: int = Field(
        5, ge=0, le=1_000_000, description="Rows with fewer signals are not ranked; they are stored all the same"
    )


class SampleSpec(Spec):
    """Which combinations of the axes are tried."""

    method: str = Field(
        "grid",
        description="grid: all; random: n of them; lhs: n of a Latin hypercube, each axis covered evenly; or the name "
        "of another sampler, see `vp plugins`: n, each round proposed from the results of the rounds before",
    )
    n: int | None = Field(
        None, ge=1, le=100_000, description="Combinations of scoring and parameters per signal; not with grid"
    )
    seed: int = Field(0, ge=0, le=2**32 - 1, description="Another number chooses other combinations")
    round: int | None = Field(
        None,
        ge=1,
        le=10_000,
        description="Combinations per signal proposed at a time; not with grid, random, lhs; default 16",
    )

    @model_validator(mode="after")
    def _n_belongs_to_a_sample(self) -> SampleSpec:
        if self.method == "grid" and self.n is not None:
            raise ValueError(
                f"must be left out with method grid, which tries everything, n was {self.n}. Or write method: lhs."
            )
        if self.method != "grid" and self.n is None:
            raise ValueError(
                f"must be grid unless the number of combinations is said, method was {self.method}. Add n: 50."
            )
        if not self.adaptive and self.round is not None:
            raise ValueError(
                f"round must be left out with method {self.method}, which proposes nothing, was {self.round}."
            )
        return self

    @property
    def adaptive(self) -> bool:
        """True if results decide the next combinations."""
        return self.method not in DESIGNS

    @property
    def at_a_time(self) -> int:
        """Combinations that an adaptive sampler proposes at a time."""
        return self.round if self.round is not None else 16


class SweepSpec(Spec):
    """Axes: every combination of their values is tried, or a sample of them."""

    pipeline: dict[str, Axis] = Field(
        default_factory=dict,
        description="Engine parameters and their values: a dataset per combination and session, never sampled",
    )
    scoring: dict[str, Axis] = Field(
        default_factory=dict, description="Settings of the scorer and their values; for the signals that read the score"
    )
    per_signal: dict[str, dict[str, Axis]] = Field(
        default_factory=dict, description="Signal, its parameters and their values"
    )
    sample: SampleSpec = Field(SampleSpec(), description="Which combinations of these axes are tried")

    @model_validator(mode="after")
    def _datasets_are_known_beforehand(self) -> SweepSpec:
        if self.pipeline and self.sample.adaptive:
            raise ValueError(
                f"sample.method must be {', '.join(DESIGNS)} or grid with sweep.pipeline, was {self.sample.method}, "
                "which proposes combinations for one engine. Leave sweep.pipeline out, or write method: lhs."
            )
        return self


class ParallelSpec(Spec):
    """Who does the work."""

    executor: str | None = Field(
        None, description="Name of an executor, see `vp plugins`; default: the executor of configs/workspace.yaml"
    )
    max_workers: int | None = Field(
        None, ge=1, le=4096, description="Processes; default: those of configs/workspace.yaml, else one per core"
    )
    keep_mb: int = Field(
        KEEP_MB,
        ge=1,
        le=1_000_000,
        description="What a worker keeps of what runs share, the least recently used out first",
    )
    timeout_seconds: float | None = Field(
        None,
        gt=0,
        le=1_000_000,
        allow_inf_nan=False,
        description="Time that a run may take, seconds; a run that takes longer fails. Not in threads of a cluster",
    )
    options: dict[str, Any] = Field(
        default_factory=dict, description="Options of the executor; dask has `address`, of a scheduler"
    )


TrackedFile = Literal["report", "models", "diagnostics"]


class TrackingSpec(Spec):
    """Where runs are reported beside the results store."""

    backend: str | None = Field(
        None, description="Name of a tracker, see `vp plugins`; default: the tracker of configs/workspace.yaml"
    )
    experiment_name: str | None = Field(None, min_length=1, description="Name there; default: vp/<name>")
    tags: dict[str, str] = Field(default_factory=dict, description="Tags of every run")
    files: tuple[TrackedFile, ...] = Field(
        get_args(TrackedFile),
        description="What a tracker that takes files is given; the report takes seconds to make",
    )


class ReserveSpec(Spec):
    """What is kept back from research: no run, table, report or plot shows a trade in it until rows are confirmed."""

    share: float | None = Field(
        None, gt=0.0, le=0.9, allow_inf_nan=False, description="Last part of every session; or `dates`"
    )
    dates: tuple[datetime.date, ...] | None = Field(
        None, min_length=1, description="Local dates of whole sessions of this experiment; or `share`"
    )
    confirmations: int = Field(
        5, ge=1, le=100, description="Rows that may be confirmed; each p-value is multiplied by this number"
    )

    @model_validator(mode="after")
    def _one_of_two(self) -> ReserveSpec:
        if (self.share is None) == (self.dates is None):
            raise ValueError("must be a share or dates, and not both: {share: 0.3}, or {dates: [2024-03-15]}.")
        return self


class ExperimentSpec(Spec):
    """Signals x scoring x parameters x cooldown x take-profit x stop over the sessions of one serving spec."""

    name: SpecName = Field(description="Name of the file without .yaml")
    description: str = Field("", max_length=10_000, description="What it is for, for listings and reports")
    serving: str = Field(min_length=1, description="Name of a serving spec")
    pipelines: tuple[str, ...] | None = Field(
        None, min_length=1, description="Names of pipelines to evaluate on; default: the serving spec's"
    )
    dates: tuple[Day, ...] | None = Field(
        None,
        min_length=1,
        description="Days to evaluate them on: 2024-03-14, {date: 2024-03-18, symbol: ESM4}, or the open days of "
        "{from: 2024-01-02, to: 2024-03-28}; default: their own",
    )
    signals: tuple[str, ...] | None = Field(
        None, min_length=1, description="Names of signals, or 'all'; default: the one of the serving spec"
    )
    eval: EvalConfig = Field(EvalConfig(), description="From signal to trades; lists are axes")
    select: SelectSpec = Field(SelectSpec(), description="Which row is the winner")
    reserve: ReserveSpec | None = Field(None, description="What is kept back for `vp confirm`; default: nothing")
    sweep: SweepSpec = Field(SweepSpec(), description="Axes of scoring and signal parameters")
    parallel: ParallelSpec = Field(ParallelSpec(), description="Who does the work")
    tracking: TrackingSpec = Field(TrackingSpec(), description="Where runs are reported")
    diagnostics: Extent = Field(
        "basic",
        description="What is kept about learning signals beside their rows; full: also what shuffling a feature costs",
    )

    _resolver: Callable[[ExperimentSpec], ExperimentConfig] | None = PrivateAttr(default=None)

    @field_validator("dates", mode="before")
    @classmethod
    def _one_range_is_a_list(cls, value: Any) -> Any:
        return one_range(value)

    @field_validator("signals", "pipelines", mode="before")
    @classmethod
    def _one_is_a_list(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value

    @field_validator("signals")
    @classmethod
    def _each_once(cls, value: tuple[str, ...] | None) -> tuple[str, ...] | None:
        for name in value or ():
            if value is not None and value.count(name) > 1:
                raise ValueError(f"must name every signal once, '{name}' stands there twice.")
        if value is not None and ALL_SIGNALS in value and len(value) > 1:
            raise ValueError(f"must be '{ALL_SIGNALS}' alone or names of signals, was {', '.join(value)}.")
        return value

    @model_validator(mode="after")
    def _searched_in_sample(self) -> ExperimentSpec:
        splits = self.eval.splits
        if self.sweep.sample.adaptive and splits is not None and not splits.keeps_a_part_to_choose_on:
            raise ValueError(
                f"sweep.sample.method {self.sweep.sample.method} needs a part of the time on which nothing is judged, "
                f"eval.splits was {splits.method}, which judges on all of it. Write eval.splits: {{method: holdout}}, "
                "or method: lhs."
            )
        return self

    @model_validator(mode="after")
    def _chosen_in_sample(self) -> ExperimentSpec:
        if self.eval.splits is not None and self.select.metric not in IN_SAMPLE_METRICS:
            raise ValueError(
                f"select.metric must be one that is known of a part of the time, with eval.splits, was "
                f"{self.select.metric}: {', '.join(IN_SAMPLE_METRICS)}."
            )
        return self

    def to_harness_config(self) -> ExperimentConfig:
        """Return the flat configuration that the runner takes: every reference, default and axis resolved.

        Raises
        ------
        ConfigError, PluginError
            If a reference, a parameter or an axis is wrong, or the spec has no workspace.
        """
        if self._resolver is None:
            raise ConfigError(
                f"Experiment '{self.name}' belongs to no workspace. "
                f"Get it from one: workspace.experiment('{self.name}')."
            )
        return self._resolver(self)
