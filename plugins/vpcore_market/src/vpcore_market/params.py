"""The parameters of the synthetic market, and what they mean in the simulator's own terms."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from vpcore.canonical import digest
from vpcore.errors import SourceError, did_you_mean, listed
from vpcore.kernels.random import seeded
from vpcore.units import NS_PER_S, tick_to_int
from vpcore_market.kernels import matching, natural, queues

DEMO_ALPHA = 0.6
"""The documented strength of a planted effect that signals should find in an hour of market."""

BURSTY_HOUR: dict[str, Any] = {"mode": "bursty", "moves_per_hour": 800.0, "events_per_second": 14.0}
"""The bursty market of the study: like a quiet hour of ES."""

_FORMAT = 1  # part of a synthetic file's name: the simulator's arithmetic
_ROWS = 65_536
_ORDERS = 16_384  # beyond those of the snapshot; more as they are needed
_MAX_SNAPSHOT = 250_000
_FIRST_ORDER_ID = 6_400_000_000_000
_WALK, _FLOW, _CLOCK = 0, 1, 2
LAST_QUIET_NS = 5_000_000
"""No event comes so close before the end: its records would arrive after it."""

# What a mid change is made of, measured on an evening of ES: whole ticks in one event, or two half ticks with a spread
# of two ticks between, which holds for 10 % of the time.
_FULL_PER_MOVE = 0.678
_WIDE_PER_MOVE = 0.161
_WIDE_SHARE = 0.10
_WIDE_SHARE_BURSTY = 0.06
_ADDS = 0.52
"""natural: share of arriving orders among events that are no trades; trades take what more arrives than leaves."""


EXOGENOUS = ("alpha", "moves_per_hour", "mood_s", "mood_gain", "restoring")
NATURAL = (
    "branching", "same_share", "fast_ms", "slow_ms", "fast_share", "busy_ratio", "calm_s", "busy_s", "gap_share",
    "lean_share",
)  # fmt: skip
BURSTY = ("burst_share", "burst_ms", "swing", "swing_s")
"""Parameters that some modes lack: `EXOGENOUS` are those of the modes exogenous and bursty."""

ROOM_PER_HOUR = 100_000
"""Moves for which the natural market, which nothing bounds, has room."""


class SyntheticParams(BaseModel):
    """What a synthetic market is. The same parameters give the same bytes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    symbol: str = Field("ESU5", min_length=1, max_length=21, description="Symbol in the file's symbology")
    instrument_id: int = Field(90_001, ge=1, lt=2**32, description="Instrument number")
    start_ns: int = Field(1_751_376_600 * NS_PER_S, gt=0, lt=2**62, description="Start, UTC nanoseconds")
    duration_s: float = Field(3600.0, gt=0, le=7 * 86_400, description="Length in seconds")
    records: int | None = Field(
        None, ge=1, description="Instead of the length: end with the second in which so many records are reached"
    )
    seed: int = Field(1, ge=0, lt=2**63, description="Seed of both random streams")
    mode: Literal["exogenous", "bursty", "natural"] = Field(
        "exogenous",
        description="exogenous: a walk that the flow follows; bursty: the same with bursts and changing volatility; "
        "natural: a queue market that moves itself",
    )
    alpha: float = Field(0.0, ge=-1, le=1, description="Tilt of the walk by the imbalance of pressure and vacuum")
    events_per_second: float = Field(15.0, gt=0, le=1e5, description="Ordinary events; steps of the walk come on top")
    moves_per_hour: float = Field(1700.0, gt=0, le=1e6, description="Changes of the mid per hour, on average")
    tick_size: float = Field(0.25, gt=0, description="Tick size")
    start_price: float = Field(6200.0, gt=0, description="First best bid, a multiple of the tick")
    touch_depth: float = Field(8.0, ge=1, le=1e4, description="Contracts to which the touch tends")
    deep_depth: float = Field(45.0, ge=1, le=1e4, description="Contracts to which levels far from the touch tend")
    reach_ticks: int = Field(70, ge=8, le=1000, description="How far from the touch orders arrive")
    snapshot_levels: int = Field(120, ge=8, le=2000, description="Levels per side in the snapshot")
    near_ticks: int = Field(4, ge=1, le=50, description="Levels per side whose flow makes the imbalance")
    memory_s: float = Field(5.0, gt=0, le=600, description="Memory of the imbalance in seconds")
    imbalance_gain: float = Field(
        3.0, gt=0, le=100, description="Gain of the imbalance before it is clipped; raise it with events_per_second"
    )
    mood_s: float = Field(20.0, gt=0, le=3600, description="How long a mood of the ordinary flow lasts on average")
    mood_gain: float = Field(
        0.45, ge=0, le=0.45, description="How much the mood shifts the chance of an add near the touch"
    )
    restoring: float = Field(0.15, ge=0.02, le=1, description="How strongly a level's depth is drawn to its target")
    trade_share: float = Field(0.08, ge=0, le=0.5, description="Share of trades among ordinary events")
    modify_share: float = Field(0.2, ge=0, le=0.8, description="Share of modifies among the others")
    iceberg_share: float = Field(0.02, ge=0, le=0.5, description="Share of new orders with hidden size")
    own_share: float = Field(0.04, ge=0, le=0.5, description="Share of trades by a resting order moved into a cross")
    branching: float = Field(0.87, ge=0, le=0.95, description="natural: events that an event causes, on average")
    same_share: float = Field(0.5, ge=0, le=1, description="natural: share of these that are of its kind and side")
    fast_ms: float = Field(0.1, gt=0, le=1e5, description="natural: memory of the quick followers, ms")
    slow_ms: float = Field(500.0, gt=0, le=1e6, description="natural: memory of the slow ones, ms")
    fast_share: float = Field(0.75, ge=0, le=1, description="natural: share of the quick ones")
    busy_ratio: float = Field(
        4.0, ge=1, le=100, description="natural: how much more happens in busy times than in calm"
    )
    calm_s: float = Field(240.0, gt=0, le=86_400, description="natural: how long calm times last on average")
    busy_s: float = Field(60.0, gt=0, le=86_400, description="natural: how long busy times last on average")
    gap_share: float = Field(0.7, ge=0, le=1, description="natural: share of orders that go inside a wide spread")
    lean_share: float = Field(0.8, ge=0, le=1, description="natural: how far trades hit the smaller of the queues")

    burst_share: float = Field(0.85, ge=0, le=0.99, description="bursty: share of events that follow one at once")
    burst_ms: float = Field(0.3, gt=0, le=1000, description="bursty: time between these, ms")
    swing: float = Field(1.4, ge=0, le=3, description="bursty: standard deviation of the logarithm of the activity")
    swing_s: float = Field(120.0, gt=0, le=86_400, description="bursty: half-life of the activity in seconds")

    @model_validator(mode="after")
    def _whole(self) -> SyntheticParams:
        tick = tick_to_int(self.tick_size)
        if tick_to_int(self.start_price) % tick:
            raise ValueError(f"start_price must be a multiple of tick_size {self.tick_size}, was {self.start_price}")
        if self.start_ns + self.duration_s * NS_PER_S >= 2**62:
            raise ValueError("the market must end before the year 2116")
        if self.snapshot_levels * max(self.touch_depth, self.deep_depth) > _MAX_SNAPSHOT:
            raise ValueError(
                f"snapshot_levels times the larger of touch_depth and deep_depth must be at most {_MAX_SNAPSHOT}, "
                f"was {self.snapshot_levels * max(self.touch_depth, self.deep_depth):g}"
            )
        for name in self._foreign:
            if getattr(self, name) != type(self).model_fields[name].default:
                owner = "natural" if name in NATURAL else "bursty" if name in BURSTY else "exogenous"
                raise ValueError(f"{name} belongs to mode {owner}, the mode is {self.mode}. Leave it out, or set mode")
        if self.near_ticks > self.reach_ticks:
            raise ValueError(f"near_ticks must not exceed reach_ticks {self.reach_ticks}, was {self.near_ticks}")
        return self

    @property
    def _foreign(self) -> tuple[str, ...]:
        """Parameters that the mode does not have."""
        own = {"exogenous": EXOGENOUS, "bursty": (*EXOGENOUS, *BURSTY), "natural": NATURAL}[self.mode]
        return tuple(name for name in (*EXOGENOUS, *BURSTY, *NATURAL) if name not in own)

    @property
    def end_ns(self) -> int:
        """End of the market if `records` does not say otherwise, UTC nanoseconds."""
        return self.start_ns + round(self.duration_s * NS_PER_S)

    def digest(self) -> str:
        """Return 12 hex digits that name these parameters and the simulator's version."""
        # The exogenous market is named as it was before there was another.
        left_out = {"exogenous": {"mode", *NATURAL, *BURSTY}, "bursty": {*NATURAL}, "natural": {*BURSTY}}[self.mode]
        return digest({"format": _FORMAT, **self.model_dump(exclude=left_out)})[:12]


def parse_params(values: Mapping[str, Any], where: str) -> SyntheticParams:
    """Return the parameters of a synthetic market.

    Raises
    ------
    SourceError
        If a name is unknown or a value out of its range; `where` says where the values stand.
    """
    fields = SyntheticParams.model_fields
    for name in values:
        if name not in fields:
            raise SourceError(
                f"A synthetic market has no parameter '{name}' ({where}).{did_you_mean(name, fields)} "
                f"It has: {listed(fields)}."
            )
    try:
        return SyntheticParams(**values)
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(str(part) for part in item['loc']) or 'parameters'}: {item['msg']}, was {item['input']!r}"
            if item["loc"]
            else item["msg"].removeprefix("Value error, ")
            for item in error.errors()
        )
        raise SourceError(f"The parameters of the synthetic market are not valid ({where}): {problems}.") from error


def make_rates(params: SyntheticParams, end_ns: int) -> matching.Rates:
    """Return the simulator's rates for a market that ends at `end_ns`."""
    per_second = params.moves_per_hour / 3600.0
    wide_share = _WIDE_SHARE_BURSTY if params.mode == "bursty" else _WIDE_SHARE
    narrow_time = 1.0 - wide_share
    full = _FULL_PER_MOVE * per_second / narrow_time
    widen = _WIDE_PER_MOVE * per_second / narrow_time
    return matching.Rates(
        end_ns=end_ns - LAST_QUIET_NS,
        flow=params.events_per_second,
        step_narrow=full + widen,
        step_wide=_WIDE_PER_MOVE * per_second / wide_share,
        full_share=full / (full + widen),
        alpha=params.alpha,
        memory_s=params.memory_s,
        mood_s=params.mood_s,
        near=params.near_ticks,
        trade_share=params.trade_share,
        modify_share=params.modify_share,
        iceberg_share=params.iceberg_share,
        own_share=params.own_share,
        mood_gain=params.mood_gain,
        restoring=params.restoring,
        gain=params.imbalance_gain,
        bursts=_bursts(params),
    )


def _bursts(params: SyntheticParams) -> matching.Bursts:
    """Return the clock of the bursty market: on average as many events come as the market's own time has."""
    if params.mode != "bursty":
        return matching.Bursts(0.0, 0.0, 0.0, 0.0, 1.0)
    steps = params.moves_per_hour * (_FULL_PER_MOVE + 2 * _WIDE_PER_MOVE) / 3600.0
    events = params.events_per_second + steps
    # Activity is lognormal: its mean is above its median, so the pauses are longer by that.
    pause = math.exp(params.swing**2 / 2.0) / (events * (1.0 - params.burst_share))
    return matching.Bursts(pause, params.burst_share, params.burst_ms / 1000.0, params.swing, params.swing_s)


def make_nature(params: SyntheticParams) -> natural.Nature:
    """Return what the natural market has beside its rates.

    With a branching ratio `b`, arrivals without a cause come at ``(1 - b)`` times the rate that is wanted. Followers
    are of the kinds that are usual but for those of the same kind, so that the usual mix stays whatever the excitement.
    """
    trade = params.trade_share / 2
    add = (1.0 - params.trade_share) * _ADDS / 2
    usual = np.array([trade, trade, add, add, 0.5 - trade - add, 0.5 - trade - add])
    calm = (params.calm_s + params.busy_s) / (params.calm_s + params.busy_ratio * params.busy_s)
    return natural.Nature(
        base=(1.0 - params.branching) * params.events_per_second * usual,
        usual=usual,
        fast_s=params.fast_ms / 1000.0,
        slow_s=params.slow_ms / 1000.0,
        fast_share=params.fast_share,
        branching=params.branching,
        same_share=params.same_share,
        calm=calm,
        busy=calm * params.busy_ratio,
        calm_s=params.calm_s,
        busy_s=params.busy_s,
        gap_share=params.gap_share,
        lean_share=params.lean_share,
        rates=np.zeros(matching.N_KINDS),
    )


def make_market(params: SyntheticParams, best_bid: int, n_levels: int) -> matching.Market:
    """Return an empty market of `n_levels` prices with its touch at `best_bid` and the level above."""
    levels = np.zeros((n_levels, 4), np.int64)
    levels[:, [queues.HEAD, queues.TAIL]] = queues.NOBODY
    state = np.zeros(matching.N_STATE, np.int64)
    state[matching.BEST_BID] = best_bid
    state[matching.BEST_ASK] = best_bid + 1
    state[matching.LAST_ID] = _FIRST_ORDER_ID
    state[matching.LAST_SEQUENCE] = 1000
    away = np.arange(params.reach_ticks)
    # Six orders in ten arrive at the touch, on ES; the rest thins out with distance.
    chance = np.where(away == 0, 0.55, 0.0)
    chance[1:] = 0.45 / away[1:] / np.sum(1.0 / away[1:])
    sizes = np.array([1, 2, 3, 4, 5, 6, 8, 10, 12, 20, 40], np.int64)
    adds = np.array([0.700, 0.100, 0.070, 0.050, 0.020, 0.010, 0.010, 0.010, 0.025, 0.004, 0.001])
    trades = np.array([0.610, 0.160, 0.060, 0.045, 0.030, 0.015, 0.020, 0.020, 0.020, 0.015, 0.005])
    return matching.Market(
        orders=make_orders(None, _ORDERS + _snapshot_orders(params)),
        levels=levels,
        state=state,
        sums=np.zeros(matching.N_SUMS),
        flow=seeded(params.seed, _FLOW),
        walk=seeded(params.seed, _WALK),
        clock=seeded(params.seed, _CLOCK),
        distance=_running(chance),
        target=params.touch_depth + (params.deep_depth - params.touch_depth) * (1.0 - 1.0 / (1.0 + away / 6.0)),
        add_chance=_running(adds),
        trade_chance=_running(trades),
        sizes=sizes,
        rows=np.zeros((_ROWS + _snapshot_orders(params), matching.N_COLUMNS), np.int64),
    )


def make_orders(before: np.ndarray[Any, Any] | None, n: int) -> np.ndarray[Any, Any]:
    """Return room for `n` orders more than `before` has, the free rows linked; the first is the one behind `before`."""
    start = 0 if before is None else len(before)
    orders = np.zeros((start + n, 8), np.int64)
    if before is not None:
        orders[:start] = before
    orders[start:, queues.NEXT] = np.arange(start + 1, start + n + 1)
    orders[-1, queues.NEXT] = queues.NOBODY
    return orders


def _snapshot_orders(params: SyntheticParams) -> int:
    """Return more orders than a snapshot can have: every one has a contract at least."""
    highest = max(params.touch_depth, params.deep_depth)
    return 2 * math.ceil(params.snapshot_levels * (1.4 * highest + 2))


def _running(chances: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    total = np.cumsum(chances)
    total /= total[-1]
    return total
