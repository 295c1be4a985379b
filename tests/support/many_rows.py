"""A workspace with ten thousand stored rows."""

from __future__ import annotations

import shutil
from pathlib import Path

import polars as pl
import pytest
from result_rows import made_meta, made_rows
from sweep_workspace import build, importable_signals, make_plugins

from vpcore import Workspace
from vpcore.engine import FrameBlock
from vpcore.experiment.leaderboard import installed_code

N_RUNS, N_THRESHOLDS = 20, 500


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory, frames: FrameBlock) -> Path:
    """The folder of a workspace with many rows."""
    with importable_signals():
        workspace = build(tmp_path_factory.mktemp("many") / "ws", frames)
        write_rows(workspace)
    return workspace.root


@pytest.fixture
def many(written: Path, tmp_path: Path) -> Workspace:
    return Workspace(shutil.copytree(written, tmp_path / "ws"), plugins=make_plugins())


def write_rows(workspace: Workspace) -> None:
    code = installed_code(workspace)
    own = {"signal_name": "plain", "code_digest": code.signals["plain"], "core_digest": code.core}
    for i in range(N_RUNS):
        trials = [(0.001 * (t + 1), 20, 4, 4) for t in range(N_THRESHOLDS)]
        rows = made_rows(f"{i:016x}", trials).with_columns(
            net_pnl_ticks=pl.int_range(pl.len()) * 7.0 % 100 + i,
            net_pnl_sd=pl.lit(2.0 + i),
            net_pnl_skew=pl.lit(0.0),
            net_pnl_kurtosis=pl.lit(3.0),
            n_eff=pl.lit(20.0),
        )
        workspace.results.write([made_meta(f"{i:016x}", **own)], rows)
