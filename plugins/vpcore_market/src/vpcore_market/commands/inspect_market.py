"""``vp inspect-market``: stylised facts of a file beside simulated markets."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Annotated

import typer

from vpcore.errors import ConfigError
from vpcore_cli.common import JsonOption, emit_json, emit_table, say

_LONGEST_S = 4 * 3600.0
"""Length of the simulated markets, at most."""


def inspect_market(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A .dbn or .dbn.zst file.", show_default=False)],
    symbol: Annotated[
        str | None, typer.Option("--symbol", help="Symbol. [default: the only one]", show_default=False)
    ] = None,
    first: Annotated[
        str | None, typer.Option("--from", help="Start, UTC. [default: the live span]", show_default=False)
    ] = None,
    last: Annotated[
        str | None, typer.Option("--to", help="End, UTC, as 2023-12-26T00:00:00.", show_default=False)
    ] = None,
    png: Annotated[Path | None, typer.Option("--png", help="Also draw the facts as a PNG.", show_default=False)] = None,
    json: JsonOption = False,
) -> None:
    """Measure spread, depth, sizes and rhythm of a file's market, beside three simulated markets of the same length."""
    from vpcore.source.protocol import utc
    from vpcore_market.params import BURSTY_HOUR, SyntheticParams
    from vpcore_market.stylised_facts import facts_of_file, facts_of_market

    real, name, start, end = facts_of_file(file, symbol, _utc_ns(first, "--from"), _utc_ns(last, "--to"))
    length = min((end - start) / 1e9, _LONGEST_S)
    found = {
        name: real,
        "exogenous": facts_of_market(SyntheticParams(duration_s=length)),
        "bursty": facts_of_market(SyntheticParams(**BURSTY_HOUR, duration_s=length)),
        "natural": facts_of_market(SyntheticParams(mode="natural", duration_s=length)),
    }
    if png is not None:
        from vpcore_market.study.write import import_figures

        import_figures().draw_stylised_facts(png, found)
    if json:
        emit_json({"symbol": name, "start_ns": start, "end_ns": end, "figures": found})
        return
    say(f"{name} from {utc(start)} to {utc(end)} (UTC), beside simulated markets of seed 1")
    emit_table([{"figure": key, **{n: part[key] for n, part in found.items()}} for key in real], ("figure", *found))


def _utc_ns(text: str | None, option: str) -> int | None:
    if text is None:
        return None
    try:
        moment = datetime.datetime.fromisoformat(text)
    except ValueError as error:
        raise ConfigError(option, was=f"'{text}'", required="a UTC time such as 2023-12-26T00:00:00") from error
    return int(moment.replace(tzinfo=datetime.UTC).timestamp()) * 10**9
