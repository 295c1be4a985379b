"""The server of `vp serve` in a thread of the test, on a free port of loopback, with its real workers."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import uvicorn

from vpcore import Workspace
from vpcore_server.app import make_app
from vpcore_server.client import stream
from vpcore_server.hub import Hub
from vpcore_server.security import Gate
from vpcore_server.server import configure, listen
from vpcore_server.task import Task


class LiveServer:
    """A running server. Its hub may be used from its own loop alone: see `call`."""

    def __init__(self, hub: Hub, port: int, loop: asyncio.AbstractEventLoop, config: uvicorn.Config) -> None:
        self.hub, self.port, self.loop, self.config = hub, port, loop, config
        self.url, self.http = f"ws://127.0.0.1:{port}", f"http://127.0.0.1:{port}"

    def call(self, function: Callable[[], Any]) -> Any:
        """Return what a function returns in the loop of the server."""

        async def run() -> Any:
            return function()

        return asyncio.run_coroutine_threadsafe(run(), self.loop).result(60)

    def get(self, path: str, **headers: str) -> tuple[int, dict[str, str], bytes]:
        """Return status, headers and body of a request."""
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        request = urllib.request.Request(self.http + path, headers=names)
        try:
            with urllib.request.urlopen(request, timeout=90) as answer:
                return answer.status, {k.lower(): v for k, v in answer.headers.items()}, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, {k.lower(): v for k, v in error.headers.items()}, error.read()

    def json(self, path: str) -> Any:
        status, _, body = self.get(path)
        assert status == 200, (path, status, body[:500])
        return json.loads(body)


@contextlib.contextmanager
def live_server(
    workspace: Workspace,
    names: list[str] | None = None,
    *,
    token: str | None = None,
    origins: tuple[str, ...] = (),
    **task: Any,
) -> Iterator[LiveServer]:
    """Run a server on a workspace; other arguments are those of `Task` and `Hub`."""
    own = {name: task.pop(name) for name in ("idle_s", "max_clients", "follow_alias") if name in task}
    listening = listen("127.0.0.1", 0)
    port = listening.getsockname()[1]
    hub = Hub(workspace, Task(str(workspace.root), "", **task), **own)
    app = make_app(hub, Gate.of("127.0.0.1", port, origins, token), names or [])
    server = uvicorn.Server(configure(app))
    loops: list[asyncio.AbstractEventLoop] = []

    def run() -> None:
        async def main() -> None:
            loops.append(asyncio.get_running_loop())
            await server.serve(sockets=[listening])

        asyncio.run(main())

    thread = threading.Thread(target=run)
    thread.start()
    try:
        while not server.started and thread.is_alive():
            time.sleep(0.01)
        assert server.started, "the server did not start"
        yield LiveServer(hub, port, loops[0], server.config)
    finally:
        server.should_exit = True
        thread.join(60)
        listening.close()
        assert not thread.is_alive(), "the server did not end"


class Received:
    """What a client was sent."""

    def __init__(self) -> None:
        self.texts: list[dict[str, Any]] = []
        self.frames: list[Any] = []

    @property
    def bins(self) -> Any:
        import numpy as np

        return np.concatenate(self.frames) if self.frames else None

    @property
    def hello(self) -> dict[str, Any]:
        return self.of("hello")[0]

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [text for text in self.texts if text["type"] == kind]


async def receive(
    server: LiveServer,
    serving: str,
    *,
    until: Callable[[Received], bool] = lambda _: False,
    patience: float = 120.0,
    **options: Any,
) -> Received:
    """Return what the client gets up to the end of the session, or until a condition holds."""
    found = Received()
    options = {"reconnect": False, **options}
    async with asyncio.timeout(patience), contextlib.aclosing(stream(server.url, serving, **options)) as items:  # type: ignore[type-var]
        async for item in items:
            (found.texts if isinstance(item, dict) else found.frames).append(item)
            if until(found):
                break
    return found
