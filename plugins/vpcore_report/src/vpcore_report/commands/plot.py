"""``vp plot``: a picture of one row of the results."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from zoneinfo import ZoneInfo

import typer

from vpcore.errors import ConfigError, ResultsError, listed
from vpcore_cli.common import RootOption, open_workspace

if TYPE_CHECKING:
    from vpcore.dataset import Dataset
    from vpcore.workspace import Workspace
    from vpcore_report.chart_data import Trades


def plot(
    name: Annotated[str, typer.Argument(metavar="RUN|ROW", help="A stored run or row, or the beginning of its id.")],
    row: Annotated[
        str | None, typer.Option("--row", help="A row of the run. [default: the best by net_pnl_ticks]")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", help="The PNG file. [default: RUN-ROW.png]")] = None,
    minutes: Annotated[float, typer.Option("--minutes", min=0.01, help="How much to show.")] = 4.0,
    start_minute: Annotated[
        float | None, typer.Option("--from-minute", min=0.0, help="From where. [default: where it trades most]")
    ] = None,
    start: Annotated[
        str | None, typer.Option("--from", metavar="HH:MM[:SS]", help="From this local time of the session.")
    ] = None,
    stop: Annotated[
        str | None, typer.Option("--to", metavar="HH:MM[:SS]", help="To this local time. [default: --minutes later]")
    ] = None,
    at: Annotated[
        int | None, typer.Option("--at", min=1, metavar="TRADE", help="Around this trade: its line in vp trades.")
    ] = None,
    root: RootOption = None,
) -> None:
    """Draw net flow around the mid, the mid with entries and exits, and the signal, as a PNG."""
    given = {"--from-minute": start_minute, "--from": start, "--at": at}
    several = [option for option, value in given.items() if value is not None]
    if len(several) > 1:
        raise ConfigError(f"{' and '.join(several)} exclude each other", fix="Leave one of them out.")
    if stop is not None and start is None:
        raise ConfigError("--to needs --from", fix="Add --from HH:MM, or use --minutes.")
    print(draw(open_workspace(root), name, row, out, minutes, Span(start_minute, start, stop, at)))


@dataclass(frozen=True, slots=True)
class Span:
    """What to show: from a minute, between local times, around a trade; by default where the row trades most."""

    minute: float | None = None
    start: str | None = None
    stop: str | None = None
    trade: int | None = None


WHERE_IT_TRADES = Span()


def draw(
    workspace: Workspace, name: str, row: str | None, out: Path | None, minutes: float, span: Span = WHERE_IT_TRADES
) -> Path:
    """Draw a row and return the file. `name` is a run or a row; `row` chooses a row of the run."""
    from vpcore_report.quick_start import skip_docstrings

    skip_docstrings()
    from vpcore.experiment.trades import Leader
    from vpcore.units import NS_PER_S
    from vpcore_report import chart_data, charts
    from vpcore_report.style import write_png

    png_path(out)
    best = _row(workspace, name, row)
    path = png_path(out, f"{best['run_id']}-{best['row']}.png")
    leader = Leader(workspace, best)
    dataset, signal = leader.dataset, chart_data.on_market(leader)
    width = max(2, round(minutes * 60 * NS_PER_S / dataset.cell_width_ns))
    trade = None if span.trade is None else _trade(span.trade, signal.trades)
    if trade is not None:
        held = int(signal.trades.left[trade] - signal.trades.entered[trade])
        start = max(int(signal.trades.decided[trade]) - max(width - held, width // 4) // 2, 0)
        stop = min(max(start + width, int(signal.trades.left[trade]) + width // 8), dataset.n_bins)
    elif span.minute is not None:
        start = _first_bin(span.minute, dataset)
        stop = min(start + width, dataset.n_bins)
    elif span.start is not None:
        start = _bin_at("--from", span.start, dataset)
        stop = min(start + width, dataset.n_bins) if span.stop is None else _bin_at("--to", span.stop, dataset)
        if stop - start < 2:
            raise ConfigError("--to", required="later than --from", was=str(span.stop))
    else:
        start, stop = chart_data.busiest_window(signal.detections, dataset.n_bins, width)
    title = (
        f"{best['signal_name']} on {dataset.dataset_id}\n"
        f"threshold {best['threshold']:g}, cooldown {best['cooldown_bins']} bins, TP {best['tp_ticks']} / "
        f"SL {best['sl_ticks']} ticks: {len(signal.trades)} trades, "
        f"{best['net_pnl_ticks']:+.2f} ticks net each"
    )
    window = chart_data.market_window(signal, start, stop, chart_data.zone_of(dataset.manifest), trade)
    write_png(path, partial(charts.market_window, data=window, title=title), (12.0, 8.5))
    return path


def _trade(number: int, trades: Trades) -> int:
    if number > len(trades):
        raise ConfigError("--at", required=f"from 1 to {len(trades)}, the row's trades", was=str(number))
    return number - 1


def _bin_at(option: str, text: str, dataset: Dataset) -> int:
    """Return the bin of a local time of day, on the first day of the session where it lies inside the session."""
    from vpcore.units import NS_PER_S
    from vpcore_report.chart_data import zone_of

    try:
        wanted = time.fromisoformat(text)
    except ValueError:
        raise ConfigError(option, required="a time of day, HH:MM or HH:MM:SS", was=text) from None
    zone = ZoneInfo(zone_of(dataset.manifest))
    starts, width = dataset.bin("bin_start_ns"), dataset.cell_width_ns
    first = datetime.fromtimestamp(int(starts[0]) / NS_PER_S, zone)
    last = datetime.fromtimestamp((int(starts[-1]) + width) / NS_PER_S, zone)
    for days in (0, 1):
        at = datetime.combine(first.date() + timedelta(days=days), wanted, zone)
        if first <= at <= last:
            return min(round((at.timestamp() * NS_PER_S - int(starts[0])) / width), dataset.n_bins)
    raise ConfigError(option, required=f"between {first:%H:%M:%S} and {last:%H:%M:%S} ({zone.key})", was=text)


def _first_bin(start_minute: float, dataset: Dataset) -> int:
    from vpcore.units import NS_PER_S

    start = round(start_minute * 60 * NS_PER_S / dataset.cell_width_ns)
    if start >= dataset.n_bins:
        length = dataset.n_bins * dataset.cell_width_ns / (60 * NS_PER_S)
        raise ConfigError(
            "--from-minute", was=f"{start_minute:g}", required=f"less than the dataset's {length:g} minutes"
        )
    return start


def png_path(out: Path | None, default: str = "row.png") -> Path:
    """Return the path of a picture.

    Raises
    ------
    ConfigError
        If `out` has another ending than ``.png``, or its folder does not exist.
    """
    path = out if out is not None else Path(default)
    if path.suffix.lower() != ".png":
        raise ConfigError("--out", was=str(path), required="a file that ends in .png")
    if not path.absolute().parent.is_dir():
        raise ConfigError(f"--out names a folder that does not exist: {path.absolute().parent}.")
    return path


def _row(workspace: Workspace, name: str, row: str | None) -> dict[str, Any]:
    try:
        meta = workspace.results.find_run(name)
    except ResultsError:
        if row is None:
            with suppress(ResultsError):
                return workspace.results.find_row(name)
        raise
    rows = workspace.results.query_runs(run_id=[meta["run_id"]], sort="net_pnl_ticks")
    traded = rows.filter(rows["net_pnl_ticks"].is_not_null())
    if row is None:
        if not len(traded):
            raise ResultsError(f"No row of run {meta['run_id']} has a trade: there is nothing to draw.")
        return traded.row(0, named=True)
    chosen = rows.filter(rows["row"].str.starts_with(row))
    if len(chosen) != 1:
        raise ResultsError(
            f"Run {meta['run_id']} has {len(chosen)} rows that begin with '{row}'. Rows: {listed(rows['row'][:20])}."
        )
    return chosen.row(0, named=True)
