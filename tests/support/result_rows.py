"""Rows made up for tests of the results store."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl

from vpcore.results import RUNS, TRIAL_KEY, VECTORS, runs_frame


def made_meta(run_id: str, *, status: str = "ok", at: int = 0, **other: Any) -> dict[str, Any]:
    start = datetime(2024, 1, 1, tzinfo=UTC) + timedelta(seconds=at)
    return {
        "run_id": run_id, "experiment_name": "sweep", "dataset_id": "D", "sources_json": "[]", "signal_name": "ads",
        "signal_distribution": "pkg", "signal_version": 1, "code_digest": "c0", "core_digest": "k0", "signal_params_json": "{}",
        "scoring_json": None,
        "eval_json": "{}", "config_hash": "h", "packages_json": "{}", "host": f"host{at}", "started_utc": start,
        "finished_utc": start + timedelta(seconds=1), "elapsed_seconds": 1.0 + at, "status": status,
        "error": "it broke" if status == "failed" else None, "traceback": None, **other,
    }  # fmt: skip


def made_rows(run_id: str, trials: list[tuple[float, int, int, int]], net: float | None = 1.0) -> pl.DataFrame:
    columns: dict[str, Any] = {name: np.array([trial[i] for trial in trials]) for i, name in enumerate(TRIAL_KEY)}
    if net is not None:
        n = len(trials)
        for name, dtype in RUNS.items():
            if name in columns or name in ("run_id", "row", "batch_id"):
                continue
            whole = dtype in (pl.Int64, pl.List(pl.Int32), pl.List(pl.Int64))
            if dtype == pl.String:
                columns[name] = np.full(n, "d0")
                continue
            value = int(np.nan_to_num(net)) if whole else net
            columns[name] = np.full((n, 2) if name in VECTORS else n, value)
        columns["n_signals"] = np.full(n, 10)
        columns["n_dropped"] = np.full(n, 1)
    return runs_frame(run_id, columns)
