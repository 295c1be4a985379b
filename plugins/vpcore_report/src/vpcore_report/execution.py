"""Taker and maker of one row side by side: what each pays, and where the mid goes after a fill."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import polars as pl

from vpcore.backtest.evaluate import Evaluation, evaluate_trial
from vpcore.backtest.session import Session
from vpcore.errors import ConfigError
from vpcore.experiment.trades import Leader, leaders_of
from vpcore.generation.fills import fill_table
from vpcore.units import HALF_TICKS_PER_TICK, NS_PER_MS

if TYPE_CHECKING:
    from vpcore.experiment.leaderboard import RankedRow
    from vpcore.workspace import Workspace

HORIZONS_MS = (100, 1_000, 5_000, 30_000)
"""Times after a fill at which the mid is looked at."""


@dataclass(frozen=True, slots=True)
class Execution:
    """A row entered as a taker and as a maker.

    Attributes
    ----------
    row : str
    patience_bins : int
        Bins that the maker's orders wait.
    entries : polars.DataFrame
        A line per session and entry: ``dataset_id``, ``entry``, ``n_signals``, ``n_placed``, ``trades``, ``fill_rate``,
        ``net_pnl_ticks`` per trade with its 95 % interval, ``net_per_signal`` (sum over all signals, also those without
        a trade), ``mean_pnl_ticks``, ``tp_rate``, ``sl_rate``.
    after : polars.DataFrame
        A line per session, kind and horizon: ``kind`` is ``maker fill``, ``order without a fill`` or ``taker entry``;
        ``n``; ``mid_move_ticks`` is the mean move of the mid in the direction of the trade since before the fill (the
        end of the bin before it; else since the order or entry). Below 0: the market moves against the trade.
        ``markout_ticks``, of fills and entries: mean of mid less price paid, in the direction of the trade.
    """

    row: str
    patience_bins: int
    entries: pl.DataFrame = field(repr=False)
    after: pl.DataFrame = field(repr=False)


def execution(workspace: Workspace, row: str | RankedRow, *, patience_bins: int | None = None) -> Execution:
    """Compare a stored row entered as a taker and as a maker, on the same signals.

    Parameters
    ----------
    workspace : Workspace
        Holds the row, its dataset, its sources and its signal.
    row : str or RankedRow
        Short name of a row, its beginning, or a row of a leaderboard.
    patience_bins : int, optional
        Bins that orders wait; by default those of the row, of a taker's row 100.

    Raises
    ------
    ConfigError
        If the row trades on the mid, or `patience_bins` is out of range.
    ResultsError, SignalError, DatasetError
        If the row is unknown, its code has changed, or its sources are gone.
    """
    return execution_of(workspace, leaders_of(workspace, row), patience_bins=patience_bins)


def execution_of(workspace: Workspace, leaders: Sequence[Leader], *, patience_bins: int | None = None) -> Execution:
    """Compare a row that is ready for inspection, on each of its sessions; see `execution`."""
    first = leaders[0]
    if first.rules.price != "touch":
        raise ConfigError(f"Row {first.row['row']} trades on the mid: neither taker nor maker trades there")
    patience = first.rules.patience_bins if patience_bins is None else patience_bins
    entries: list[dict[str, Any]] = []
    after: list[dict[str, Any]] = []
    for leader in leaders:
        session = Session(leader.dataset, fills=fill_table(workspace, leader.dataset))
        of = {"dataset_id": leader.dataset.dataset_id}
        for entry in ("taker", "maker"):
            waits = {"patience_bins": patience} if entry == "maker" else {}
            plain = leader.rules.model_dump(exclude={"entry", "patience_bins"})
            rules = type(leader.rules)(**plain, entry=entry, **waits)
            draws = replace(leader.draws, rotations=0)
            found = evaluate_trial(session, leader.values, leader.trial, rules, mode=leader.mode, draws=draws)
            entries.append({**of, "entry": entry, **_figures(found)})
            after += [{**of, **line} for line in _after(session, leader, found)]
    return Execution(str(first.row["row"]), patience, pl.DataFrame(entries), pl.DataFrame(after))


def _figures(found: Evaluation) -> dict[str, Any]:
    figures = found.figures
    names = ("n_signals", "n_placed", "n_trades", "fill_rate", "net_pnl_ticks", "net_pnl_lo", "net_pnl_hi")
    more = ("mean_pnl_ticks", "tp_rate", "sl_rate")
    total = float(found.trades["net_pnl_ticks"].sum())
    return {
        **{"trades" if name == "n_trades" else name: getattr(figures, name) for name in names},
        "net_per_signal": total / figures.n_signals if figures.n_signals else float("nan"),
        **{name: getattr(figures, name) for name in more},
    }


def _after(session: Session, leader: Leader, found: Evaluation) -> list[dict[str, Any]]:
    """Return the moves of the mid after fills and entries, and after the orders that found no fill."""
    trades, market, first = found.trades, session.market, int(session.market.bin_seq[0])
    sides = trades["side"].to_numpy().astype(np.int64)
    bins = trades["entry_bin"].to_numpy() - first
    point = leader.dataset.tick_int / 1e9
    paid = np.rint(trades["entry_price"].to_numpy() / point * HALF_TICKS_PER_TICK).astype(np.int64)
    if found.rules.entry == "taker":
        return _moves(session, "taker entry", bins, bins, sides, paid)
    lines = _moves(session, "maker fill", bins, bins - 1, sides, paid)
    table, signals = session.table(found.rules), leader.detections()
    orders = signals.bins + found.rules.latency_bins
    inside = orders < market.n_bins
    orders, row = orders[inside], (signals.sides[inside] < 0).astype(np.int64)
    lost = table.enterable[row, orders] & ~np.isin(orders, trades["order_bin"].to_numpy() - first)
    return lines + _moves(session, "order without a fill", orders[lost], orders[lost], 1 - 2 * row[lost], None)


def _moves(
    session: Session,
    kind: str,
    bins: npt.NDArray[np.int64],
    before: npt.NDArray[np.int64],
    sides: npt.NDArray[np.int64],
    paid: npt.NDArray[np.int64] | None,
) -> list[dict[str, Any]]:
    market = session.market
    start = market.mid2[market.last_valid[before]] if len(bins) else np.empty(0, np.int64)
    lines = []
    for horizon in HORIZONS_MS:
        at = bins + max(1, horizon * NS_PER_MS // market.cell_width_ns)
        inside = at < market.n_bins
        mid = market.mid2[market.last_valid[at[inside]]]
        move = sides[inside] * (mid - start[inside]) / HALF_TICKS_PER_TICK
        worth = None if paid is None else sides[inside] * (mid - paid[inside]) / HALF_TICKS_PER_TICK
        lines.append(
            {
                "kind": kind,
                "horizon_ms": horizon,
                "n": int(inside.sum()),
                "mid_move_ticks": float(move.mean()) if len(move) else None,
                "markout_ticks": float(worth.mean()) if worth is not None and len(worth) else None,
            }
        )
    return lines
