"""Sessions of an experiment: one pipeline, several, or one on several days."""

from __future__ import annotations

import datetime
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, model_validator

from vpcore.backtest.cross_validation import SplitSpec
from vpcore.config.clock import clock_ns, local_to_ns
from vpcore.config.closures import closures_of
from vpcore.config.fields import Spec
from vpcore.config.instruments import InstrumentSpec
from vpcore.config.loader import Document
from vpcore.config.pipeline import CaptureSpec, PipelineSpec, ResolvedPipeline
from vpcore.errors import ConfigError
from vpcore.halts import halts_between
from vpcore.units import NS_PER_S

MOST_DAYS = 4000
"""Most days of a range: more than the table of closures has."""

_WEEKEND_NS = 24 * 3600 * NS_PER_S


class DaySpec(Spec):
    """A day of a pipeline's evaluation, with its changes: after a roll, the contract. Or all open days of a range."""

    spoken: ClassVar[str] = "date"

    date: datetime.date | None = Field(None, description="Local date of the start; or `from` and `to`")
    symbol: str | None = Field(None, min_length=1, max_length=40, description="Contract of that day")
    files: tuple[str, ...] | None = Field(None, min_length=1, description="Files of that day, as in capture.files")
    from_: datetime.date | None = Field(None, alias="from", description="First day of a range: its open days")
    to: datetime.date | None = Field(None, description="Last day of the range, included")
    leave_out: tuple[datetime.date, ...] = Field((), description="Days of the range that are not evaluated")
    contract: Literal["pipeline", "volume"] = Field(
        "pipeline",
        description="Contract of the range's days: the pipeline's, or the contract of each day's file; of several "
        "the one with the greatest volume before the day",
    )

    @model_validator(mode="after")
    def _a_day_or_a_range(self) -> DaySpec:
        days = [self.from_, self.to]
        if (self.date is None) == (None in days) or (self.date is not None and any(days)):
            raise ValueError("must be a date, or from and to: 2024-03-14, or {from: 2024-01-02, to: 2024-03-28}.")
        if self.date is not None and (self.leave_out or self.contract != "pipeline"):
            raise ValueError("leave_out and contract belong to a range: {from: 2024-01-02, to: 2024-03-28}.")
        if self.from_ is not None and self.to is not None:
            if self.symbol is not None or self.files is not None:
                raise ValueError("symbol and files belong to a single day: {date: 2024-03-18, symbol: ESM4}.")
            if not 0 <= (self.to - self.from_).days < MOST_DAYS:
                raise ValueError(f"to must be at or after from, and within {MOST_DAYS:,} days, was {self.to}.")
        return self


def _day(value: Any) -> Any:
    return {"date": value} if isinstance(value, (str, datetime.date)) else value


def one_range(value: Any) -> Any:
    """Return a range that stands alone as a list of one."""
    return (value,) if isinstance(value, Mapping) else value


Day = Annotated[DaySpec, BeforeValidator(_day, json_schema_input_type=datetime.date | DaySpec)]
"""``2024-03-14``, ``{date: 2024-03-18, symbol: ESM4}``, or ``{from: 2024-01-02, to: 2024-03-28}``."""

ContractOf = Callable[[CaptureSpec, int, int], str]
"""Contract of a window, ``[start_ns, end_ns)``, by the source of a capture."""


def resolve_sessions(
    bases: Sequence[tuple[PipelineSpec, str]],
    days: Sequence[DaySpec] | None,
    served: ResolvedPipeline,
    resolve: Callable[[PipelineSpec, str], ResolvedPipeline],
    document: Document,
    contract_of: ContractOf,
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
    contract_of : callable
        Contract of a window, for ranges with ``contract: volume``.

    Raises
    ------
    ConfigError
        If a pipeline has another instrument or engine, two sessions overlap, or a pipeline on other days names files.
    """
    found: list[tuple[ResolvedPipeline, str]] = []
    for spec, place in bases:
        for i, day in enumerate(days) if days is not None else [(0, None)]:
            where = place if day is None else document.place(("dates", i))
            if day is None:
                found.append((resolve(spec, where), where))
                continue
            single = [day] if day.date is not None else open_days(spec, day, served.instrument, where, contract_of)
            found += [(resolve(on_day(spec, one, where), where), where) for one in single]
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


def on_engines(
    sessions: Sequence[tuple[ResolvedPipeline, str]], engines: Sequence[ResolvedPipeline]
) -> tuple[tuple[ResolvedPipeline, str], ...]:
    """Return the sessions on each of some engines, one engine after the other.

    Raises
    ------
    ConfigError
        If a session is no whole number of bins of an engine.
    """
    found = []
    for engine in engines:
        for session, place in sessions:
            try:
                found.append((session.with_engine(engine.params), place))
            except ConfigError as error:
                raise ConfigError(f"{error}{_in(place)}") from None
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
    assert day.date is not None
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


def open_days(
    spec: PipelineSpec, days: DaySpec, instrument: InstrumentSpec, where: str, contract_of: ContractOf
) -> list[DaySpec]:
    """Return the days of a range on which the whole window of a pipeline is open, in order.

    A window over a holiday, an early close or the weekend is left out; the daily halt is not held against it.

    Raises
    ------
    ConfigError
        If no day is left, or the table of closures ends before the range.
    """
    assert days.from_ is not None
    assert days.to is not None
    capture = spec.capture
    zone = capture.timezone or instrument.timezone
    table = closures_of(instrument.calendar) if instrument.calendar is not None else None
    if table is not None and not table.first <= days.from_ <= days.to <= table.last:
        raise ConfigError(
            f"Holidays are known from {table.first} to {table.last}, the range is {days.from_} to {days.to}"
            f"{_in(where)}. Name the days one by one, or leave calendar out of the instrument."
        )
    found = []
    for number in range(days.from_.toordinal(), days.to.toordinal() + 1):
        day = datetime.date.fromordinal(number)
        end = datetime.date.fromordinal(number + int(capture.overnight))
        try:
            start_ns = local_to_ns(day, clock_ns(capture.start_time), zone)
            end_ns = local_to_ns(end, clock_ns(capture.end_time), zone)
        except ConfigError:  # clocks change on Sundays, when no day session is open
            if day.weekday() > 4:
                continue
            raise
        if day in days.leave_out or _weekend(instrument, day, start_ns, end_ns):
            continue
        if table is None or not len(table.between(start_ns, end_ns)):
            symbol = contract_of(capture, start_ns, end_ns) if days.contract == "volume" else None
            found.append(DaySpec(date=day, symbol=symbol))
    if not found:
        raise ConfigError(
            f"No day from {days.from_} to {days.to} has pipeline '{spec.name}' open from {capture.start_time} to "
            f"{capture.end_time}{_in(where)}: the market of {instrument.root} is closed then. Change the range, or "
            "the window."
        )
    return found


def _weekend(instrument: InstrumentSpec, day: datetime.date, start_ns: int, end_ns: int) -> bool:
    """Return whether a window meets the weekend, which with a daily halt is its longest one."""
    if instrument.daily_halt is None:
        return day.weekday() > 4
    halts = halts_between((*instrument.daily_halt, instrument.timezone), start_ns, end_ns)
    return any(int(end) - int(start) > _WEEKEND_NS for start, end in halts)


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
