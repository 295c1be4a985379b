"""Fill times of virtual orders here and in hftbacktest's L3 FIFO model, on a real file, and why they differ.

    python benchmarks/peers/queue_study.py FILE SYMBOL START_NS [END_NS]

Both get the same records on one clock, the receive time of an event's last record, and the same orders: one contract at
the best bid and ask at the end of every bin, without patience. Then the peer reads the records again, rewritten so that
one more of our readings holds there. The cause of a difference is the reading from which on both times are equal.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from vpcore.engine import Engine, EngineParams
from vpcore.kernels.records import F_LAST
from vpcore.kernels.virtual_orders import NOT_PLACED
from vpcore_dbn.header import read_header
from vpcore_dbn.records import RecordReader

TICK_INT = 250_000_000
WIDTH_NS = 100_000_000
PYTHON = os.environ.get("PEERS_PYTHON", str(Path(__file__).parents[2] / "build" / "peers" / "bin" / "python"))
KINDS = (
    "same time, to the nanosecond",
    "there the own fill record of an aggressor fills the queue that it left",
    "there an order that is loaded anew keeps its place",
    "there a trade at a worse price fills nobody",
    "unexplained",
)
"""By the number of our readings from which on the times are equal."""


def our_fills(path: Path, symbol: str, start_ns: int, end_ns: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Return the fills of every bin, and the time of each record's event."""
    header = read_header(path)
    instrument = next(item.instrument_id for item in header.mappings if item.symbol == symbol)
    params = EngineParams(columns=("add_mass",), grid_radius_ticks=1, band_margin_ticks=0, flow_windows=(1,))
    n_bins = (end_ns - start_ns) // WIDTH_NS
    engine = Engine(params, tick_int=TICK_INT, start_ns=start_ns, end_ns=end_ns, virtual_bins=n_bins)
    times, last = [], []
    for part in RecordReader(header):
        records = part[part["instrument_id"] == instrument]
        times.append(records["ts_recv"].astype(np.int64))
        last.append(records["flags"] & F_LAST != 0)
        for _ in engine.blocks(part, instrument):
            pass
    clock, ends = np.concatenate(times), np.flatnonzero(np.concatenate(last))
    clock[: ends[-1] + 1] = clock[ends[np.searchsorted(ends, np.arange(ends[-1] + 1))]]
    return engine.fills()[:, : engine.bins_emitted], clock


def their_fills(**orders: Any) -> np.ndarray[Any, Any]:
    """Return the time of each order's fill, 0 without one, per number of our readings."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "orders.npz"
        np.savez(path, **orders)
        command = [PYTHON, str(Path(__file__).with_name("peer.py")), "queue", str(path)]
        done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError((done.stderr.strip().splitlines() or ["no message"])[-1])
    return np.array(json.loads(done.stdout.splitlines()[-1])["fills"])


def study(path: Path, symbol: str, start_ns: int, end_ns: int) -> list[dict[str, Any]]:
    """Return a row per kind of difference: orders, their share, and how the peer's fill differs from ours."""
    fills, clock = our_fills(path, symbol, start_ns, end_ns)
    bins = np.flatnonzero((fills[:, :, 1] != NOT_PLACED).all(axis=0))
    sides, bins = np.repeat([0, 1], len(bins)), np.tile(bins, 2)
    ticks, _, ours, _ = fills[sides, bins].T
    theirs = their_fills(
        records=str(path), symbol=symbol, clock=clock, at=start_ns + (bins + 1) * WIDTH_NS - 1, buys=sides == 0,
        prices=ticks * TICK_INT / 1e9,
    )  # fmt: skip
    theirs[theirs >= end_ns] = 0
    kind = len(theirs) - np.logical_and.accumulate((theirs == ours)[::-1]).sum(axis=0)
    plain = theirs[0]
    both = (ours != 0) & (plain != 0)
    parts = {
        "orders": np.full(len(ours), True),
        "earlier there": both & (plain < ours),
        "later there": both & (plain > ours),
        "by more than 1 ms": both & (np.abs(plain - ours) > 10**6),
        "filled only there": (ours == 0) & (plain != 0),
        "filled only here": (ours != 0) & (plain == 0),
    }
    return [
        {"kind": name, "share": float((kind == number).mean())}
        | {part: int((chosen & (kind == number)).sum()) for part, chosen in parts.items()}
        for number, name in enumerate(KINDS)
    ]


def table(found: list[dict[str, Any]]) -> str:
    lines = ["| " + " | ".join(found[0]) + " |", "|" + "---|" * len(found[0])]
    for row in found:
        cells = (f"{cell:.2%}" if name == "share" else str(cell) for name, cell in row.items())
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    path, symbol, start_ns = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    end_ns = int(sys.argv[4]) if len(sys.argv) > 4 else start_ns + 3540 * 10**9
    print(table(study(path, symbol, start_ns, end_ns)))


if __name__ == "__main__":
    main()
