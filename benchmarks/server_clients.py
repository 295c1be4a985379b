"""Clients of a stream, in a process of their own: `server_clients.py URL N SECONDS` prints delays and counts.

A delay runs from the close of a bin, which its header names, to its arrival here.
"""

from __future__ import annotations

import asyncio
import json
import struct
import sys
import time
from typing import Any

import numpy as np
from websockets.asyncio.client import connect

START = {"op": "start", "profile": "view", "mode": "latest", "window": 512}
RECORD = 3872
ACK_S = 0.2
SETTLE_S = 2.0
"""The clients connect."""


async def follow(url: str, until: float, delays: list[float], begin: float) -> int:
    skipped, told = 0, 0.0
    async with connect(url, max_size=None, compression=None) as socket:
        await socket.send(json.dumps(START))
        while (left := until - time.time()) > 0:
            try:
                async with asyncio.timeout(left):
                    frame: Any = await socket.recv()
            except TimeoutError:
                break
            now = time.time()
            if isinstance(frame, str):
                continue
            for at in range(0, len(frame), RECORD):
                seq, _, closed = struct.unpack_from("<qqq", frame, at + 8)
                skipped += struct.unpack_from("<I", frame, at + 4)[0] if now > begin else 0
                if now > begin:
                    delays.append(now - closed / 1e9)
            if now - told > ACK_S:
                told = now
                await socket.send(json.dumps({"op": "ack", "bin": seq}))
    return skipped


async def timer(until: float, late: list[float]) -> None:
    """Note how late a timer of 10 ms is: what this machine adds to any delay."""
    while time.time() < until:
        began = time.perf_counter()
        await asyncio.sleep(0.01)
        late.append(1e3 * (time.perf_counter() - began - 0.01))


async def main() -> None:
    url, n, seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
    delays: list[float] = []
    begin = time.time() + SETTLE_S
    late: list[float] = []
    following = (follow(url, begin + seconds, delays, begin) for _ in range(n))
    _, *skipped = await asyncio.gather(timer(begin + seconds, late), *following)
    ms = 1e3 * np.array(delays or [np.nan])
    quantiles = {f"p{100 * q:g}": float(np.quantile(ms, q)) for q in (0.5, 0.99)}
    print(
        json.dumps(
            {"bins": len(delays), "skipped": sum(skipped), **quantiles, "timer_p99": float(np.quantile(late, 0.99))}
        )
    )


if __name__ == "__main__":
    asyncio.run(main())
