"""How an experiment turns signals into trades: the `eval` part of its specification."""

from __future__ import annotations

import math
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from vpcore.axes import axis_values
from vpcore.backtest.cross_validation import SplitSpec
from vpcore.halts import DailyHalt
from vpcore.rules import LATER_RULES, Entry, EntryRule, Positions, Price, TradeRules, require_maker

_Distance = Annotated[int, Field(strict=True, ge=1, le=1_000_000)]
_Bins = Annotated[int, Field(strict=True, ge=0, le=100_000_000)]

FEWEST_DRAWS = 99
"""Below, a p-value cannot be under 0.01 and a 95 % interval has two draws outside."""


class EvalConfig(BaseModel):
    """From signal to trades. Lists are axes: every combination is a trial. A range may stand for a list."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    tp_ticks: tuple[_Distance, ...] = Field((4,), min_length=1, description="Take-profit distances, whole ticks.")
    sl_ticks: tuple[_Distance, ...] = Field((4,), min_length=1, description="Stop distances, whole ticks.")
    max_hold_bins: int = Field(1200, strict=True, ge=1, le=100_000_000, description="Bins after entry until a timeout.")
    warmup_bins: _Bins = Field(300, description="Bins at the start in which no signal is accepted.")
    cooldown_bins: tuple[_Bins, ...] = Field((30,), min_length=1, description="Smallest distance of two signals, bins.")
    latency_bins: _Bins = Field(1, description="Bins from the end of the decision's bin to the entry.")
    stale_after_ms: int = Field(
        60_000,
        strict=True,
        ge=1,
        le=86_400_000,
        description="Time without an event after which a market is closed: no signal, no entry, no random entry.",
    )
    daily_halt: DailyHalt | None = Field(
        None,
        description="Daily halt of the exchange: start, end, time zone. A position leaves before it. Default: that of "
        "the instrument; null: none.",
    )
    entry_rule: EntryRule = Field(
        "crossing",
        description="crossing: a value signals when it crosses the threshold; level: again after every cooldown while "
        "it stays beyond.",
    )
    positions: Positions = Field(
        "overlapping", description="one: a signal while a position is open or waits for its entry is dropped."
    )
    entry: Entry = Field(
        "taker",
        description="maker: an order waits in the queue of the best bid (long) or ask (short), at price: touch.",
    )
    patience_bins: int = Field(
        100, strict=True, ge=1, le=100_000_000, description="Bins that a maker's order waits; then it is cancelled."
    )
    price: Price = Field("touch", description="touch: trades pay the spread; mid: measured on the mid.")
    fee_ticks: float = Field(
        0.0,
        ge=0.0,
        allow_inf_nan=False,
        description="Cost per round trip, ticks. An experiment that leaves it out pays the instrument's fee_per_side.",
    )
    thresholds: tuple[float, ...] | None = Field(
        None, min_length=1, description="Thresholds for every signal; none: each signal's own grid."
    )
    threshold_quantiles: tuple[float, ...] | None = Field(
        None,
        min_length=1,
        description="Instead: quantiles of each signal's magnitude in the first calibration_bins bins.",
    )
    calibration_bins: int | None = Field(
        None,
        strict=True,
        ge=1,
        le=100_000_000,
        description="First bins, from which quantiles are taken and in which no signal is accepted.",
    )

    null_draws: int = Field(
        999, strict=True, ge=0, le=1_000_000, description="Rotations behind p_random; 0: none, else at least 99."
    )
    bootstrap_draws: int = Field(
        999,
        strict=True,
        ge=0,
        le=1_000_000,
        description="Resamples behind net_pnl_lo and _hi; 0: none, else at least 99.",
    )
    seed: int = Field(0, strict=True, ge=0, le=2**32 - 1, description="Another number makes other random draws.")
    splits: SplitSpec | None = Field(None, description="Which part of the time is chosen on, and which is judged on.")

    @field_validator("tp_ticks", "sl_ticks", mode="before")
    @classmethod
    def _distances(cls, value: Any) -> Any:
        for item in value if isinstance(value, (list, tuple)) else (value,):
            if isinstance(item, int) and not isinstance(item, bool) and item < 0:
                raise ValueError(f"must be greater than 0, was {item}. It is a distance: write {-item}.")
        return value

    @field_validator("tp_ticks", "sl_ticks", "cooldown_bins", "thresholds", "threshold_quantiles", mode="before")
    @classmethod
    def _one_is_a_list(cls, value: Any) -> Any:
        return (value,) if isinstance(value, (int, float)) else axis_values(value)

    @field_validator("tp_ticks", "sl_ticks", "cooldown_bins", "thresholds", "threshold_quantiles")
    @classmethod
    def _once_and_sorted(cls, value: Any) -> Any:
        if value is None:
            return None
        twice = sorted({item for item in value if value.count(item) > 1})
        if twice:
            raise ValueError(
                f"must name every value once, {', '.join(str(item) for item in twice)} stands there twice."
            )
        return tuple(sorted(value))

    @field_validator("thresholds")
    @classmethod
    def _finite(cls, value: tuple[float, ...] | None) -> tuple[float, ...] | None:
        for item in value or ():
            if not math.isfinite(item) or item < 0:
                raise ValueError(f"must be at least 0, was {item}. Shorts use the mirrored threshold.")
        return value

    @field_validator("threshold_quantiles")
    @classmethod
    def _inside(cls, value: tuple[float, ...] | None) -> tuple[float, ...] | None:
        for item in value or ():
            if not 0.0 < item < 1.0:
                raise ValueError(f"must be between 0 and 1, was {item}. Write 0.99 for the 99th percentile.")
        return value

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        require_maker(self.entry, self.price, self.patience_bins)
        if self.thresholds is not None and self.threshold_quantiles is not None:
            raise ValueError("thresholds and threshold_quantiles exclude each other: leave one of them out.")
        if (self.threshold_quantiles is None) != (self.calibration_bins is None):
            missing = "calibration_bins" if self.calibration_bins is None else "threshold_quantiles"
            raise ValueError(f"threshold_quantiles and calibration_bins belong together: {missing} is missing.")
        return self

    @property
    def first_bin(self) -> int:
        """The first bin with accepted signals: after the warm-up and after the calibration of thresholds."""
        return max(self.warmup_bins, self.calibration_bins or 0)

    @field_validator("null_draws", "bootstrap_draws")
    @classmethod
    def _none_or_enough(cls, value: int) -> int:
        if 0 < value < FEWEST_DRAWS:
            raise ValueError(f"must be 0 (none) or at least {FEWEST_DRAWS}, was {value}.")
        return value

    @classmethod
    def of_row(cls, eval_json: str) -> Self:
        """Return the settings of a stored run, from its `run_settings` as JSON. Axes keep their defaults."""
        return cls.model_validate_json(eval_json)

    def rules(self, tp_ticks: int, sl_ticks: int) -> TradeRules:
        """Return the rules of the trades with one pair of barriers."""
        return TradeRules(
            tp_ticks=tp_ticks,
            sl_ticks=sl_ticks,
            max_hold_bins=self.max_hold_bins,
            latency_bins=self.latency_bins,
            price=self.price,
            fee_ticks=self.fee_ticks,
            warmup_bins=self.first_bin,
            stale_after_ms=self.stale_after_ms,
            daily_halt=self.daily_halt,
            entry_rule=self.entry_rule,
            positions=self.positions,
            entry=self.entry,
            patience_bins=self.patience_bins,
        )

    def run_settings(self) -> dict[str, Any]:
        """Return the settings behind the outcomes of a run, as JSON values; part of the run id."""
        return {
            "price": self.price,
            "fee_ticks": self.fee_ticks,
            "latency_bins": self.latency_bins,
            "max_hold_bins": self.max_hold_bins,
            "warmup_bins": self.first_bin,
            "stale_after_ms": self.stale_after_ms,
            "null_draws": self.null_draws,
            "bootstrap_draws": self.bootstrap_draws,
            "seed": self.seed,
            **{name: value for name, usual in LATER_RULES.items() if (value := getattr(self, name)) != usual},
            **({"daily_halt": list(self.daily_halt)} if self.daily_halt is not None else {}),
            # Without splits as before there were any: the same run keeps its id. By session, no row is cut.
            **(
                {"splits": self.splits.model_dump(mode="json")}
                if self.splits is not None and self.splits.by == "time"
                else {}
            ),
        }
