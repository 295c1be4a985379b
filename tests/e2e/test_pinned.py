"""Figures do not change without a new version: those of two small experiments are pinned.

A dataset's id holds `vpcore.schema.FORMAT_VERSION` and a run's id `vpcore.results.RESULTS_VERSION`. Whoever changes what
the engine or the evaluation computes must raise the one or the other, or results made before and after would be taken
for the same. If a change is meant: raise the version, then write the pins anew with
``python tests/e2e/test_pinned.py`` (both files, so where the sample file is present).
"""

from __future__ import annotations

import hashlib
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from vpcore.results import RESULTS_VERSION, RUNS, TRIAL_KEY
from vpcore.schema import BIN_COLUMNS, FORMAT_VERSION, GRID_VALUES
from vpcore.workspace import Workspace
from vpcore_cli.app import run

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))

from real_data import ESH4, needs_esh4

PINS = Path(__file__).with_name("pinned.json")

# Not bytes: another processor's exponentials may differ in a last bit, which a change of meaning is far above.
PRECISION = 1e-7

PIPELINE = 'name: pinned\ncapture: {symbol: ESH4, date: 2023-12-25, start_time: "18:05", end_time: "18:20"}\n'
SERVING = "name: pinned\npipeline: pinned\nsignal: {name: ofi}\n"
EXPERIMENT = """
name: pinned
serving: pinned
signals: [ads, erd, ofi]
eval: {tp_ticks: [2, 4], sl_ticks: [3], max_hold_bins: 300, cooldown_bins: [5, 20], fee_ticks: 0, null_draws: 199, bootstrap_draws: 199, splits: {method: walk_forward}}
select: {metric: net_pnl_ticks, min_signals: 1}
parallel: {executor: serial}
"""
UNPINNED = ("run_id", "row", "batch_id")
"""Columns of `runs` that depend on the code; every other one is pinned."""


def vp(*arguments: str) -> None:
    assert run(list(arguments)) == 0, arguments


def figures(market: str, folder: Path) -> dict[str, Any]:
    """Return what the experiment on a market comes to: a checksum of every column, and every row."""
    root = ("--root", str(folder))
    workspace, _ = Workspace.create(folder)
    if market == "synthetic":
        vp("synth", "--minutes", "12", "--seed", "3", "--alpha", "0.6", "--pipeline", "pinned", *root)
    else:
        (workspace.raw / ESH4.name).symlink_to(ESH4)
        (workspace.configs / "pipelines" / "pinned.yaml").write_text(PIPELINE)
    (workspace.configs / "serving" / "pinned.yaml").write_text(SERVING)
    (workspace.configs / "experiments" / "pinned.yaml").write_text(EXPERIMENT)
    vp("run", "pinned", *root)
    dataset = workspace.datasets.open(workspace.datasets.ids()[0])
    key = ("signal_name", *TRIAL_KEY)
    rows = workspace.results.query_runs(blocks=True).sort(key)
    return {
        "bins": {name: checksum(dataset.bin(name)) for name in BIN_COLUMNS},
        "grid": {name: checksum(dataset.grid(name)) for name in GRID_VALUES},
        "rows": {
            name: [_checked(value) for value in rows[name]] for name in ("signal_name", *RUNS) if name not in UNPINNED
        },
    }


def _checked(value: Any) -> Any:
    """Return a figure as it is pinned; of a vector, which may be long, a checksum."""
    return checksum(value.to_numpy()) if isinstance(value, pl.Series) else _short(value)


def _short(value: Any) -> Any:
    if value is None:
        return float("nan")
    return float(f"{value:.10g}") if isinstance(value, float) else value


def checksum(values: np.ndarray) -> float | str:
    """Return a digest of whole numbers; of others a sum in which every place has a weight of its own."""
    if values.dtype.kind in "biu":
        return hashlib.sha256(values.tobytes()).hexdigest()[:16]
    flat = np.asarray(values, dtype=np.float64).reshape(-1)
    return _short(float(flat @ (1.0 + np.arange(flat.size) % 9973 / 9973.0)))


def different(found: dict[str, float | str], pinned: dict[str, float | str]) -> list[str]:
    """Return the names of the columns that differ."""
    assert found.keys() == pinned.keys()
    expected = {
        name: pytest.approx(value, rel=PRECISION) if isinstance(value, float) else value
        for name, value in pinned.items()
    }
    return [name for name in expected if found[name] != expected[name]]


@pytest.mark.slow
@pytest.mark.parametrize("market", ["synthetic", pytest.param("esh4", marks=needs_esh4)])
def test_figures_are_what_this_version_says(market: str, tmp_path: Path) -> None:
    pins = json.loads(PINS.read_text())
    assert (pins["format_version"], pins["results_version"]) == (FORMAT_VERSION, RESULTS_VERSION), "pin anew"
    found, pinned = figures(market, tmp_path), pins[market]
    for part in ("bins", "grid"):
        assert different(found[part], pinned[part]) == [], f"{part}: FORMAT_VERSION must be raised"
    assert found["rows"].keys() == pinned["rows"].keys()
    for name, values in pinned["rows"].items():
        floats = all(isinstance(value, float) for value in values)
        expected = pytest.approx(values, rel=PRECISION, nan_ok=True) if floats else values
        assert found["rows"][name] == expected, f"{name}: RESULTS_VERSION must be raised"


if __name__ == "__main__":
    pins: dict[str, Any] = {"format_version": FORMAT_VERSION, "results_version": RESULTS_VERSION}
    for name in ("synthetic", "esh4"):
        with tempfile.TemporaryDirectory() as scratch:
            pins[name] = figures(name, Path(scratch) / "workspace")
    PINS.write_text(json.dumps(pins, indent=0) + "\n")
