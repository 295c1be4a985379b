"""The contract of a window, by the files of the lake."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache, reduce
from pathlib import Path

import numpy as np

from vpcore.canonical import canonical_json, digest
from vpcore.errors import ConfigError, SourceError
from vpcore.kernels.records import TRADE
from vpcore.source.protocol import SourceRequest, utc
from vpcore.storage import Folder
from vpcore.storage.atomic import write_atomic
from vpcore.units import NS_PER_S
from vpcore_dbn.discovery import SUFFIXES, folder_of
from vpcore_dbn.far import with_headers
from vpcore_dbn.header import SourceFile, read_header
from vpcore_dbn.records import RecordReader

DAY_NS = 86_400 * NS_PER_S
DAYS_BACK = 7
"""How far before a window volumes are looked for: over a weekend with a holiday."""

Span = tuple[int, int]
Holding = list[tuple[SourceFile, int, int, int]]
"""Files of a contract: file, number of the instrument in it, and the time for which the file maps it."""


def contract_of(request: SourceRequest, matches: Callable[[str], bool]) -> str:
    """Return the contract of a root that the files below ``lake/raw`` hold in a window; see `Source.contract`.

    Of several contracts, the one whose file was fetched by volume, as its provenance says; else the contract with the
    greatest volume on the last day before the window of which the files of all of them hold the same time. The window
    itself decides nothing. Reads headers; volumes are counted once and kept in the cache.

    Raises
    ------
    ConfigError
        If there is none, or the files cannot say which one trades more.
    """
    raw, root = folder_of(request), request.symbol
    start_ns, end_ns = request.start_ns, request.end_ns
    held = _held(raw, matches)
    found = {
        symbol: files
        for symbol, files in held.items()
        if any(file.overlaps(start_ns, end_ns) and low < end_ns and high > start_ns for file, _, low, high in files)
    }
    by_volume = [
        symbol
        for symbol, files in found.items()
        if any(_fetched_by_volume(file.path) for file, *_ in files if file.overlaps(start_ns, end_ns))
    ]
    chosen = by_volume or list(found)
    if len(chosen) == 1:
        return chosen[0]
    span = f"{utc(start_ns)} to {utc(end_ns)} UTC"
    if not chosen:
        raise ConfigError(
            f"No file below {raw} holds a contract of {root} from {span}",
            fix=f"Fetch the day: vp fetch {root}.v.0 DATE. Or leave it out: dates.leave_out.",
        )
    traded = _volumes(raw, {symbol: held[symbol] for symbol in chosen}, start_ns)
    leading = [symbol for symbol, volume in traded.items() if volume == max(traded.values())]
    if len(leading) == 1:
        return leading[0]
    names = ", ".join(sorted(chosen))
    why = (
        f"and {_equal(traded)} before it"
        if traded
        else f"and no time of the {DAYS_BACK} days before it that all of them hold: their volumes cannot be compared"
    )
    raise ConfigError(
        f"Files below {raw} hold {len(chosen)} contracts of {root} from {span}, {names}, {why}",
        fix=f"Name the day's contract: {{date: ..., symbol: ...}}, or fetch it by volume: vp fetch {root}.v.0 DATE.",
    )


def _equal(traded: dict[str, int]) -> str:
    return "equal volumes, " + ", ".join(f"{symbol} {volume:,}" for symbol, volume in sorted(traded.items()))


def _held(raw: Folder, matches: Callable[[str], bool]) -> dict[str, Holding]:
    """Return the contracts of a root, sorted, with their files in order of time."""
    found: dict[str, Holding] = {}
    for path in sorted(with_headers(raw).rglob("*")):
        if not path.name.endswith(SUFFIXES) or not path.is_file():
            continue
        stat = path.stat()
        file = _header(path, stat.st_size, stat.st_mtime_ns)
        for mapping in () if file is None else file.mappings:
            if "." not in mapping.symbol and matches(mapping.symbol):
                assert file is not None
                low = max(file.start_ns, mapping.start_ns)
                high = mapping.end_ns if file.end_ns is None else min(file.end_ns, mapping.end_ns)
                found.setdefault(mapping.symbol, []).append((file, mapping.instrument_id, low, high))
    return {symbol: sorted(files, key=lambda item: (item[2], str(item[0].path))) for symbol, files in found.items()}


def _volumes(raw: Folder, held: dict[str, Holding], start_ns: int) -> dict[str, int]:
    """Return the contracts' volumes on the last day before a window that all files share; empty if there is none."""
    midnight = start_ns // DAY_NS * DAY_NS
    for back in range(1, DAYS_BACK + 1):
        day = (midnight - back * DAY_NS, midnight - (back - 1) * DAY_NS)
        spans = [_joined((max(low, day[0]), min(high, day[1])) for _, _, low, high in files) for files in held.values()]
        common = reduce(_shared, spans)
        if not common:
            continue
        traded = {symbol: _traded(raw, files, common) for symbol, files in held.items()}
        if any(traded.values()):
            return traded
    return {}


def _traded(raw: Folder, files: Holding, spans: Sequence[Span]) -> int:
    """Return the volume of a contract within some spans. Time that two files hold counts once."""
    volume, reached = 0, 0
    for file, number, low, high in files:
        own = _shared(spans, [(max(low, reached), high)] if high > reached else [])
        volume += _volume(raw, file, number, own) if own else 0
        reached = max(reached, high)
    return volume


def _joined(spans: Iterable[Span]) -> list[Span]:
    """Return the times that some spans cover, in order, without overlaps."""
    found: list[Span] = []
    for low, high in sorted(span for span in spans if span[0] < span[1]):
        if found and low <= found[-1][1]:
            found[-1] = (found[-1][0], max(high, found[-1][1]))
        else:
            found.append((low, high))
    return found


def _shared(one: Sequence[Span], other: Sequence[Span]) -> list[Span]:
    """Return the times that two lists of spans share."""
    return _joined((max(a, c), min(b, d)) for a, b in one for c, d in other)


def _volume(raw: Folder, file: SourceFile, number: int, spans: Sequence[Span]) -> int:
    """Return the traded size of an instrument within some spans of a file, counted once per file and spans."""
    name = file.path.relative_to(raw.path).as_posix()
    path = raw.fetch(name)
    stat = path.stat()
    key = digest([name, stat.st_size, stat.st_mtime_ns, number, [list(span) for span in spans]])
    kept = raw.storage.cache / "volumes" / f"{key[:16]}.json"
    try:
        return int(json.loads(kept.read_bytes()))
    except (OSError, ValueError, TypeError):
        pass
    volume = 0
    reader = RecordReader(read_header(path))
    try:
        for records in reader:
            own = (records["instrument_id"] == number) & (records["action"] == TRADE)
            times, sizes = records["ts_event"][own], records["size"][own].astype(np.int64)
            volume += sum(int(sizes[(times >= low) & (times < high)].sum()) for low, high in spans)
    finally:
        reader.close()
    try:
        write_atomic(kept, canonical_json(volume), durable=False)
    except OSError:
        return volume  # a cache that cannot be written costs the time again
    return volume


@lru_cache(maxsize=100_000)
def _header(path: Path, size: int, modified_ns: int) -> SourceFile | None:
    """Return the header of a file of market-by-order records, else None; a changed file is read again."""
    try:
        file = read_header(path)
    except SourceError:
        return None
    return file if file.schema in ("mbo", "") else None


def _fetched_by_volume(path: Path) -> bool:
    try:
        told = json.loads(path.with_name(f"{path.name}.json").read_text())
        return ".v." in told["requested"]
    except (OSError, ValueError, KeyError, TypeError):
        return False
