"""Latency of the live path, bin by bin, and whether it grows."""

from __future__ import annotations

import gc
import os
import sys
import time
from typing import Any

import numpy as np
from data import TICK_INT, market, records
from harness import figure

from vpcore.engine import EngineParams
from vpcore.scoring import ScoringConfig
from vpcore_cli.common import current_plugins
from vpcore_dbn.header import read_header
from vpcore_dbn.records import RecordReader
from vpcore_serving.bin_pipeline import BinStages, EntryDetector, context_of
from vpcore_serving.live_pipeline import LivePipeline

BIN_NS = 100_000_000
SIGNAL = "erd"
DAY_RECORDS = 4_000_000  # 165,000 bins, 4.6 hours: after the first tenth every further one looks the same
PAGE = os.sysconf("SC_PAGE_SIZE")


def pipeline() -> LivePipeline:
    signal = current_plugins().load("signal", SIGNAL)()
    params = EngineParams()
    context = context_of(params, TICK_INT)
    return LivePipeline(params, BinStages(ScoringConfig(), signal, context, entries=EntryDetector(1.0, 30)))


def resident() -> float:
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * PAGE / 1e6


def live(small: bool) -> dict[str, Any]:
    """Push the records of a bin at a time, as they would come."""
    rows = records("minute", 200_000) if small else records("busy", 3_000_000)
    times = rows["ts_recv"].astype(np.int64)
    edges = np.arange(times[0] - times[0] % BIN_NS + BIN_NS, times[-1], BIN_NS)
    cuts = np.searchsorted(times, edges)
    ours = pipeline()
    ours.push(rows[: cuts[0]])
    wall, cpu, pauses = [], [], [0.0]
    began = [0.0]

    def on_collection(phase: str, _: Any) -> None:
        if phase == "start":
            began[0] = time.perf_counter()
        else:
            pauses.append(time.perf_counter() - began[0])

    gc.collect()
    gc.callbacks.append(on_collection)
    try:
        for i, end in enumerate(edges[1:]):
            part = rows[cuts[i] : cuts[i + 1]]
            a, b = time.perf_counter(), time.thread_time()
            ours.push(part)
            ours.advance(int(end))
            cpu.append(time.thread_time() - b)
            wall.append(time.perf_counter() - a)
    finally:
        gc.callbacks.remove(on_collection)
    skip = min(300, len(wall) // 2)  # compiled code is loaded and the windows fill
    found = {"records per bin": figure(float(np.diff(cuts).mean()), "records")}
    for name, values in (("wall", wall), ("CPU", cpu)):
        ms = 1e3 * np.array(values[skip:])
        required = {} if name == "CPU" else {0.99: 1.0, 0.999: 3.0}
        for q in (0.5, 0.99, 0.999):
            found[f"bin, {name} time, p{100 * q:g}"] = figure(float(np.quantile(ms, q)), "ms", at_most=required.get(q))
    found["garbage collections, longest"] = figure(1e3 * max(pauses), "ms")
    found["garbage collections, number"] = figure(len(pauses) - 1, "collections")
    return found | growth(small)


def growth(small: bool) -> dict[str, Any]:
    """Run on through a session of quiet bins and watch memory after the windows are full."""
    name = "minute" if small else "session"
    ours, bins, n_marks = pipeline(), 0, 0
    marks = np.zeros((4096, 3))  # made first: what is noted must not count as growth
    reader = RecordReader(read_header(market(name)))
    for part in reader:
        if reader.n_records > DAY_RECORDS:
            break
        bins += len(ours.push(part))
        if bins > 500:
            gc.collect()
            # CPython's cache of attribute look-ups keeps up to 4,096 names, and numba looks up by names made anew.
            sys._clear_type_cache()
            marks[n_marks] = bins, sys.getallocatedblocks(), resident()
            n_marks += 1
    reader.close()
    # The book's tables have their size after a tenth of the day.
    (n0, blocks0, mb0), (n1, blocks1, mb1) = marks[n_marks // 10].tolist(), marks[n_marks - 1].tolist()
    return {
        "bins followed for growth": figure(n1, "bins"),
        "Python objects gained per 1,000 bins": figure(
            1000 * (blocks1 - blocks0) / max(n1 - n0, 1), "blocks", at_most=0.1
        ),
        "resident memory gained": figure(mb1 - mb0, "MB", at_most=10),
        "resident memory": figure(mb1, "MB"),
    }
