"""A client of the stream, to use or to copy. It needs numpy and websockets alone.

::

    async for item in stream("ws://127.0.0.1:8765", "champion"):
        if isinstance(item, dict):
            print(item["type"], item)  # hello, status, gap, event, alias, notice, end
        else:
            print(item["bin_seq"], item["value"])  # bins as an array of records, with the fields of hello's layout
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator
from typing import Any, Literal, TypedDict, Unpack
from urllib.parse import quote

import numpy as np
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

REFUSED = (4400, 4401, 4403, 4404, 4409, 4410, 4500)
"""Codes after which another attempt would be refused too. After the others the client connects again."""


ACK_S = 0.1
"""Least time between two acknowledgements: a client may send 20 frames per second."""


class StreamError(Exception):
    """The server ended the stream: its code and its message."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code, self.message = code, message


def dtype_of(hello: dict[str, Any]) -> np.dtype[Any]:
    """Return the layout of a bin."""
    fields = hello["layout"]
    return np.dtype(
        {
            "names": [field["name"] for field in fields],
            "formats": [(field["type"], tuple(field["shape"])) for field in fields],
            "offsets": [field["offset"] for field in fields],
            "itemsize": hello["record_bytes"],
        }
    )


class Start(TypedDict, total=False):
    """Choices of the first frame, see docs/how-to/serving.md. `since` is a bin of `session`."""

    profile: Literal["history", "view", "exact"]
    mode: Literal["latest", "every"]
    window: int
    last: int
    since: int
    session: str


DEFAULTS: Start = {"profile": "view", "mode": "every", "window": 1024, "last": 0}


async def stream(
    url: str, serving: str, *, token: str | None = None, reconnect: bool = True, **choices: Unpack[Start]
) -> AsyncIterator[dict[str, Any] | np.ndarray[Any, Any]]:
    """Yield the text frames of a stream as dictionaries and its bins as arrays of records, to the end of the session.

    A broken connection is made again and goes on behind the last bin, as far as the server remembers it. If the server
    has begun another session meanwhile, its `hello` says so (`resumed` is false), and all its stored bins come.

    Parameters
    ----------
    url : str
        Of the server: ``ws://127.0.0.1:8765`` or ``wss://name``.
    serving : str
        Alias or id of a published version.
    token : str, optional
        Of the server's token file.
    reconnect : bool
        False raises the first error of the connection.
    **choices
        See `Start`.

    Raises
    ------
    StreamError
        If the server refuses.
    """
    address = f"{url.rstrip('/')}/v1/stream?serving={quote(serving, safe='')}"
    headers = {"Authorization": f"Bearer {token}"} if token else None
    pause, loop = 1.0, asyncio.get_running_loop()
    start = DEFAULTS | choices
    window = start["window"]
    while True:
        try:
            async with connect(address, additional_headers=headers, max_size=None, compression=None) as socket:
                await socket.send(json.dumps({"op": "start", **start}))
                dtype, unsaid, due = np.dtype([]), 0, 0.0
                async for frame in socket:
                    pause = 1.0
                    if isinstance(frame, str):
                        found = json.loads(frame)
                        if found["type"] == "error":
                            raise StreamError(found["code"], found["message"])
                        if found["type"] == "hello":
                            dtype = dtype_of(found)
                            if start.get("session") not in (None, found["session"]):
                                start.pop("since", None)
                            start["session"] = found["session"]
                        yield found
                        if found["type"] == "end":
                            return
                        continue
                    bins = np.frombuffer(frame, dtype)
                    yield bins
                    start["since"], unsaid = int(bins["bin_seq"][-1]), unsaid + len(bins)
                    if unsaid >= max(window // 4, 1):
                        await asyncio.sleep(due - loop.time())
                        due = loop.time() + ACK_S
                        await socket.send(json.dumps({"op": "ack", "bin": start["since"]}))
                        unsaid = 0
            raise StreamError(1006, "The connection ended.")
        except (StreamError, ConnectionClosed, InvalidStatus, OSError) as error:
            code = error.code if isinstance(error, StreamError) else 1006
            if not reconnect or code in REFUSED:
                raise
        await asyncio.sleep(pause * random.uniform(0.5, 1.0))
        pause = min(2 * pause, 30.0)
