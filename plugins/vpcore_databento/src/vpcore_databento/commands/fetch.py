"""``vp fetch``: data of Databento, after a look at size and cost."""

from __future__ import annotations

import datetime
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vpcore.errors import ConfigError
from vpcore_cli.common import JsonOption, RootOption, emit_json, open_workspace, progress, say

if TYPE_CHECKING:
    from vpcore.workspace import Workspace
    from vpcore_databento.historical import Estimate, Historical, Request

_DAY_NS = 86_400 * 10**9


def fetch(
    symbol: Annotated[str, typer.Argument(help="ESH4, a continuous symbol as ES.v.0, or an instrument's number.")],
    date: Annotated[str, typer.Argument(metavar="DATE", help="YYYY-MM-DD.")],
    start: Annotated[str | None, typer.Option(help="Start of the window, HH:MM. [default: 00:00 UTC]")] = None,
    end: Annotated[str | None, typer.Option(help="End of the window, HH:MM. [default: 24:00]")] = None,
    timezone: Annotated[
        str | None, typer.Option(help="Time zone of --start and --end. [default: the instrument's]")
    ] = None,
    dataset: Annotated[str, typer.Option(help="Dataset of Databento.")] = "GLBX.MDP3",
    definitions: Annotated[
        bool, typer.Option("--definitions", help="Fetch definitions, and write or compare the instrument's YAML.")
    ] = False,
    estimate: Annotated[bool, typer.Option("--estimate", help="Show size and cost; download nothing.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Download without a question.")] = False,
    gateway: Annotated[str | None, typer.Option(help="Host of another historical gateway, HTTPS.")] = None,
    root: RootOption = None,
    json: JsonOption = False,
) -> None:
    """Download market-by-order records or definitions from Databento, after a look at size and cost.

    The key comes from DATABENTO_API_KEY. A request starts at the preceding 00:00 UTC, as the snapshot of the book comes
    then. An interrupted download goes on from where it stopped.
    """
    from vpcore_databento.download import closing_remark, fetch_file, present, provenance_of
    from vpcore_databento.historical import Historical, api_key
    from vpcore_dbn.far import with_headers

    workspace = open_workspace(root)
    wanted, first_ns = _request(workspace, symbol, date, start, end, timezone, dataset, definitions)
    client = Historical(api_key(), gateway)
    if definitions and wanted.stype_in == "parent":
        contract, request = symbol, wanted
        notes: dict[str, Any] = {"requested": symbol}
    else:
        contract, number = client.contract(wanted)
        request = replace(wanted, symbol=contract, stype_in="raw_symbol")
        notes = {"requested": symbol, "contract": contract, "instrument_id": number}
    path = workspace.raw / _name(request)
    with_headers(workspace.raw_folder)
    if not workspace.raw_folder.is_local and path.exists():
        workspace.raw_folder.fetch(str(_name(request)))
    there = present(path, request)
    known = client.estimate(request)
    if not json:
        _say_request(request, symbol, contract, first_ns, known)
    if known.records == 0:
        _refuse_empty(client, request)
    if estimate or there:
        if json:
            emit_json({"file": path, "present": there, "request": asdict(request), **asdict(known)})
        elif there:
            say("It is in the lake already, byte for byte; nothing was downloaded.")
            print(path)
        if not (there and definitions):
            return
    if not there:
        if not yes:
            _ask(known)
        if conditions := client.conditions(request):
            notes["conditions"] = conditions
            say("Databento says of the data: " + ", ".join(f"{day} {what}" for day, what in conditions.items()) + ".")
        with progress(f"Downloading {path.name}") as update:

            def show(count: int) -> None:
                update(count, description=f"Downloading {path.name}: {count / 1e6:,.1f} MB compressed")

            fetched = fetch_file(client, request, path, known, notes=notes, on_pause=say, on_bytes=show)
        workspace.keep_raw(path)
        if remark := closing_remark(fetched, request):
            say(remark)
        if json:
            emit_json({"file": path, "present": False, "request": asdict(request), **asdict(known)})
        else:
            say(f"Its provenance: {provenance_of(path).name}")
            print(path)
    if definitions:
        _instruments(workspace, path, symbol)
    else:
        say(f"Next: vp new-pipeline {path}")


def _request(
    workspace: Workspace,
    symbol: str,
    date: str,
    start: str | None,
    end: str | None,
    timezone: str | None,
    dataset: str,
    definitions: bool,
) -> tuple[Request, int]:
    """Return the request, from the preceding 00:00 UTC on, and the start of the window."""
    from vpcore.config.clock import clock_ns, local_to_ns
    from vpcore.halts import check_timezone
    from vpcore_databento.historical import Request, symbology

    try:
        day = datetime.date.fromisoformat(date)
    except ValueError:
        raise ConfigError("DATE", required="a day as 2024-03-05", was=f"'{date}'") from None
    zone = "UTC"
    if definitions and (start or end):
        raise ConfigError("--start and --end go without --definitions, which are of whole days", fix="Leave them out.")
    if start or end:
        zone = timezone or workspace.instrument(symbol).timezone
    ends = []
    for option, text in (("--start", start or "00:00"), ("--end", end or "24:00")):
        try:
            ends.append(local_to_ns(day, clock_ns(text), check_timezone(zone)))
        except ValueError as error:
            raise ConfigError(f"{option if 'time of day' in str(error) else '--timezone'} {error}") from None
    first_ns, end_ns = ends
    if end_ns <= first_ns:
        raise ConfigError("--end", required=f"after --start {start}", was=f"{end}", fix="Fetch each day on its own.")
    schema = "definition" if definitions else "mbo"
    return Request(dataset, symbol, schema, symbology(symbol), first_ns // _DAY_NS * _DAY_NS, end_ns), first_ns


def _name(request: Request) -> Path:
    at = [datetime.datetime.fromtimestamp(ns // 10**9, datetime.UTC) for ns in (request.start_ns, request.end_ns)]
    safe = "".join(letter if letter.isalnum() else "-" for letter in f"{request.dataset}-{request.symbol}".lower())
    until = "" if request.end_ns - request.start_ns == _DAY_NS else f"-until-{at[1]:%Y%m%dT%H%M%S}"
    name = f"{safe}-{at[0]:%Y%m%d}{until}.{request.schema}.dbn.zst"
    return Path("definitions") / name if request.schema == "definition" else Path(name)


def _say_request(request: Request, symbol: str, contract: str, first_ns: int, known: Estimate) -> None:
    if symbol != contract:
        say(f"{symbol} is {contract} then.")
    if first_ns > request.start_ns:
        say(
            f"The request starts {(first_ns - request.start_ns) / 3.6e12:.3g} h before the window, at 00:00 UTC: the "
            "snapshot of the book comes then."
        )
    print(
        f"{contract} {request.schema} of {request.dataset}, {request.span}: {known.records:,} records, "
        f"{known.size / 1e6:,.1f} MB, {known.cost:.2f} USD",
        file=sys.stderr,
    )


def _refuse_empty(client: Historical, request: Request) -> None:
    from vpcore.errors import SourceError

    said = client.conditions(request)
    condition = f" Databento says: {', '.join(f'{day} {what}' for day, what in said.items())}." if said else ""
    raise SourceError(
        f"{request.dataset} has no record of {request.symbol} in {request.span}: the exchange was closed (a holiday "
        f"or a weekend), or the contract was not traded.{condition} Choose another day."
    )


def _ask(known: Estimate) -> None:
    if not sys.stdin.isatty():
        raise ConfigError(
            f"The download costs {known.cost:.2f} USD, and there is no terminal to ask at", fix="Add --yes."
        )
    if not typer.confirm(f"Download for {known.cost:.2f} USD?", err=True):
        raise typer.Exit(1)


def _instruments(workspace: Workspace, path: Path, symbol: str) -> None:
    """Write the YAML of every root of a file of definitions, unless one that agrees is known."""
    from vpcore.units import int_to_price
    from vpcore_databento.definitions import read_definitions
    from vpcore_databento.new_specs import new_instrument

    found = read_definitions(path)
    for root in sorted({one.root for one in found}):
        own = [one for one in found if one.root == root]
        try:
            known = workspace.instrument(own[0].symbol)
        except ConfigError:
            print(new_instrument(workspace.specs, root, definitions=own))
            continue
        ticks = {one.tick_int for one in own}
        values = {one.multiplier for one in own if one.multiplier is not None}
        if known.tick_int in ticks and (not values or known.multiplier in values):
            others = sorted(int_to_price(tick) for tick in ticks - {known.tick_int})
            more = f"; other expiries have a tick of {', '.join(f'{tick:g}' for tick in others)}" if others else ""
            say(f"The instrument {root} agrees: tick {known.tick_size:g}, multiplier {known.multiplier:g}{more}.")
            continue
        what = ", ".join(f"tick {int_to_price(one.tick_int):g} and multiplier {one.multiplier}" for one in own[:1])
        if (workspace.configs / "instruments" / f"{root}.yaml").exists():
            raise ConfigError(
                f"The definition of {own[0].symbol} has {what}; configs/instruments/{root}.yaml has "
                f"{known.tick_size:g} and {known.multiplier:g}",
                fix="Change the file, or move it away and fetch again.",
            )
        print(new_instrument(workspace.specs, root, definitions=own))
