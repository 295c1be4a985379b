"""Parameters that learning signals share: when a signal fits, and which past examples a fit uses."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from vpcore import SignalParams

Window = Annotated[
    int,
    Field(
        ge=0,
        le=10_000_000,
        examples=[200, 18_000],
        description="Length of the rolling window of a fit; 0 for the whole past, in bins.",
    ),
]


class ScheduleParams(SignalParams):
    """Parameters of the schedule."""

    min_train_bins: int = Field(3000, ge=20, le=10_000_000, description="Bins before the first fit, in bins.")
    retrain_interval_bins: int = Field(3000, ge=1, le=10_000_000, description="From one fit to the next, in bins.")
    train_window_bins: Window = 0
    stride_bins: int = Field(5, ge=1, le=10_000, description="One example out of this many bins.")


class LearningParams(ScheduleParams):
    """Parameters of a model that learns from labels."""

    half_life_bins: int = Field(
        0,
        ge=0,
        le=100_000_000,
        examples=[100],
        description="Age of an example with half the weight; 0 for no decay, in bins.",
    )
    uniqueness: bool = Field(True, description="Examples with overlapping trades share their weight.")


class ValidatedParams(LearningParams):
    """Parameters of a model with a validation part, for calibration or early stopping."""

    validation_share: float = Field(
        0.2, ge=0.05, le=0.5, description="Share of the latest examples, for calibration or early stopping alone."
    )
