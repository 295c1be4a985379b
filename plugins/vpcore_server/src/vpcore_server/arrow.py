"""Stored bins as an Arrow stream. The reader's process imports pyarrow, the server does not."""

from __future__ import annotations

from typing import Any

import numpy as np

from vpcore_server.wire import Profile, record_dtype


def table_bytes(records: bytes, profile: Profile, n_cells: int, n_horizons: int) -> bytes:
    """Return records as an Arrow stream: a column per field, lists for the columns of cells.

    Parameters
    ----------
    records : bytes
        Records of a profile, back to back.
    profile, n_cells, n_horizons
        See `vpcore_server.wire.record_dtype`.
    """
    import pyarrow as pa

    table = np.frombuffer(records, record_dtype(profile, n_cells, n_horizons))
    columns: dict[str, Any] = {}
    for name in table.dtype.names or ():
        if name in ("magic", "version", "reserved"):
            continue
        values = np.ascontiguousarray(table[name])
        if values.ndim == 1:
            columns[name] = pa.array(values)
        else:
            size = int(np.prod(values.shape[1:]))
            columns[name] = pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1)), size)
    batch = pa.table(columns)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_table(batch)
    return bytes(sink.getvalue())
