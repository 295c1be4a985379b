"""``vp trades``: the trades of a row."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vpcore.errors import ConfigError
from vpcore_cli.common import CsvOption, JsonOption, RootOption, emit_json, emit_table, open_workspace, say, shown

if TYPE_CHECKING:
    import polars as pl

SPARE = ("overlap", "value", "currency", "bins", "exit", "session")
"""Columns that a narrow terminal goes without, in this order."""


def trades(
    row: Annotated[str, typer.Argument(help="A row, as vp compare prints it, or the beginning of its name.")],
    parquet: Annotated[
        Path | None, typer.Option("--parquet", metavar="FILE", help="Write all columns to a Parquet file.")
    ] = None,
    root: RootOption = None,
    json: JsonOption = False,
    csv: CsvOption = False,
) -> None:
    """Print the trades of a row, with their figures: ratios, drawdown, exposure, profit factor."""
    import polars as pl

    from vpcore.backtest.performance import table
    from vpcore.experiment.tables import session_of
    from vpcore.experiment.trades import leaders_of, trades_of

    if parquet is not None and (json or csv):
        raise ConfigError("--parquet excludes --json and --csv", fix="Leave one of them out.")
    leaders = leaders_of(open_workspace(root), row)
    parts = [trades_of(leader) for leader in leaders]
    found = pl.concat(parts, how="diagonal_relaxed")
    sessions = [session_of(leader.dataset.dataset_id) for leader in leaders]
    figures = table(list(zip(sessions, parts, (leader.open_bins for leader in leaders), strict=True)))
    if parquet is not None:
        _write(found, parquet)
    elif json:
        name = leaders[-1].row["row"]
        emit_json({"row": name, "trades": _plain(found).to_dicts(), "performance": figures.to_dicts()})
    elif csv:
        emit_table(_plain(found).to_dicts(), found.columns, csv=True)
    else:
        zone = leaders[-1].dataset.manifest.get("pipeline", {}).get("instrument", {}).get("timezone") or "UTC"
        _print(found, str(zone), several=len(leaders) > 1)
    if not json:
        for text in summary(figures):
            say(text)


def _plain(found: pl.DataFrame) -> pl.DataFrame:
    """Return trades with times as text: ISO 8601, UTC, nanoseconds."""
    import polars.selectors as cs

    return found.with_columns(cs.datetime().dt.strftime("%Y-%m-%dT%H:%M:%S.%9fZ"))


def _write(found: pl.DataFrame, path: Path) -> None:
    from vpcore.storage.atomic import storage_errors, write_atomic

    if path.suffix != ".parquet":
        raise ConfigError("--parquet", required="a file that ends in .parquet", was=str(path))
    buffer = io.BytesIO()
    found.write_parquet(buffer)
    with storage_errors(path, "write the trades"):
        write_atomic(path.absolute(), buffer.getvalue())
    say(f"{found.height} trades in {path}")


def for_people(found: pl.DataFrame, zone: str, *, several: bool) -> tuple[list[str], list[dict[str, Any]]]:
    """Return the columns and the lines of trades of `vpcore.trades` as a table shows them.

    Parameters
    ----------
    found : DataFrame
        Trades.
    zone : str
        IANA time zone of the times.
    several : bool
        Whether a line names its session.
    """
    local = found.with_columns(found["time"].dt.convert_time_zone(zone).dt.strftime("%H:%M:%S.%3f").alias("at"))
    rows: list[dict[str, Any]] = [
        {
            "session": trade["session"],
            "time": trade["at"],
            "side": "long" if trade["side"] > 0 else "short",
            "value": round(trade["value"], 3),
            "entry": trade["entry_price"],
            "exit": trade["exit_price"],
            "reason": trade["reason"],
            "bins": trade["bins_held"],
            "net": round(trade["net_pnl_ticks"], 3),
            "currency": None if trade.get("net_pnl_currency") is None else round(trade["net_pnl_currency"], 2),
            "overlap": trade["overlap"],
        }
        for trade in local.iter_rows(named=True)
    ]
    columns = ["time", "side", "value", "entry", "exit", "reason", "bins", "net", "currency", "overlap"]
    if "net_pnl_currency" not in found.columns:
        columns.remove("currency")
    if several:
        columns.insert(0, "session")
    return columns, rows


def _print(found: pl.DataFrame, zone: str, *, several: bool) -> None:
    columns, rows = for_people(found, zone, several=several)
    emit_table(rows, columns, empty="The row has no trade.", spare=SPARE)
    if rows:
        say(f"time: end of the bin of the decision, {zone}. net: ticks after spread and fee.")
        say("overlap: other trades open at the entry.")


def summary(figures: pl.DataFrame) -> list[str]:
    """Return the figures of `vpcore.performance` as lines, one per session."""
    lines = []
    for line in figures.iter_rows(named=True):
        money = "" if line["net_currency"] is None else f" ({line['net_currency']:+,.2f} in currency)"
        fall = "" if line["max_drawdown_currency"] is None else f" ({line['max_drawdown_currency']:,.2f})"
        each = "" if line["sharpe_sessions"] is None else f" ({shown(line['sharpe_sessions'])} per session)"
        each = each if line["session"] == "all" else ""
        lines.append(
            f"{line['session']}: {line['trades']} trades, {line['net_ticks']:+,.2f} ticks{money}, Sharpe per trade "
            f"{shown(line['sharpe'])}{each}, Sortino {shown(line['sortino'])}, profit factor "
            f"{shown(line['profit_factor'])}, largest drawdown {line['max_drawdown_ticks']:,.2f} ticks{fall}, "
            f"exposure {line['exposure']:.1%}."
        )
    return lines
