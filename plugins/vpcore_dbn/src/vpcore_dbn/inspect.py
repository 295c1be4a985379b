"""Contents of a DBN file: its metadata, and figures over its records. One pass, constant memory."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from vpcore.kernels.records import (
    ASK,
    BID,
    CLEAR,
    F_BAD_TS_RECV,
    F_LAST,
    F_MAYBE_BAD_BOOK,
    F_MBP,
    F_SNAPSHOT,
    F_TOB,
    TRADE,
    UNDEF_PRICE,
    UNDEF_TIMESTAMP,
)
from vpcore.source.prepare import BACK_NS
from vpcore_dbn.header import SourceFile, read_header, require_complete
from vpcore_dbn.records import RecordReader, Records

Ints = np.ndarray[Any, np.dtype[np.int64]]

GAP_NS = 60 * 10**9
"""Shorter silences are not worth a line."""

MINUTE_NS = 60 * 10**9
MOST_MINUTES = 7 * 24 * 60
"""A week: later minutes of a file are not counted, so that memory stays small."""

_GAPS = 5
_ACTIONS = "ACMRTFN"
_FLAG_BITS = {
    "last": F_LAST,
    "top_of_book": F_TOB,
    "snapshot": F_SNAPSHOT,
    "by_price": F_MBP,
    "bad_ts_recv": F_BAD_TS_RECV,
    "maybe_bad_book": F_MAYBE_BAD_BOOK,
}


@dataclass(slots=True)
class InstrumentFigures:
    """Records of one instrument of a file.

    Parameters
    ----------
    symbols : tuple of str
        Names of the instrument in the file's mappings; may be empty.
    records : int
    first_ns, last_ns : int
        First and last `ts_recv`, snapshot included.
    price_unit_int : int
        Greatest common divisor of all its prices, in 1e-9: the tick, or a multiple of the tick in a short file. 0 if
        all prices are undefined.
    live_first_ns, live_last_ns : int
        First and last `ts_recv` outside the snapshot; 0 without such a record.
    minutes : dict of int to int
        Records outside the snapshot by minute since the epoch, of at most `MOST_MINUTES` minutes.
    """

    symbols: tuple[str, ...]
    records: int = 0
    first_ns: int = 0
    last_ns: int = 0
    price_unit_int: int = 0
    live_first_ns: int = 0
    live_last_ns: int = 0
    minutes: dict[int, int] = field(default_factory=dict)


@dataclass(slots=True)
class Inspection:
    """Result of `inspect_file`.

    Parameters
    ----------
    file : SourceFile
        The metadata.
    records : int
        Market-by-order records; everything below is about them, over all instruments.
    skipped : dict of int to int
        Records of other kinds, by `rtype`.
    actions, flags : dict of str to int
        Records by action letter, and by the bits of their flags.
    instruments : dict of int to InstrumentFigures
    snapshot : str
        Start of the book: ``'clear and snapshot'``, ``'snapshot'``, ``'clear'``, ``'none'``.
    snapshot_records : int
        Records with `F_SNAPSHOT`, the clear among them included.
    live_first_ns, live_last_ns : int
        First and last `ts_recv` outside the snapshot; 0 without such a record.
    gaps : list of (int, int)
        The longest silences of a minute and more, as (from, to) of `ts_recv`, in order of time.
    buy_volume, sell_volume, cross_volume : int
        Contracts of `T` by the aggressor's side.
    backwards : int
        Records with a `ts_recv` before their predecessor's.
    repeated : tuple of (int, int, int) or None
        The first record outside the snapshot whose `ts_recv` runs back by more than a second, as (record, from, to): a
        stretch is in the file twice.
    bad_times : int
        Records outside the snapshot whose `ts_recv` is marked bad.
    beyond_end : int
        Records whose `ts_recv` is after the end in the metadata.
    undefined_prices, undefined_times : int
        Records with an undefined price (clears excluded) or time.
    unfinished : bool
        The last record leaves its event open (`F_LAST` is missing).
    publishers : dict of int to int
        Records by publisher id.
    """

    file: SourceFile
    records: int = 0
    skipped: dict[int, int] = field(default_factory=dict)
    actions: dict[str, int] = field(default_factory=dict)
    flags: dict[str, int] = field(default_factory=dict)
    instruments: dict[int, InstrumentFigures] = field(default_factory=dict)
    snapshot: str = "none"
    snapshot_records: int = 0
    live_first_ns: int = 0
    live_last_ns: int = 0
    gaps: list[tuple[int, int]] = field(default_factory=list)
    buy_volume: int = 0
    sell_volume: int = 0
    cross_volume: int = 0
    backwards: int = 0
    repeated: tuple[int, int, int] | None = None
    bad_times: int = 0
    beyond_end: int = 0
    undefined_prices: int = 0
    undefined_times: int = 0
    unfinished: bool = False
    publishers: dict[int, int] = field(default_factory=dict)

    @property
    def readable(self) -> bool:
        """True if the records were read; records of other schemas are skipped."""
        return self.file.schema in ("", "mbo")

    def as_dict(self) -> dict[str, Any]:
        """Return everything as plain data. Times stay nanoseconds, prices fixed point."""
        file = self.file
        header = {
            "path": str(file.path),
            "size": file.size,
            "compressed": file.zstd,
            "version": file.version,
            "dataset": file.dataset,
            "schema": file.schema or None,
            "stype_in": file.stype_in or None,
            "start_ns": file.start_ns,
            "end_ns": file.end_ns,
            "ts_out": file.ts_out,
            "symbols": [
                {"symbol": m.symbol, "instrument_id": m.instrument_id, "dates": m.dates} for m in file.mappings
            ],
        }
        if not self.readable:
            return header | {"records": None}
        return header | {
            "records": self.records,
            "skipped_records": {str(rtype): count for rtype, count in sorted(self.skipped.items())},
            "actions": self.actions,
            "flags": self.flags,
            "publishers": {str(number): count for number, count in sorted(self.publishers.items())},
            "snapshot": self.snapshot,
            "snapshot_records": self.snapshot_records,
            "live_first_ns": self.live_first_ns,
            "live_last_ns": self.live_last_ns,
            "gaps": [{"from_ns": a, "to_ns": b} for a, b in self.gaps],
            "volume": {"buy": self.buy_volume, "sell": self.sell_volume, "cross": self.cross_volume},
            "quality": {
                "backwards": self.backwards,
                "repeated": None
                if self.repeated is None
                else dict(zip(("record", "from_ns", "to_ns"), self.repeated, strict=True)),
                "bad_times": self.bad_times,
                "beyond_end": self.beyond_end,
                "undefined_prices": self.undefined_prices,
                "undefined_times": self.undefined_times,
                "unfinished": self.unfinished,
            },
            "instruments": {
                str(number): {
                    "symbols": list(item.symbols),
                    "records": item.records,
                    "first_ns": item.first_ns,
                    "last_ns": item.last_ns,
                    "price_unit_int": item.price_unit_int,
                }
                for number, item in sorted(self.instruments.items())
            },
        }


def inspect_file(path: Path, on_progress: Callable[[int, int], None] | None = None) -> Inspection:
    """Describe the contents of a file.

    Parameters
    ----------
    path : Path
        A ``.dbn`` or ``.dbn.zst`` file. Of a schema other than ``mbo`` the metadata alone is read.
    on_progress : callable, optional
        Called with bytes done and all bytes, now and then.

    Raises
    ------
    SourceError
        If it is cut, damaged, or of another format.
    """
    file = read_header(path)
    found = Inspection(file)
    if not found.readable:
        return found
    require_complete(file)
    reader = RecordReader(file)
    scan = _Scan(found)
    try:
        for records in reader:
            scan.add(records)
            if on_progress is not None:
                on_progress(reader.position, file.size)
    finally:
        reader.close()
    scan.finish(reader)
    return found


class _Scan:
    """Adds up chunks. Keeps the state between chunks."""

    def __init__(self, found: Inspection) -> None:
        self.found = found
        self.actions = np.zeros(256, np.int64)
        self.flags = np.zeros(256, np.int64)
        self.last_time = 0
        self.last_live = 0
        self.peak = 0
        self.last_flags = F_LAST
        self.in_opening = True
        self.names: dict[int, list[str]] = {}
        for mapping in found.file.mappings:
            names = self.names.setdefault(mapping.instrument_id, [])
            if mapping.symbol not in names:
                names.append(mapping.symbol)

    def add(self, records: Records) -> None:
        found = self.found
        if not found.records:
            self._opening(records)
        flags, times = records["flags"], records["ts_recv"]
        self.actions += np.bincount(records["action"], minlength=256)
        self.flags += np.bincount(flags, minlength=256)
        known = times != np.uint64(UNDEF_TIMESTAMP)
        found.undefined_times += int(np.count_nonzero(~known))
        clock = times[known].astype(np.int64)
        if len(clock):
            found.backwards += int(np.count_nonzero(np.diff(clock) < 0)) + int(clock[0] < self.last_time)
            self.last_time = int(clock[-1])
        if found.file.end_ns is not None:
            found.beyond_end += int(np.count_nonzero(known & (times > np.uint64(found.file.end_ns))))
        places = np.flatnonzero(known & (flags & F_SNAPSHOT == 0))
        live = times[places].astype(np.int64)
        if len(live):
            self._repeated(live, places, flags[places])
            found.live_first_ns = found.live_first_ns or int(live[0])
            self._gaps(live)
        trades = records[records["action"] == TRADE]
        sizes = trades["size"].astype(np.int64)
        found.buy_volume += int(sizes[trades["side"] == BID].sum())
        found.sell_volume += int(sizes[trades["side"] == ASK].sum())
        found.cross_volume += int(sizes[(trades["side"] != BID) & (trades["side"] != ASK)].sum())
        priced = records["price"] != UNDEF_PRICE
        found.undefined_prices += int(np.count_nonzero(~priced & (records["action"] != CLEAR)))
        self._instruments(records, priced)
        for number, count in zip(*np.unique(records["publisher_id"], return_counts=True), strict=True):
            found.publishers[int(number)] = found.publishers.get(int(number), 0) + int(count)
        self.last_flags = int(flags[-1])
        found.records += len(records)

    def _opening(self, records: Records) -> None:
        clears = bool(records["action"][0] == CLEAR)
        behind = records[1:] if clears else records
        snapshot = len(behind) > 0 and bool(behind["flags"][0] & F_SNAPSHOT)
        self.found.snapshot = {
            (True, True): "clear and snapshot",
            (False, True): "snapshot",
            (True, False): "clear",
            (False, False): "none",
        }[clears, snapshot]

    def _gaps(self, live: np.ndarray[Any, np.dtype[np.int64]]) -> None:
        found = self.found
        before = np.concatenate(([self.last_live or live[0]], live[:-1]))
        longest = self.last_live = int(live[-1])
        for at in np.flatnonzero(live - before >= GAP_NS):
            found.gaps.append((int(before[at]), int(live[at])))
        if len(found.gaps) > _GAPS:
            found.gaps = sorted(sorted(found.gaps, key=lambda gap: gap[0] - gap[1])[:_GAPS])
        found.live_last_ns = longest

    def _repeated(self, live: Ints, places: Ints, flags: np.ndarray[Any, np.dtype[np.uint8]]) -> None:
        usable = flags & F_BAD_TS_RECV == 0
        live, places = live[usable], places[usable]
        if self.found.repeated is not None or not len(live):
            return
        peaks = np.maximum(np.maximum.accumulate(live), self.peak)
        back = np.flatnonzero(peaks - live > BACK_NS)
        self.peak = int(peaks[-1])
        if len(back):
            at = back[0]
            self.found.repeated = (self.found.records + int(places[at]), int(peaks[at]), int(live[at]))

    def _instruments(self, records: Records, priced: np.ndarray[Any, np.dtype[np.bool_]]) -> None:
        ids = records["instrument_id"]
        numbers = ids[:1] if (ids == ids[0]).all() else np.unique(ids)
        usable = (records["flags"] & F_SNAPSHOT == 0) & (records["ts_recv"] != np.uint64(UNDEF_TIMESTAMP))
        for number in numbers.tolist():
            mine = slice(None) if len(numbers) == 1 else ids == number
            own = records[mine]
            item = self.found.instruments.get(number)
            if item is None:
                item = InstrumentFigures(tuple(self.names.get(number, ())), first_ns=int(own["ts_recv"][0]))
                self.found.instruments[number] = item
            item.records += len(own)
            item.last_ns = int(own["ts_recv"][-1])
            self._minutes(item, own["ts_recv"][usable[mine]].astype(np.int64))
            prices = own["price"][priced[mine]]
            unit = item.price_unit_int
            if len(prices) and (unit == 0 or (prices % unit).any()):
                item.price_unit_int = math.gcd(unit, int(np.gcd.reduce(prices)))

    def _minutes(self, item: InstrumentFigures, live: Ints) -> None:
        if not len(live):
            return
        item.live_first_ns = item.live_first_ns or int(live[0])
        item.live_last_ns = max(item.live_last_ns, int(live.max()))
        for minute, count in zip(
            *(part.tolist() for part in np.unique(live // MINUTE_NS, return_counts=True)), strict=True
        ):
            if minute in item.minutes or len(item.minutes) < MOST_MINUTES:
                item.minutes[minute] = item.minutes.get(minute, 0) + count

    def finish(self, reader: RecordReader) -> None:
        found = self.found
        found.skipped = dict(Counter(reader.foreign))
        counts = {chr(code): int(n) for code, n in enumerate(self.actions) if n}
        found.actions = {letter: counts.pop(letter, 0) for letter in _ACTIONS} | counts
        found.flags = {
            name: int(sum(n for value, n in enumerate(self.flags) if value & bit)) for name, bit in _FLAG_BITS.items()
        }
        found.bad_times = int(
            sum(n for value, n in enumerate(self.flags) if value & (F_BAD_TS_RECV | F_SNAPSHOT) == F_BAD_TS_RECV)
        )
        found.snapshot_records = found.flags["snapshot"]
        found.unfinished = found.records > 0 and not self.last_flags & F_LAST
