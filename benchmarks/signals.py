"""Cost per bin of every installed signal at 101 cells: streaming, bin by bin, and over a whole session.

    python benchmarks/signals.py                                   a synthetic session in memory
    python benchmarks/signals.py --root WORKSPACE --dataset-id ID  a dataset
    python benchmarks/signals.py ads msd                           some signals

A streamed bin is what a live server pays for the signal: the frame is made of the columns, and the signal takes
one step. A batch is the whole session, from the dataset's columns to the values; its cells are bins times cells of the
grid, however many columns the signal reads. Times are of this thread, so that a busy machine disturbs them less.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np

from vpcore.scoring import ScoringConfig
from vpcore.signal import MLSignal, Signal, SignalContext, SignalStream, batch, frames
from vpcore.testing import SessionData, synthetic_dataset
from vpcore.workspace import Workspace
from vpcore_cli.common import current_plugins

SKIPPED = 1000
"""Bins at the start that are not timed: compilation, and windows that are not full."""


def streaming(signal: Signal, data: SessionData, n_bins: int) -> tuple[float, float]:
    """Return median and 99th percentile of a bin, in microseconds."""
    stream = SignalStream(signal, SignalContext.of(data))
    source = frames(signal, data.prefix(n_bins))
    spent = np.empty(min(n_bins, data.n_bins))
    for i in range(len(spent)):
        started = time.thread_time_ns()
        stream.push(next(source))
        spent[i] = time.thread_time_ns() - started
    p50, p99 = np.quantile(spent[SKIPPED:], [0.5, 0.99]) / 1000.0
    return float(p50), float(p99)


def whole(signal: Signal, data: SessionData, repeats: int = 3) -> float:
    """Return the best time of a whole session, in seconds."""
    batch(signal, data.prefix(10))
    best = np.inf
    for _ in range(repeats):
        started = time.thread_time()
        batch(signal, data)
        best = min(best, time.thread_time() - started)
    return float(best)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="SIGNAL")
    parser.add_argument("--root", type=Path)
    parser.add_argument("--dataset-id")
    parser.add_argument("--bins", type=int, default=8000, help="bins to stream (default 8000)")
    options = parser.parse_args()
    plugins = current_plugins()
    dataset: Any = synthetic_dataset(n_bins=20_000)
    if options.dataset_id:
        dataset = Workspace.find(options.root).datasets.open(options.dataset_id)
    print(f"{dataset.dataset_id}: {dataset.n_bins:,} bins of {dataset.n_cells} cells")
    print(f"{'signal':<12} {'stream p50':>12} {'stream p99':>12} {'batch':>12} {'batch':>14}")
    for name in options.names or sorted(plugins.components("signal")):
        kind = plugins.load("signal", name)
        if issubclass(kind, MLSignal):
            continue
        signal = kind()
        data = SessionData.collect(dataset, signal.columns, ScoringConfig())
        seconds = whole(signal, data)
        p50, p99 = streaming(signal, data, options.bins)
        per_bin = 1e6 * seconds / data.n_bins
        rate = data.n_bins * data.n_cells / seconds / 1e6
        print(f"{name:<12} {p50:>9.1f} us {p99:>9.1f} us {per_bin:>9.2f} us {rate:>7.0f} Mcells/s")


if __name__ == "__main__":
    main()
