"""Instrument definitions of a DBN file: tick, value of a tick, expiry."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vpcore.errors import SourceError
from vpcore.units import PRICE_SCALE, int_to_price
from vpcore_dbn.header import read_header, require_complete
from vpcore_dbn.zstd import Payload

_UNDEFINED = 2**63 - 1
_FUTURE = "F"
_CHUNK_BYTES = 1 << 20
MOST_CONTRACTS = 100_000
"""Most contracts of a file: all of CME Group have fewer."""


@dataclass(frozen=True, slots=True)
class Definition:
    """Terms of an outright future.

    Parameters
    ----------
    symbol : str
        The exchange's own symbol, as ESH4.
    root : str
        Its product, as ES.
    exchange, currency : str
        As the exchange writes them; may be empty.
    tick_int : int
        Smallest price step, in 1e-9.
    tick_value : float or None
        Worth of one tick of one contract, in the currency; None if the exchange does not say.
    expires_ns : int
        Last trading time, ns since the epoch; 0 if unknown.
    """

    symbol: str
    root: str
    exchange: str
    currency: str
    tick_int: int
    tick_value: float | None
    expires_ns: int

    @property
    def multiplier(self) -> float | None:
        """Worth of one point of one contract; None if unknown."""
        return None if self.tick_value is None else round(self.tick_value / int_to_price(self.tick_int), 9)


def read_definitions(path: Path) -> list[Definition]:
    """Return the outright futures of a file of the schema `definition`, by symbol; the last definition of each.

    Raises
    ------
    SourceError
        If the file is damaged, of another schema, or defines no outright future.
    """
    file = read_header(path)
    if file.schema != "definition":
        raise SourceError(
            f"{path} must be a file of instrument definitions, was of the schema {file.schema or 'not stated'}. "
            "Request the schema definition: vp fetch SYMBOL DATE --definitions."
        )
    require_complete(file)
    found: dict[str, Definition] = {}
    for record in _records(path, file.zstd):
        if str(getattr(record, "instrument_class", "")) == _FUTURE and record.min_price_increment != _UNDEFINED:
            found[record.raw_symbol] = _definition(record)
        if len(found) > MOST_CONTRACTS:
            raise SourceError(f"{path} defines more than {MOST_CONTRACTS:,} contracts: request fewer symbols.")
    if not found:
        raise SourceError(
            f"{path} defines no outright future. Request the symbol of one, as ESH4, or a parent, as ES.FUT."
        )
    return [found[symbol] for symbol in sorted(found)]


def _records(path: Path, zstd: bool) -> Iterator[Any]:
    import databento_dbn

    decoder = databento_dbn.DBNDecoder()
    payload = Payload(path, zstd=zstd)
    try:
        while data := payload.read(_CHUNK_BYTES):
            decoder.write(data)
            yield from decoder.decode()
    except databento_dbn.DBNError as error:
        raise SourceError(f"{path} is damaged: {error}. Fetch the file again.") from None
    finally:
        payload.close()


def _definition(record: Any) -> Definition:
    amount = record.min_price_increment_amount
    return Definition(
        symbol=record.raw_symbol,
        root=record.asset,
        exchange=record.exchange,
        currency=record.currency,
        tick_int=record.min_price_increment,
        tick_value=amount / PRICE_SCALE if 0 < amount < _UNDEFINED else None,
        expires_ns=record.expiration if 0 < record.expiration < _UNDEFINED else 0,
    )
