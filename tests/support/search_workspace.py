"""A workspace with an experiment whose combinations a sampler proposes on the way."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sweep_workspace import build, importable_signals, make_plugins

import vpcore.experiment.run as run_module
from vpcore import Workspace
from vpcore.engine import FrameBlock
from vpcore.experiment.progress import SweepProgress
from vpcore.testing import synthetic_dataset

PERIOD, N_BINS = 64, 2000
SPEC = """\
name: {name}
serving: base
signals: [wave, scored, plain]
eval: {{{splits}tp_ticks: [30], sl_ticks: [30], max_hold_bins: 24, warmup_bins: 60, fee_ticks: 0, cooldown_bins: [5, 20],
       null_draws: 0, bootstrap_draws: 0}}
select: {{metric: net_pnl_ticks, min_signals: 5}}
sweep:
  scoring: {{tanh_scale: [2.0, 3.0, 4.0]}}
  per_signal:
    wave: {{phase: {{from: 0, to: 63, step: 1}}, period: [16, 32, 48, 64, 80, 96, 128]}}
    scored: {{gain: [1, 2, 3, 4, 5, 6]}}
    plain: {{gain: [1, 2, 3]}}
  sample: {{method: {method}, n: {n}, seed: 0{round}}}
parallel: {{executor: serial}}
"""
ROWS = 12 * 2 + 12 * 4 + 3 * 4
"""Of an experiment with n: 12: wave has one threshold, the others have two, each with two cooldowns."""


def swings(after: int = N_BINS) -> FrameBlock:
    """A market that goes 16 ticks up and down every 64 bins, and from a bin on the other way."""
    made = synthetic_dataset(seed=3, n_bins=N_BINS, radius=4, invalid=0.0)
    bins = {name: made.bin(name).copy() for name in made.bin_columns}
    k = np.arange(N_BINS)
    swing = np.abs((k % PERIOD) - PERIOD // 2) // 2
    swing[after:] = 16 - swing[after:]
    bid = 20_000 + swing
    before = np.concatenate([bid[:1], bid[:-1]])
    high, low, tick = np.maximum(bid, before), np.minimum(bid, before), made.tick_int
    bins |= {
        "best_bid_price_int": bid * tick, "best_ask_price_int": (bid + 1) * tick, "spread_ticks": np.ones(N_BINS),
        "bid_high_int": high * tick, "bid_low_int": low * tick, "ask_high_int": (high + 1) * tick,
        "ask_low_int": (low + 1) * tick, "mid2_high": 2 * high + 1, "mid2_low": 2 * low + 1,
    }  # fmt: skip
    bins = {name: values.astype(made.bin(name).dtype) for name, values in bins.items()}
    names = [name for name in made.grid_columns if not name.endswith("rest_depth")]
    return FrameBlock(bins, {name: made.grid(name) for name in names})


@pytest.fixture(scope="session")
def frames() -> FrameBlock:
    return swings()


def write(workspace: Workspace, n: int = 12, *, name: str = "wave", size: int | None = 4, **changes: str) -> None:
    method = changes.get("method", "climb")
    at_a_time = f", round: {size}" if size is not None and method in ("climb", "optuna") else ""
    splits = f"splits: {{{changes['splits']}}}, " if "splits" in changes else ""
    text = SPEC.format(name=name, n=n, round=at_a_time, method=method, splits=splits)
    for old, new in (("serving: base\n", f"serving: base\n{changes.get('more', '')}"), *changes.get("edits", ())):  # type: ignore[misc]
        assert old in text
        text = text.replace(old, new)
    (workspace.configs / "experiments" / f"{name}.yaml").write_text(text)


@pytest.fixture
def make(make_workspace: Callable[[str], Workspace], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Workspace]:
    """Make a workspace with the experiment; proofs, of which every set of parameters needs one, are left out."""
    monkeypatch.setattr(run_module, "pass_gate", lambda *_: {})

    def made(name: str = "ws", n: int = 12, **changes: Any) -> Workspace:
        workspace = make_workspace(name)
        write(workspace, n, **changes)
        return workspace

    return made


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, frames: FrameBlock) -> Path:
    """The folder of a workspace with a finished search, made once; `searched` is a copy."""
    root = tmp_path_factory.mktemp("finished") / "ws"
    with importable_signals(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(run_module, "pass_gate", lambda *_: {})
        workspace = build(root, frames)
        write(workspace)
        run_module.run_experiment(workspace, "wave")
    return root


@pytest.fixture
def searched(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """A workspace with a finished search."""
    monkeypatch.setattr(run_module, "pass_gate", lambda *_: {})
    return Workspace(shutil.copytree(finished, tmp_path / "searched"), plugins=make_plugins())


def rounds_of(workspace: Workspace) -> dict[str, list[list[list[int]]]]:
    found = [json.loads(path.read_bytes()) for path in (workspace.results_dir / "proposals").glob("*.json")]
    return {each["signal"]: [part["points"] for part in each["rounds"]] for each in found}


def interrupted(workspace: Workspace, rows: int, **options: Any) -> None:
    """Run the experiment up to so many rows."""

    def stop(now: SweepProgress) -> None:
        if now.stage == "run" and now.done >= rows:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_module.run_experiment(workspace, "wave", on_progress=stop, **options)


def without_samplers(workspace: Workspace, patch: pytest.MonkeyPatch) -> None:
    load = workspace.plugins.load
    patch.setattr(
        workspace.plugins, "load", lambda kind, *rest: pytest.fail("loaded") if kind == "sampler" else load(kind, *rest)
    )
