"""Which rows and published versions stay valid after an edit of a signal, of its data or of the core."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import vpcore
from vpcore import Workspace

SIGNAL = """
import math
from pathlib import Path
import numpy as np
from vpcore import StatisticalSignal
from pair.helper import sign
class {name}(StatisticalSignal):
    columns = ("pressure",)
    {data}
    def start(self, context): return {gain} * sign(context.k)
    def step(self, state, frame): return math.tanh(-float((state * frame["pressure"]).sum()))
    def warmup_bins(self, context): return 0
    def thresholds(self): return (0.2, 0.4)
"""
DATA = 'data_files = ("gain.txt",)'
GAIN = 'float((Path(__file__).parent / "gain.txt").read_text())'

PROGRAM = """
import json, logging, sys
from types import ModuleType
import vpcore_dbn.plugin
from vpcore import Component, LivePipeline, VpError, Workspace, hookimpl
from vpcore.experiment.leaderboard import installed_code
from vpcore.experiment.run import run_experiment
from vpcore.plugins.manager import Plugins
from vpcore_serving.promote import promote

logging.basicConfig(stream=sys.stderr)
plugin = ModuleType("pair_plugin")
plugin.vp_signals = hookimpl(
    lambda: [Component(name, f"pair.{name}:{name.title()}", "For tests.") for name in ("one", "two")]
)
plugins = Plugins([], disable=[])
plugins.register(plugin, "tests")
plugins.register(vpcore_dbn.plugin, "dbn")
workspace = Workspace(sys.argv[1], plugins=plugins)
code = installed_code(workspace)
stale = workspace.results.query_runs(code=code, stale=True)
report = run_experiment(workspace, "sweep", executor="serial")
found = {"stale": stale["signal_name"].unique().sort().to_list(), "computed": report.n_computed}
found["reused"], found["runs"] = report.n_reused, list(report.run_ids)
for name in ("one", "two"):
    if "promote" in sys.argv:
        row = workspace.results.query_runs(signal_name=name, min_signals=1, sort="n_signals").row(0, named=True)
        promote(workspace, "sweep", row["run_id"], row=row["row"], alias=name, force=True, why="a test")
    try:
        LivePipeline.from_serving(workspace, name)
        found[name] = "served"
    except VpError as error:
        found[name] = str(error)
print(json.dumps(found))
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    package = tmp_path / "code" / "pair"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "helper.py").write_text("import numpy as np\ndef sign(k): return np.sign(k).astype(float)\n")
    (package / "one.py").write_text(SIGNAL.format(name="One", data=DATA, gain=GAIN))
    (package / "two.py").write_text(SIGNAL.format(name="Two", data="", gain="0.5"))
    (package / "gain.txt").write_text("1.5\n")
    return package


@pytest.fixture
def pair(make_workspace: Callable[[str], Workspace]) -> Workspace:
    workspace = make_workspace("ws")
    experiment = workspace.configs / "experiments" / "sweep.yaml"
    text = experiment.read_text().replace("[plain, scored]", "[one, two]")
    # The figures in question need no draws.
    text = text[: text.index("sweep:\n")].replace("fee_ticks: 0", "fee_ticks: 0, null_draws: 0, bootstrap_draws: 0")
    experiment.write_text(text + "parallel: {executor: serial}\n")
    serving = workspace.configs / "serving" / "base.yaml"
    serving.write_text(serving.read_text().replace("plain", "two"))
    return workspace


def edit(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


def call(workspace: Workspace, package: Path, *words: str, log: str = "", **environment: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(workspace.root), *words],
        env={**os.environ, "PYTHONPATH": str(package.parent), **environment},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert log in done.stderr
    assert log or "Other code of vpcore" not in done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.slow
def test_rows_and_versions_after_edits(pair: Workspace, folder: Path) -> None:
    """One chain, because every step needs the rows of the one before."""
    first = call(pair, folder, "promote")
    assert (first["computed"], first["reused"], first["stale"]) == (16, 0, [])

    for file in (folder / "helper.py", folder / "one.py", folder / "two.py"):
        file.write_text(f'"""A docstring."""\n# a comment\n{file.read_text()}')
    again = call(pair, folder)
    assert (again["computed"], again["reused"], again["stale"]) == (0, 16, [])
    assert again["runs"] == first["runs"]
    assert (again["one"], again["two"]) == ("served", "served")

    edit(folder / "two.py", "0.5", "0.6")
    other = call(pair, folder)
    assert (other["computed"], other["reused"], other["stale"]) == (8, 8, ["two"])
    assert len(set(other["runs"]) & set(first["runs"])) == 1
    assert other["one"] == "served"
    assert "Signal 'two' was published from pair" in other["two"]

    edit(folder / "gain.txt", "1.5", "1.6")
    swapped = call(pair, folder)
    assert (swapped["computed"], swapped["reused"], swapped["stale"]) == (8, 8, ["one", "two"])
    assert "Signal 'one' was published from pair" in swapped["one"]
    edit(folder / "gain.txt", "1.6", "1.5")
    back = call(pair, folder)
    assert (back["computed"], back["one"]) == (0, "served")

    edit(folder / "helper.py", "np.sign(k)", "2.0 * np.sign(k)")
    assert call(pair, folder)["computed"] == 16


@pytest.mark.slow
def test_a_patch_of_the_pnl_formula_computes_the_rows_again(pair: Workspace, folder: Path) -> None:
    shutil.copytree(
        Path(vpcore.__file__).parent, folder.parent / "vpcore", ignore=shutil.ignore_patterns("__pycache__")
    )
    # Copies of the kernels would be compiled anew, twice.
    plain = {"NUMBA_DISABLE_JIT": "1"}
    first = call(pair, folder, "promote", **plain)
    assert (first["computed"], first["stale"]) == (16, [])
    rows = pair.results.query_runs(run_id=first["runs"])

    edit(
        folder.parent / "vpcore" / "kernels" / "barrier.py",
        "net[e] = pays * half_ticks",
        "net[e] = pays * half_ticks - 1",
    )
    # A version stays servable: its signal is the one that was published.
    patched = call(pair, folder, log="Other code of vpcore", **plain)
    assert (patched["one"], patched["two"]) == ("served", "served")
    assert (patched["computed"], patched["reused"], patched["stale"]) == (16, 0, ["one", "two"])
    assert not set(patched["runs"]) & set(first["runs"])
    half = pair.results.query_runs(run_id=patched["runs"])
    key = ["signal_name", "threshold", "cooldown_bins", "tp_ticks"]
    joined = rows.join(half, on=key, suffix="_patched").filter(rows.join(half, on=key)["net_pnl_ticks"].is_not_null())
    assert joined.height > 5
    assert joined["net_pnl_ticks_patched"].to_list() == pytest.approx((joined["net_pnl_ticks"] - 0.5).to_list())
