"""Whole commands: time to start, compilation, generate, sweep. Each in a process of its own, as a user runs them."""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from data import BENCH, WORKSPACE, market, workspace
from harness import figure
from jobs_results import many_runs

from vpcore.results import ResultsDB

VP = str(Path(sys.executable).with_name("vp"))
N_RUNS = 10_000


def command(*args: str, env: dict[str, str] | None = None, into: Path | None = None) -> tuple[float, float, float]:
    """Run a command and return wall seconds, CPU seconds of it and its children, and its peak memory in MB."""
    with tempfile.TemporaryFile() as nothing, into.open("wb") if into else tempfile.TemporaryFile() as out:
        began = time.perf_counter()
        child = subprocess.Popen(
            args, stdin=nothing, stdout=out, stderr=subprocess.STDOUT, env={**os.environ, **(env or {})}
        )
        _, status, usage = os.wait4(child.pid, 0)
        wall = time.perf_counter() - began
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode:
            text = into.read_text() if into else ""
            raise RuntimeError(f"{' '.join(args)} ended with {child.returncode}: {text[-2000:]}")
    return wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1000


def start(small: bool) -> dict[str, Any]:
    """Return what it costs to begin: help against its own imports, and a comparison of many runs."""
    lake = many_runs(100 if small else N_RUNS)
    rounds = {"help": [], "imports": [], "first": [], "compare": []}  # type: dict[str, list[tuple[float, float, float]]]
    for _ in range(7):
        rounds["help"].append(command(VP, "--help"))
        rounds["imports"].append(command(sys.executable, "-c", "import typer, rich"))
        shutil.rmtree(lake / "lake" / "cache", ignore_errors=True)
        rounds["first"].append(command(VP, "compare", "--root", str(lake), "--json"))
        rounds["compare"].append(command(VP, "compare", "--root", str(lake), "--json"))
    ratios = [a[1] / b[1] for a, b in zip(rounds["help"], rounds["imports"], strict=True)]
    return {
        "vp --help, wall": figure(statistics.median(r[0] for r in rounds["help"]), "s", at_most=0.3),
        "vp --help, CPU, of import typer, rich": figure(statistics.median(ratios), "x", at_most=2.0),
        "the same, min": figure(min(ratios), "x"),
        "the same, max": figure(max(ratios), "x"),
        "vp compare on 10,000 runs, wall": figure(statistics.median(r[0] for r in rounds["compare"]), "s", at_most=1.0),
        "vp compare on 10,000 runs, CPU": figure(statistics.median(r[1] for r in rounds["compare"]), "s"),
        "vp compare, first time for these rows, wall": figure(statistics.median(r[0] for r in rounds["first"]), "s"),
        "vp compare, first time for these rows, CPU": figure(statistics.median(r[1] for r in rounds["first"]), "s"),
        "vp compare, first time for these rows, peak memory": figure(max(r[2] for r in rounds["first"]), "MB"),
    }


def clear(pipeline: str) -> None:
    for folder in (WORKSPACE / "lake" / "research" / "vp_immutable").glob(f"*__{pipeline}__*"):
        shutil.rmtree(folder)


def generate(
    pipeline: str, *, env: dict[str, str] | None = None, into: Path | None = None
) -> tuple[float, float, float]:
    """Run `vp generate` for a dataset that is not there."""
    clear(pipeline)
    return command(VP, "generate", pipeline, "--root", str(WORKSPACE), env=env, into=into)


def compilation(small: bool) -> dict[str, Any]:
    """Return what the first process pays for compiled code, and how often a second one compiles."""
    del small
    workspace()
    experiment("first", ["erd", "ads", "msd"], windows=[300], thresholds=[0.5], pairs=[4])
    folder = BENCH / "numba"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    env = {"NUMBA_CACHE_DIR": str(folder), "NUMBA_DEBUG_CACHE": "1"}
    cost, saved, loaded = [], [], []
    for attempt in range(2):
        total = 0.0
        counts = [0, 0]
        shutil.rmtree(WORKSPACE / "lake" / "research" / "vp_harness", ignore_errors=True)
        for i, step in enumerate(("generate", "run")):
            log = BENCH / f"compile-{attempt}-{i}.log"
            if step == "generate":
                spent = generate("minute", env=env, into=log)
            else:
                spent = command(VP, "run", "first", "--root", str(WORKSPACE), env=env, into=log)
            total += spent[1]
            text = log.read_text(errors="replace")
            counts[0] += text.count("data saved to")
            counts[1] += text.count("data loaded from")
        cost.append(total)
        saved.append(counts[0])
        loaded.append(counts[1])
    return {
        "first compilation of generate and run, CPU": figure(cost[0] - cost[1], "s", at_most=20),
        "functions compiled by the first processes": figure(saved[0], "functions"),
        "functions compiled by the second, workers included": figure(saved[1], "functions", at_most=0),
        "functions the second took from the cache": figure(loaded[1], "functions"),
    }


def generating(small: bool) -> dict[str, Any]:
    """Return time and memory of `vp generate` and `vp verify`."""
    workspace()
    found: dict[str, Any] = {}
    peaks = {}
    names = ("minute",) if small else ("hour", "twohours", "session")
    for name in names:
        rounds = [generate(name) for _ in range(1 if name == "session" else 3)]
        wall, cpu = statistics.median(r[0] for r in rounds), statistics.median(r[1] for r in rounds)
        peaks[name] = statistics.median(r[2] for r in rounds)  # when threads allocate at once is chance
        dataset_id = workspace().datasets.ids()
        (mine,) = [item for item in dataset_id if item.split("__")[1] == name]
        verify = command(VP, "verify", mine, "--root", str(WORKSPACE))[0]
        size = workspace().datasets.open(mine)
        found[f"{name}: vp generate + vp verify, wall"] = figure(
            wall + verify, "s", at_most=15 if name == "hour" else None
        )
        found[f"{name}: vp generate alone, wall"] = figure(wall, "s")
        found[f"{name}: vp generate, CPU"] = figure(cpu, "s")
        found[f"{name}: peak memory"] = figure(peaks[name], "MB", at_most=700)
        found[f"{name}: bins"] = figure(size.n_bins, "bins")
    if not small:
        found["peak memory, two hours of one"] = figure(peaks["twohours"] / peaks["hour"], "x", at_most=1.1)
    return found


def experiment(name: str, signals: list[str], windows: list[int], thresholds: list[float], pairs: list[int]) -> None:
    """Write an experiment on the minute (`first`) or the hour."""
    pipeline = "minute" if name == "first" or name.endswith("-small") else "hour"
    configs = WORKSPACE / "configs"
    for folder in ("serving", "experiments"):
        (configs / folder).mkdir(parents=True, exist_ok=True)
    (configs / "serving" / f"{name}.yaml").write_text(f"name: {name}\npipeline: {pipeline}\nsignal: {{name: erd}}\n")
    (configs / "experiments" / f"{name}.yaml").write_text(
        f"name: {name}\nserving: {name}\nsignals: [{', '.join(signals)}]\n"
        f"eval:\n  tp_ticks: {pairs}\n  sl_ticks: {pairs}\n  cooldown_bins: [0, 10, 30, 100, 300]\n"
        f"  thresholds: {thresholds}\n  max_hold_bins: 1200\n"
        f"sweep:\n  scoring: {{zscore_window_bins: {windows}}}\nparallel: {{executor: local}}\n"
    )


def sweep(small: bool) -> dict[str, Any]:
    """Run 2,240 combinations: five scoring windows, three signals, four thresholds, five cooldowns, 4 x 4 barriers."""
    name = "speed-small" if small else "speed"
    workspace()
    experiment(name, ["erd", "ads", "msd"], [120, 200, 300, 450, 600], [0.25, 0.5, 1.0, 2.0], [2, 4, 8, 12])
    command(VP, "generate", "minute" if small else "hour", "--root", str(WORKSPACE))
    rounds = []
    for _ in range(3):
        shutil.rmtree(WORKSPACE / "lake" / "research" / "vp_harness", ignore_errors=True)
        log = BENCH / "sweep.log"
        rounds.append(command(VP, "run", name, "--root", str(WORKSPACE), into=log))
    rows = ResultsDB(WORKSPACE / "lake" / "research" / "vp_harness" / "results").query_runs(status=None).height
    wall = statistics.median(r[0] for r in rounds)
    return {
        "combinations": figure(rows, "combinations"),
        "vp run, wall": figure(wall, "s", at_most=60),
        "vp run, wall, slowest": figure(max(r[0] for r in rounds), "s"),
        "vp run, CPU with workers": figure(statistics.median(r[1] for r in rounds), "s"),
    }


def commands(small: bool) -> dict[str, Any]:
    """Return what every other command costs on a minute of market, beside the imports of the command line alone."""
    del small
    root = ("--root", str(WORKSPACE))
    file = str(market("minute"))
    name = "commands-small"
    experiment(name, ["erd", "ads"], windows=[100], thresholds=[0.02], pairs=[2])
    generate("minute")
    command(VP, "run", name, *root)
    (mine,) = [item for item in workspace().datasets.ids() if item.split("__")[1] == "minute"]
    run = workspace().results.query_best("n_signals", limit=1, experiment_name=name)["run_id"].item()
    out = BENCH / "commands"
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    wanted = {
        "validate": root,
        "plugins": (),
        "list-signals": (),
        "schema": (),
        "init": ("--nested", str(out / "new")),
        "list-datasets": root,
        "inspect": (file,),
        "verify": (mine, *root),
        "results show": ("show", run, *root),
        "compare": (name, *root),
        "plot": (run, "--out", str(out / "plot.png"), *root),
        "report": (name, "--out", str(out / "report.html"), *root),
        "check": ("erd",),
        "online-sim": ("--run-id", run, *root),
    }
    imports = statistics.median(command(sys.executable, "-c", "import typer, rich")[1] for _ in range(3))
    found = {}
    for what, arguments in wanted.items():
        wall, cpu, _ = command(VP, what.split()[0], *arguments, into=out / "log")
        found[f"vp {what}, CPU, of import typer, rich"] = figure(cpu / imports, "x")
        found[f"vp {what}, wall"] = figure(wall, "s")
    return found
