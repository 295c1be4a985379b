"""The shared sample files, where they are present."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from vpcore.kernels.records import MBO_DTYPE

FOLDER = Path(__file__).resolve().parents[3] / "shared" / "data"
ESH4 = FOLDER / "esh4-glbx-mdp3-20231225.mbo.dbn.zst"
ESM4 = FOLDER / "esm4-glbx-mdp3-20240508-2s.mbo.dbn.zst"
ESH4_ID = 17077
ESM4_ID = 5602
ES_TICK_INT = 250_000_000
ESH4_OPEN_NS = 1_703_545_200 * 10**9  # 2023-12-25 18:00 in New York
HOUR_NS = 3600 * 10**9

needs_esh4 = pytest.mark.skipif(not ESH4.exists(), reason=f"needs the shared sample {ESH4.name}, which is not here")
needs_esm4 = pytest.mark.skipif(not ESM4.exists(), reason=f"needs the shared sample {ESM4.name}, which is not here")


@lru_cache(maxsize=2)
def read_records(path: Path) -> np.ndarray:
    """Return all records of a .dbn.zst file, by plain decompression; independent of vpcore's source."""
    raw = pa.CompressedInputStream(pa.OSFile(str(path)), "zstd").read()
    header = 8 + int.from_bytes(raw[4:8], "little")
    records = np.frombuffer(raw[header:], MBO_DTYPE)
    return records
