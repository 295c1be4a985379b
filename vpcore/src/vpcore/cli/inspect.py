"""``vp inspect``: what a file holds."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vpcore.cli.common import JsonOption

if TYPE_CHECKING:
    from vpcore.source.inspect import Inspection


def inspect(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A .dbn or .dbn.zst file.", show_default=False)],
    market: Annotated[
        bool, typer.Option("--market", help="Instead: its spread, depth, sizes and rhythm, beside simulated markets.")
    ] = False,
    symbol: Annotated[
        str | None, typer.Option("--symbol", help="With --market. [default: the only one]", show_default=False)
    ] = None,
    first: Annotated[
        str | None, typer.Option("--from", help="With --market: UTC time. [default: the live span]", show_default=False)
    ] = None,
    last: Annotated[
        str | None, typer.Option("--to", help="With --market: UTC time, as 2023-12-26T00:00:00.", show_default=False)
    ] = None,
    plot: Annotated[
        Path | None, typer.Option("--plot", help="With --market: also draw them, a PNG.", show_default=False)
    ] = None,
    json: JsonOption = False,
) -> None:
    """Say what a file holds: schema, symbols, span, records by action, snapshot, data quality."""
    if market:
        _market(file, symbol, first, last, plot, json)
        return
    from vpcore.cli.common import emit_json, progress
    from vpcore.source.inspect import inspect_file

    with progress(f"Reading {file.name}") as update:
        found = inspect_file(file, lambda done, total: update(done, total=total))
    if json:
        emit_json(found.as_dict())
    else:
        for line in _lines(found):
            print(line)


def _market(file: Path, symbol: str | None, first: str | None, last: str | None, plot: Path | None, json: bool) -> None:
    from vpcore.cli.common import emit_json, emit_table, say
    from vpcore.source.protocol import utc
    from vpcore_market.source import SyntheticParams
    from vpcore_market.study.figures import draw_portraits
    from vpcore_market.study.portrait import portrait_of_file, portrait_of_market

    real, name, start, end = portrait_of_file(file, symbol, _utc_ns(first, "--from"), _utc_ns(last, "--to"))
    length = {"duration_s": min((end - start) / 1e9, 4 * 3600.0)}
    found = {
        name: real,
        "exogenous": portrait_of_market(SyntheticParams(**length)),
        "natural": portrait_of_market(SyntheticParams(mode="natural", **length)),
    }
    if plot is not None:
        draw_portraits(plot, found)
    if json:
        emit_json({"symbol": name, "start_ns": start, "end_ns": end, "figures": found})
        return
    say(f"{name} from {utc(start)} to {utc(end)} (UTC), beside simulated markets of seed 1")
    emit_table([{"figure": key, **{n: part[key] for n, part in found.items()}} for key in real], ("figure", *found))


def _utc_ns(text: str | None, option: str) -> int | None:
    import datetime

    from vpcore.errors import ConfigError

    if text is None:
        return None
    try:
        moment = datetime.datetime.fromisoformat(text)
    except ValueError as error:
        raise ConfigError(f"{option} must be a UTC time such as 2023-12-26T00:00:00, was '{text}'.") from error
    return int(moment.replace(tzinfo=datetime.UTC).timestamp()) * 10**9


def _lines(found: Inspection) -> list[str]:
    from vpcore.source.protocol import utc
    from vpcore.units import int_to_price

    file = found.file
    rows = [
        ("file", f"{file.path} ({file.size:,} bytes{', zstd' if file.zstd else ''})"),
        ("format", f"DBN version {file.version}, schema {file.schema or 'not stated'}, dataset {file.dataset}"),
        ("metadata span", f"{file.span} (UTC)"),
    ]
    rows += [("symbol", f"{m.symbol} = instrument {m.instrument_id} ({m.dates})") for m in file.mappings]
    if not file.mappings:
        rows.append(("symbol", "none is mapped to an instrument"))
    if not found.readable:
        rows.append(("records", f"not read: an order book needs the schema mbo, this is {file.schema}"))
        return _aligned(rows)
    rows.append(("records", f"{found.records:,}"))
    rows.append(("by action", "  ".join(f"{action} {count:,}" for action, count in found.actions.items() if count)))
    rows.append(("by flag", "  ".join(f"{name} {count:,}" for name, count in found.flags.items() if count) or "none"))
    rows.append(("book begins with", _beginning(found)))
    if found.live_last_ns:
        rows.append(("live span", f"{utc(found.live_first_ns)} to {utc(found.live_last_ns)} (UTC)"))
    rows += [("silence", f"{utc(a)} to {utc(b)}, {(b - a) / 1e9:,.0f} s") for a, b in found.gaps]
    volume = found.buy_volume + found.sell_volume + found.cross_volume
    sides = f"buy {found.buy_volume:,}, sell {found.sell_volume:,}, cross {found.cross_volume:,}"
    rows.append(("volume", f"{volume:,} ({sides})"))
    for number, item in sorted(found.instruments.items()):
        name = ", ".join(item.symbols) or "not mapped"
        unit = f"prices are multiples of {int_to_price(item.price_unit_int):g}" if item.price_unit_int else "no price"
        rows.append((f"instrument {number}", f"{name}: {item.records:,} records, {unit}"))
    rows.append(("quality", _quality(found)))
    return _aligned(rows)


def _beginning(found: Inspection) -> str:
    if found.snapshot == "none":
        return "nothing: no clear and no snapshot (capture.cold_book says what that means)"
    count = f", {found.snapshot_records:,} records" if found.snapshot_records else ""
    return f"{found.snapshot}{count}"


def _quality(found: Inspection) -> str:
    remarks = [
        f"{count:,} {what}"
        for count, what in (
            (found.bad_times, "times marked bad"),
            (found.beyond_end, "times beyond the metadata's end"),
            (found.backwards, "times that run backwards"),
            (found.undefined_times, "undefined times"),
            (found.undefined_prices, "undefined prices"),
            (found.flags["maybe_bad_book"], "records of a book that may be bad"),
            (found.flags["top_of_book"] + found.flags["by_price"], "records that are not of orders"),
            (sum(found.skipped.values()), "records of other kinds"),
        )
        if count
    ]
    if found.unfinished:
        remarks.append("the last event is not finished")
    return "; ".join(remarks) or "nothing to remark"


def _aligned(rows: list[tuple[str, str]]) -> list[str]:
    width = max(len(name) for name, _ in rows)
    return [f"{name.ljust(width)}  {text}" for name, text in rows]
