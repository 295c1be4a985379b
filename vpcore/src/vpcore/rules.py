"""The rules of a trade: entry, barriers, costs. They decide outcomes, and the labels that learning signals train on."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    field_validator,
    model_serializer,
    model_validator,
)

from vpcore.errors import ConfigError, did_you_mean
from vpcore.halts import DailyHalt

Price = Literal["touch", "mid"]
"""Prices of a trade: touch pays the spread, mid measures on the mid."""

EntryRule = Literal["crossing", "level"]
"""When a value signals: when it crosses the threshold, or in every bin beyond it."""

Positions = Literal["overlapping", "one"]
"""Trades at a time: any number, or one."""

Entry = Literal["taker", "maker"]
"""How a trade enters: at the touch at once, or through an order that waits in the queue of its own side."""

LATER_RULES: dict[str, Any] = {
    "entry_rule": "crossing", "positions": "overlapping", "entry": "taker", "patience_bins": 100,
}  # fmt: skip
"""Rules that came later, with their defaults. A default is left out of ids: what had an id before keeps it."""

_REQUIRED = {
    "tp_ticks": "a whole number of ticks from 1 to 1,000,000",
    "sl_ticks": "a whole number of ticks from 1 to 1,000,000",
    "max_hold_bins": "a whole number of bins from 1 to 100,000,000",
    "latency_bins": "a whole number of bins from 0 to 100,000,000",
    "price": "'touch' or 'mid'",
    "fee_ticks": "a finite number of ticks, at least 0",
    "entry_rule": "'crossing' or 'level'",
    "positions": "'overlapping' or 'one'",
    "entry": "'taker' or 'maker'",
    "patience_bins": "a whole number of bins from 1 to 100,000,000",
    "warmup_bins": "a whole number of bins from 0 to 100,000,000",
    "stale_after_ms": "a whole number of milliseconds from 1 to 86,400,000",
    "daily_halt": "a start, an end and a time zone: ('17:00', '18:00', 'America/New_York')",
}


class TradeRules(BaseModel):
    """How a decision becomes a trade, and how the trade ends.

    A trade decided at the end of bin i enters at the end of bin ``i + latency_bins``. The barriers are tested in the
    `max_hold_bins` bins after the entry, against the extremes inside each bin.

    Parameters
    ----------
    tp_ticks, sl_ticks : int
        Distances of take-profit and stop from the entry price, whole ticks, at least 1.
    max_hold_bins : int
        Bins after the entry until a timeout, at least 1.
    latency_bins : int
        Bins from decision to entry, at least 0.
    price : {"touch", "mid"}
        At touch prices a long enters at the ask and exits at the bid; at mid prices both are the mid.
    fee_ticks : float
        Cost per round trip, ticks. `vpcore.evaluate` takes the instrument's fee if it is left out.
    warmup_bins : int
        Bins at the start of the session that refuse entries.
    stale_after_ms : int
        Time without an event after which the market counts as closed, although its book is valid.
    entry_rule : {"crossing", "level"}
        Level: a value beyond the threshold signals again after every cooldown, without another crossing.
    positions : {"overlapping", "one"}
        One: a signal while a position is open or waits for its entry, up to the bin that ends this, is dropped and
        counted.
    entry : {"taker", "maker"}
        Maker: an order joins the queue at the best bid (long) or ask (short), behind every order there, and the trade
        begins with its fill (`vpcore.backtest.maker`). At touch prices only.
    patience_bins : int
        Bins that an order waits for its fill; then it is cancelled and counted. Of makers only.
    daily_halt : (str, str, str), optional
        Start, end and time zone of the exchange's daily halt: a position leaves before it, and none is entered in it.

    Raises
    ------
    ConfigError
        If a value is out of range or unknown, with one line per value.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    tp_ticks: int = Field(strict=True, ge=1, le=1_000_000, description="Take-profit distance, ticks")
    sl_ticks: int = Field(strict=True, ge=1, le=1_000_000, description="Stop distance, ticks")
    max_hold_bins: int = Field(1200, strict=True, ge=1, le=100_000_000, description="Bins after entry until a timeout")
    latency_bins: int = Field(
        1, strict=True, ge=0, le=100_000_000, description="Bins from the end of the decision's bin to the entry"
    )
    price: Price = Field("touch", description="touch: pays the spread; mid: measured on the mid")
    fee_ticks: float = Field(0.0, ge=0.0, allow_inf_nan=False, description="Cost per round trip, ticks")
    warmup_bins: int = Field(
        300, strict=True, ge=0, le=100_000_000, description="Bins at the start in which no signal is accepted"
    )
    stale_after_ms: int = Field(
        60_000, strict=True, ge=1, le=86_400_000, description="Time without an event after which a market is closed, ms"
    )

    daily_halt: DailyHalt | None = Field(None, description="Daily halt of the exchange: start, end, time zone")
    entry_rule: EntryRule = Field("crossing", description="level: signals in every bin beyond the threshold")
    positions: Positions = Field("overlapping", description="one: drops signals while a position is open")

    entry: Entry = Field("taker", description="maker: an order waits in the queue of the best bid or ask")
    patience_bins: int = Field(100, strict=True, ge=1, le=100_000_000, description="Bins that a maker's order waits")

    @model_validator(mode="after")
    def _maker_at_touch(self) -> Self:
        require_maker(self.entry, self.price, self.patience_bins)
        return self

    @model_serializer(mode="wrap")
    def _without_later_defaults(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        found: dict[str, Any] = handler(self)
        return {name: value for name, value in found.items() if LATER_RULES.get(name) != value}

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            first, *more = (_problem(details) for details in error.errors(include_url=False))
            raise (ConfigError("\n".join(map(str, (first, *more)))) if more else first) from None

    # pydantic calls this `__init__` for a TradeRules nested in another model, unless it is marked as its own.
    __init__.__pydantic_base_init__ = True  # type: ignore[attr-defined]

    @field_validator("*", mode="before")
    @classmethod
    def _plain(cls, value: Any) -> Any:
        """Return a scalar of numpy as Python's own number."""
        item = getattr(value, "item", None)
        return item() if callable(item) else value

    def at(self, tp_ticks: int, sl_ticks: int) -> Self:
        """Return the same rules with other barriers, without validation."""
        return self.model_copy(update={"tp_ticks": tp_ticks, "sl_ticks": sl_ticks})

    @property
    def barriers(self) -> tuple[Any, ...]:
        """The part that decides outcome tables: take-profit, stop, hold, price, entry, and what a closed market is."""
        closed = (self.stale_after_ms, self.daily_halt)
        return self.tp_ticks, self.sl_ticks, self.max_hold_bins, self.price, self.entry, self.patience_bins, *closed

    @property
    def longest_bins(self) -> int:
        """Bins from a decision to the last possible exit."""
        return self.latency_bins + self.horizon_bins

    @property
    def horizon_bins(self) -> int:
        """Bins from an entry to the last possible exit; of a maker, from the order to the last possible exit."""
        return self.max_hold_bins + (self.patience_bins if self.entry == "maker" else 0)


def require_maker(entry: str, price: str, patience_bins: int) -> None:
    """Raise `ValueError` if the settings of a maker and of a taker are mixed."""
    if entry == "maker" and price != "touch":
        raise ValueError(f"entry: maker waits in the queue of the best bid or ask: price must be touch, was {price}.")
    if entry == "taker" and patience_bins != LATER_RULES["patience_bins"]:
        raise ValueError(f"patience_bins belongs to entry: maker, was {patience_bins} with entry: taker.")


def _problem(details: Any) -> ConfigError:
    if not details["loc"]:
        return ConfigError(f"TradeRules: {details['ctx']['error']}")
    name, was = str(details["loc"][0]), details["input"]
    if details["type"] == "extra_forbidden":
        return ConfigError(
            f"TradeRules has no '{name}'.{did_you_mean(name, _REQUIRED)} It has: {', '.join(_REQUIRED)}."
        )
    if details["type"] == "missing":
        return ConfigError(f"TradeRules.{name}", required=_REQUIRED[name], was="left out")
    fix = f"It is a distance: write {-was}." if name in ("tp_ticks", "sl_ticks") and _negative(was) else ""
    return ConfigError(f"TradeRules.{name}", required=_REQUIRED[name], was=repr(was), fix=fix)


def _negative(value: Any) -> bool:
    return isinstance(value, int) and value < 0
