"""``vp new-instrument``: the YAML file of an instrument, from a file or a packaged instrument."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from vpcore.errors import ConfigError
from vpcore_cli.common import RootOption, open_workspace, say


def new_instrument(
    source: Annotated[
        str,
        typer.Argument(
            metavar="FILE", help="A file of definitions or of records, or the root of a packaged instrument."
        ),
    ],
    symbol: Annotated[str | None, typer.Option(help="A symbol of the file, where it has several roots.")] = None,
    instrument: Annotated[str | None, typer.Option(help="Root symbol. [default: of the symbol]")] = None,
    tick: Annotated[float | None, typer.Option(help="Smallest price step of an outright, in points.")] = None,
    multiplier: Annotated[
        float | None, typer.Option(help="Worth of one point of one contract, in the currency.")
    ] = None,
    fee: Annotated[float | None, typer.Option(help="Cost of buying or selling one contract, in the currency.")] = None,
    timezone: Annotated[str | None, typer.Option(help="IANA time zone of the times in pipelines.")] = None,
    pattern: Annotated[str | None, typer.Option(help="Regular expression of its symbols.")] = None,
    root: RootOption = None,
) -> None:
    """Write configs/instruments/ROOT.yaml: from definitions, else from a packaged instrument and the options.

    Tick and multiplier must come from one of them. With a file of records, every price must be a multiple of the tick.
    """
    from vpcore.config.instruments import packaged_instruments
    from vpcore_databento.definitions import read_definitions
    from vpcore_databento.new_specs import Terms, choose_symbol, new_instrument as write
    from vpcore_dbn.header import read_header
    from vpcore_dbn.inspect import inspect_file

    store = open_workspace(root).specs
    definitions, unit = [], 0
    path = Path(source)
    if not path.exists() and source in packaged_instruments():
        instrument = instrument or source
    elif read_header(path).schema == "definition":
        found = [one for one in read_definitions(path) if symbol in (None, one.symbol)]
        roots = sorted({one.root for one in found})
        if instrument is None and len(roots) != 1:
            text = ", ".join(roots) if roots else f"none of the symbol {symbol}"
            raise ConfigError(f"{path.name} defines futures of {text}", fix="Name one root: --instrument ROOT.")
        instrument = instrument or roots[0]
        definitions = [one for one in found if one.root == instrument]
    else:
        symbol, item = choose_symbol(inspect_file(path), symbol)
        match = re.fullmatch(r"([A-Z0-9]+?)(?:[FGHJKMNQUVXZ][0-9]{1,2}|\.[cnv]\.[0-9]{1,2})", symbol)
        if instrument is None and match is None:
            raise ConfigError(
                f"{symbol} does not show its root", fix="Name it: --instrument ROOT, with --pattern for its symbols."
            )
        instrument, unit = instrument or (match[1] if match else ""), item.price_unit_int
    terms = Terms(tick, multiplier, fee, timezone, pattern)
    print(write(store, instrument, definitions=definitions, terms=terms, price_unit_int=unit))
    say("It goes before the packaged instrument of the same root. Check it: vp validate")
