"""Experiments for the page: leaderboards and rows, as `vp compare` and `vp.trades` give them. The reader calls them."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vpcore.errors import ResultsError, VpError, did_you_mean

if TYPE_CHECKING:
    import polars as pl

    from vpcore.workspace import Workspace

MOST_ROWS = 1000
MOST_TRADES = 5000

COLUMNS = (
    "row", "signal_name", "dataset_id", "threshold", "cooldown_bins", "tp_ticks", "sl_ticks", "n_signals", "trades",
    "net_pnl_ticks", "net_pnl_lo", "net_pnl_hi", "tp_rate", "sl_rate", "timeout_rate", "p_random", "p_adj", "dsr",
    "run_id",
)  # fmt: skip


def names(root: Path) -> list[str]:
    """Return the names of the experiments of a workspace."""
    return sorted(path.stem for path in (root / "configs" / "experiments").glob("*.yaml"))


def rows(root: Path, name: str) -> dict[str, Any]:
    """Return the leaderboard of an experiment as JSON has it.

    Raises
    ------
    VpError
        If the name is unknown, or nothing can be ranked: see `vpcore.leaderboard`.
    """
    known = names(root)
    if name not in known:
        raise ResultsError(f"No experiment is called '{name[:80]}'", fix=f"{did_you_mean(name, known)}")
    from vpcore.experiment.leaderboard import leaderboard
    from vpcore.workspace import Workspace

    workspace = Workspace(root)
    board = leaderboard(workspace, name)
    frame = board.rows(limit=MOST_ROWS)
    columns = [column for column in COLUMNS if column in frame.columns]
    return {
        "experiment": name,
        "select": board.select,
        "min_signals": board.min_signals,
        "n_rows": board.ranking.height,
        "reserve": board.reserve,
        "columns": columns,
        "rows": _json_rows(frame.select(columns)),
        "verdicts": {row["row"]: board.verdict(row) for row in frame.head(20).iter_rows(named=True)},
        "aliases": _aliases_of_rows(workspace),
    }


def _aliases_of_rows(workspace: Workspace) -> dict[str, str]:
    """Return the alias that serves a row, by row."""
    from vpcore_serving.registry import registry_of
    from vpcore_serving.spec import published

    found = {}
    for alias in registry_of(workspace).aliases():
        try:
            found[published(registry_of(workspace), alias).evidence.row] = alias
        except VpError:
            continue  # a damaged version serves nothing
    return found


def row(root: Path, name: str) -> dict[str, Any]:
    """Return a row with its trades as JSON has them.

    Raises
    ------
    VpError
        If the row is unknown: see `vpcore.trades`.
    """
    from vpcore.api import trades
    from vpcore.workspace import Workspace

    workspace = Workspace(root)
    figures = workspace.results.find_row(name[:200])
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
