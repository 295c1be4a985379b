"""From ``vp new-signal`` to results, in an environment that has never seen the package."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from clean_env import Resident, make_environment

pytestmark = pytest.mark.slow

NAMES = {"tilt_of_flow": "stat", "learner_of_flow": "ml"}

SERVING = """\
name: mine
pipeline: practice
signal: {name: tilt_of_flow}
"""
EXPERIMENT = """\
name: first
serving: mine
signals: [tilt_of_flow, learner_of_flow]
eval: {tp_ticks: 2, sl_ticks: 4, max_hold_bins: 200, cooldown_bins: 10, warmup_bins: 100}
select: {metric: net_pnl_ticks, min_signals: 0}
sweep:
  per_signal:
    tilt_of_flow: {reach_ticks: [3]}
    learner_of_flow: {min_train_bins: [300], retrain_interval_bins: [300]}
parallel: {executor: serial}
"""


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Resident, Path]]:
    """An environment with both kinds of packages generated and installed, and the folder with a workspace."""
    folder = tmp_path_factory.mktemp("new_signal")
    environment = make_environment(folder / "env")
    work = folder / "work"
    work.mkdir()
    for name, kind in NAMES.items():
        made = environment.vp("new-signal", name, "--kind", kind, cwd=work).stdout.strip()
        assert made == f"vp-signal-{name.replace('_', '-')}"
    environment.run("pip", "install", *(part for name in NAMES for part in ("-e", package(name))), cwd=work)
    resident = Resident(environment)
    yield resident, work
    resident.close()


def package(name: str) -> str:
    return f"./vp-signal-{name.replace('_', '-')}"


def test_it_is_listed(lab: tuple[Resident, Path]) -> None:
    resident, work = lab
    listed = json.loads(resident.vp("list-signals", "--json", cwd=work).stdout)
    assert listed["failed"] == []
    mine = {signal["name"]: signal for signal in listed["signals"] if signal["name"] in NAMES}
    assert set(mine) == set(NAMES)
    assert mine["tilt_of_flow"]["package"] == "vp-signal-tilt-of-flow"
    assert mine["tilt_of_flow"]["target"] == "vp_signal_tilt_of_flow.signal:TiltOfFlow"


def test_its_own_tests_pass(lab: tuple[Resident, Path]) -> None:
    resident, work = lab
    packages = [package(name) for name in NAMES]
    done = resident.environment.run("python", "-m", "pytest", "-v", "-p", "no:cacheprovider", *packages, cwd=work)
    assert "failed" not in done.stdout
    for name in NAMES:
        assert len(re.findall(rf"/test_{name}\.py::.* PASSED", done.stdout)) > 15


@pytest.fixture(scope="module")
def report(lab: tuple[Resident, Path]) -> dict[str, Any]:
    """The report of the experiment."""
    resident, work = lab
    resident.vp("init", "lab", cwd=work)
    root = work / "lab"
    resident.vp("synth", "--minutes", "2", "--pipeline", "practice", cwd=root)
    (root / "configs/serving/mine.yaml").write_text(SERVING)
    (root / "configs/experiments/first.yaml").write_text(EXPERIMENT)
    resident.vp("validate", cwd=root)
    found: dict[str, Any] = json.loads(resident.vp("run", "first", "--json", cwd=root).stdout)
    return found


def test_it_runs_in_an_experiment(lab: tuple[Resident, Path], report: dict[str, Any]) -> None:
    resident, work = lab
    assert report["n_failed"] == 0, report
    assert len(report["run_ids"]) == 2
    assert report["n_computed"] == 8
    rows = json.loads(resident.vp("compare", "first", "--json", cwd=work / "lab").stdout)
    rows = rows["rows"] if isinstance(rows, dict) else rows
    signals = {name: max(row["n_signals"] for row in rows if row["signal_name"] == name) for name in NAMES}
    assert signals["tilt_of_flow"] > 10
    assert signals["learner_of_flow"] > 0


def test_an_edited_signal_is_another_run(lab: tuple[Resident, Path], report: dict[str, Any]) -> None:
    resident, work = lab
    assert report["n_computed"] == 8
    source = work / package("tilt_of_flow") / "src/vp_signal_tilt_of_flow/signal.py"
    source.write_text(source.read_text().replace("return 0.0\n", "return -0.0 + 0.0\n"))
    resident.close()
    plan = json.loads(resident.vp("run", "first", "--dry-run", "--json", cwd=work / "lab").stdout)
    assert {row["signal"]: row["to_compute"] for row in plan["signals"]} == {"tilt_of_flow": 4, "learner_of_flow": 0}
