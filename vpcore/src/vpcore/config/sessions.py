"""Sessions of an experiment: one pipeline, several, or one on several days."""

from __future__ import annotations

import datetime
import itertools
from collections.abc import Callable, Sequence
from typing import Annotated, Any, ClassVar

from pydantic import BeforeValidator, Field

from vpcore.backtest.cross_validation import SplitSpec
from vpcore.config.fields import Spec
from vpcore.config.loader import Document
from vpcore.config.pipeline import PipelineSpec, ResolvedPipeline
from vpcore.errors import ConfigError


class DaySpec(Spec):
    """A day of a pipeline's evaluation, with its changes: after a roll, the contract."""

    spoken: ClassVar[str] = "date"

    date: datetime.date = Field(description="Local date of the start")
    symbol: str | None = Field(None, min_length=1, max_length=40, description="Contract of that day")
    files: tuple[str, ...] | None = Field(None, min_length=1, description="Files of that day, as in capture.files")


def _day(value: Any) -> Any:
    return {"date": value} if isinstance(value, (str, datetime.date)) else value


Day = Annotated[DaySpec, BeforeValidator(_day, json_schema_input_type=datetime.date | DaySpec)]
"""``2024-03-14``, or ``{date: 2024-03-18, symbol: ESM4}``."""


def resolve_sessions(
    bases: Sequence[tuple[PipelineSpec, str]],
    days: Sequence[DaySpec] | None,
    served: ResolvedPipeline,
    resolve: Callable[[PipelineSpec, str], ResolvedPipeline],
    document: Document,
) -> tuple[tuple[ResolvedPipeline, str], ...]:
    """Return the sessions of an experiment, in order of time, each with its place in the spec.

    Parameters
    ----------
    bases : sequence of (PipelineSpec, place)
        The pipelines and their places in the experiment.
    days : sequence of DaySpec or None
        The days of each pipeline; None for its own day.
    served : ResolvedPipeline
        Pipeline of the serving spec. A promoted version runs on it, so all sessions must share its instrument and
        engine.
    resolve : callable
        Resolves a pipeline spec; the text is where the experiment asks for it.
    document : Document
        The experiment, for messages.

    Raises
    ------
    ConfigError
        If a pipeline has another instrument or engine, two sessions overlap, or a pipeline on other days names files.
    """
    found: list[tuple[ResolvedPipeline, str]] = []
    for spec, place in bases:
        for i, day in enumerate(days) if days is not None else [(0, None)]:
            where = place if day is None else document.place(("dates", i))
            one = spec if day is None else on_day(spec, day, where)
            found.append((resolve(one, where), where))
    for session, where in found:
        _check_same(session, served, where)
    found.sort(key=lambda pair: (pair[0].start_ns, pair[0].end_ns))
    for (first, _), (second, where) in itertools.pairwise(found):
        if first.dataset_id() == second.dataset_id():
            raise ConfigError(
                f"The session {first.dataset_id()} is named twice{_in(where)}. Name it once: what is counted twice "
                "proves nothing more."
            )
        if second.start_ns < first.end_ns:
            raise ConfigError(
                f"The sessions {first.dataset_id()} and {second.dataset_id()} overlap in time{_in(where)}. What "
                "happens at the same time is not two pieces of evidence: leave one out, or give it its own experiment."
            )
    return tuple(found)


def check_splits(splits: SplitSpec | None, n_sessions: int, document: Document) -> None:
    """Refuse splits by session that need more sessions."""
    if splits is None or splits.by != "session":
        return
    try:
        splits.folds(n_sessions)
    except ValueError as error:
        where = _in(document.where(("eval", "splits")))
        raise ConfigError(f"eval.splits by session {error}{where} See pipelines and dates.") from None


def on_day(spec: PipelineSpec, day: DaySpec, where: str) -> PipelineSpec:
    """Return a pipeline spec on another day, with the contract and the files of that day.

    Raises
    ------
    ConfigError
        If the pipeline names its files and the day lacks them.
    """
    capture = spec.capture
    symbol = day.symbol or capture.symbol
    same = (day.date, symbol) == (capture.date, capture.symbol)
    if capture.files is not None and day.files is None and not same:
        raise ConfigError(
            f"Pipeline '{spec.name}' names its files (capture.files), which are those of {capture.date}; the "
            f"experiment asks for {day.date}{_in(where)}. Write {{date: {day.date}, files: [...]}}, or "
            "leave capture.files out."
        )
    changes: dict[str, Any] = {"date": day.date, "symbol": symbol}
    if day.files is not None:
        changes["files"] = day.files
    return spec.model_copy(update={"capture": capture.model_copy(update=changes)})


def _check_same(session: ResolvedPipeline, served: ResolvedPipeline, where: str) -> None:
    if session.instrument.root != served.instrument.root:
        raise ConfigError(
            f"All sessions of an experiment must be of one instrument, the serving spec's {served.instrument.root}: "
            f"{session.dataset_id()} is of {session.instrument.root}{_in(where)}. Make it an experiment of its own."
        )
    here, there = session.params.model_dump(), served.params.model_dump()
    for name in here:
        if here[name] != there[name]:
            raise ConfigError(
                f"All sessions of an experiment must have the engine of the serving spec's pipeline '{served.name}': "
                f"pipeline.{name} is {here[name]} in '{session.name}' and {there[name]} there{_in(where)}. Make it "
                "the same, or an experiment of its own."
            )


def _in(place: str) -> str:
    return f" ({place})" if place else ""
