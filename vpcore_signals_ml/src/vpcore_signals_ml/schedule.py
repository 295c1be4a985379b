"""When a signal of this package fits, and what of the past it looks at: the parameters that all of them share."""

from __future__ import annotations

from pydantic import Field

from vpcore import SignalParams


class ScheduleParams(SignalParams):
    """Parameters of the schedule."""

    min_train_bins: int = Field(3000, ge=20, le=10_000_000, description="Bins before the first fit, in bins.")
    retrain_interval_bins: int = Field(3000, ge=1, le=10_000_000, description="From one fit to the next, in bins.")
    train_window_bins: int = Field(
        0,
        ge=0,
        le=10_000_000,
        examples=[200, 18_000],
        description="How far back a fit looks (a rolling window); 0 for the whole past, in bins.",
    )
    stride_bins: int = Field(5, ge=1, le=10_000, description="One example out of this many bins.")
    half_life_bins: int = Field(
        0,
        ge=0,
        le=100_000_000,
        examples=[100],
        description="Age at which an example counts half; 0 for no decay, in bins.",
    )


class WalkParams(ScheduleParams):
    """Parameters of the schedule of a model that learns from labels."""

    uniqueness: bool = Field(True, description="Whether examples with overlapping trades share their weight.")


class ValidatedParams(WalkParams):
    """Parameters of the schedule of a model that needs a validation part."""

    validation_share: float = Field(
        0.2, ge=0.05, le=0.5, description="Latest share of the examples that only decides when to stop or how to scale."
    )
