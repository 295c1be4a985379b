"""Settings of the forward projection of the score; `vpcore_serving.projection` has the formula."""

from __future__ import annotations

import math
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, field_validator

from vpcore.errors import ConfigError
from vpcore.units import NS_PER_MS, ms_to_ns

Horizon = Annotated[int, Field(ge=1, le=3_600_000)]


class ProjectionConfig(BaseModel):
    """Settings of the projection.

    Parameters
    ----------
    horizons_ms : tuple of int
        Horizons in ms, ascending; whole bins of the pipeline.
    use_cubic : bool
        True adds the term of the third difference.
    damping_lambda : float
        Decay of the projection with its horizon, in 1/s; at least 0.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    horizons_ms: Annotated[tuple[Horizon, ...], Field(min_length=1, max_length=64)] = Field(
        (200, 500, 1000, 2500), description="How far ahead, in ms; whole bins."
    )
    use_cubic: bool = Field(False, description="Whether the third difference of the score takes part.")
    damping_lambda: float = Field(
        0.0, ge=0.0, le=1000.0, allow_inf_nan=False, description="Decay of the projection with its horizon, in 1/s."
    )

    @field_validator("horizons_ms")
    @classmethod
    def _rising(cls, horizons: tuple[int, ...]) -> tuple[int, ...]:
        if list(horizons) != sorted(set(horizons)):
            raise ValueError(f"horizons_ms must rise without repeats, was {list(horizons)}.")
        return horizons

    def check(self, cell_width_ns: int) -> None:
        """Raise `ConfigError` if a horizon contains a fraction of a bin."""
        for horizon in self.horizons_ms:
            if ms_to_ns(horizon) % cell_width_ns:
                width_ms = cell_width_ns / NS_PER_MS
                lower = math.floor(horizon / width_ms) * width_ms
                near = ", ".join(f"{value:g}" for value in (lower, lower + width_ms) if value > 0)
                raise ConfigError(
                    f"projection.horizons_ms must be whole bins of {width_ms:g} ms, was {horizon} ms. "
                    f"Nearest: {near} ms."
                )
