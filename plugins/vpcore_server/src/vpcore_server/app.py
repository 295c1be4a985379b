"""The endpoints of the server, all read-only."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib import resources
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.types import ASGIApp
from starlette.websockets import WebSocket

from vpcore.errors import RegistryError, ResultsError, VpError
from vpcore_charts import modules
from vpcore_server import experiments
from vpcore_server.arrow import table_bytes
from vpcore_server.channel import HISTORY_BINS, VIEW_BINS, Closed
from vpcore_server.connection import stream
from vpcore_server.describe import described
from vpcore_server.metrics import Metrics
from vpcore_server.security import Gate, Guard
from vpcore_server.wire import Profile
from vpcore_serving.registry import registry_of

if TYPE_CHECKING:
    from vpcore_server.hub import Hub

_TYPES = {"html": "text/html", "js": "text/javascript", "css": "text/css", "svg": "image/svg+xml"}
_STATUS = {4400: 400, 4404: 404, 4409: 409, 4410: 410, 4429: 429}


def make_app(hub: Hub, gate: Gate, names: list[str]) -> ASGIApp:
    """Return the server as an ASGI application.

    Parameters
    ----------
    hub : Hub
        The channels.
    gate : Gate
        Who may connect.
    names : list of str
        Versions whose channels run from the start.
    """
    return Guard(Endpoints(hub, gate, names).app, gate)


class Endpoints:
    """The routes of one server. See `make_app`."""

    def __init__(self, hub: Hub, gate: Gate, names: list[str]) -> None:
        self.hub, self.gate, self.names = hub, gate, names
        self.metrics = Metrics(hub)
        self.root, self.ask = hub.workspace.root, hub.reader.ask
        folder = resources.files("vpcore_server") / "page"
        own = {file.name: file.read_bytes() for file in folder.iterdir() if file.is_file()}
        self.files = own | {name: source.encode() for name, source in modules().items()}
        routes = [
            Route("/", self.page),
            Route("/page/{name}", self.file),
            WebSocketRoute("/v1/stream", self.stream),
            Route("/v1/servings", self.servings),
            Route("/v1/servings/{name}", self.serving),
            Route("/v1/servings/{name}/bins", self.bins),
            Route("/v1/experiments", self.experiment_names),
            Route("/v1/experiments/{name}/rows", self.rows),
            Route("/v1/rows/{row}", self.row),
            Route("/healthz", self.health),
            Route("/readyz", self.ready),
            Route("/metrics", self.metrics_text),
        ]
        handlers: dict[Any, Any] = {Closed: _closed, VpError: _refused}
        self.app = Starlette(routes=routes, lifespan=self._lifespan, exception_handlers=handlers)

    @asynccontextmanager
    async def _lifespan(self, app: Starlette) -> AsyncIterator[None]:
        try:
            await self.hub.start(self.names)
            yield
        finally:
            await self.hub.stop()

    # -- the stream ----------------------------------------------------------------------------------------------------

    async def stream(self, socket: WebSocket) -> None:
        """``WS /v1/stream?serving=``."""
        hub = self.hub
        hub.n_clients += 1

        def admit() -> None:
            self.gate.check_stream(socket.headers, socket.scope.get("subprotocols") or [])
            if hub.n_clients > hub.max_clients:
                raise Closed(4429, f"The server has {hub.max_clients} clients, its most. Try again later.")

        try:
            await stream(socket, admit, hub.open)
        finally:
            hub.n_clients -= 1

    # -- the page ------------------------------------------------------------------------------------------------------

    async def page(self, request: Request) -> Response:
        """``GET /``."""
        return Response(self.files["index.html"], media_type="text/html")

    async def file(self, request: Request) -> Response:
        """A file of the page."""
        name = request.path_params["name"]
        if name not in self.files:
            return PlainTextResponse("There is no such file.\n", 404)
        return Response(self.files[name], media_type=_TYPES[name.rpartition(".")[2]])

    # -- versions ------------------------------------------------------------------------------------------------------

    async def servings(self, request: Request) -> Response:
        """Every alias and version, and the running channels."""
        registry = registry_of(self.hub.workspace)
        aliases, versions = await asyncio.to_thread(lambda: (registry.aliases(), registry.versions()))
        running = self.hub.channels
        return JSONResponse(
            {
                "aliases": aliases,
                "versions": [
                    {
                        "serving_id": version.serving_id,
                        "aliases": list(version.aliases),
                        "created_utc": version.created_utc,
                        "running": version.serving_id in running,
                    }
                    for version in versions
                ],
            }
        )

    async def serving(self, request: Request) -> Response:
        """One version: what it is, and the state of its channel."""
        name = request.path_params["name"]
        serving_id = await asyncio.to_thread(self.hub.resolve, name)
        found = await self.ask(described, self.root, name)
        channel = self.hub.channels.get(serving_id)
        state = None
        if channel is not None:
            state = {"bins": channel.n_bins, "clients": len(channel.clients), "status": channel.status}
            state |= {"restarts": channel.restarts, "unready": channel.unready()}
        return JSONResponse(found | {"channel": state})

    async def bins(self, request: Request) -> Response:
        """The last bins of a running channel as an Arrow stream: up to an hour, with their cells up to ten minutes."""
        query = request.query_params
        if set(query) - {"last"}:
            raise Closed(4400, f"The query takes last alone, was {', '.join(sorted(set(query)))[:100]}.")
        text = query.get("last", "600")
        if not text.isdecimal() or not 1 <= int(text) <= HISTORY_BINS:
            raise Closed(4400, f"last must be a number of bins from 1 to {HISTORY_BINS}, was '{text[:20]}'.")
        serving_id = await asyncio.to_thread(self.hub.resolve, request.path_params["name"])
        channel = self.hub.channels.get(serving_id)
        if channel is None or channel.hello is None:
            raise Closed(4404, f"The version '{serving_id}' is not running: open a stream first.")
        profile: Profile = "view" if int(text) <= VIEW_BINS else "history"
        records = b"".join(list(channel.rings[profile])[-int(text) :])
        n_cells, n_horizons = channel.hello["n_cells"], len(channel.hello["horizons_ms"])
        data = await self.ask(table_bytes, records, profile, n_cells, n_horizons)
        return Response(data, media_type="application/vnd.apache.arrow.stream")

    # -- experiments ---------------------------------------------------------------------------------------------------

    async def experiment_names(self, request: Request) -> Response:
        """The experiments of the workspace."""
        return JSONResponse({"experiments": await asyncio.to_thread(experiments.names, self.root)})

    async def rows(self, request: Request) -> Response:
        """The leaderboard of an experiment."""
        name = request.path_params["name"]
        return JSONResponse(await self.ask(experiments.rows, self.root, name, keep=True))

    async def row(self, request: Request) -> Response:
        """A row with its trades."""
        row = request.path_params["row"]
        return JSONResponse(await self.ask(experiments.row, self.root, row, keep=True))

    # -- operation -----------------------------------------------------------------------------------------------------

    async def health(self, request: Request) -> Response:
        """The process lives."""
        return PlainTextResponse("ok\n")

    async def ready(self, request: Request) -> Response:
        """Every channel is fresh and warm; otherwise 503 with the reasons."""
        reasons = self.hub.unready()
        return JSONResponse({"ready": not reasons, "reasons": reasons}, 503 if reasons else 200)

    async def metrics_text(self, request: Request) -> Response:
        """Metrics for Prometheus."""
        return Response(self.metrics.text(), media_type="text/plain; version=0.0.4")


async def _closed(request: Request, error: Exception) -> Response:
    assert isinstance(error, Closed)
    body = {"error": {"code": error.code, "message": error.message}}
    return JSONResponse(body, _STATUS.get(error.code, 500))


async def _refused(request: Request, error: Exception) -> Response:
    status = 404 if isinstance(error, (ResultsError, RegistryError)) else 409
    return JSONResponse({"error": {"code": status, "message": str(error)}}, status)
