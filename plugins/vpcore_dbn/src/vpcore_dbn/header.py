"""The metadata of a DBN file. Reads the header only."""

from __future__ import annotations

import datetime
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from vpcore.errors import SourceError, did_you_mean
from vpcore.source.protocol import utc
from vpcore.units import NS_PER_S
from vpcore_dbn.zstd import Payload, check_zstd_complete, is_zstd

if TYPE_CHECKING:
    import databento_dbn

_MOST_METADATA_BYTES = 1 << 28
_NEWEST_VERSION = 3
_FOREVER = 2**63 - 1
_SYMBOL_MAPPING_RTYPE = 22
_SCAN_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Mapping:
    """A symbol stands for an instrument during ``[start_ns, end_ns)``."""

    symbol: str
    instrument_id: int
    start_ns: int
    end_ns: int

    @property
    def dates(self) -> str:
        """The days, the last one included, as text."""
        if self.end_ns >= _FOREVER:
            return "always" if self.start_ns == 0 else f"from {_date(self.start_ns)}"
        first, last = _date(self.start_ns), _date(max(self.start_ns, self.end_ns - 1))
        return first if first == last else f"{first} to {last}"


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A DBN file and its metadata.

    Parameters
    ----------
    path : Path
    size : int
        Bytes on disk.
    zstd : bool
    version : int
        As written in the file.
    dataset : str
    schema : str
        Empty for a live recording, which may have several.
    stype_in : str
        The symbology of the request; empty where unknown.
    symbols : tuple of str
        The symbols of the request.
    start_ns : int
    end_ns : int or None
        None where unknown.
    ts_out : bool
        Every record is followed by 8 bytes more, the time at which the gateway sent it.
    mappings : tuple of Mapping
        From the metadata, else from the symbol-mapping messages among the first records.
    header_bytes : int
        Where the records begin, in decompressed bytes.
    n_records : int or None
        Number of records by the metadata of version 1; None where unknown.
    """

    path: Path
    size: int
    zstd: bool
    version: int
    dataset: str
    schema: str
    stype_in: str
    symbols: tuple[str, ...]
    start_ns: int
    end_ns: int | None
    ts_out: bool
    mappings: tuple[Mapping, ...]
    header_bytes: int
    n_records: int | None = None

    @property
    def span(self) -> str:
        """The span of the metadata as text."""
        return f"{utc(self.start_ns)} to {'an end that is not stated' if self.end_ns is None else utc(self.end_ns)}"

    @property
    def names(self) -> tuple[str, ...]:
        """Every mapped symbol, sorted."""
        return tuple(sorted({mapping.symbol for mapping in self.mappings}))

    def overlaps(self, start_ns: int, end_ns: int) -> bool:
        """Return True if the file's span and ``[start_ns, end_ns)`` overlap."""
        return self.start_ns < end_ns and (self.end_ns is None or self.end_ns > start_ns)

    def holding(self, limit: int = 12) -> str:
        """Return the file's mappings for messages: symbols with their dates."""
        found = {mapping.symbol: mapping.dates for mapping in reversed(self.mappings)}
        shown = [f"{name} ({found[name]})" for name in sorted(found)]
        more = f" and {len(shown) - limit} more" if len(shown) > limit else ""
        return (", ".join(shown[:limit]) + more) if shown else "no symbol that is mapped to an instrument"

    def has(self, symbol: str) -> bool:
        """Return True if the symbol, or the number of an instrument, is mapped on some date."""
        return any(mapping.symbol == symbol or str(mapping.instrument_id) == symbol for mapping in self.mappings)

    def contract(self, instrument_id: int) -> str:
        """Return the own symbol of an instrument where the file maps it, else its number as text."""
        own = [m.symbol for m in self.mappings if m.instrument_id == instrument_id and "." not in m.symbol]
        return min((name for name in own if not name.isdigit()), default=f"instrument {instrument_id}")

    def instrument(self, symbol: str, start_ns: int, end_ns: int) -> int:
        """Return the instrument of `symbol` in this file during a window.

        A file wholly outside the window (a named warm-up) answers for its own span.

        Raises
        ------
        SourceError
            Unless the symbol maps to one instrument during the window.
        """
        found = [m for m in self.mappings if m.symbol == symbol] or [
            m for m in self.mappings if str(m.instrument_id) == symbol
        ]
        if not found:
            hint = did_you_mean(symbol, self.names)
            raise SourceError(
                f"{symbol} is not in {self.path.name}. It holds: {self.holding()}.{hint} "
                "Set capture.symbol to one of these."
            )
        low, high = self.start_ns, _FOREVER if self.end_ns is None else self.end_ns
        if self.overlaps(start_ns, end_ns):
            low, high = max(low, start_ns), min(high, end_ns)
        then = [m for m in found if m.start_ns < high and m.end_ns > low]
        if not then:
            dates = ", ".join(m.dates for m in found)
            raise SourceError(
                f"{symbol} is mapped to an instrument on other dates only in {self.path.name} ({dates}), "
                f"not from {utc(low)} to {utc(high)}. Choose a window within those dates."
            )
        ids = sorted({m.instrument_id for m in then})
        if len(ids) > 1:
            which = ", ".join(f"{m.instrument_id} ({m.dates})" for m in then)
            raise SourceError(
                f"{symbol} stands for more than one instrument in {self.path.name} during the window: {which}. "
                "Set capture.symbol to an instrument's own symbol or number, or choose a window within one span."
            )
        return ids[0]


def read_header(path: Path) -> SourceFile:
    """Read the metadata of a DBN file.

    Raises
    ------
    SourceError
        If the file is missing, empty, of another format or newer version, or ends within its metadata.
    """
    try:
        size = path.stat().st_size
        if path.is_dir():
            raise SourceError(f"{path} is a directory. Name a .dbn or .dbn.zst file.")
        if size == 0:
            raise SourceError(f"{path} is empty (0 bytes). Fetch the file again.")
        zstd = is_zstd(path)
        payload = Payload(path, zstd=zstd)
    except OSError as error:
        raise SourceError(f"{path} could not be opened: {error.strerror or error}.") from error
    try:
        return _decode(path, size, zstd, payload)
    finally:
        payload.close()


def require_mbo(file: SourceFile) -> None:
    """Refuse a file of another schema.

    Raises
    ------
    SourceError
        If the metadata names a schema other than ``mbo``.
    """
    if file.schema not in ("", "mbo"):
        raise SourceError(
            f"{file.path.name} has the schema '{file.schema}': order books are built from market-by-order records, "
            "schema 'mbo'. Download the mbo schema of the same symbols and dates."
        )


def require_complete(file: SourceFile) -> None:
    """Refuse a compressed file that is cut or damaged in its outer structure. Cost: a look at each 128 KiB block."""
    if file.zstd:
        check_zstd_complete(file.path)


def _decode(path: Path, size: int, zstd: bool, payload: Payload) -> SourceFile:
    import databento_dbn

    prefix = payload.read(8)
    if prefix[:3] != b"DBN":
        raise SourceError(
            f"{path} is not a DBN file: it begins with {prefix[:4]!r}, not b'DBN'. Name a .dbn or .dbn.zst file."
        )
    if len(prefix) < 8:
        raise SourceError(f"{path} is truncated: it ends within its metadata. Fetch the file again.")
    version, length = prefix[3], int.from_bytes(prefix[4:], "little")
    if not 1 <= version <= _NEWEST_VERSION:
        raise SourceError(
            f"{path} is DBN version {version}: versions 1 to {_NEWEST_VERSION} are read. Request it in one of them."
        )
    if length > _MOST_METADATA_BYTES:
        raise SourceError(
            f"{path} states {length / 1e6:,.0f} MB of metadata; at most {_MOST_METADATA_BYTES / 1e6:,.0f} MB are read. "
            "Fetch the file again."
        )
    body = payload.read(length if zstd else min(length, size))
    if len(body) < length:
        raise SourceError(f"{path} is truncated: its metadata has {len(body)} of {length} bytes. Fetch the file again.")
    try:
        metadata = databento_dbn.Metadata.decode(prefix + body, databento_dbn.VersionUpgradePolicy.AS_IS)
    except databento_dbn.DBNError as error:
        raise SourceError(f"{path} has metadata that cannot be decoded: {error}.") from error
    mappings = tuple(_metadata_mappings(metadata)) or tuple(_leading_mappings(payload))
    known_start = 0 < metadata.start < _FOREVER
    known_end = metadata.end is not None and 0 < metadata.end < _FOREVER
    return SourceFile(
        path=path,
        size=size,
        zstd=zstd,
        version=version,
        dataset=metadata.dataset,
        schema="" if metadata.schema is None else str(metadata.schema),
        stype_in="" if metadata.stype_in is None else str(metadata.stype_in),
        symbols=tuple(metadata.symbols),
        start_ns=int(metadata.start) if known_start else 0,
        end_ns=int(metadata.end) if known_end else None,
        ts_out=bool(metadata.ts_out),
        mappings=mappings,
        header_bytes=8 + length,
        n_records=_record_count(version, body),
    )


def _record_count(version: int, body: bytes) -> int | None:
    """Return the number of records that version 1 states; later versions state none."""
    count = int.from_bytes(body[42:50], "little")
    return count if version == 1 and 0 < count < 2**64 - 1 else None


def _metadata_mappings(metadata: databento_dbn.Metadata) -> Iterable[Mapping]:
    to_id = str(metadata.stype_out) == "instrument_id"
    for key, intervals in sorted(metadata.mappings.items()):
        for interval in intervals:
            value = interval["symbol"]
            name, number = (key, value) if to_id else (value, key)
            if number.isascii() and number.isdigit():
                yield Mapping(name, int(number), _midnight(interval["start_date"]), _midnight(interval["end_date"]))


def _leading_mappings(payload: Payload) -> Iterable[Mapping]:
    """Yield the symbol mappings near the start of the records; a live recording begins with them."""
    data = payload.read(_SCAN_BYTES)
    position = 0
    while position + 16 <= len(data):
        length = 4 * data[position]
        if length < 16:
            return
        if data[position + 1] == _SYMBOL_MAPPING_RTYPE and position + length <= len(data):
            yield from _mapping_message(data[position : position + length])
        position += length


def _mapping_message(message: bytes) -> Iterable[Mapping]:
    # Version 1 has two symbols of 22 bytes; later ones two of 71, each behind its symbology type.
    spans = ((17, 88), (89, 160)) if len(message) >= 176 else ((16, 38), (38, 60))
    times = 160 if len(message) >= 176 else 64
    if len(message) < times + 16:
        return
    instrument_id = int.from_bytes(message[4:8], "little")
    start_ns, end_ns = (int.from_bytes(message[at : at + 8], "little") for at in (times, times + 8))
    start_ns = 0 if start_ns > _FOREVER else start_ns
    for name in sorted({message[a:b].split(b"\0")[0].decode("ascii", "replace") for a, b in spans} - {""}):
        yield Mapping(name, instrument_id, start_ns, _FOREVER if end_ns in (0, 2**64 - 1) else end_ns)


def _midnight(day: datetime.date) -> int:
    return (day.toordinal() - datetime.date(1970, 1, 1).toordinal()) * 86_400 * NS_PER_S


def _date(ns: int) -> str:
    return (datetime.date(1970, 1, 1) + datetime.timedelta(days=ns // (86_400 * NS_PER_S))).isoformat()
