"""The lowest layer: which records, and which engine parameters, make a dataset."""

from __future__ import annotations

import datetime
import os
import re
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, field_validator, model_validator

from vpcore.canonical import digest
from vpcore.config.clock import clock_ns, clock_text, local_to_ns
from vpcore.config.fields import Spec, SpecName
from vpcore.config.instruments import EngineOverrides, InstrumentSpec
from vpcore.config.lasting import lasting_settings
from vpcore.config.loader import Document
from vpcore.config.messages import validate_value
from vpcore.engine import EngineParams
from vpcore.errors import ConfigError
from vpcore.halts import TimeZone
from vpcore.schema import FORMAT_VERSION
from vpcore.source.prepare import Events, Repeated
from vpcore.units import NS_PER_MS, ms_to_ns

_UNSAFE = re.compile(r"[^A-Za-z0-9.]+")


class CaptureSpec(Spec):
    """Which records: symbol, window, source."""

    symbol: str = Field(min_length=1, max_length=40, description="Symbol as the file writes it, as ESH4")
    date: datetime.date = Field(description="Local date of the start")
    start_time: str = Field(description="Start, time of day 'HH:MM[:SS[.fraction]]'")
    end_time: str = Field(description="End, exclusive; '24:00' is allowed")
    overnight: bool = Field(False, description="The end is on the next day: needed where it is before the start")
    timezone: TimeZone | None = Field(None, description="IANA time zone of date and times; default: the instrument's")
    source: str = Field("dbn", description="Name of a source, see `vp plugins`")
    files: tuple[str, ...] | None = Field(
        None,
        min_length=1,
        description="Files, relative to lake/raw; default: those of lake/raw that hold symbol and window",
    )
    cold_book: Literal["refuse", "build"] = Field(
        "refuse",
        description="A file that starts without a book: bins stay invalid, or the book is built from what comes",
    )
    events: Events = Field(
        "flags",
        description="What ends an event: the flag F_LAST, or another time of event or sequence number",
    )
    repeated: Repeated = Field(
        "refuse", description="A stretch that is in the files twice is an error, or is read once"
    )
    options: dict[str, Any] = Field(default_factory=dict, description="Options of the source")

    @field_validator("start_time", "end_time")
    @classmethod
    def _clock(cls, value: str) -> str:
        clock_ns(value)
        return value

    @model_validator(mode="after")
    def _in_order(self) -> CaptureSpec:
        start, end = clock_ns(self.start_time), clock_ns(self.end_time)
        if start == end:
            raise ValueError(
                f"end_time must differ from start_time, was '{self.end_time}' as well. A whole day is 00:00 to 24:00."
            )
        if end < start and not self.overnight:
            raise ValueError(
                f"end_time must be after start_time, was '{self.end_time}' with a start at '{self.start_time}'. If the "
                "window shall go over midnight, to the next day's end_time, write overnight: true."
            )
        if end > start and self.overnight:
            raise ValueError(
                f"end_time must be before start_time with overnight: true, was '{self.end_time}' with a start at "
                f"'{self.start_time}': that is more than a day. Leave overnight out if both are on one day."
            )
        return self


class PipelineSpec(Spec):
    """A dataset: a capture window and engine parameters."""

    name: SpecName = Field(description="Name of the file without .yaml")
    description: str = Field("", max_length=10_000, description="What it is for, for listings and reports")
    capture: CaptureSpec = Field(description="Which records")
    pipeline: EngineOverrides = Field(
        default_factory=dict, description="Engine parameters; default: the instrument's, else the engine's"
    )

    _resolver: Callable[[PipelineSpec], ResolvedPipeline] | None = PrivateAttr(default=None)

    def resolve(self) -> ResolvedPipeline:
        """Return the pipeline with instrument, engine defaults and UTC times.

        Raises
        ------
        ConfigError
            If a parameter is wrong, or the spec was not obtained from a workspace.
        """
        if self._resolver is None:
            raise ConfigError(
                f"Pipeline '{self.name}' belongs to no workspace. Get it from one: workspace.pipeline('{self.name}')."
            )
        return self._resolver(self)

    def dataset_id(self) -> str:
        """Return the id of the dataset that this pipeline makes."""
        return self.resolve().dataset_id()


class ResolvedPipeline(BaseModel):
    """Everything that decides the bytes of a dataset, with all defaults applied."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    symbol: str
    instrument: InstrumentSpec
    params: EngineParams
    start_ns: int
    end_ns: int
    label: str
    """Date, start and end in local time, as the id has them."""
    source: str = "dbn"
    files: tuple[Path, ...] | None = None
    """As they are opened; None means those of lake/raw that hold symbol and window."""
    file_keys: tuple[str, ...] | None = None
    """As they are hashed: relative to lake/raw where they lie there."""
    cold_book: Literal["refuse", "build"] = "refuse"
    events: Events = "flags"
    repeated: Repeated = "refuse"
    options: dict[str, Any] = Field(default_factory=dict)

    @property
    def tick_int(self) -> int:
        """The instrument's tick as fixed point 1e-9."""
        return self.instrument.tick_int

    @property
    def width_ns(self) -> int:
        """Width of a bin, ns."""
        return ms_to_ns(self.params.cell_width_ms)

    @property
    def n_bins(self) -> int:
        """Number of bins of the window."""
        return (self.end_ns - self.start_ns) // self.width_ns

    def with_engine(self, params: EngineParams) -> ResolvedPipeline:
        """Return the same window with another engine.

        Raises
        ------
        ConfigError
            If the window is no whole number of its bins.
        """
        _check_bins(params.cell_width_ms, self.end_ns - self.start_ns)
        return self.model_copy(update={"params": params})

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Return a copy with some fields changed, and a digest of its own."""
        copy = super().model_copy(update=update, deep=deep)
        copy.__dict__.pop("_digest", None)
        return copy

    @cached_property
    def _digest(self) -> str:
        return digest(self.resolved_dict())

    def resolved_dict(self) -> dict[str, Any]:
        """Return the content of the dataset id: exactly the settings that decide bytes.

        Excluded are the name, the notation of windows and defaults, and fields of the instrument for later stages
        (multiplier, description).
        """
        return {
            "format_version": FORMAT_VERSION,
            "symbol": self.symbol,
            "tick_int": self.instrument.tick_int,
            "start_ns": self.start_ns,
            "end_ns": self.end_ns,
            "source": self.source,
            "options": self.options,
            "files": list(self.file_keys) if self.file_keys is not None else None,
            "cold_book": self.cold_book,
            "engine": lasting_settings(self.params),
            # A default is left out: the ids of datasets from before these settings stay.
            **({"events": self.events} if self.events != "flags" else {}),
            **({"repeated": self.repeated} if self.repeated != "refuse" else {}),
        }

    def config_hash(self) -> str:
        """Return the sha256 of `resolved_dict` as 64 hex digits."""
        return self._digest

    def dataset_id(self) -> str:
        """Return ``{symbol}_{date}_{start}_{end}__{name}__{hash8}``."""
        return f"{_UNSAFE.sub('-', self.symbol)}_{self.label}__{self.name}__{self.config_hash()[:8]}"


def resolve_pipeline(
    spec: PipelineSpec,
    instrument: InstrumentSpec,
    *,
    document: Document,
    instrument_document: Document,
    raw_root: Path,
) -> ResolvedPipeline:
    """Return a pipeline with everything resolved.

    Parameters
    ----------
    spec : PipelineSpec
        As written.
    instrument : InstrumentSpec
        Instrument of ``spec.capture.symbol``.
    document, instrument_document : Document
        Where the two were read from, for messages.
    raw_root : Path
        ``lake/raw`` of the workspace: relative names of files start there.

    Raises
    ------
    ConfigError
        If an engine parameter, wherever written, or the window is wrong.
    """
    capture = spec.capture
    params = _engine(spec, instrument, document, instrument_document)
    zone = capture.timezone or instrument.timezone
    ends = []
    for name, days in (("start_time", 0), ("end_time", int(capture.overnight))):
        day = datetime.date.fromordinal(capture.date.toordinal() + days)
        try:
            ends.append(local_to_ns(day, clock_ns(getattr(capture, name)), zone))
        except ConfigError as error:
            place = document.place(("capture", name))
            raise ConfigError(f"capture.{name}: {error}{f' ({place})' if place else ''}") from None
    start_ns, end_ns = ends
    _check_bins(params.cell_width_ms, end_ns - start_ns, document.place(("capture", "end_time")))
    files = keys = None
    if capture.files is not None:
        keys = tuple(sorted({_file_key(name, raw_root) for name in capture.files}))
        files = tuple(raw_root / key for key in keys)
    return ResolvedPipeline(
        name=spec.name,
        symbol=capture.symbol,
        instrument=instrument,
        params=params,
        start_ns=start_ns,
        end_ns=end_ns,
        label=f"{capture.date.isoformat()}_{clock_text(clock_ns(capture.start_time))}_{clock_text(clock_ns(capture.end_time))}",
        source=capture.source,
        files=files,
        file_keys=keys,
        cold_book=capture.cold_book,
        events=capture.events,
        repeated=capture.repeated,
        options=capture.options,
    )


def _check_bins(width_ms: int, span_ns: int, place: str = "") -> None:
    """Refuse a window with a fraction of a bin, and name the nearest widths to `width_ms` that divide it."""
    whole_ms, rest_ns = divmod(span_ns, NS_PER_MS)
    if whole_ms % width_ms == 0 and rest_ns == 0:
        return
    below = next((w for w in range(width_ms - 1, 0, -1) if whole_ms % w == 0), None)
    above = next((w for w in range(width_ms + 1, whole_ms + 1) if whole_ms % w == 0), None)
    near = " or ".join(str(w) for w in (below, above) if w is not None)
    fix = (
        f"pipeline.cell_width_ms could be {near}, or change capture.end_time"
        if not rest_ns
        else "Start and end must be whole ms"
    )
    raise ConfigError(
        f"The window must be a whole number of bins of {width_ms} ms, was {span_ns / 1e9:.13g} s "
        f"long{f' ({place})' if place else ''}. {fix}."
    )


def _engine(
    spec: PipelineSpec, instrument: InstrumentSpec, document: Document, instrument_document: Document
) -> EngineParams:
    """Put the parameters of instrument and pipeline together and check them, each against the file it stands in."""
    merged = {**instrument.engine, **spec.pipeline}
    try:
        EngineParams.model_validate(merged)
    except ValueError:
        # Each file has its own lines: what is wrong in the instrument's alone is said of that file.
        validate_value(EngineParams, instrument.engine, instrument_document, ("engine",))
    return validate_value(EngineParams, merged, document, ("pipeline",))


def _file_key(name: str, raw_root: Path) -> str:
    path = os.path.normpath(name)
    if os.path.isabs(path):
        try:
            path = str(Path(path).relative_to(raw_root))
        except ValueError:
            return path
    return PurePosixPath(path).as_posix()
