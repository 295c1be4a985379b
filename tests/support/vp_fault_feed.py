"""A live feed whose market is the recorded session, with a fault on order: records lost, silence, a broken line."""

from __future__ import annotations

import asyncio
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vpcore import Component, SourceError, hookimpl
from vpcore.engine import Engine, EngineParams
from vpcore.kernels.records import ADD, ASK, BID, CLEAR, F_LAST, F_SNAPSHOT
from vpcore_serving.feed import Batch, Feed, Lost


@hookimpl
def vp_feeds() -> list[Component]:
    return [Component("faulty", "vp_fault_feed:FaultFeed", "For tests.")]


def install(folder: Path) -> dict[str, str]:
    """Install this module as a plugin, and return the environment in which a new process finds it."""
    info = folder / "vp_fault_feed-1.0.dist-info"
    info.mkdir(parents=True, exist_ok=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: vp-fault-feed\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[vpcore]\nfaulty = vp_fault_feed\n")
    paths = [str(folder), str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]
    return {"PYTHONPATH": os.pathsep.join(path for path in paths if path)}


@dataclass
class Fault:
    """A fault of a market, in its time."""

    name: str
    begin_ns: int
    end_ns: int
    begun: bool = False


class Market:
    """The recorded session, and the clock of this process."""

    def __init__(self, request: Any) -> None:
        with request.recorded() as stream:
            chunks = [
                (chunk.records[chunk.records["instrument_id"] == chunk.instrument_id], chunk.instrument_id)
                for chunk in stream
            ]
        self.records = np.concatenate([part for part, _ in chunks])
        self.instrument_id = chunks[0][1]
        self.times = np.maximum.accumulate(self.records["ts_recv"].astype(np.int64))
        self.began: float | None = None
        self.plan: list[Fault] = []
        self.late_ns = 0

    def snapshot(self, at_ns: int, tick_int: int = 250_000_000) -> np.ndarray:
        """Return a clear and every live order, as a feed sends them after a reconnection."""
        before = self.records[self.times < at_ns]
        engine = Engine(EngineParams(), tick_int=tick_int, start_ns=int(self.times[0]), cold_book="build")
        for _ in engine.blocks(before, self.instrument_id):
            pass
        orders = engine.orders()
        found = np.zeros(1 + len(orders["order_id"]), before.dtype)
        for name in ("length", "rtype", "publisher_id", "instrument_id"):
            found[name] = before[name][-1]
        found["ts_recv"] = found["ts_event"] = at_ns
        found["action"], found["action"][0] = ADD, CLEAR
        found["order_id"][1:], found["size"][1:] = orders["order_id"], orders["size"]
        found["price"][1:] = orders["tick"] * tick_int
        found["side"][1:] = np.where(orders["side"] == 0, BID, ASK)
        found["flags"] = F_SNAPSHOT
        found["flags"][-1] |= F_LAST
        return found


_MARKETS: dict[tuple[str, int], Market] = {}


class FaultFeed(Feed):
    """Options: `fault`, `begin_s` and `end_s`, or a `plan` of several; `join_s` and `stop_s` of the feed; `speed`."""

    def __init__(self, request: Any) -> None:
        super().__init__(request)
        options = {"begin_s": 1e9, "end_s": 2e9, "speed": 1.0, "stop_s": 1e9, "join_s": 0.0, **request.options}
        self.speed = options["speed"]
        plan = options.get("plan") or [(options.get("fault", "none"), options["begin_s"], options["end_s"])]
        self.plan = [Fault(fault, *(request.start_ns + int(s * 1e9) for s in times)) for fault, *times in plan]
        self.join_s = options["join_s"]
        self.stop_ns = request.start_ns + int(options["stop_s"] * 1e9)
        self.goes_on = "stop_s" in request.options  # also behind the last record
        self.key = (request.symbol, request.start_ns)

    def fault_at(self, market: Market, now_ns: int) -> tuple[str, int]:
        """Return the fault of a time and its end. If a busy machine begins it late, all that follows is late."""
        for place, fault in enumerate(market.plan):
            if now_ns >= fault.begin_ns and not fault.begun:
                late, fault.begun = now_ns - fault.begin_ns, True
                market.late_ns += late
                for later in market.plan[place:]:
                    later.begin_ns, later.end_ns = later.begin_ns + late, later.end_ns + late
            if fault.begun and now_ns < fault.end_ns:
                return fault.name, fault.end_ns
        return "none", 0

    def now_ns(self) -> int:
        market = _MARKETS.get(self.key)
        if market is None or market.began is None:
            return self.request.start_ns + int(self.join_s * 1e9)
        return self.request.start_ns + int((time.monotonic() - market.began) * self.speed * 1e9)

    def seconds_until(self, at_ns: int) -> float:
        return (at_ns - self.now_ns()) / 1e9 / self.speed

    async def __aiter__(self):
        if self.key not in _MARKETS:
            _MARKETS[self.key] = Market(self.request)
            _MARKETS[self.key].plan = self.plan
        market = _MARKETS[self.key]
        fresh = market.began is None
        if market.began is None:
            market.began, at = time.monotonic() - self.join_s / self.speed, 0
        if not fresh or self.join_s:
            at, now = int(np.searchsorted(market.times, self.now_ns())), self.now_ns()
            if self.fault_at(market, now)[0] == "break":
                raise SourceError("The line broke.")
            yield Batch(market.snapshot(now), market.instrument_id)
        present = "none"
        while at < len(market.records) or self.goes_on:
            now = self.now_ns()
            before, (present, end_ns) = present, self.fault_at(market, now)
            if now >= self.stop_ns + market.late_ns:
                return
            stop = int(np.searchsorted(market.times, now))
            if present == "break":
                raise SourceError("The line broke.")
            if present == "die":
                os._exit(9)
            if present == "doubt" and before == "none":
                market.records["flags"][stop:] |= 4
                market.records["flags"][stop + 200 :] &= 251
            if present == "lost" and before == "none":
                yield Lost("The line was slow.", int(market.times[at - 1]))
            if present == "silent":
                await asyncio.sleep(self.seconds_until(end_ns))
            if present in ("lost", "silent"):
                await asyncio.sleep(0.02)
                yield Batch(market.records[:0], market.instrument_id)
                continue
            if before != "none" and present == "none":
                yield Batch(market.snapshot(now), market.instrument_id)
                at = stop
            yield Batch(market.records[at:stop], market.instrument_id)
            at = stop
            await asyncio.sleep(0.004)
