"""The results store with a million rows: what its queries cost."""

from __future__ import annotations

import shutil
import statistics
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from data import BENCH
from harness import figure

from vpcore.results import RUNS, TRIAL_KEY, VECTORS, ResultsDB, runs_frame
from vpcore.signal import code_digest, core_digest
from vpcore.workspace import Workspace
from vpcore_cli.common import current_plugins


def many_runs(n_runs: int, *, n_thresholds: int = 5, draws: int = 500) -> Path:
    """Return a workspace whose lake holds so many runs of two rows per threshold, in batches of a thousand."""
    root = BENCH / f"lake-{n_runs}-{n_thresholds}-{draws}"
    digest = code_digest(current_plugins().load("signal", "ads"))
    done = root / f"{digest[:32]}{core_digest()[:32]}.done"
    if done.exists():
        return root
    shutil.rmtree(root, ignore_errors=True)
    Workspace.create(root)
    found = store(root)
    rng, now = np.random.default_rng(0), datetime(2025, 7, 1, tzinfo=UTC)
    trials = [(0.1 * (1 + t), 30, 4, sl) for t in range(n_thresholds) for sl in (4, 8)]
    n = len(trials)
    keys = {name: np.array([trial[i] for trial in trials]) for i, name in enumerate(TRIAL_KEY)}
    for first in range(0, n_runs, 1000):
        meta, frames = [], []
        for i in range(first, min(first + 1000, n_runs)):
            run = f"{i:016x}"
            figures: dict[str, Any] = {
                name: rng.normal(size=n) if dtype == pl.Float64 else rng.integers(10, 99, n)
                for name, dtype in RUNS.items()
                if name not in (*TRIAL_KEY, "run_id", "row", "batch_id", *VECTORS)
            }
            figures["block_pnl_ticks"] = rng.normal(size=(n, 12))
            figures["rotated_net"] = rng.integers(-200, 200, (n, draws), dtype=np.int32)
            frames.append(runs_frame(run, keys | figures))
            meta.append(
                {
                    "run_id": run, "experiment_name": "many", "dataset_id": "D", "sources_json": "[]",
                    "signal_name": "ads", "signal_distribution": "vpcore-signals-stat", "signal_version": 1,
                    "code_digest": digest, "core_digest": core_digest(),
                    "signal_params_json": f'{{"n":{i}}}', "scoring_json": None, "eval_json": "{}",
                    "config_hash": "h", "packages_json": "{}", "host": "h", "started_utc": now, "finished_utc": now,
                    "elapsed_seconds": 1.0, "status": "ok", "error": None, "traceback": None,
                }
            )  # fmt: skip
        found.write(meta, pl.concat(frames))
    done.touch()
    return root


def store(root: Path) -> ResultsDB:
    return Workspace(root).results


def results(small: bool) -> dict[str, Any]:
    """Return what queries take: rows are without most of their draws, which none of these queries reads."""
    lake = many_runs(100 if small else 10_000, n_thresholds=50, draws=20)
    found = store(lake)
    n_rows = found.query_runs(status=None).height
    run = f"{7:016x}"
    queries: dict[str, Callable[[], Any]] = {
        "query_best, ten of all": found.query_best,
        "query_runs, the rows of a run": lambda: found.query_runs(run_id=[run]),
        "trials": lambda: found.trials().count([]),
        "the lazy frame, mean net PnL per threshold": lambda: (
            found.runs(blocks=False).group_by("threshold").agg(pl.col("net_pnl_ticks").mean()).collect()
        ),
    }
    values: dict[str, Any] = {"rows": figure(n_rows, "rows")}
    for name, query in queries.items():
        query()
        wall = []
        for _ in range(7):
            began = time.perf_counter()
            query()
            wall.append(time.perf_counter() - began)
        values[f"{name}, wall"] = figure(statistics.median(wall), "s", at_most=1.0)
    return values
