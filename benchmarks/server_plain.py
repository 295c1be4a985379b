"""The simplest server of such bins: a Starlette handler that encodes Arrow for each client. Arguments: PORT RATE.

Every client gets the same bin at the same time, as in a market.
"""

from __future__ import annotations

import asyncio
import struct
import sys
import time

import numpy as np
import pyarrow as pa
import uvicorn
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

CELLS = 101
COLUMNS = ("bid_depth", "ask_depth", "v_add", "v_pull", "v_fill", "pressure", "vacuum", "score", "projection")
RATE = float(sys.argv[2])
BEGAN = time.monotonic()
CLOSED: dict[int, int] = {}  # the time at which the first handler woke for a bin


async def stream(socket: WebSocket) -> None:
    await socket.accept()
    columns = {name: np.random.default_rng(1).random(CELLS).astype(np.float32) for name in COLUMNS}
    seq = int((time.monotonic() - BEGAN) * RATE)
    try:
        while True:
            seq += 1
            await asyncio.sleep(max(BEGAN + seq / RATE - time.monotonic(), 0))
            closed = CLOSED.setdefault(seq, time.time_ns())
            batch = pa.record_batch({name: pa.array(column) for name, column in columns.items()})
            sink = pa.BufferOutputStream()
            with pa.ipc.new_stream(sink, batch.schema) as writer:
                writer.write_batch(batch)
            # The header that the clients of the benchmark read; what follows fills one record.
            head = struct.pack("<HBBIqqq", 0x5056, 1, 3, 0, seq, closed, closed)
            await socket.send_bytes((head + sink.getvalue().to_pybytes())[:3872].ljust(3872, b"\0"))
    except (WebSocketDisconnect, RuntimeError):
        return


app = Starlette(routes=[WebSocketRoute("/v1/stream", stream)])
uvicorn.run(app, port=int(sys.argv[1]), ws="websockets-sansio", log_level="warning", ws_per_message_deflate=False)
