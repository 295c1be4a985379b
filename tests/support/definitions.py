"""Files of instrument definitions, as Databento sends them for the schema `definition`."""

from __future__ import annotations

import datetime
from pathlib import Path
from types import SimpleNamespace

import databento_dbn
import pyarrow as pa

UNDEFINED = 2**63 - 1


def definition(
    symbol: str,
    root: str,
    tick: float,
    *,
    tick_value: float | None,
    instrument_id: int = 7,
    kind: databento_dbn.InstrumentClass = databento_dbn.InstrumentClass.FUTURE,
    expires_ns: int = 1_710_509_400 * 10**9,
    ts_ns: int = 20_000 * 86_400 * 10**9,
) -> databento_dbn.InstrumentDefMsg:
    return databento_dbn.InstrumentDefMsg(
        publisher_id=1,
        instrument_id=instrument_id,
        ts_event=ts_ns,
        ts_recv=ts_ns,
        min_price_increment=round(tick * 1e9),
        display_factor=10**7,
        raw_symbol=symbol,
        asset=root,
        security_type="FUT",
        instrument_class=kind,
        security_update_action=databento_dbn.SecurityUpdateAction.ADD,
        expiration=expires_ns,
        currency="USD",
        exchange="XCME",
        min_price_increment_amount=UNDEFINED if tick_value is None else round(tick_value * 1e9),
    )


def encoded(
    records: list[databento_dbn.InstrumentDefMsg],
    *,
    schema: str = "definition",
    start_ns: int = 20_000 * 86_400 * 10**9,
) -> bytes:
    day = datetime.date(1970, 1, 1) + datetime.timedelta(seconds=start_ns // 10**9)
    mappings = [
        SimpleNamespace(
            raw_symbol=record.raw_symbol,
            intervals=[
                SimpleNamespace(
                    start_date=day, end_date=day + datetime.timedelta(days=1), symbol=str(record.instrument_id)
                )
            ],
        )
        for record in records
    ]
    metadata = databento_dbn.Metadata(
        "GLBX.MDP3",
        start_ns,
        databento_dbn.SType.RAW_SYMBOL,
        databento_dbn.SType.INSTRUMENT_ID,
        databento_dbn.Schema.from_str(schema),
        symbols=[record.raw_symbol for record in records],
        mappings=mappings,
        end=start_ns + 86_400 * 10**9,
        version=3,
    )
    return bytes(metadata.encode()) + b"".join(bytes(record) for record in records)


def compressed(data: bytes) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(data)
    return sink.getvalue().to_pybytes()


def put_definitions(path: Path, records: list[databento_dbn.InstrumentDefMsg], **options: str) -> Path:
    data = encoded(records, **options)
    path.write_bytes(compressed(data) if path.suffix == ".zst" else data)
    return path
