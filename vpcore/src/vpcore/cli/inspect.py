"""``vp inspect``: the content of a file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vpcore.cli.common import JsonOption, emit_json, progress

if TYPE_CHECKING:
    from vpcore.source.inspect import Inspection


def inspect(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A .dbn or .dbn.zst file.", show_default=False)],
    json: JsonOption = False,
) -> None:
    """Show the content of a file: schema, symbols, span, records by action, snapshot, data quality."""
    from vpcore.source.inspect import inspect_file

    with progress(f"Reading {file.name}") as update:
        found = inspect_file(file, lambda done, total: update(done, total=total))
    if json:
        emit_json(found.as_dict())
    else:
        for line in _lines(found):
            print(line)


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
    if found.gaps:
        remarks.append(f"silences of a minute or more, the longest {max(b - a for a, b in found.gaps) / 1e9:,.0f} s")
    if found.repeated is not None:
        record, before, after = found.repeated
        remarks.append(
            f"receive times run back by {(before - after) / 1e9:,.0f} s at record {record:,}: a stretch is there twice"
        )
    if found.unfinished:
        remarks.append("the last event is not finished")
    return "; ".join(remarks) or "nothing to remark"


def _aligned(rows: list[tuple[str, str]]) -> list[str]:
    width = max(len(name) for name, _ in rows)
    return [f"{name.ljust(width)}  {text}" for name, text in rows]
