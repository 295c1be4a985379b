"""The data of the benchmarks: a synthetic market, seeded, made once and kept in build/bench."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from vpcore.workspace import Workspace
from vpcore_dbn.header import read_header
from vpcore_dbn.records import RecordReader
from vpcore_market.source import SyntheticParams, write_synthetic

ROOT = Path(__file__).resolve().parent.parent
BENCH = ROOT / "build" / "bench"
WORKSPACE = BENCH / "workspace"
TICK_INT = 250_000_000
START_NS = 1_751_376_600 * 10**9  # 2025-07-01 09:30 in New York
BUSY = 1775.0  # events per second, 2,230 records

MARKETS: dict[str, dict[str, Any]] = {
    "minute": {"duration_s": 60.0, "events_per_second": BUSY, "seed": 11},
    "hour": {"duration_s": 3600.0, "events_per_second": BUSY, "seed": 1},
    "twohours": {"duration_s": 7200.0, "events_per_second": BUSY, "seed": 2},
    "busy": {"duration_s": 300.0, "events_per_second": 8000.0, "seed": 4},
    "session": {"duration_s": 82_800.0, "events_per_second": 190.0, "seed": 3},
}
"""hour: 8 million records in 36,000 bins; busy: 1,000 records per bin; session: 20 million records in 23 hours."""

_SPEC = """name: {name}
capture:
  symbol: ESU5
  date: 2025-07-01
  start_time: "09:30:00"
  end_time: "{end}"
  timezone: America/New_York
  overnight: {overnight}
  files: ["{file}"]
"""
_ENDS = {"minute": "09:31:00", "hour": "10:30:00", "twohours": "11:30:00", "busy": "09:35:00", "session": "08:30:00"}


def market(name: str, *, compressed: bool = True) -> Path:
    """Return the file of a market, made if it is not there."""
    params = SyntheticParams(start_ns=START_NS, **MARKETS[name])
    suffix = "dbn.zst" if compressed else "dbn"
    path = WORKSPACE / "lake" / "raw" / f"{name}-{params.digest()[:8]}.mbo.{suffix}"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_name(f"unfinished-{path.name}")
        write_synthetic(unfinished, params)
        unfinished.rename(path)
    return path


@cache
def records(name: str, limit: int) -> np.ndarray[Any, Any]:
    """Return the first records of a market in memory, whole chunks of them."""
    parts, count = [], 0
    reader = RecordReader(read_header(market(name)))
    for part in reader:
        parts.append(part.copy())
        count += len(part)
        if count >= limit:
            break
    reader.close()
    return np.concatenate(parts)[:limit]


@cache
def workspace() -> Workspace:
    """Return the workspace of the benchmarks, with a pipeline per market."""
    Workspace.create(WORKSPACE)
    folder = WORKSPACE / "configs" / "pipelines"
    for name in MARKETS:
        overnight = str(name == "session").lower()
        text = _SPEC.format(name=name, end=_ENDS[name], file=market(name).name, overnight=overnight)
        (folder / f"{name}.yaml").write_text(text)
    return Workspace(WORKSPACE)
