"""``vp execution``: a row as a taker and as a maker, and the mid after its fills."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from vpcore_cli.common import JsonOption, RootOption, emit_json, emit_table, open_workspace

if TYPE_CHECKING:
    import polars as pl


def execution(
    row: Annotated[str, typer.Argument(metavar="ROW", help="Short name of a stored row.")],
    patience_bins: Annotated[
        int | None,
        typer.Option("--patience-bins", min=1, help="Bins that an order waits. [default: the row's, else 100]"),
    ] = None,
    root: RootOption = None,
    json: JsonOption = False,
) -> None:
    """Compare a row as a taker and as a maker: fill rate, PnL, and the mid after a fill."""
    from vpcore_report.execution import execution as compare

    found = compare(open_workspace(root), row, patience_bins=patience_bins)
    if json:
        emit_json(
            {
                "row": found.row,
                "patience_bins": found.patience_bins,
                "entries": found.entries.to_dicts(),
                "after": found.after.to_dicts(),
            }
        )
        return
    columns = ("entry", "n_signals", "n_placed", "trades", "fill_rate", "net_pnl_ticks", "net_per_signal")
    several = ("dataset_id",) if found.entries["dataset_id"].n_unique() > 1 else ()
    title = f"Row {found.row}, patience of {found.patience_bins} bins"
    emit_table(_rounded(found.entries), (*several, *columns), title=title)
    moves = (*several, "kind", "horizon_ms", "n", "mid_move_ticks", "markout_ticks")
    emit_table(_rounded(found.after), moves, title="Mid after the fill, in the direction of the trade")


def _rounded(frame: pl.DataFrame) -> list[dict[str, Any]]:
    return [
        {name: round(value, 3) if isinstance(value, float) else value for name, value in line.items()}
        for line in frame.to_dicts()
    ]
