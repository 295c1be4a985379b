"""``derivative``: is bull flow replacing bear flow on the price levels around the touch?

The engine labels the bin above and below the mid (+2 bull vacuum, +1 bull pressure, 0 mixed, -1 bear pressure, -2 bear
vacuum). A label is rare: it needs a move of the touch. So each absolute price level carries the last label l that was
not mixed, with a freshness q that fades. In every valid bin, for every level x in the window and its cell k::

    q(x) <- q(x) exp(-dt / memory)                      dt: time since the last valid bin
    l(x), q(x) <- label, 1    where k > 0 and the label above is not 0, or k < 0 and the label below is not 0
    m(x) = q(x) sign(l(x)) times vacuum_weight where |l(x)| is 2, pressure_weight where it is 1

A level that leaves the window forgets. Bull minus bear intensity, damped by the share of the levels that say nothing
any more, with ``w_k = exp(-spatial_decay (|k| - 1))`` for |k| > `center_exclusion`, else 0::

    mixed = 1 - sum_k w_k q(x_k) / sum_k w_k            in [0, 1]
    I = (1 - mixed_damping * mixed) sum_k w_k m(x_k) / sum_k w_k                       in [-1, 1]
    S = exponential average of I, time constant `smoothing_ms`
    d1, d2, d3 = successive backward differences of S, per second
    value = sum_i w_i tanh(d_i / (tanh_scale max(rms_i, floor_i))) / sum_i w_i

with ``rms_i`` the root mean square of d_i over the last `rms_window` bins. At the start and in the first bin after
invalid ones the differences are 0.

Economic reading: vacuum ahead of the price and pressure behind it push it on, the vacuum more, because a side that
retreats lets the price through at once. One labelled side among levels that are mixed is a weaker statement than the
same label all round, so the intensity is damped by the mixed share. Because levels and not cells remember,
a move of the mid brings levels with another history near the touch and changes the intensity even without a new label.
The derivatives say whether the push is growing. The root mean square, unlike a MAD, is not 0 when most bins are quiet,
and the floor keeps the last traces of a fading memory from speaking at full voice.

Positive is bullish. The value is NaN until the window of the root mean square is full.
"""

from __future__ import annotations

import math
from typing import Annotated, NamedTuple, Self

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from vpcore import ConfigError, SignalContext, SignalParams, StatisticalSignal
from vpcore.kernels.jit import jit
from vpcore.kernels.rolling import ema_step, push, rolling_rms
from vpcore.kernels.spatial import exponential_weights

STARTED, LOWEST, LAST_SEQ = range(3)
TRACE = 1e-30
"""A memory smaller than this is set to 0: denormal numbers cost time and carry nothing."""

Weight = Annotated[float, Field(ge=0.0, le=1e6)]
Floor = Annotated[float, Field(gt=0.0, le=1e9)]


class State(NamedTuple):
    """Memory between bins, with the parameters for compiled code."""

    tick_int: int
    bin_seconds: float
    memory_seconds: float
    smoothing_seconds: float
    cell_weights: npt.NDArray[np.float64]
    weights: npt.NDArray[np.float64]
    floors: npt.NDArray[np.float64]
    tanh_scale: float
    pressure_weight: float
    vacuum_weight: float
    mixed_damping: float
    fresh: npt.NDArray[np.float64]
    labels: npt.NDArray[np.int64]
    spare: npt.NDArray[np.float64]
    spare_labels: npt.NDArray[np.int64]
    place: npt.NDArray[np.int64]
    average: npt.NDArray[np.float64]
    last: npt.NDArray[np.float64]
    rings: npt.NDArray[np.float64]
    cursors: npt.NDArray[np.int64]


@jit
def _carry(state: State, lowest: int, count: int, gap: int) -> None:
    """Let the levels fade over `gap` bins and move the window to ``count`` levels from `lowest` upwards."""
    keep = math.exp(-gap * state.bin_seconds / state.memory_seconds)
    shift = lowest - state.place[LOWEST]
    size = state.fresh.shape[0]
    for i in range(size):
        source = i + shift
        value = 0.0
        label = 0
        if i < count and 0 <= source < size:
            value = state.fresh[source] * keep
            label = state.labels[source]
        state.spare[i] = value if value > TRACE else 0.0
        state.spare_labels[i] = label
    for i in range(size):
        state.fresh[i] = state.spare[i]
        state.labels[i] = state.spare_labels[i]
    state.place[LOWEST] = lowest


@jit
def _says(state: State, i: int) -> float:
    """Return the memory of the level at index `i`."""
    label = state.labels[i]
    weight = state.vacuum_weight if abs(label) == 2 else state.pressure_weight
    return float(state.fresh[i] * (weight if label > 0 else -weight))


@jit
def _step(state: State, bin_seq: int, bid_int: int, ask_int: int, above: int, below: int) -> float:
    radius = state.cell_weights.shape[0] - 1
    mid2 = (bid_int + ask_int) // state.tick_int
    odd = mid2 & 1
    # The window holds every level with |k| <= radius: one more, k = 0, when the mid is itself a level.
    lowest = (mid2 >> 1) - radius + odd
    first_above = radius + 1 - odd
    gap = bin_seq - state.place[LAST_SEQ] if state.place[STARTED] else 1
    _carry(state, lowest, 2 * radius + 1 - odd, gap)
    if above != 0:
        for i in range(first_above, first_above + radius):
            state.labels[i] = above
            state.fresh[i] = 1.0
    if below != 0:
        for i in range(radius):
            state.labels[i] = below
            state.fresh[i] = 1.0

    intensity = 0.0
    known = 0.0
    total = 0.0
    for distance in range(1, radius + 1):
        weight = state.cell_weights[distance]
        over = first_above + distance - 1
        under = radius - distance
        intensity += weight * (_says(state, over) + _says(state, under))
        known += weight * (state.fresh[over] + state.fresh[under])
        total += 2.0 * weight
    intensity *= (1.0 - state.mixed_damping * (1.0 - known / total)) / total
    alpha = 1.0 - math.exp(-gap * state.bin_seconds / state.smoothing_seconds)
    smooth = ema_step(state.average, intensity, alpha)

    # last: the average and its first three differences in the last valid bin.
    value = smooth
    fresh = state.place[STARTED] == 0 or gap > 1
    blend = 0.0
    total = 0.0
    warm = True
    for order in range(3):
        difference = 0.0 if fresh else (value - state.last[order]) / state.bin_seconds
        state.last[order] = value
        value = difference
        push(state.rings[order], state.cursors[order], difference)
        rms = rolling_rms(state.rings[order], state.cursors[order], state.rings.shape[1] >> 1)
        if math.isnan(rms):
            warm = False
            continue
        scale = state.tanh_scale * max(rms, state.floors[order])
        blend += state.weights[order] * math.tanh(difference / scale)
        total += state.weights[order]
    state.place[STARTED] = 1
    state.place[LAST_SEQ] = bin_seq
    return blend / total if warm else math.nan


class Derivative(StatisticalSignal):
    """Change of bull minus bear flow carried on price levels."""

    version = 2
    columns = ("bin_seq", "best_bid_price_int", "best_ask_price_int", "state_above", "state_below")
    kernel = _step

    class Params(SignalParams):
        """Parameters of ``derivative``."""

        memory_ms: float = Field(2000.0, ge=10.0, le=600_000.0, description="Time constant of a level's memory, in ms.")
        smoothing_ms: float = Field(500.0, ge=1.0, le=600_000.0, description="Time constant of its average, in ms.")
        spatial_decay: float = Field(0.1, ge=0.0, le=10.0, description="Decay of the weight with distance, per tick.")
        pressure_weight: float = Field(0.5, ge=0.0, le=1.0, description="What a pressure label counts.")
        vacuum_weight: float = Field(1.0, ge=0.0, le=1.0, description="What a vacuum label counts; not both 0.")
        mixed_damping: float = Field(
            0.5, ge=0.0, le=1.0, description="Share of the intensity that is lost where every level is mixed."
        )
        center_exclusion: int = Field(0, ge=0, le=499, description="Cells up to this distance do not count, in ticks.")
        derivative_weights: tuple[Weight, Weight, Weight] = Field(
            (0.55, 0.30, 0.15), description="Weights of the first three derivatives; not all 0."
        )
        rms_window: int = Field(600, ge=2, le=100_000, description="Window of the root mean square, in bins.")
        rms_floor: tuple[Floor, Floor, Floor] = Field(
            (0.01, 0.1, 1.0), description="Least root mean square of each derivative, in 1/s, 1/s^2 and 1/s^3."
        )
        tanh_scale: float = Field(2.0, gt=0.0, le=1000.0, description="Multiple of the RMS at which tanh says 0.76.")

        @model_validator(mode="after")
        def _some_weight(self) -> Self:
            if not math.fsum(self.derivative_weights) > 0.0:
                raise ValueError("derivative_weights must not all be 0: give at least one derivative a weight above 0.")
            if self.pressure_weight == self.vacuum_weight == 0.0:
                raise ValueError("pressure_weight and vacuum_weight must not both be 0: no label would count.")
            return self

    params: Params

    def start(self, context: SignalContext) -> State:
        """Return a state without memory.

        Raises
        ------
        ConfigError
            If `center_exclusion` leaves no cell.
        """
        p = self.params
        if p.center_exclusion >= context.radius:
            raise ConfigError(
                f"center_exclusion of signal 'derivative' must be below the grid's radius, {context.radius} ticks, "
                f"was {p.center_exclusion}: no cell would be left."
            )
        return State(
            tick_int=context.tick_int,
            bin_seconds=context.bin_seconds,
            memory_seconds=p.memory_ms / 1000.0,
            smoothing_seconds=p.smoothing_ms / 1000.0,
            cell_weights=exponential_weights(context.radius, p.spatial_decay, p.center_exclusion),
            weights=np.array(p.derivative_weights, dtype=np.float64),
            floors=np.array(p.rms_floor, dtype=np.float64),
            tanh_scale=float(p.tanh_scale),
            pressure_weight=float(p.pressure_weight),
            vacuum_weight=float(p.vacuum_weight),
            mixed_damping=float(p.mixed_damping),
            fresh=np.zeros(2 * context.radius + 1),
            labels=np.zeros(2 * context.radius + 1, dtype=np.int64),
            spare=np.zeros(2 * context.radius + 1),
            spare_labels=np.zeros(2 * context.radius + 1, dtype=np.int64),
            place=np.zeros(3, dtype=np.int64),
            average=np.zeros(2),
            last=np.zeros(3),
            rings=np.zeros((3, 2 * p.rms_window)),
            cursors=np.zeros((3, 2), dtype=np.int64),
        )

    def warmup_bins(self, context: SignalContext) -> int:
        """Return the bins until the window of the root mean square is full."""
        return self.params.rms_window - 1
