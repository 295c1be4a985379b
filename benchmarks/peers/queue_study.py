"""Fill times of one order per side every few seconds, here and in hftbacktest's L3 FIFO model, on a real file.

    python benchmarks/peers/queue_study.py FILE SYMBOL START_NS [END_NS]

Both get the same records on one clock, the receive time, and the same orders: one contract at the best bid and ask,
without patience. Prints the share of equal fill times, and of each kind of difference.
"""

from __future__ import annotations

import collections
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from vpcore.engine import Engine, EngineParams
from vpcore.kernels.virtual_orders import BEHIND, RESTS, WORSE_PRICE
from vpcore.source.dbn.header import read_header
from vpcore.source.dbn.records import RecordReader

TICK_INT = 250_000_000
WIDTH_NS = 100_000_000
EVERY = 60
"""Bins between two pairs of orders."""
PYTHON = os.environ.get("PEERS_PYTHON", str(Path(__file__).parents[2] / "build" / "peers" / "bin" / "python"))
REASONS = {BEHIND: "an order behind fills", WORSE_PRICE: "a worse price trades", RESTS: "an opposite order rests"}


def our_fills(path: Path, symbol: str, start_ns: int, end_ns: int) -> np.ndarray[Any, Any]:
    header = read_header(path)
    instrument = next(item.instrument_id for item in header.mappings if item.symbol == symbol)
    params = EngineParams(columns=("add_mass",), grid_radius_ticks=1, band_margin_ticks=0, flow_windows=(1,))
    n_bins = (end_ns - start_ns) // WIDTH_NS
    engine = Engine(params, tick_int=TICK_INT, start_ns=start_ns, end_ns=end_ns, virtual_bins=n_bins)
    for part in RecordReader(header):
        for _ in engine.blocks(part, instrument):
            pass
    return engine.fills()[:, : engine.bins_emitted]


def main() -> None:
    path, symbol, start_ns = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    end_ns = int(sys.argv[4]) if len(sys.argv) > 4 else start_ns + 3540 * 10**9
    fills = our_fills(path, symbol, start_ns, end_ns)
    bins = np.arange(EVERY, fills.shape[1] - 1, EVERY)
    bins = bins[(fills[0, bins, 1] != -2) & (fills[1, bins, 1] != -2)]
    rows = np.repeat([0, 1], len(bins))
    bins = np.tile(bins, 2)
    with tempfile.TemporaryDirectory() as folder:
        orders = Path(folder) / "orders.npz"
        np.savez(
            orders, records=str(path), symbol=symbol, at=start_ns + (bins + 1) * WIDTH_NS - 1, buys=rows == 0,
            prices=fills[rows, bins, 0] * 0.25,
        )  # fmt: skip
        command = [PYTHON, str(Path(__file__).with_name("peer.py")), "queue", str(orders)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            sys.exit(done.stderr)
    theirs = np.array(json.loads(done.stdout.splitlines()[-1])["fills"])
    theirs[theirs >= end_ns] = 0
    ours, reason = fills[rows, bins, 2], fills[rows, bins, 3]
    kinds: collections.Counter[str] = collections.Counter()
    for mine, other, why in zip(ours.tolist(), theirs.tolist(), reason.tolist(), strict=True):
        if mine == other:
            kinds["equal"] += 1
        elif not mine or not other:
            kinds[f"filled only {'there' if not mine else 'here: ' + REASONS[why]}"] += 1
        else:
            late = "later" if other > mine else "earlier"
            near = "by less than 1 ms" if abs(other - mine) < 10**6 else "by more"
            kinds[f"there {late} {near}; here {REASONS[why]}"] += 1
    print(f"{len(ours)} orders")
    for kind, count in kinds.most_common():
        print(f"{count:6} {count / len(ours):7.2%}  {kind}")
    if os.environ.get("DIFFERENCES"):
        for i in np.flatnonzero(ours != theirs)[:40]:
            print(rows[i], bins[i], fills[rows[i], bins[i], 0], ours[i], theirs[i], reason[i])


if __name__ == "__main__":
    main()
