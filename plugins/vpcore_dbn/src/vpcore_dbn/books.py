"""What shows when a file's books are replayed, and when files are laid side by side."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vpcore.config.closures import closures_of
from vpcore.config.instruments import InstrumentSpec
from vpcore.engine import Engine, EngineParams
from vpcore.errors import EngineError
from vpcore.halts import halts_between
from vpcore_dbn.inspect import GAP_NS, Inspection
from vpcore_dbn.records import RecordReader

MOST_BOOKS = 4
"""Books that are replayed: those of the instruments with most records."""

_PARAMS = EngineParams(
    cell_width_ms=60_000, grid_radius_ticks=1, band_margin_ticks=0, flow_windows=(1,), columns=("add_mass",)
)


@dataclass(frozen=True, slots=True)
class BookFindings:
    """Result of a replay of one instrument.

    Parameters
    ----------
    symbol : str
        Its first symbol in the file, else its number.
    quality : mapping
        `Engine.quality`; empty if the replay was refused.
    refused : str
        Why the engine refuses the records; empty otherwise.
    """

    symbol: str
    quality: Mapping[str, Any]
    refused: str = ""

    @property
    def remarks(self) -> list[str]:
        """Findings as sentences without an end, for a person."""
        if self.refused:
            return [f"no book can be made: {self.refused}"]
        unknown = self.quality["unknown_cancels"] + self.quality["unknown_modifies"]
        counts = (
            (unknown, f"cancels and modifies of unknown orders, {self.quality['unknown_order_rate']:.1%} of all"),
            (self.quality["crossed_events"], "events that end with a crossed book, as before an opening"),
            (self.quality["one_sided_events"], "events that end with one side empty"),
            (self.quality["unbalanced_trade_events"], "events with trades whose fills do not add up to them"),
            (self.quality["unattributed_fill_contracts"], "contracts of fills of orders that the book never held"),
        )
        return [f"{count:,} {what}" for count, what in counts if count]


def replay_books(found: Inspection) -> list[BookFindings]:
    """Replay the books of a file's busiest instruments, with the prices' common step as tick.

    Parameters
    ----------
    found : Inspection
        Of a file of the schema ``mbo``.

    Returns
    -------
    list of BookFindings
        At most `MOST_BOOKS`, the busiest instrument first. Cost: one more pass over the file.
    """
    busiest = sorted(found.instruments, key=lambda number: (-found.instruments[number].records, number))
    engines: dict[int, Engine] = {}
    for number in busiest[:MOST_BOOKS]:
        item = found.instruments[number]
        if item.price_unit_int and item.live_first_ns:
            engines[number] = Engine(
                _PARAMS, tick_int=item.price_unit_int, start_ns=item.live_first_ns, cold_book="build"
            )
    refused: dict[int, str] = {}
    reader = RecordReader(found.file)
    try:
        for records in reader:
            for number, engine in engines.items():
                if number in refused:
                    continue
                try:
                    for _ in engine.blocks(records, number, first_record=reader.n_records - len(records)):
                        pass
                except EngineError as error:
                    refused[number] = str(error)
    finally:
        reader.close()
    names = {number: next(iter(found.instruments[number].symbols), str(number)) for number in engines}
    return [
        BookFindings(names[number], {} if number in refused else engine.quality(), refused.get(number, ""))
        for number, engine in engines.items()
    ]


def closed_share(instrument: InstrumentSpec, start_ns: int, end_ns: int) -> float:
    """Return the share of a silence in which an instrument's market is closed: daily halt, weekend, holidays."""
    spans = []
    if instrument.daily_halt is not None:
        spans.append(halts_between((*instrument.daily_halt, instrument.timezone), start_ns, end_ns))
    if instrument.calendar is not None:
        spans.append(closures_of(instrument.calendar).between(start_ns, end_ns))
    shared = sum(min(end_ns, int(end)) - max(start_ns, int(start)) for part in spans for start, end in part)
    return shared / (end_ns - start_ns)


@dataclass(frozen=True, slots=True)
class Between:
    """Relation of two files of one symbol, consecutive in time.

    Parameters
    ----------
    symbol : str
    first, second : str
        Names of the files.
    from_ns, to_ns : int
        The span.
    twice : bool
        True for a span in both files, False for a span in neither, of at least `GAP_NS`.
    """

    symbol: str
    first: str
    second: str
    from_ns: int
    to_ns: int
    twice: bool


def between_files(found: Sequence[Inspection]) -> list[Between]:
    """Return the gaps between files and the stretches in two files, by symbol, in order of time."""
    spans: dict[str, list[tuple[int, int, str]]] = {}
    for one in found:
        for item in one.instruments.values():
            for symbol in item.symbols if item.live_first_ns else ():
                spans.setdefault(symbol, []).append((item.live_first_ns, item.live_last_ns, one.file.path.name))
    relations = []
    for symbol, own in sorted(spans.items()):
        for (_, end, first), (start, later_end, second) in itertools.pairwise(sorted(own)):
            if start < end:
                relations.append(Between(symbol, first, second, start, min(end, later_end), True))
            elif start - end >= GAP_NS:
                relations.append(Between(symbol, first, second, end, start, False))
    return relations
