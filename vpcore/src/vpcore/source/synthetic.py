"""The calibrated market: a simulator that writes real DBN files, order by order.

The reference price is an exogenous symmetric walk with random numbers of its own. Makers re-centre the book in the event
in which it moves, and ordinary flow never empties a touch, so that the mid *is* the walk: at ``alpha = 0`` nothing that
the book shows says where it goes. `alpha` tilts each step by the imbalance of pressure and vacuum near the touch,
``P(up) = (1 + alpha * imbalance) / 2``; see `vpcore.kernels.market.imbalance`. A latent mood of the ordinary flow, which
the walk does not know of, gives that imbalance size and memory.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from vpcore.canonical import digest
from vpcore.errors import SourceError
from vpcore.kernels import market as kernel
from vpcore.kernels import queues
from vpcore.kernels.random import seeded
from vpcore.kernels.records import MBO_DTYPE, MBO_RTYPE, UNDEF_PRICE
from vpcore.source.dbn import DbnSource, DbnStream
from vpcore.source.encode import DbnWriter, encode_metadata
from vpcore.source.header import Mapping
from vpcore.source.protocol import SourceRequest
from vpcore.units import NS_PER_S, tick_to_int

DATASET = "VPCORE.SYNTH"
DEMO_ALPHA = 0.6
"""The documented strength of a planted effect that signals should find in an hour of market."""

_FORMAT = 1  # part of a synthetic file's name: the simulator's arithmetic
_PUBLISHER = 1
_CHANNEL = 0
_ROWS = 65_536
_ORDERS = 1 << 17
_LAST_QUIET_NS = 5_000_000  # no event so close before the end: its records would arrive after it
_FIRST_ORDER_ID = 6_400_000_000_000
_WALK, _FLOW = 0, 1

# What a mid change is made of, measured on an evening of ES: whole ticks in one event, or two half ticks with a spread
# of two ticks between, which holds for 10 % of the time.
_FULL_PER_MOVE = 0.678
_WIDE_PER_MOVE = 0.161
_WIDE_SHARE = 0.10


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
    imbalance_gain: float = Field(3.0, gt=0, le=100, description="Gain of the imbalance before it is clipped; raise it with events_per_second")
    mood_s: float = Field(20.0, gt=0, le=3600, description="How long a mood of the ordinary flow lasts on average")
    mood_gain: float = Field(0.45, ge=0, le=0.45, description="How much the mood shifts the chance of an add near the touch")
    restoring: float = Field(0.15, ge=0.02, le=1, description="How strongly a level's depth is drawn to its target")
    trade_share: float = Field(0.08, ge=0, le=0.5, description="Share of trades among ordinary events")
    modify_share: float = Field(0.2, ge=0, le=0.8, description="Share of modifies among the others")
    iceberg_share: float = Field(0.02, ge=0, le=0.5, description="Share of new orders with hidden size")
    own_share: float = Field(0.04, ge=0, le=0.5, description="Share of trades by a resting order moved into a cross")

    @model_validator(mode="after")
    def _whole(self) -> SyntheticParams:
        tick = tick_to_int(self.tick_size)
        if tick_to_int(self.start_price) % tick:
            raise ValueError(f"start_price must be a multiple of tick_size {self.tick_size}, was {self.start_price}")
        if self.start_ns + self.duration_s * NS_PER_S >= 2**62:
            raise ValueError("the market must end before the year 2116")
        if self.near_ticks > self.reach_ticks:
            raise ValueError(f"near_ticks must not exceed reach_ticks {self.reach_ticks}, was {self.near_ticks}")
        return self

    @property
    def end_ns(self) -> int:
        """End of the market if `records` does not say otherwise, UTC nanoseconds."""
        return self.start_ns + round(self.duration_s * NS_PER_S)

    def digest(self) -> str:
        """Return 12 hex digits that name these parameters and the simulator's version."""
        return digest({"format": _FORMAT, **self.model_dump()})[:12]


@dataclass(frozen=True, slots=True)
class SyntheticReport:
    """What `write_synthetic` made.

    Parameters
    ----------
    path : Path
    params : SyntheticParams
    start_ns, end_ns : int
        The span in the file's metadata.
    records, events, trades, volume, steps : int
        Records (snapshot included), events after it, trades, contracts traded, steps of the walk.
    imbalance_std : float
        Root mean square of the imbalance at the steps of the walk.
    imbalance_correlation : float
        Correlation of the imbalance with the direction of the step that follows; `alpha` times `imbalance_std` on
        average.
    """

    path: Path
    params: SyntheticParams
    start_ns: int
    end_ns: int
    records: int
    events: int
    trades: int
    volume: int
    steps: int
    imbalance_std: float
    imbalance_correlation: float


class Simulation:
    """A market in progress: iterate for its records.

    Parameters
    ----------
    params : SyntheticParams
    end_ns : int, optional
        Instead of the parameters' end.

    Raises
    ------
    SourceError
        While it runs, if the price leaves the range of prices that the simulation holds (it starts too near to 0).
    """

    def __init__(self, params: SyntheticParams, end_ns: int | None = None) -> None:
        self.params = params
        self.end_ns = params.end_ns if end_ns is None else end_ns
        self._tick_int = tick_to_int(params.tick_size)
        start_tick = tick_to_int(params.start_price) // self._tick_int
        moves = params.moves_per_hour * (self.end_ns - params.start_ns) / (3600 * NS_PER_S)
        # A symmetric walk leaves ten standard deviations never; the fully tilted one goes further.
        room = params.reach_ticks + params.snapshot_levels + 64
        room += math.ceil(10 * math.sqrt(moves) + abs(params.alpha) * moves)
        self._lowest_tick = max(1, start_tick - room)
        self._market = _market(params, start_tick - self._lowest_tick, start_tick + room - self._lowest_tick)
        self._rates = _rates(params, self.end_ns)
        if self._market.state[kernel.BEST_BID] < params.snapshot_levels:
            raise SourceError(
                f"start_price {params.start_price} leaves no room for {params.snapshot_levels} levels of "
                f"{params.tick_size} above 0. Choose a higher start_price or fewer snapshot_levels."
            )

    def __iter__(self) -> Iterator[np.ndarray[Any, Any]]:
        """Yield ``MBO_DTYPE[n]``; the memory is used again for the next ones."""
        market, rates, state = self._market, self._rates, self._market.state
        buffer = np.zeros(len(market.rows), MBO_DTYPE)
        kernel.open_book(market, rates, self.params.start_ns, self.params.snapshot_levels)
        while True:
            if not state[kernel.DONE]:
                kernel.simulate(market, rates)
            if state[kernel.OUT_OF_RANGE]:
                raise SourceError(
                    "The simulated price came too near to 0. Choose a higher start_price, a smaller tick_size or a shorter market."
                )
            count = int(state[kernel.N_ROWS])
            if count:
                yield self._encode(buffer[:count], market.rows[:count])
            state[kernel.N_ROWS] = state[kernel.EVENT_ROW] = 0
            if state[kernel.DONE]:
                return

    def counts(self) -> dict[str, int]:
        """Return events, trades, volume and steps so far."""
        state = self._market.state
        places = {"events": kernel.N_EVENTS, "trades": kernel.N_TRADES, "volume": kernel.VOLUME, "steps": kernel.N_STEPS}
        return {name: int(state[place]) for name, place in places.items()}

    def imbalance(self) -> tuple[float, float]:
        """Return the root mean square of the imbalance at the steps, and its correlation with their directions."""
        steps = int(self._market.state[kernel.N_STEPS])
        product, square = (float(self._market.sums[i]) for i in (kernel.STEP_PRODUCT, kernel.STEP_SQUARE))
        if not steps or not square:
            return 0.0, 0.0
        return math.sqrt(square / steps), product / math.sqrt(square * steps)

    def _encode(self, out: np.ndarray[Any, Any], rows: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        out["length"] = MBO_DTYPE.itemsize // 4
        out["rtype"] = MBO_RTYPE
        out["publisher_id"] = _PUBLISHER
        out["instrument_id"] = self.params.instrument_id
        out["channel_id"] = _CHANNEL
        level = rows[:, kernel.ROW_LEVEL]
        out["price"] = np.where(level < 0, UNDEF_PRICE, (level + self._lowest_tick) * self._tick_int)
        for name, column in (
            ("ts_event", kernel.TS_EVENT),
            ("order_id", kernel.ORDER),
            ("size", kernel.ROW_SIZE),
            ("flags", kernel.FLAGS),
            ("action", kernel.ACTION),
            ("side", kernel.SIDE_CODE),
            ("ts_recv", kernel.TS_RECV),
            ("ts_in_delta", kernel.DELTA),
            ("sequence", kernel.SEQUENCE),
        ):
            out[name] = rows[:, column]
        return out


def write_synthetic(path: Path, params: SyntheticParams) -> SyntheticReport:
    """Simulate a market into a DBN file; an existing file is replaced when the new one is complete.

    Parameters
    ----------
    path : Path
        ``.dbn``, or ``.dbn.zst`` for a compressed file.
    params : SyntheticParams

    Raises
    ------
    SourceError
        If the file cannot be written or the price comes too near to 0.
    """
    end_ns = params.end_ns if params.records is None else _end_of_records(params)
    metadata = encode_metadata(
        dataset=DATASET,
        start_ns=params.start_ns,
        end_ns=end_ns,
        mappings=[Mapping(params.symbol, params.instrument_id, params.start_ns, end_ns)],
    )
    simulation = Simulation(params, end_ns)
    with DbnWriter(path, metadata) as writer:
        for records in simulation:
            writer.write(records)
    std, correlation = simulation.imbalance()
    return SyntheticReport(
        path=path,
        params=params,
        start_ns=params.start_ns,
        end_ns=end_ns,
        records=writer.n_records,
        **simulation.counts(),
        imbalance_std=std,
        imbalance_correlation=correlation,
    )


class SyntheticSource:
    """Simulates the capture window's market, keeps it as a file, and reads that file as any other.

    Options: the fields of `SyntheticParams`. Symbol, start and length are the window's.
    """

    def open(self, request: SourceRequest) -> DbnStream:
        """Open a capture window. See `Source.open`."""
        if request.files:
            raise SourceError("The source 'synthetic' makes its own file: leave out capture.files, or set capture.source: dbn.")
        if request.raw_root is None:
            raise SourceError("The source 'synthetic' needs a folder to keep its file in (lake/raw of a workspace).")
        for name in ("symbol", "start_ns", "duration_s", "records"):
            if name in request.options:
                raise SourceError(f"capture.options.{name} is not an option of the source 'synthetic': the window says it.")
        duration_s = (request.end_ns - request.start_ns) / NS_PER_S
        values = {"symbol": request.symbol, "start_ns": request.start_ns, "duration_s": duration_s, **request.options}
        params = parse_params(values, "capture.options")
        path = request.raw_root / "synthetic" / "source" / f"{params.symbol}-{params.digest()}.dbn.zst"
        if not path.exists():
            write_synthetic(path, params)
        return DbnSource().open(SourceRequest(request.symbol, request.start_ns, request.end_ns, files=(path,)))


def parse_params(values: dict[str, Any], where: str) -> SyntheticParams:
    """Return the parameters of a synthetic market.

    Raises
    ------
    SourceError
        If a name is unknown or a value out of its range; `where` says where the values stand.
    """
    from vpcore.errors import did_you_mean, listed

    fields = SyntheticParams.model_fields
    for name in values:
        if name not in fields:
            raise SourceError(
                f"A synthetic market has no parameter '{name}' ({where}).{did_you_mean(name, fields)} It has: {listed(fields)}."
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


def _end_of_records(params: SyntheticParams) -> int:
    """Return the end of the second in which `params.records` records are reached."""
    longest = params.start_ns + 7 * 86_400 * NS_PER_S
    wanted = params.records or 0
    seen = 0
    for records in Simulation(params, longest):
        if seen + len(records) >= wanted:
            last = int(records["ts_recv"][wanted - seen - 1])
            seconds = (last + _LAST_QUIET_NS - params.start_ns) // NS_PER_S + 1
            return params.start_ns + seconds * NS_PER_S
        seen += len(records)
    raise SourceError(f"A week of this market has {seen} records, fewer than {wanted}. Raise events_per_second.")


def _rates(params: SyntheticParams, end_ns: int) -> kernel.Rates:
    per_second = params.moves_per_hour / 3600.0
    narrow_time = 1.0 - _WIDE_SHARE
    full = _FULL_PER_MOVE * per_second / narrow_time
    widen = _WIDE_PER_MOVE * per_second / narrow_time
    return kernel.Rates(
        end_ns=end_ns - _LAST_QUIET_NS,
        flow=params.events_per_second,
        step_narrow=full + widen,
        step_wide=_WIDE_PER_MOVE * per_second / _WIDE_SHARE,
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
    )


def _market(params: SyntheticParams, best_bid: int, n_levels: int) -> kernel.Market:
    orders = np.zeros((_ORDERS, 8), np.int64)
    orders[:, queues.NEXT] = np.arange(1, _ORDERS + 1)
    orders[-1, queues.NEXT] = queues.NOBODY
    levels = np.zeros((n_levels, 4), np.int64)
    levels[:, [queues.HEAD, queues.TAIL]] = queues.NOBODY
    state = np.zeros(kernel.N_STATE, np.int64)
    state[kernel.BEST_BID] = best_bid
    state[kernel.BEST_ASK] = best_bid + 1
    state[kernel.LAST_ID] = _FIRST_ORDER_ID
    state[kernel.LAST_SEQUENCE] = 1000
    away = np.arange(params.reach_ticks)
    # Six orders in ten arrive at the touch, on ES; the rest thins out with distance.
    chance = np.where(away == 0, 0.55, 0.0)
    chance[1:] = 0.45 / away[1:] / np.sum(1.0 / away[1:])
    sizes = np.array([1, 2, 3, 4, 5, 6, 8, 10, 12, 20, 40], np.int64)
    adds = np.array([0.700, 0.100, 0.070, 0.050, 0.020, 0.010, 0.010, 0.010, 0.025, 0.004, 0.001])
    trades = np.array([0.610, 0.160, 0.060, 0.045, 0.030, 0.015, 0.020, 0.020, 0.020, 0.015, 0.005])
    return kernel.Market(
        orders=orders,
        levels=levels,
        state=state,
        sums=np.zeros(kernel.N_SUMS),
        flow=seeded(params.seed, _FLOW),
        walk=seeded(params.seed, _WALK),
        distance=_running(chance),
        target=params.touch_depth + (params.deep_depth - params.touch_depth) * (1.0 - 1.0 / (1.0 + away / 6.0)),
        add_chance=_running(adds),
        trade_chance=_running(trades),
        sizes=sizes,
        rows=np.zeros((_ROWS + 2 * _snapshot_orders(params), kernel.N_COLUMNS), np.int64),
    )


def _snapshot_orders(params: SyntheticParams) -> int:
    """Return more orders than a snapshot can have: every one has a contract at least."""
    highest = max(params.touch_depth, params.deep_depth)
    return min(_ORDERS // 2, math.ceil(params.snapshot_levels * (1.4 * highest + 1)))


def _running(chances: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    total = np.cumsum(chances)
    total /= total[-1]
    return total
