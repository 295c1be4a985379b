"""``vp serve``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vpcore_cli.common import RootOption, say

if TYPE_CHECKING:
    from vpcore.workspace import Workspace
    from vpcore_server.task import Task


def serve(
    serving: Annotated[
        list[str] | None,
        typer.Option("--serving", help="Alias or id of a version to run from the start. Others start on demand."),
    ] = None,
    feed: Annotated[
        str, typer.Option("--feed", help="Where records come from: replay, or a feed of a plugin.")
    ] = "replay",
    feed_option: Annotated[
        list[str] | None, typer.Option("--feed-option", help="NAME=VALUE for the feed. Repeat for more.")
    ] = None,
    files: Annotated[
        list[Path] | None,
        typer.Option("--files", help="A file to replay. Repeat for more. [default: those of the published window]"),
    ] = None,
    speed: Annotated[str, typer.Option("--speed", help="Speed of a replay: a factor, or max.")] = "1",
    begin: Annotated[
        str | None,
        typer.Option(
            "--from", help="Time from which a replay keeps its speed: HH:MM, or date and time.", show_default=False
        ),
    ] = None,
    loop: Annotated[bool, typer.Option("--loop", help="Start the replay again at its end.")] = False,
    symbol: Annotated[
        str | None, typer.Option("--symbol", help="Contract after a roll. [default: the published one]")
    ] = None,
    host: Annotated[str, typer.Option("--host", help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="Port; 0: any free one.")] = 8765,
    token_file: Annotated[
        Path | None, typer.Option("--token-file", help="File with the token of the clients.", show_default=False)
    ] = None,
    origin: Annotated[
        list[str] | None, typer.Option("--origin", help="Further origin of the page, behind a proxy. Repeat for more.")
    ] = None,
    grace_ms: Annotated[
        float, typer.Option("--grace-ms", min=0.0, max=60_000.0, help="Time that records may take to arrive.")
    ] = 250.0,
    stale_s: Annotated[
        float,
        typer.Option("--stale-s", min=0.1, max=3600.0, help="A feed that is silent for so long has lost records."),
    ] = 5.0,
    follow_alias: Annotated[
        bool,
        typer.Option("--follow-alias", help="Clients of an alias that moves go on with its new version, once warm."),
    ] = False,
    max_clients: Annotated[int, typer.Option("--max-clients", min=1, max=10_000, help="Most clients.")] = 64,
    idle_s: Annotated[
        float, typer.Option("--idle-s", min=0.0, help="A channel ends so long after its last client.")
    ] = 300.0,
    root: RootOption = None,
) -> None:
    """Stream published versions to programs and to a web page.

    The page is at the address that is printed. Each version runs in a process of its own. Ctrl-C or SIGTERM ends the
    server.
    """
    from vpcore_cli.common import open_workspace
    from vpcore_server.reader import Reader
    from vpcore_server.task import Task

    workspace = open_workspace(root)
    names = list(dict.fromkeys(serving or []))
    options: dict[str, Any] = feed_options(feed_option or [])
    if feed == "replay":
        options["speed"] = speed if speed == "max" else _number(speed)
    task = Task(
        root=str(workspace.root),
        serving_id="",
        feed=feed,
        options=options,
        files=[str(path.absolute()) for path in files or []],
        symbol=symbol,
        loop=loop,
        grace_ms=grace_ms,
        stale_s=stale_s,
    )
    reader = Reader()
    task = reader.ask_now(checked, workspace.root, names, task, begin)
    from vpcore_server.hub import Hub
    from vpcore_server.server import Address, run

    hub = Hub(workspace, task, idle_s=idle_s, max_clients=max_clients, follow_alias=follow_alias, reader=reader)
    address = Address(host, port, token_file, tuple(origin or ()))
    run(hub, names, address, lambda url: say(f"Listening on {url}\nStop it with Ctrl-C."))


def feed_options(given: list[str]) -> dict[str, Any]:
    """Return ``NAME=VALUE`` options; numbers, true and false are values of their kind.

    Raises
    ------
    ConfigError
        If one has no ``=``.
    """
    import json

    from vpcore.errors import ConfigError

    found: dict[str, Any] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise ConfigError("--feed-option", required="NAME=VALUE", was=f"'{text}'")
        try:
            found[name] = json.loads(value)
        except ValueError:
            found[name] = value
    return found


def _number(text: str) -> float:
    from vpcore.errors import ConfigError

    try:
        speed = float(text)
    except ValueError:
        speed = 0.0
    if not 0 < speed < float("inf"):
        raise ConfigError("--speed", required="a number above 0, or max", was=f"'{text}'")
    return speed


def begin_ns(workspace: Workspace, names: list[str], text: str) -> int:
    """Return the time of ``--from``, in the time zone of the first version.

    Raises
    ------
    ConfigError
        If it is no time, or no version is named.
    """
    import datetime
    from zoneinfo import ZoneInfo

    from vpcore.errors import ConfigError
    from vpcore_serving.registry import registry_of
    from vpcore_serving.spec import published

    if not names:
        raise ConfigError("--from needs --serving: its session is that of the version")
    pipeline = published(registry_of(workspace), names[0]).spec.runtime.pipeline
    zone = ZoneInfo(pipeline.timezone)
    day = datetime.datetime.fromtimestamp(pipeline.start_ns // 10**9, zone).date()
    try:
        if len(text) <= 8 and ":" in text:
            at = datetime.datetime.combine(day, datetime.time.fromisoformat(text), zone)
        else:
            at = datetime.datetime.fromisoformat(text)
            at = at if at.tzinfo is not None else at.replace(tzinfo=zone)
    except ValueError:
        raise ConfigError("--from", required="a time such as 09:45 or 2025-07-01T09:45", was=f"'{text}'") from None
    return int(at.timestamp()) * 10**9 + at.microsecond * 1000


def _nothing() -> Any:
    """Stand for recorded files, to check the options of a feed."""


def checked(root: Path, names: list[str], task: Task, begin: str | None) -> Task:
    """Return the task with the time of ``--from``. Refuse what no channel could serve, before the server starts.

    Raises
    ------
    VpError
        If a version or the feed is unknown, an option is wrong, or `symbol` is of another instrument.
    """
    from vpcore.errors import ConfigError, SourceError
    from vpcore.workspace import Workspace
    from vpcore_serving.feed import FeedRequest
    from vpcore_serving.registry import registry_of
    from vpcore_serving.spec import published

    workspace = Workspace(root)
    if begin is not None:
        task = replace(task, begin_ns=begin_ns(workspace, names, begin))
    kind = workspace.plugins.load("feed", task.feed, "--feed")
    kind(FeedRequest(task.symbol or "", 0, 0, _nothing, task.options))
    for file in task.files:
        if not Path(file).is_file():
            raise SourceError(f"There is no file {file} (--files).")
    if task.files and kind.live:
        raise ConfigError(f"--files belongs to a replay: the feed '{task.feed}' is live")
    for name in names:
        version = published(registry_of(workspace), name)
        instrument = workspace.instrument(version.symbol)
        if task.symbol is not None and not instrument.matches(task.symbol):
            raise ConfigError(
                f"Serving version '{version.serving_id}' was evaluated on {version.symbol}",
                required=f"a contract of {instrument.root}",
                was=task.symbol,
            )
    return task
