"""The flat configuration of an experiment, made from the three layers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, model_serializer

from vpcore.backtest.cache import KEEP_MB
from vpcore.backtest.config import EvalConfig
from vpcore.canonical import canonical_json
from vpcore.config.pipeline import ResolvedPipeline
from vpcore.dataset.reserve import Reserve
from vpcore.errors import ConfigError
from vpcore.projection import ProjectionConfig
from vpcore.sampler import Indices
from vpcore.scoring import ScoringConfig
from vpcore.signal import Extent


class Grid(BaseModel):
    """Parameters and the values that some of them may take."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    base: dict[str, Any]
    axes: dict[str, tuple[Any, ...]]

    def point(self, indices: Indices) -> dict[str, Any]:
        """Return the parameters with the values at some indices, one per axis."""
        return {**self.base, **{name: self.axes[name][i] for name, i in zip(self.axes, indices, strict=True)}}


class Search(BaseModel):
    """Combinations that are proposed on the way, a round of them from the results of the rounds before."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sampler: str = "optuna"
    n: int
    """How many are tried; less than there are."""
    seed: int
    round: int
    """How many are proposed at a time."""
    scoring: Grid
    """Without axes for a signal that does not read the score."""
    params: Grid

    @model_serializer(mode="wrap")
    def _without_the_first_sampler(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # Without the sampler as before there were others: hashes and kept proposals of searches with optuna stay.
        return {name: value for name, value in dump(self).items() if (name, value) != ("sampler", "optuna")}

    @property
    def axes(self) -> tuple[tuple[Any, ...], ...]:
        """Values of all axes, the scorer's first; a combination is an index into each."""
        return (*self.scoring.axes.values(), *self.params.axes.values())

    @property
    def n_points(self) -> int:
        """Number of combinations that there are."""
        return math.prod(len(values) for values in self.axes)

    def has(self, indices: Indices) -> bool:
        """Return True if it is one of the combinations."""
        return len(indices) == len(self.axes) and all(
            type(i) is int and 0 <= i < len(values) for i, values in zip(indices, self.axes, strict=True)
        )

    def point(self, indices: Indices) -> tuple[dict[str, Any], ScoringConfig]:
        """Return a combination as unchecked parameters and scoring."""
        first = len(self.scoring.axes)
        scoring = ScoringConfig.model_validate(self.scoring.point(indices[:first]))
        return self.params.point(indices[first:]), scoring


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
    search: Search | None = None
    """How its combinations are found, if not here: then `params` is empty and `sampled` None."""
    proposed: tuple[Indices, ...] = ()
    """Combinations of `search` that are known by now. What an experiment asks does not depend on them."""


class MarketName(NamedTuple):
    """A market: the root that names it, and a regular expression of the symbols of all its instruments."""

    root: str
    symbols: str


class KeptBack(BaseModel):
    """What an experiment keeps back from research."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    share: float | None = None
    """Last part of every session of the experiment."""
    sessions: tuple[ResolvedPipeline, ...] = ()
    """Whole sessions, which are evaluated by a confirmation only."""
    confirmations: int


class ExperimentConfig(BaseModel):
    """Input of the runner, with every reference resolved."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    description: str = ""
    serving_name: str
    pipeline: ResolvedPipeline
    """The serving spec's: what a promoted version runs on."""
    sessions: tuple[ResolvedPipeline, ...]
    """What is evaluated on, in order of time, without overlap; often `pipeline` alone."""
    session_places: tuple[str, ...] = ()
    """Where the experiment asks for each of them, for messages."""
    engines: tuple[ResolvedPipeline, ...] = ()
    """`pipeline` at every combination of `sweep.pipeline`; then `sessions` has the sessions of each, one after the
    other."""
    market: MarketName | None = None
    """The market of the instrument; by default the instrument alone."""
    projection: ProjectionConfig
    scorings: tuple[ScoringConfig, ...]
    signals: tuple[SignalPlan, ...]
    eval: EvalConfig
    kept_back: KeptBack | None = None
    select_metric: str
    min_signals: int
    executor: str
    max_workers: int | None
    keep_mb: int = KEEP_MB
    timeout_seconds: float | None = None
    executor_options: dict[str, Any] = Field(default_factory=dict)
    tracker: str
    tracking_experiment: str
    tags: dict[str, str]
    tracking_files: tuple[str, ...] = ()
    """Kinds of files that a tracker is given, of ``report``, ``models`` and ``diagnostics``."""
    diagnostics: Extent

    @property
    def dataset_ids(self) -> tuple[str, ...]:
        """Ids of the datasets of the sessions, in order of time for each engine."""
        return tuple(session.dataset_id() for session in self.sessions)

    @property
    def n_sessions(self) -> int:
        """Number of sessions; with `engines` each has several datasets."""
        return len(self.sessions) // max(1, len(self.engines))

    def by_engine(self) -> tuple[ExperimentConfig, ...]:
        """Return the experiment on each of `engines`; without them the experiment itself."""
        if not self.engines:
            return (self,)
        return tuple(self._on(engine) for engine in self.engines)

    def on_engine_of(self, dataset_id: str) -> ExperimentConfig:
        """Return the experiment on the engine of one of its datasets; without `engines` the experiment itself.

        Raises
        ------
        ConfigError
            If the dataset is none of the experiment.
        """
        if not self.engines:
            return self
        for session in self.sessions:
            if session.dataset_id() == dataset_id:
                return next(self._on(engine) for engine in self.engines if engine.params == session.params)
        raise ConfigError(f"Dataset {dataset_id} is none of experiment '{self.name}': {', '.join(self.dataset_ids)}.")

    def _on(self, engine: ResolvedPipeline) -> ExperimentConfig:
        mine = [i for i, session in enumerate(self.sessions) if session.params == engine.params]
        kept = self.kept_back
        if kept is not None:
            own = tuple(session for session in kept.sessions if session.params == engine.params)
            kept = kept.model_copy(update={"sessions": own})
        changes = {
            "pipeline": engine,
            "engines": (),
            "sessions": tuple(self.sessions[i] for i in mine),
            "session_places": tuple(self.session_places[i] for i in mine) if self.session_places else (),
            "kept_back": kept,
        }
        return self.model_copy(update=changes)

    def label_of(self, session: ResolvedPipeline) -> str:
        """Return the short name of a session: date and times, and the engine parameters that the experiment varies."""
        values = session.params.model_dump(mode="json")
        settings = (f"{name}={canonical_json(values[name]).decode()}" for name in self.engine_axes)
        return " ".join((session.label, *settings))

    @property
    def engine_axes(self) -> tuple[str, ...]:
        """The engine parameters that differ among `engines`."""
        names = type(self.pipeline.params).model_fields
        return tuple(name for name in names if len({getattr(engine.params, name) for engine in self.engines}) > 1)

    def end_bin(self, session: ResolvedPipeline) -> int | None:
        """Return the number of bins of a session before the experiment's own reserve; None for all of them."""
        if self.kept_back is None or self.kept_back.share is None:
            return None
        return math.floor(session.n_bins * (1.0 - self.kept_back.share))

    @property
    def reserve(self) -> Reserve | None:
        """What the experiment keeps back of its market."""
        if self.kept_back is None:
            return None
        windows = {(session.start_ns, session.end_ns) for session in self.kept_back.sessions}
        starts: dict[tuple[int, int], int] = {}
        for session in self.sessions:
            end = self.end_bin(session)
            if end is not None:
                # Bins of several widths end at several times: nothing before the last of them is kept back.
                window = (session.start_ns, session.end_ns)
                starts[window] = max(starts.get(window, 0), session.start_ns + end * session.width_ns)
        windows |= {(start, end_ns) for (_, end_ns), start in starts.items()}
        instrument = self.pipeline.instrument
        root, symbols = self.market or MarketName(instrument.root, instrument.symbols)
        return Reserve(root, symbols, tuple(sorted(windows)), self.kept_back.confirmations, self.name)

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
        """Figure that ranks rows: the figure of `select`, in-sample where the experiment holds out the end."""
        splits = self.eval.splits
        return "in_sample" if splits is not None and splits.method == "holdout" else self.select_metric

    def scorings_of(self, signal: SignalPlan) -> tuple[ScoringConfig | None, ...]:
        """Return the scorings of a signal; ``(None,)`` for a signal that ignores the score."""
        return self.scorings if signal.reads_score else (None,)

    def points_of(self, signal: SignalPlan) -> tuple[tuple[dict[str, Any], ScoringConfig | None], ...]:
        """Return the (parameters, scoring) of a signal: all, the sample, or the proposals so far."""
        if signal.search is not None:
            points = (signal.search.point(indices) for indices in signal.proposed)
            return tuple((params, scoring if signal.reads_score else None) for params, scoring in points)
        scorings = self.scorings_of(signal)
        if signal.sampled is None:
            return tuple((params, scoring) for params in signal.params for scoring in scorings)
        return tuple((signal.params[j], scorings[i]) for i, j in signal.sampled)

    @property
    def searched(self) -> bool:
        """True if a sampler proposes combinations from earlier results."""
        return any(plan.search is not None for plan in self.signals)

    def with_proposed(self, found: Mapping[str, Sequence[Indices]]) -> ExperimentConfig:
        """Return the configuration with other proposed combinations, by signal; a signal left out has zero."""
        signals = tuple(
            plan if plan.search is None else plan.model_copy(update={"proposed": tuple(found.get(plan.name, ()))})
            for plan in self.signals
        )
        return self.model_copy(update={"signals": signals})

    def with_executor(
        self, name: str | None = None, max_workers: int | None = None, options: Mapping[str, Any] | None = None
    ) -> ExperimentConfig:
        """Return the configuration with another executor, number of workers, or options over the present ones.

        An executor of another name takes none of the present options.

        Raises
        ------
        ConfigError
            If `max_workers` is below 1.
        """
        if max_workers is not None and max_workers < 1:
            raise ConfigError(f"The number of workers must be at least 1, was {max_workers}.")
        executor, workers = name or self.executor, self.max_workers if max_workers is None else max_workers
        given = {**(self.executor_options if executor == self.executor else {}), **(options or {})}
        return self.model_copy(update={"executor": executor, "max_workers": workers, "executor_options": given})

    @property
    def n_runs(self) -> int:
        """Number of runs: (dataset, scoring, signal with parameters)."""
        return len(self.sessions) * sum(len(self.points_of(signal)) for signal in self.signals)
