"""The section of a report about a maker's row: the same signals as a taker and as a maker, and the mid after fills."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import polars as pl

from vpcore.errors import VpError
from vpcore.experiment.tables import session_of
from vpcore_report.execution import HORIZONS_MS, Execution, execution_of
from vpcore_report.page import Page

if TYPE_CHECKING:
    from vpcore.experiment.trades import Leader
    from vpcore.workspace import Workspace


def of_maker(page: Page, workspace: Workspace, sessions: Sequence[Leader]) -> None:
    """Add a row as a taker and as a maker, if it is a maker's."""
    if sessions[-1].rules.entry != "maker":
        return
    page.section("Taker and maker")
    try:
        found = execution_of(workspace, sessions)
    except VpError as error:
        page.text(f"The row cannot be compared: {error}")
        return
    add(page, found)


def add(page: Page, found: Execution) -> None:
    """Add the figures of `vp execution` to a section: entries beside each other, and the mid by horizon."""
    several = found.entries["dataset_id"].n_unique() > 1
    page.text(
        f"The same signals, entered at the touch and by an order that waits {found.patience_bins:,} bins in the queue. "
        "Net per signal divides by all signals, also those without a trade."
    )
    page.table(
        (*_session(several), "entry", "signals", "orders", "trades", "fill rate", "net per trade, ticks",
         "95 % interval", "net per signal, ticks"),
        [
            (*_session(several, line["dataset_id"]), line["entry"], line["n_signals"], line["n_placed"], line["trades"],
             _share(line["fill_rate"]), _ticks(line["net_pnl_ticks"]),
             _range(line["net_pnl_lo"], line["net_pnl_hi"]), _ticks(line["net_per_signal"]))
            for line in found.entries.to_dicts()
        ],
    )  # fmt: skip
    page.text(
        "Adverse selection: mean move of the mid in the direction of the trade, in ticks, by the time after the fill, "
        "the taker's entry, or the order. Below 0 the market moves against the trade. The move of a fill begins at the "
        "end of the bin before it."
    )
    _by_horizon(page, found.after, "mid_move_ticks", several)
    page.text("Mark-out: mean of the mid less the price paid, in the direction of the trade, in ticks.")
    _by_horizon(page, found.after.filter(pl.col("kind") != "order without a fill"), "markout_ticks", several)
    page.text(f"The same figures, also with another patience: vp execution {found.row} --patience-bins N", note=True)


def _by_horizon(page: Page, after: pl.DataFrame, figure: str, several: bool) -> None:
    """Add a figure as a table: a line per session and kind, a column per horizon."""
    lines = []
    for (dataset_id, kind), part in after.group_by("dataset_id", "kind", maintain_order=True):
        by_horizon = {line["horizon_ms"]: line for line in part.to_dicts()}
        shown = [_ticks(by_horizon[horizon][figure]) for horizon in HORIZONS_MS]
        lines.append((*_session(several, str(dataset_id)), kind, by_horizon[HORIZONS_MS[0]]["n"], *shown))
    titles = (f"after {horizon / 1000:g}\u00a0s" for horizon in HORIZONS_MS)
    page.table((*_session(several), "", "number", *titles), lines)


def _session(several: bool, dataset_id: str = "") -> tuple[str, ...]:
    return (session_of(dataset_id) if dataset_id else "session",) if several else ()


def _ticks(value: float | None) -> str:
    return "–" if value is None or not math.isfinite(value) else f"{value:+.3f}"


def _share(value: float | None) -> str:
    return "–" if value is None or not math.isfinite(value) else f"{value:.1%}"


def _range(lo: float | None, hi: float | None) -> str:
    return "–" if lo is None or hi is None or not math.isfinite(lo + hi) else f"{lo:+.2f} to {hi:+.2f}"
