"""Instruments: the constants of a contract's root, shared by all expiries."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import cache, cached_property
from importlib import resources
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any

from pydantic import Field, WithJsonSchema, field_validator

from vpcore.config.closures import CalendarName
from vpcore.config.fields import Spec
from vpcore.config.loader import FAST, Document, load_document
from vpcore.config.messages import validate
from vpcore.engine import EngineParams
from vpcore.halts import DailyHalt, LocalHalt, TimeZone
from vpcore.units import PRICE_SCALE, round_trip_ticks, tick_to_int

_MONTH = "[FGHJKMNQUVXZ][0-9]{1,2}"
_RULE = r"\.[cnv]\.[0-9]{1,2}"
"""Databento's continuous symbols: the contract by calendar, open interest or volume, and its rank."""

EngineOverrides = Annotated[
    dict[str, Any],
    WithJsonSchema({key: value for key, value in EngineParams.model_json_schema().items() if key != "title"}),
]
"""Some of the engine's parameters. They are checked as a whole, when instrument and pipeline have been put together."""


class InstrumentSpec(Spec):
    """Constants of a root symbol: tick, multiplier, time zone, and defaults of the engine."""

    root: str = Field(pattern=r"^[A-Z0-9]{1,8}$", description="Root symbol, as ES. The file is called <root>.yaml")
    description: str = Field("", description="What it is, for listings")
    price_group: str | None = Field(
        None,
        pattern=r"^[A-Z0-9]{1,8}$",
        exclude=True,  # it decides no byte of a dataset and no row
        description="Root of the instrument with the same prices, as ES of MES: markets, reserves and trials are those "
        "of this root; default: that of the packaged instrument, else its own root",
    )
    exchange: str = Field("", description="Where it trades, for listings")
    currency: str = Field("USD", description="Currency of the multiplier")
    tick_size: float = Field(
        gt=0, allow_inf_nan=False, description="Smallest price step of an outright, in points; a multiple of 1e-9"
    )
    multiplier: float = Field(
        gt=0, allow_inf_nan=False, description="Worth of one point of one contract, in the currency"
    )
    fee_per_side: float | None = Field(
        None, ge=0, allow_inf_nan=False, description="Cost of buying or selling one contract, in the currency"
    )
    timezone: TimeZone = Field("America/New_York", description="IANA time zone of the times in pipelines")
    daily_halt: LocalHalt | None = Field(
        None,
        description="Start and end of the exchange's daily halt, local times; from Friday it lasts until Sunday. An "
        "end before the start is of the next day, and from Friday of Monday",
    )
    calendar: CalendarName | None = Field(
        None, description="Holidays and early closes, for `dates` with from and to, and for vp inspect"
    )
    symbol_pattern: str | None = Field(
        None,
        description="Regular expression of its symbols; default: root, month letter, one or two digits of the year, as "
        "ESH4, or a continuous symbol, as ES.c.0",
    )
    engine: EngineOverrides = Field(
        default_factory=dict,
        description="Engine parameters for every pipeline of this instrument that does not set them itself",
    )

    @field_validator("tick_size")
    @classmethod
    def _fixed_point(cls, value: float) -> float:
        tick_to_int(value)
        return value

    @field_validator("symbol_pattern")
    @classmethod
    def _expression(cls, value: str | None) -> str | None:
        if value is not None:
            try:
                re.compile(value)
            except re.error as error:
                raise ValueError(f"must be a regular expression, was '{value}': {error}.") from None
        return value

    @property
    def tick_int(self) -> int:
        """The tick as fixed point 1e-9."""
        return tick_to_int(self.tick_size)

    @property
    def tick_value(self) -> float:
        """Worth of one tick of one contract, in the currency."""
        return self.tick_int * self.multiplier / PRICE_SCALE

    @property
    def fee_ticks(self) -> float | None:
        """Cost of a round trip, in ticks to four decimals; None for an unknown fee."""
        return None if self.fee_per_side is None else round_trip_ticks(self.fee_per_side, self.tick_value)

    @property
    def halt(self) -> DailyHalt | None:
        """Daily halt with its time zone; None if there is none."""
        return None if self.daily_halt is None else (*self.daily_halt, self.timezone)

    @property
    def symbols(self) -> str:
        """Regular expression of its symbols."""
        return self.symbol_pattern or f"{re.escape(self.root)}(?:{_MONTH}|{_RULE})"

    @cached_property
    def _symbols(self) -> re.Pattern[str]:
        return re.compile(self.symbols)

    def matches(self, symbol: str) -> bool:
        """Return True if `symbol` belongs to this instrument: ``ESH4`` and ``ES.c.0`` to ``ES``; ``MESH4`` and spreads
        give False.
        """
        return self._symbols.fullmatch(symbol) is not None


def why_no_instrument(symbol: str, roots: Iterable[str]) -> str:
    """Return the reason and the fix for a symbol that belongs to no instrument.

    Parameters
    ----------
    symbol : str
        As a pipeline names it.
    roots : iterable of str
        Roots of the known instruments.
    """
    roots = sorted(roots)
    root = max((root for root in roots if symbol.upper().startswith(root)), key=len, default="")
    if re.fullmatch(r"[A-Z0-9]+\.(?:FUT|OPT|SPOT)", symbol):
        return (
            f"It stands for every contract of a root at once, and a book is the book of one contract. Write one, "
            f"as {root or 'ES'}H4, or {root or 'ES'}.v.0 in a file with continuous symbols (vp inspect lists a file's)."
        )
    if root and re.fullmatch(f"{root}{_MONTH}-{root}{_MONTH}", symbol):
        return (
            f"A calendar spread has its own tick: add configs/instruments/{root}SPREAD.yaml with root: {root}SPREAD, "
            f"tick_size, multiplier and symbol_pattern: '{root}{_MONTH}-{root}{_MONTH}'."
        )
    if root:
        return (
            f"Symbols of {root} are {root}H4 (root, month letter of FGHJKMNQUVXZ, one or two digits of the year) and "
            f"continuous ones, as {root}.c.0; symbol_pattern in configs/instruments/{root}.yaml allows others."
        )
    return (
        f"Roots: {', '.join(roots)}. Write the symbol of one expiry, as ESH4, or add an instrument: "
        "vp new-instrument FILE."
    )


@cache
def packaged_instrument(root: str) -> tuple[InstrumentSpec, Document]:
    """Return an instrument that comes with vpcore, and its document. The files never change."""
    name = f"vpcore/data/instruments/{root}.yaml"
    document = load_document(packaged_instruments()[root], name=name, loader=FAST)
    return validate(InstrumentSpec, document), document


def packaged_instrument_of(symbol: str) -> InstrumentSpec | None:
    """Return the packaged instrument of a symbol, or None."""
    specs = (packaged_instrument(root)[0] for root in packaged_instruments())
    return next((spec for spec in specs if spec.matches(symbol)), None)


@cache
def packaged_instruments() -> Mapping[str, Path]:
    """Return the files of the instruments that come with vpcore, by root, sorted."""
    folder = Path(str(resources.files("vpcore") / "data" / "instruments"))
    return MappingProxyType({path.stem: path for path in sorted(folder.glob("*.yaml"))})
