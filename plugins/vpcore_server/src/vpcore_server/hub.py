"""The channels of a server, and the registry as the server sees it. Files are read in threads."""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from vpcore.errors import RegistryError, VpError
from vpcore_server.channel import Channel, Closed
from vpcore_server.reader import Reader
from vpcore_server.task import Task
from vpcore_serving.registry import registry_of

if TYPE_CHECKING:
    from vpcore.workspace import Workspace

LOOK_S = 2.0
"""Time between two looks at the aliases and the files of the running versions."""

SWEEP_S = 1.0
"""Time between two looks at clients that do not read."""

MOST_CHANNELS = 16


class Hub:
    """The channels of a server.

    Parameters
    ----------
    workspace : Workspace
    task : Task
        Feed and options of every channel; `serving_id` is replaced.
    idle_s : float
        A channel ends so long after its last client. Channels of `kept` stay.
    max_clients : int
    follow_alias : bool
        Clients of an alias that moves go on with its new version.
    reader : Reader, optional
        Reads what takes seconds or much memory.
    """

    def __init__(
        self,
        workspace: Workspace,
        task: Task,
        *,
        idle_s: float = 300.0,
        max_clients: int = 64,
        follow_alias: bool = False,
        reader: Reader | None = None,
    ) -> None:
        self.workspace, self.task, self.idle_s, self.max_clients = workspace, task, idle_s, max_clients
        self.follow_alias = follow_alias
        self.reader = reader if reader is not None else Reader()
        self._moves: set[asyncio.Task[None]] = set()
        self.channels: dict[str, Channel] = {}
        self.kept: set[str] = set()
        self.n_clients = 0
        self._watches: list[asyncio.Task[None]] = []
        self._opening = asyncio.Lock()

    async def start(self, names: list[str]) -> None:
        """Start the channels of some versions, which stay, and the watch over aliases and files."""
        for name in names:
            channel, _ = await self.open(name)
            self.kept.add(channel.serving_id)
        self._watches = [asyncio.create_task(self._look()), asyncio.create_task(self._sweep())]

    async def stop(self) -> None:
        """End every channel."""
        for task in (*self._watches, *self._moves):
            task.cancel()
        await asyncio.gather(*(channel.stop() for channel in self.channels.values()))
        self.channels.clear()
        self.reader.close()

    def resolve(self, name: str) -> str:
        """Return the id of a published version, given by alias or id. Call it in a thread.

        Raises
        ------
        Closed
            4404 for an unknown name, 4410 for a damaged version.
        """
        try:
            return registry_of(self.workspace).verify(name)
        except RegistryError as error:
            raise Closed(4404 if str(error).startswith("No serving version") else 4410, str(error)) from None
        except VpError as error:
            raise Closed(4410, str(error)) from None

    async def open(self, name: str) -> tuple[Channel, str | None]:
        """Return the channel of an alias or id, started if need be, and the alias.

        Raises
        ------
        Closed
            4404, 4410, or 4429 if there are too many channels.
        """
        serving_id = await asyncio.to_thread(self.resolve, name)
        async with self._opening:
            channel = self.channels.get(serving_id)
            if channel is None or channel.failed is not None:
                if len(self.channels) >= MOST_CHANNELS:
                    raise Closed(4429, f"The server has {MOST_CHANNELS} channels, its most. Try again later.")
                channel = Channel(replace(self.task, serving_id=serving_id), self._ended)
                self.channels[serving_id] = channel
                channel.start()
        return channel, name if name != serving_id else None

    def _ended(self, channel: Channel) -> None:
        if self.channels.get(channel.serving_id) is channel:
            del self.channels[channel.serving_id]

    def unready(self) -> list[str]:
        """Return the reasons why some channel is not fresh and warm."""
        missing = [f"{name}: it is not running" for name in sorted(self.kept - set(self.channels))]
        return missing + [f"{name}: {why}" for name, channel in self.channels.items() for why in channel.unready()]

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_S)
            for channel in self.channels.values():
                for client in channel.clients:
                    client.check_stuck()
            self.reader.rest()

    # -- the watch -----------------------------------------------------------------------------------------------------

    async def _look(self) -> None:
        while True:
            await asyncio.sleep(LOOK_S)
            with contextlib.suppress(VpError, OSError):
                await self._look_at_versions()
            for channel in list(self.channels.values()):
                idle = not channel.clients and channel.serving_id not in self.kept
                if idle and time.monotonic() - channel.idle_since > self.idle_s:
                    del self.channels[channel.serving_id]
                    await channel.stop()

    async def _look_at_versions(self) -> None:
        aliases = await asyncio.to_thread(registry_of(self.workspace).aliases)
        for channel in list(self.channels.values()):
            for alias in {client.alias for client in channel.clients} - {None}:
                now = aliases.get(str(alias))
                if now != channel.serving_id and alias not in channel.moved:
                    channel.moved.add(str(alias))
                    message = f"The alias '{alias}' names another version now: {now}. Connect again to follow it."
                    channel.say("alias", message, alias=alias, serving_id=now)
                    if self.follow_alias:
                        move = asyncio.create_task(self._move(channel, str(alias)))
                        self._moves.add(move)
                        move.add_done_callback(self._moves.discard)
            if channel.damaged is None:
                try:
                    await asyncio.to_thread(registry_of(self.workspace).verify, channel.serving_id)
                except RegistryError as error:
                    channel.damaged = str(error)
                    channel.say("notice", f"The stream goes on, but its version cannot be started again: {error}")

    async def _move(self, old: Channel, alias: str) -> None:
        """Let the clients of an alias go on with its new version, once that is warm."""
        with contextlib.suppress(Closed):
            new, _ = await self.open(alias)
            await new.started()
            while new.unready() and new.failed is None:
                await asyncio.sleep(0.1)
            for client in [client for client in old.clients if client.alias == alias and new.failed is None]:
                old.leave(client)
                new.join(client, None, 0)
