"""What a worker does. The server imports this module, and none of the engine."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Task:
    """What a worker does.

    Parameters
    ----------
    root : str
        The workspace.
    serving_id : str
        Version to serve.
    feed : str
        Name of a feed.
    options : dict
        Options of the feed.
    files : list of str
        Files of a replay; empty: those of the published window, found below ``lake/raw``.
    symbol : str, optional
        Contract, if another one than the published one.
    begin_ns : int, optional
        Time that names the session; a replay keeps its schedule from then on. By default the published session, or
        the present one of a live feed.
    after_bin : int
        Bins up to this one have been sent by an earlier worker.
    loop : bool
        Start a replay again at its end.
    grace_ms, stale_s : float
        See ``vp serve``.
    """

    root: str
    serving_id: str
    feed: str = "replay"
    options: dict[str, Any] = field(default_factory=dict)
    files: list[str] = field(default_factory=list)
    symbol: str | None = None
    begin_ns: int | None = None
    after_bin: int = -1
    loop: bool = False
    grace_ms: float = 250.0
    stale_s: float = 5.0

    def to_json(self) -> str:
        """Return the argument of the worker's command."""
        return json.dumps(asdict(self))
