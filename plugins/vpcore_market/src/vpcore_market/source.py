"""The calibrated market: a simulator that writes real DBN files, order by order.

In mode ``exogenous`` the reference price is a symmetric walk with random numbers of its own. Makers re-centre the book
in the event in which it moves, and ordinary flow never empties a touch, so that the mid *is* the walk: at ``alpha = 0``
nothing that the book shows says where it goes. `alpha` tilts each step by the imbalance of pressure and vacuum near the
touch, ``P(up) = (1 + alpha * imbalance) / 2``; see `kernels.market.imbalance`. A latent mood of the ordinary
flow, of which the walk does not know, gives that imbalance size and memory.

Mode ``natural`` is a queue market with bursts and regimes that moves itself, see `kernels.natural`: for realism.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vpcore.errors import SourceError
from vpcore.kernels.records import MBO_DTYPE, MBO_RTYPE, UNDEF_PRICE
from vpcore.source.protocol import Source, SourceRequest
from vpcore.units import NS_PER_S, tick_to_int
from vpcore_dbn.header import Mapping
from vpcore_dbn.source import DbnSource, DbnStream
from vpcore_dbn.writer import DbnWriter, encode_metadata
from vpcore_market.kernels import market as kernel, matching, natural, queues
from vpcore_market.params import (
    DEMO_ALPHA,
    LAST_QUIET_NS,
    ROOM_PER_HOUR,
    SyntheticParams,
    make_market,
    make_nature,
    make_orders,
    make_rates,
    parse_params,
)

__all__ = [
    "DEMO_ALPHA",
    "Simulation",
    "SyntheticParams",
    "SyntheticReport",
    "SyntheticSource",
    "parse_params",
    "write_synthetic",
]

DATASET = "VPCORE.SYNTH"
_PUBLISHER = 1
_CHANNEL = 0


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
        self._nature = make_nature(params) if params.mode == "natural" else None
        per_hour = params.moves_per_hour if self._nature is None else ROOM_PER_HOUR
        moves = per_hour * (self.end_ns - params.start_ns) / (3600 * NS_PER_S)
        # A symmetric walk leaves ten standard deviations never; the fully tilted one goes further.
        room = params.reach_ticks + params.snapshot_levels + 64
        room += math.ceil(10 * math.sqrt(moves) + abs(params.alpha) * moves)
        self._lowest_tick = max(1, start_tick - room)
        self._market = make_market(params, start_tick - self._lowest_tick, start_tick + room - self._lowest_tick)
        self._rates = make_rates(params, self.end_ns)
        if self._market.state[matching.BEST_BID] < params.snapshot_levels:
            raise SourceError(
                f"start_price {params.start_price} leaves no room for {params.snapshot_levels} levels of "
                f"{params.tick_size} above 0. Choose a higher start_price or fewer snapshot_levels."
            )

    def __iter__(self) -> Iterator[np.ndarray[Any, Any]]:
        """Yield ``MBO_DTYPE[n]``; the memory is used again for the next ones."""
        buffer = np.zeros(len(self._market.rows), MBO_DTYPE)
        self._open()
        for count in self._until(self._rates.end_ns):
            if count > len(buffer):
                buffer = np.zeros(len(self._market.rows), MBO_DTYPE)
            yield self._encode(buffer[:count], self._market.rows[:count])

    def samples(self, every_ns: int) -> Iterator[tuple[int, float, float]]:
        """Run the market, instead of iterating for its records, and look at it at regular times.

        Yields
        ------
        time : int
            UTC nanoseconds.
        mid : float
            Ticks.
        imbalance : float
            See `vpcore_market.kernels.market.imbalance`; as of the last event before.
        """
        state = self._market.state
        self._open()
        for t in range(self.params.start_ns + every_ns, self._rates.end_ns, every_ns):
            for _ in self._until(t):
                pass
            state[matching.DONE] = 0
            mid = (int(state[matching.BEST_BID]) + int(state[matching.BEST_ASK])) / 2 + self._lowest_tick
            yield t, mid, float(kernel.imbalance(self._market, self._rates))

    def _open(self) -> None:
        kernel.open_book(self._market, self._rates, self.params.start_ns, self.params.snapshot_levels)
        if self._nature is not None:
            natural.begin(self._market, self._nature, self.params.start_ns)

    def _until(self, end_ns: int) -> Iterator[int]:
        """Go on to a time; yield how many rows there are whenever the market stops for them to be taken."""
        rates, state = self._rates._replace(end_ns=end_ns), self._market.state
        while True:
            if state[matching.N_ROWS] == 0:  # the snapshot goes first, by itself
                self._make_room()
                if self._nature is None:
                    kernel.simulate(self._market, rates)
                else:
                    natural.simulate(self._market, rates, self._nature)
            if state[matching.OUT_OF_RANGE]:
                raise SourceError(
                    "The simulated price came too near to 0. "
                    "Choose a higher start_price, a smaller tick_size or a shorter market."
                )
            if state[matching.N_ROWS]:
                yield int(state[matching.N_ROWS])
            state[matching.N_ROWS] = state[matching.EVENT_ROW] = 0
            if state[matching.DONE]:
                return

    def _make_room(self) -> None:
        """Let the tables grow before they are full: what happens must not depend on how large they are."""
        market = self._market
        touch = market.state[[matching.BEST_BID, matching.BEST_ASK]]
        needed = kernel.rows_of_event(int(market.levels[touch, queues.COUNT].max()))
        if needed > len(market.rows):
            market = market._replace(rows=np.zeros((2 * needed, matching.N_COLUMNS), np.int64))
        before = market.orders
        if market.state[queues.LIVE] + kernel.SPARE_ORDERS > len(before):
            market = market._replace(orders=make_orders(before, len(before)))
            last = int(market.state[queues.FREE])
            while market.orders[last, queues.NEXT] != queues.NOBODY:
                last = int(market.orders[last, queues.NEXT])
            market.orders[last, queues.NEXT] = len(before)
        self._market = market

    def counts(self) -> dict[str, int]:
        """Return events, trades, volume and steps so far."""
        state = self._market.state
        places = {
            "events": matching.N_EVENTS,
            "trades": matching.N_TRADES,
            "volume": matching.VOLUME,
            "steps": matching.N_STEPS,
        }
        return {name: int(state[place]) for name, place in places.items()}

    def imbalance(self) -> tuple[float, float]:
        """Return the root mean square of the imbalance at the steps, and its correlation with their directions."""
        steps = int(self._market.state[matching.N_STEPS])
        product, square = (float(self._market.sums[i]) for i in (matching.STEP_PRODUCT, matching.STEP_SQUARE))
        if not steps or not square:
            return 0.0, 0.0
        return math.sqrt(square / steps), product / math.sqrt(square * steps)

    def _encode(self, out: np.ndarray[Any, Any], rows: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        out["length"] = MBO_DTYPE.itemsize // 4
        out["rtype"] = MBO_RTYPE
        out["publisher_id"] = _PUBLISHER
        out["instrument_id"] = self.params.instrument_id
        out["channel_id"] = _CHANNEL
        level = rows[:, matching.ROW_LEVEL]
        out["price"] = np.where(level < 0, UNDEF_PRICE, (level + self._lowest_tick) * self._tick_int)
        for name, column in (
            ("ts_event", matching.TS_EVENT),
            ("order_id", matching.ORDER),
            ("size", matching.ROW_SIZE),
            ("flags", matching.FLAGS),
            ("action", matching.ACTION),
            ("side", matching.SIDE_CODE),
            ("ts_recv", matching.TS_RECV),
            ("ts_in_delta", matching.DELTA),
            ("sequence", matching.SEQUENCE),
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
        The market. The same ones give the same bytes.

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


class SyntheticSource(Source):
    """Simulates the capture window's market, keeps it as a file, and reads that file as any other.

    Options: the fields of `SyntheticParams`. Symbol, start and length are the window's.
    """

    def open(self, request: SourceRequest) -> DbnStream:
        """Open a capture window. See `Source.open`."""
        if request.files:
            raise SourceError(
                "The source 'synthetic' makes its own file: leave out capture.files, or set capture.source: dbn."
            )
        if request.raw is None:
            raise SourceError("The source 'synthetic' needs a folder to keep its file in (lake/raw of a workspace).")
        for name in ("symbol", "start_ns", "duration_s", "records"):
            if name in request.options:
                raise SourceError(
                    f"capture.options.{name} is not an option of the source 'synthetic': the window says it."
                )
        duration_s = (request.end_ns - request.start_ns) / NS_PER_S
        values = {"symbol": request.symbol, "start_ns": request.start_ns, "duration_s": duration_s, **request.options}
        params = parse_params(values, "capture.options")
        path = request.raw.path / "synthetic" / "source" / f"{params.symbol}-{params.digest()}.dbn.zst"
        if not path.exists():
            write_synthetic(path, params)
        return DbnSource().open(SourceRequest(request.symbol, request.start_ns, request.end_ns, files=(path,)))


def _end_of_records(params: SyntheticParams) -> int:
    """Return the end of the second in which `params.records` records are reached."""
    longest = params.start_ns + 7 * 86_400 * NS_PER_S
    wanted = params.records or 0
    seen = 0
    for records in Simulation(params, longest):
        if seen + len(records) >= wanted:
            last = int(records["ts_recv"][wanted - seen - 1])
            seconds = (last + LAST_QUIET_NS - params.start_ns) // NS_PER_S + 1
            return params.start_ns + seconds * NS_PER_S
        seen += len(records)
    raise SourceError(f"A week of this market has {seen} records, fewer than {wanted}. Raise events_per_second.")
