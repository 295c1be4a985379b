"""Parameters of the engine. Every one of them changes bytes of a dataset and is part of its id."""

from __future__ import annotations

from itertools import combinations
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from vpcore.errors import did_you_mean
from vpcore.schema import GRID_VALUES

Seconds = Annotated[float, Field(gt=0, le=86_400, allow_inf_nan=False)]
Weight = Annotated[float, Field(ge=0, le=1e6, allow_inf_nan=False)]
WindowBins = Annotated[int, Field(ge=1, le=512)]

MIN_RELATIVE_GAP = 0.01
"""The partial fractions divide by differences of time constants: closer than this, digits are lost."""


class EngineParams(BaseModel):
    """Bin width, grid, time constants and weights of the engine.

    All are optional; an instrument may set other defaults. Times are in seconds unless the name says otherwise.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    cell_width_ms: Annotated[int, Field(ge=1, le=60_000)] = Field(100, description="Width of a time bin, in ms.")
    grid_radius_ticks: Annotated[int, Field(ge=1, le=500)] = Field(
        50, description="Cells on each side of the mid, in ticks; the grid has 2 R + 1."
    )
    band_margin_ticks: Annotated[int, Field(ge=0, le=500)] = Field(
        50, description="Levels beyond the grid whose composite history is kept, in ticks."
    )
    tau_velocity: Seconds = Field(2.0, description="Time constant of the velocities, in s.")
    tau_acceleration: Seconds = Field(5.0, description="Time constant of the accelerations, in s.")
    tau_jerk: Seconds = Field(10.0, description="Time constant of the jerks, in s.")
    tau_rest_decay: Seconds = Field(30.0, description="Time constant of the masses, in s.")
    c1: Weight = Field(1.0, description="Weight of v_add in pressure.")
    c2: Weight = Field(0.5, description="Weight of rising depth, max(v_rest_depth, 0), in pressure.")
    c3: Weight = Field(0.3, description="Weight of accelerating adds, max(a_add, 0), in pressure.")
    c4: Weight = Field(1.0, description="Weight of v_pull in vacuum.")
    c5: Weight = Field(1.5, description="Weight of v_fill in vacuum.")
    c6: Weight = Field(0.5, description="Weight of falling depth, max(-v_rest_depth, 0), in vacuum.")
    c7: Weight = Field(0.3, description="Weight of accelerating pulls, max(a_pull, 0), in vacuum.")
    composite_floor: Annotated[float, Field(gt=0, le=1e6, allow_inf_nan=False)] = Field(
        1e-3, description="Added to the denominator of composite, in contracts/s."
    )
    flow_windows: Annotated[tuple[WindowBins, ...], Field(min_length=1, max_length=16)] = Field(
        (5, 10, 20, 40), description="Windows over which composite is averaged, in bins."
    )
    columns: tuple[str, ...] | None = Field(
        None, description="Grid columns to write, in file order; all of them if not given."
    )

    @field_validator("flow_windows")
    @classmethod
    def _rising(cls, windows: tuple[int, ...]) -> tuple[int, ...]:
        if list(windows) != sorted(set(windows)):
            raise ValueError(f"flow_windows must rise without repeats, was {list(windows)}.")
        return windows

    @field_validator("columns")
    @classmethod
    def _known(cls, columns: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if columns is None:
            return None
        for name in columns:
            if name not in GRID_VALUES:
                raise ValueError(
                    f"No grid column is called '{name}'.{did_you_mean(name, GRID_VALUES)} "
                    f"Columns: {', '.join(GRID_VALUES)}."
                )
        if not columns:
            raise ValueError("columns was empty: leave it out for all columns, or name at least one.")
        chosen = tuple(name for name in GRID_VALUES if name in columns)
        return None if chosen == GRID_VALUES else chosen

    @model_validator(mode="after")
    def _distinct_time_constants(self) -> Self:
        named = [(n, getattr(self, n)) for n in ("tau_velocity", "tau_acceleration", "tau_jerk")]
        for (name_a, a), (name_b, b) in combinations(named, 2):
            if abs(a - b) < MIN_RELATIVE_GAP * max(a, b):
                raise ValueError(
                    f"{name_a} and {name_b} must differ by at least 1 %, were {a} s and {b} s: the filters in series "
                    "share their response when time constants meet."
                )
        return self

    @property
    def n_cells(self) -> int:
        """Cells of the grid, ``2 * grid_radius_ticks + 1``."""
        return 2 * self.grid_radius_ticks + 1

    @property
    def grid_columns(self) -> tuple[str, ...]:
        """The grid columns that are written, in file order."""
        return self.columns if self.columns is not None else GRID_VALUES
