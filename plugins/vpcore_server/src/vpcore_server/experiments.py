"""Experiments for the page: leaderboards and rows, as `vp compare` and `vp.trades` give them."""

from __future__ import annotations

import asyncio
import math
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vpcore.errors import ResultsError, VpError, did_you_mean

if TYPE_CHECKING:
    import polars as pl

    from vpcore.workspace import Workspace

KEEP_S = 10.0
"""Time that an answer is kept: ranking takes seconds, and pages ask again."""

MOST_ROWS = 1000
MOST_TRADES = 5000

COLUMNS = (
    "row", "signal_name", "dataset_id", "threshold", "cooldown_bins", "tp_ticks", "sl_ticks", "n_signals", "trades",
    "net_pnl_ticks", "net_pnl_lo", "net_pnl_hi", "tp_rate", "sl_rate", "timeout_rate", "p_random", "p_adj", "dsr",
    "run_id",
)  # fmt: skip


class Experiments:
    """Answers of the experiments' endpoints, from one process beside the server: ranking takes seconds and memory.

    Parameters
    ----------
    root : Path
        The workspace.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._pool: ProcessPoolExecutor | None = None
        self._known: dict[tuple[str, str], tuple[float, dict[str, Any]]] = {}

    async def answer(self, kind: str, name: str = "") -> dict[str, Any]:
        """Return the names of the experiments, the ranked rows of one, or a row with its trades.

        Parameters
        ----------
        kind : {'names', 'rows', 'row'}
            The question.
        name : str
            The experiment, or the row.

        Raises
        ------
        VpError
            See `vpcore.leaderboard` and `vpcore.trades`.
        """
        at, found = self._known.get((kind, name), (-math.inf, {}))
        if time.monotonic() - at <= KEEP_S:
            return found
        if self._pool is None:
            self._pool = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), _belong_to_server)
        try:
            found = await asyncio.get_running_loop().run_in_executor(self._pool, _answer, self._root, kind, name)
        except BrokenProcessPool:
            self._pool = None
            raise ResultsError("The process that reads the experiments died", fix="Ask again.") from None
        if len(self._known) > 32:
            self._known.clear()
        self._known[kind, name] = (time.monotonic(), found)
        return found

    def close(self) -> None:
        """End the process."""
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)


def _belong_to_server() -> None:
    """Leave Ctrl-C in a terminal to the server, and end with it, however it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    server = multiprocessing.parent_process()

    def follow() -> None:
        if server is not None:
            server.join()
            os._exit(0)

    threading.Thread(target=follow, daemon=True).start()


def _answer(root: Path, kind: str, name: str) -> dict[str, Any]:
    from vpcore.workspace import Workspace

    workspace = Workspace(root)
    answers: dict[str, Callable[[Workspace, str], dict[str, Any]]] = {"names": _names, "rows": _rows, "row": _row}
    return answers[kind](workspace, name)


def _names(workspace: Workspace, _: str = "") -> dict[str, Any]:
    folder = workspace.configs / "experiments"
    return {"experiments": sorted(path.stem for path in folder.glob("*.yaml"))}


def _rows(workspace: Workspace, name: str) -> dict[str, Any]:
    from vpcore.experiment.leaderboard import leaderboard

    known = _names(workspace)["experiments"]
    if name not in known:
        raise ResultsError(f"No experiment is called '{name[:80]}'", fix=f"{did_you_mean(name, known)}")
    board = leaderboard(workspace, name)
    frame = board.rows().head(MOST_ROWS)
    columns = [column for column in COLUMNS if column in frame.columns]
    return {
        "experiment": name,
        "select": board.select,
        "min_signals": board.min_signals,
        "n_rows": board.frame.height,
        "reserve": board.reserve,
        "columns": columns,
        "rows": _json_rows(frame.select(columns)),
        "verdicts": {row["row"]: board.verdict(row) for row in frame.head(20).iter_rows(named=True)},
        "aliases": _aliases_of_rows(workspace),
    }


def _aliases_of_rows(workspace: Workspace) -> dict[str, str]:
    """Return the alias that serves a row, by row."""
    from vpcore.serving.spec import published

    found = {}
    for alias in workspace.registry.aliases():
        try:
            found[published(workspace.registry, alias).evidence.row] = alias
        except VpError:
            continue  # a damaged version serves nothing
    return found


def _row(workspace: Workspace, row: str) -> dict[str, Any]:
    from vpcore.api import trades

    figures = workspace.results.find_row(row)
    frame = trades(workspace, figures["row"])
    return {
        "row": figures["row"],
        "run_id": figures["run_id"],
        "signal": figures["signal_name"],
        "dataset_id": figures["dataset_id"],
        "figures": {name: _plain(value) for name, value in figures.items() if not isinstance(value, list)},
        "columns": frame.columns,
        "trades": _json_rows(frame.head(MOST_TRADES)),
        "n_trades": frame.height,
    }


def _json_rows(frame: pl.DataFrame) -> list[list[Any]]:
    return [[_plain(value) for value in row] for row in frame.iter_rows()]


def _plain(value: Any) -> Any:
    """Return a value as JSON has it: text for times, null for NaN, short lists."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value[:64]]
    return str(value)
