"""The contract of a window, by the files of the lake."""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path

from vpcore.config.instruments import InstrumentSpec
from vpcore.errors import ConfigError, SourceError
from vpcore.source.dbn.discovery import SUFFIXES
from vpcore.source.dbn.header import SourceFile, read_header
from vpcore.source.far import with_headers
from vpcore.source.protocol import utc
from vpcore.storage import Folder


def contract_of(raw: Folder, instrument: InstrumentSpec, start_ns: int, end_ns: int) -> str:
    """Return the contract of an instrument that the files below ``lake/raw`` hold in a window.

    Of several contracts, the one whose file was fetched by volume, as its provenance says. Reads headers only.

    Raises
    ------
    ConfigError
        If there is none, or more than one.
    """
    found: dict[str, list[Path]] = {}
    for path in sorted(with_headers(raw).rglob("*")):
        if not path.name.endswith(SUFFIXES) or not path.is_file():
            continue
        stat = path.stat()
        file = _header(path, stat.st_size, stat.st_mtime_ns)
        if file is None or not file.overlaps(start_ns, end_ns):
            continue
        for mapping in file.mappings:
            symbol = mapping.symbol
            if (
                "." not in symbol
                and instrument.matches(symbol)
                and mapping.start_ns < end_ns
                and mapping.end_ns > start_ns
            ):
                found.setdefault(symbol, []).append(path)
    by_volume = [symbol for symbol, paths in found.items() if any(map(_fetched_by_volume, paths))]
    chosen = by_volume or list(found)
    if len(chosen) == 1:
        return chosen[0]
    span = f"{utc(start_ns)} to {utc(end_ns)} UTC"
    if not chosen:
        raise ConfigError(
            f"No file below {raw} holds a contract of {instrument.root} from {span}",
            fix=f"Fetch the day: vp fetch {instrument.root}.v.0 DATE. Or leave it out: dates.leave_out.",
        )
    raise ConfigError(
        f"Files below {raw} hold {len(chosen)} contracts of {instrument.root} from {span}: {', '.join(sorted(chosen))}",
        fix="Name the day's contract: {date: ..., symbol: ...}, or fetch it by volume: vp fetch "
        f"{instrument.root}.v.0 DATE.",
    )


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
