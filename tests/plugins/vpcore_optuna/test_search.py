"""Searches with Optuna: what they find, and what happens without it."""

from __future__ import annotations

import sys
from collections.abc import Callable

import pytest
import search_workspace
from search_workspace import write

import vpcore.experiment.sessions as sessions_module
from vpcore import Workspace
from vpcore.errors import ConfigError
from vpcore.experiment.run import run_experiment

frames, make = search_workspace.frames, search_workspace.make


def best_of(workspace: Workspace, name: str) -> float:
    rows = workspace.results.query_runs(experiment_name=name, signal_name="wave", min_signals=5)
    return float(rows["net_pnl_ticks"].max())  # type: ignore[arg-type]


@pytest.mark.slow
def test_a_planted_optimum_is_found_with_a_sixth_of_the_grid(make: Callable[..., Workspace]) -> None:
    only = [("signals: [wave, scored, plain]", "signals: [wave]"), ("  scoring: {tanh_scale: [2.0, 3.0, 4.0]}\n", ""),
            ("    scored: {gain: [1, 2, 3, 4, 5, 6]}\n    plain: {gain: [1, 2, 3]}\n", "")]  # fmt: skip
    found = {}
    for method, n in (("optuna", 72), ("random", 72), ("random", 448)):
        workspace = make(f"{method}{n}", n, size=8, method=method, edits=only)
        run_experiment(workspace, "wave")
        found[method, n] = best_of(workspace, "wave")
    assert found["random", 448] > 8.0  # the whole grid: the market is what it was meant to be
    assert found["optuna", 72] == found["random", 448] > found["random", 72]


def test_without_optuna_nothing_begins(make: Callable[..., Workspace], monkeypatch: pytest.MonkeyPatch) -> None:
    workspace = make(method="optuna")
    monkeypatch.setitem(sys.modules, "optuna", None)
    message = r"sweep\.sample\.method: optuna needs optuna, which is not installed\. Run: pip install vpcore-optuna"
    with pytest.raises(ConfigError, match=message):
        run_experiment(workspace, "wave")
    assert not workspace.results_dir.exists()
    write(workspace, 12, method="optuna", more="dates: [2023-12-28]\n")
    monkeypatch.setattr(sessions_module, "generate_dataset", lambda *_, **__: pytest.fail("generated first"))
    with pytest.raises(ConfigError, match=message):
        run_experiment(workspace, "wave")
