"""What sharing saves in a sweep, and that nothing disturbs its results: kills, workers, executors, hash seeds, size.

    python benchmarks/sweep_study.py                  all of it, on the synthetic hour
    python benchmarks/sweep_study.py sharing kills    some of it

Prints Markdown; docs/how-to/sweeps.md quotes it. Rates are in CPU seconds of one process; compare only within one call.
"""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from data import BENCH, WORKSPACE, workspace
from jobs_research import numpy_pair

from vpcore.backtest.session import Session
from vpcore.backtest.trial import Trial
from vpcore.experiment.run import plan_experiment
from vpcore.experiment.worker import Task, rows_of
from vpcore.results import ResultsDB

VP = str(Path(sys.executable).with_name("vp"))
HOLD = 1200
LEVELS = ("z-scores", "scores", "outcome tables", "signal values")

_RUN = """
import sys
from vpcore import Workspace
from vpcore.experiment.run import run_experiment
if __name__ == "__main__":
    run_experiment(Workspace(sys.argv[1]), sys.argv[2], executor="local", max_workers=2)
"""


def experiment(
    name: str, signals: str, sweep: str, thresholds: str, barriers: str, *, on: str = "hour", hold: int = HOLD
) -> None:
    """Write an experiment."""
    configs = WORKSPACE / "configs"
    for folder in ("serving", "experiments"):
        (configs / folder).mkdir(parents=True, exist_ok=True)
    (configs / "serving" / f"study_{on}.yaml").write_text(f"name: study_{on}\npipeline: {on}\nsignal: {{name: msd}}\n")
    (configs / "experiments" / f"{name}.yaml").write_text(
        f"name: {name}\nserving: study_{on}\nsignals: {signals}\n"
        f"eval: {{tp_ticks: {barriers}, sl_ticks: [4, 8], cooldown_bins: [0, 10, 30, 100, 300], "
        f"thresholds: {thresholds}, max_hold_bins: {hold}}}\nsweep: {sweep}\n"
    )


def make() -> None:
    """Write the experiments and generate the hour."""
    workspace()
    erd = "erd: {zscore_window: [50, 100, 200]}"
    experiment(
        "study",
        "[erd, ads, msd]",
        "{scoring: {zscore_window_bins: [120, 300, 600], tanh_scale: [2, 3]}, per_signal: {"
        + erd
        + ", ads: {zscore_window: [100, 200, 300]}, msd: {band_ticks: [5, 10]}}}",
        "[0.1, 0.25, 0.5]",
        "[2, 4, 8, 12]",
    )
    # The same span of windows in both: what a window takes must not look like what a combination takes.
    ads = "{per_signal: {ads: {zscore_window: {from: 100, to: 1090, step: %d}}}}"
    experiment("study_1000", "ads", ads % 110, "[0.1, 0.2, 0.3, 0.4, 0.5]", "[4, 8]")
    experiment("study_10000", "ads", ads % 10, "[0.1, 0.2, 0.3, 0.4, 0.5]", "[4, 8]")
    axes = "{per_signal: {ads: {zscore_window: [50, 100, 150, 200, 250]}, msd: {band_ticks: [3, 5, 8, 10, 15]}}}"
    # A kill needs a moment, and not much work: of the minute there are as many moments.
    experiment("study_kills", "[ads, msd]", axes, "[0.1, 0.25, 0.5]", "[2, 4, 8, 12]", on="minute", hold=100)
    for name in ("hour", "minute"):
        subprocess.run([VP, "generate", name, "--root", str(WORKSPACE)], check=True, capture_output=True)


def own(name: str) -> Path:
    """Return a workspace for one study, with the datasets of the benchmarks' and results of its own."""
    root = BENCH / f"sweep-{name}"
    shutil.rmtree(root, ignore_errors=True)
    (root / "lake" / "research").mkdir(parents=True)
    for shared in ("configs", "lake/raw", "lake/cache", "lake/research/vp_immutable"):
        (WORKSPACE / shared).mkdir(parents=True, exist_ok=True)
        (root / shared).symlink_to(WORKSPACE / shared)
    return root


def results(root: Path) -> Path:
    return root / "lake" / "research" / "vp_harness" / "results"


def afresh(root: Path) -> None:
    shutil.rmtree(results(root).parent, ignore_errors=True)


def read(root: Path) -> str:
    """Return the digest of the canonical read of the results."""
    return hashlib.sha256(ResultsDB(results(root)).canonical_bytes()).hexdigest()[:16]


# -- sharing -----------------------------------------------------------------------------------------------------------


def compute(session: Session, items: list[Any], off: tuple[str, ...]) -> tuple[float, dict[Any, float]]:
    """Evaluate runs with some levels not shared; return CPU seconds and the net PnL of every row."""
    keep = session.shared.get

    def get(kind: str, key: Any, build: Callable[[], Any], size: Callable[[Any], int]) -> Any:
        return session.shared.timed(kind, build) if kind in off else keep(kind, key, build, size)

    session.shared.get = get  # type: ignore[method-assign]
    if "signal values" in off:
        items = [replace(item, trials=(trial,)) for item in items for trial in item.trials]
    found: dict[Any, float] = {}
    began = time.process_time()
    for item in items:
        columns = rows_of(session, item, Task(None, "", ()))
        for i, net in enumerate(columns["net_pnl_ticks"].tolist()):
            found[item.run_id, Trial(*(columns[name][i].item() for name in Trial._fields))] = net
    return time.process_time() - began, found


def sharing() -> None:
    """Print what every shared level saves, and the loop that one would write with numpy."""
    ws = workspace()
    plan = plan_experiment(ws, "study", force=True)
    assert plan is not None
    dataset = ws.datasets.open(plan.runs[0].meta["dataset_id"], cache_dir=ws.cache_dir)
    items = [run.item for run in plan.runs]
    n_rows = plan.n_trials
    few = [replace(item, trials=item.trials[::6]) for item in items[::5]]
    compute(Session(dataset), few[:1], ())  # loads what is compiled
    session = Session(dataset)
    spent, rows = compute(session, items, ())
    rate = n_rows / spent
    print(f"{n_rows:,} rows of {len(items)} runs: {spent:.1f} s of one core, {rate:,.0f} rows/s\n")
    print("| level | made | asked for | seconds of making | saved, by that |\n|---|---|---|---|---|")
    for kind, tally in sorted(session.shared.tallies.items()):
        if tally.asked:
            print(f"| {kind} | {tally.made:,} | {tally.asked:,} | {tally.seconds:.2f} | {tally.saved:.1f} s |")
    n_few = sum(len(item.trials) for item in few)
    print("\n| not shared | rows | rows/s | the sweep, all shared, has | rows equal |\n|---|---|---|---|---|")
    for off in (("z-scores", "scores"), ("outcome tables",), ("signal values",), LEVELS):
        # With nothing shared a row costs the same whatever stands beside it, so a sample of runs will do.
        some = few if off == LEVELS else items
        took, got = compute(Session(dataset), some, off)
        slow = len(got) / took
        equal = all(np.array_equal(got[key], rows[key], equal_nan=True) for key in got)
        same = "yes" if equal else "NO"
        print(f"| {', '.join(off)} | {len(got):,} | {slow:,.1f} | {rate / slow:,.1f}x | {same} |", flush=True)
        assert len(got) == (n_few if some is few else n_rows)
    numpy_loop(session, [item for item in items if item.signal_name == "msd"], rows)


def numpy_loop(session: Session, items: list[Any], rows: dict[Any, float]) -> None:
    """Print the rate of a loop in numpy over the combinations of `msd`, for their net PnL alone."""
    market, data = session.market, session.dataset
    ours, _ = compute(Session(data), items, ())
    n_ours = sum(len(item.trials) for item in items)
    began, done = time.process_time(), 0
    for item in items:
        band, middle = item.params["band_ticks"], data.n_cells // 2
        weights = 1.0 / np.arange(1, band + 1)
        weights /= weights.sum()
        vacuum = data.grid("vacuum").astype(np.float64)
        above = (vacuum[:, middle + 1 : middle + 1 + band] * weights).sum(axis=1)
        below = (vacuum[:, middle - band : middle][:, ::-1] * weights).sum(axis=1)
        values = (above - below) / (above + below + item.params["floor"])
        for trial in item.trials[::10]:
            side = np.where(values >= trial.threshold, 1, np.where(values <= -trial.threshold, -1, 0))
            crossed = np.flatnonzero((side[1:] != 0) & (side[1:] != side[:-1])) + 1
            bins, last = [], -HOLD * data.n_bins
            for i in crossed:
                if i - last >= trial.cooldown_bins and i >= item.eval.first_bin:
                    bins.append(i)
                    last = i
            at = np.array(bins, dtype=np.int64)
            total = numpy_pair(at, side[at], market, trial.tp_ticks, trial.sl_ticks, HOLD)
            entry = at + item.eval.latency_bins
            inside = entry[entry < market.n_bins]
            trades = int((market.spread[inside] < trial.sl_ticks).sum())
            done += 1
            net = rows[item.run_id, trial]
            if trades and abs(total / trades - net) > 1e-9:
                print(f"{trial}: {total / trades} with numpy, {net} here ({trades} trades)")
    took = time.process_time() - began
    print(f"\n{done} rows of msd by a numpy loop, their net PnL alone: {done / took:.1f} rows/s. Here, every figure of")
    print(f"all {n_ours} rows: {n_ours / ours:,.1f} rows/s, {n_ours / ours / (done / took):,.1f} times as many.")


# -- disturbances ------------------------------------------------------------------------------------------------------


def run(root: Path, name: str, *arguments: str, env: dict[str, str] | None = None) -> subprocess.Popen[bytes]:
    command = [VP, "run", name, "--root", str(root), "--json", *arguments]
    return subprocess.Popen(
        command,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        env={**os.environ, **(env or {})},
    )


def kills(n: int = 50) -> None:
    """Kill a sweep at random moments until it is through, again and again, and compare what it stored."""
    root = own("kills")
    began = time.monotonic()
    assert run(root, "study_kills", "--workers", "2").wait() == 0
    whole, want = time.monotonic() - began, read(root)
    rng, killed, rounds, equal = random.Random(7), {"SIGKILL": 0, "SIGINT": 0}, 0, 0
    while sum(killed.values()) < n:
        afresh(root)
        rounds += 1
        while sum(killed.values()) < n:
            process = run(root, "study_kills", "--workers", "2")
            time.sleep(rng.uniform(0.1, 0.7) * whole)
            if process.poll() is not None:
                break
            number = rng.choice([signal.SIGKILL, signal.SIGINT])
            os.killpg(process.pid, number)
            process.wait()
            killed[number.name] += 1
        assert run(root, "study_kills", "--workers", "2").wait() == 0
        equal += read(root) == want
        print(f"{killed}, {equal} of {rounds} equal", file=sys.stderr, flush=True)
    print(f"{sum(killed.values())} kills ({killed}) in {rounds} sweeps of {whole:.0f} s; ", end="")
    print(f"the results of {equal} of {rounds} are those of an undisturbed one.")


def same_bytes() -> None:
    """Run one sweep with every executor, and print the digests of what is stored."""
    root, found = own("bytes"), {}
    for executor, workers, seed in (
        ("serial", 1, "0"),
        ("local", 1, "1"),
        ("local", 2, "2"),
        ("local", 4, "1"),
        ("dask", 2, "2"),
    ):
        afresh(root)
        how = ("--executor", executor, "--workers", str(workers))
        assert run(root, "study", *how, env={"PYTHONHASHSEED": seed}).wait() == 0
        found[executor, workers, seed] = read(root)
        print(f"| {executor} | {workers} | PYTHONHASHSEED={seed} | {found[executor, workers, seed]} |", flush=True)
    print("All equal." if len(set(found.values())) == 1 else "THEY DIFFER.")


def memory() -> None:
    """Print the peak memory of the parent and of its workers, for 1,000 and 10,000 combinations."""
    root = own("memory")
    for name in ("study_1000", "study_10000"):
        afresh(root)
        process = subprocess.Popen([sys.executable, "-c", _RUN, str(root), name])
        peaks: dict[int, int] = {}
        while process.poll() is None:
            for pid in (process.pid, *children(process.pid)):
                peaks[pid] = max(peaks.get(pid, 0), high_water(pid))
            time.sleep(0.1)
        assert process.returncode == 0
        parent = peaks.pop(process.pid)
        rows = ResultsDB(results(root)).query_runs(status=None).height
        print(f"| {rows:,} | {parent / 1024:.0f} MB | {max(peaks.values()) / 1024:.0f} MB |", flush=True)


def children(pid: int) -> list[int]:
    try:
        return [int(text) for text in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()] + [
            int(text)
            for task in Path(f"/proc/{pid}/task").iterdir()
            if task.name != str(pid)
            for text in (task / "children").read_text().split()
        ]
    except OSError:
        return []


def high_water(pid: int) -> int:
    """Return the peak resident size of a process in kB."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("VmHWM")), 0)


STUDIES = {"sharing": sharing, "kills": kills, "bytes": same_bytes, "memory": memory}

if __name__ == "__main__":
    make()
    for study in sys.argv[1:] or STUDIES:
        print(f"\n## {study}\n", flush=True)
        STUDIES[study]()
