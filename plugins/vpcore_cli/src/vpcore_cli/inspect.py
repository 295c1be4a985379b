"""``vp inspect``: the content of files."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vpcore.errors import ConfigError
from vpcore_cli.common import JsonOption, RootOption, emit_json, emit_table, open_workspace, progress, say

if TYPE_CHECKING:
    from vpcore_dbn.books import Between, BookFindings
    from vpcore_dbn.inspect import Inspection


def inspect(
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE...",
            help=".dbn or .dbn.zst files; with --projection one serving spec, whose dataset exists.",
            show_default=False,
        ),
    ],
    book: Annotated[
        bool, typer.Option("--book/--no-book", help="Replay the order books of the busiest symbols.")
    ] = True,
    projection: Annotated[
        bool, typer.Option("--projection", help="Hold the projection of the score against the scores that came.")
    ] = False,
    root: RootOption = None,
    json: JsonOption = False,
) -> None:
    """Show the content of files: schema, symbols, span, records by action, snapshot, silences, books, data quality.

    With several files, also the gaps between them and the stretches that are in two of them.
    """
    if projection:
        if len(files) != 1:
            raise ConfigError("--projection", required="one serving spec", was=f"{len(files)} names")
        _projection(str(files[0]), root, json)
        return
    from vpcore_dbn.books import between_files, replay_books
    from vpcore_dbn.inspect import inspect_file

    found, books = [], []
    for file in files:
        with progress(f"Reading {file.name}") as update:
            found.append(inspect_file(file, partial(_show, update)))
            books.append(replay_books(found[-1]) if book and found[-1].readable else [])
    between = between_files(found)
    if json:
        objects = [
            one.as_dict() | ({"books": {b.symbol: b.quality or {"refused": b.refused} for b in own}} if own else {})
            for one, own in zip(found, books, strict=True)
        ]
        emit_json(objects[0] if len(files) == 1 else {"files": objects, "between": [asdict(one) for one in between]})
        return
    for number, (one, own) in enumerate(zip(found, books, strict=True)):
        print("\n" * (number > 0) + "\n".join(_lines(one, own)))
    if len(files) > 1:
        print("\n" + "\n".join(_relations(between)))


def _projection(name: str, root: Path | None, json: bool) -> None:
    import numpy as np

    from vpcore.backtest.session import Session
    from vpcore_serving.projection import projection_skill

    workspace = open_workspace(root)
    serving = workspace.serving(name).resolve()
    dataset = workspace.datasets.open(serving.pipeline.dataset_id(), cache_dir=workspace.cache_dir)
    scored = Session(dataset).scored(serving.scoring)
    found = projection_skill(scored.grid("flow_score"), dataset.valid, serving.projection, dataset.cell_width_ns)
    k = np.arange(-dataset.radius, dataset.radius + 1)
    if json:
        figures = {name: getattr(found, name).tolist() for name in ("correlation", "persistence", "change", "error")}
        emit_json(
            {
                "serving": name,
                "dataset_id": dataset.dataset_id,
                "k": k.tolist(),
                "horizons_ms": found.horizons_ms.tolist(),
                "n": found.n.tolist(),
                **figures,
            }
        )
        return
    near = np.abs(k) <= NEAR_TICKS
    rows = []
    for h, horizon in enumerate(found.horizons_ms.tolist()):
        for cells, inside in ((f"|k| <= {NEAR_TICKS}", near), (f"|k| > {NEAR_TICKS}", ~near)):
            means = {}
            for figure in ("correlation", "persistence", "change", "error"):
                known = getattr(found, figure)[h, inside]
                known = known[np.isfinite(known)]
                means[figure] = round(float(known.mean()), 3) if known.size else None
            rows.append({"horizon_ms": horizon, "cells": cells, **means, "pairs": int(found.n[h])})
    emit_table(rows, ("horizon_ms", "cells", "correlation", "persistence", "change", "error", "pairs"))
    say(
        "Means over cells. correlation: projected and realised score. persistence: present and realised score. change: "
        "projected and realised change. error: root mean square. By cell: --json"
    )


NEAR_TICKS = 5
"""Distance from the mid up to which cells count as near."""


def _show(update: Callable[..., None], done: int, total: int) -> None:
    update(done, total=total)


def _relations(between: list[Between]) -> list[str]:
    from vpcore.source.protocol import utc

    lines = []
    for one in between:
        span = f"{utc(one.from_ns)} to {utc(one.to_ns)}"
        if one.twice:
            lines.append(
                f"{one.symbol}: {span} is in {one.first} and again in {one.second}: name one in capture.files."
            )
        else:
            seconds, halt = (one.to_ns - one.from_ns) / 1e9, _halt([one.symbol], one.from_ns, one.to_ns)
            lines.append(
                f"{one.symbol}: no record {span}, {seconds:,.0f} s, between {one.first} and {one.second}{halt}."
            )
    return lines or ["Between the files there is nothing to remark."]


def _halt(symbols: Iterable[str], start_ns: int, end_ns: int) -> str:
    from vpcore.config.instruments import packaged_instrument_of
    from vpcore_dbn.books import closed_share

    known = [one for one in (packaged_instrument_of(symbol) for symbol in symbols) if one is not None]
    if not known:
        return ""
    if all(closed_share(one, start_ns, end_ns) >= 0.5 for one in known):
        return " (daily halt, weekend or holiday)"
    return " (the market was open: it was quiet, or records are missing)"


def _lines(found: Inspection, books: list[BookFindings]) -> list[str]:
    from vpcore.source.protocol import utc
    from vpcore.units import int_to_price

    file = found.file
    rows = [
        ("file", f"{file.path} ({file.size:,} bytes{', zstd' if file.zstd else ''})"),
        ("format", f"DBN version {file.version}, schema {file.schema or 'not stated'}, dataset {file.dataset}"),
        ("metadata span", f"{file.span} (UTC)"),
    ]
    rows += [("symbol", f"{m.symbol} = instrument {m.instrument_id} ({m.dates})") for m in file.mappings]
    requested = ", ".join(file.symbols[:6]) + (f" and {len(file.symbols) - 6} more" if len(file.symbols) > 6 else "")
    rows.append(("request", f"{requested or 'symbols not stated'}, stype_in {file.stype_in or 'not stated'}"))
    if not file.mappings:
        rows.append(("symbol", "none is mapped to an instrument"))
    if not found.readable:
        rows.append(("records", f"not read: an order book needs the schema mbo, this is {file.schema}"))
        return _aligned(rows)
    rows.append(("records", f"{found.records:,}"))
    publishers = (f"{number} ({count:,} records)" for number, count in sorted(found.publishers.items()))
    rows.append(("publishers", ", ".join(publishers) or "none"))
    rows.append(("by action", "  ".join(f"{action} {count:,}" for action, count in found.actions.items() if count)))
    rows.append(("by flag", "  ".join(f"{name} {count:,}" for name, count in found.flags.items() if count) or "none"))
    rows.append(("book begins with", _beginning(found)))
    if found.live_last_ns:
        rows.append(("live span", f"{utc(found.live_first_ns)} to {utc(found.live_last_ns)} (UTC)"))
    symbols = {name for item in found.instruments.values() for name in item.symbols}
    rows += [("silence", f"{utc(a)} to {utc(b)}, {(b - a) / 1e9:,.0f} s{_halt(symbols, a, b)}") for a, b in found.gaps]
    volume = found.buy_volume + found.sell_volume + found.cross_volume
    sides = f"buy {found.buy_volume:,}, sell {found.sell_volume:,}, cross {found.cross_volume:,}"
    rows.append(("volume", f"{volume:,} ({sides})"))
    for number, item in sorted(found.instruments.items()):
        name = ", ".join(item.symbols) or "not mapped"
        unit = f"prices are multiples of {int_to_price(item.price_unit_int):g}" if item.price_unit_int else "no price"
        rows.append((f"instrument {number}", f"{name}: {item.records:,} records, {unit}"))
    rows += [(f"book {book.symbol}", "; ".join(book.remarks) or "nothing to remark") for book in books]
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
