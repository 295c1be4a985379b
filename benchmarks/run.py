"""`make bench`: run the jobs, print the table, write build/bench/results.json.

python benchmarks/run.py                 everything
python benchmarks/run.py scoring live    some groups
python benchmarks/run.py --small         a minute of market instead of an hour: does it run at all?
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import subprocess
import sys
import time
from importlib.metadata import version
from typing import Any

import data
import harness

COMPARISONS = {
    "decoding": "jobs_data:decoding",
    "engine": "jobs_data:engine",
    "fills": "jobs_data:fills",
    "datasets": "jobs_data:datasets",
    "scoring": "jobs_research:scoring",
    "barriers": "jobs_research:barriers",
    "kernels": "jobs_kernels:kernels",
}
"""Groups of jobs beside their alternatives."""

MEASURES = {
    "live": "jobs_live:live",
    "server": "jobs_server:server",
    "soak": "jobs_server:soak",
    "results": "jobs_results:results",
    "start": "jobs_commands:start",
    "compilation": "jobs_commands:compilation",
    "commands": "jobs_commands:commands",
    "generate": "jobs_commands:generating",
    "sweep": "jobs_commands:sweep",
    "scaling": "jobs_scaling:scaling",
    "lake": "jobs_lake:lake",
}
"""Groups of figures that have no alternative beside them: latencies, memory, curves, whole commands."""

LIBRARIES = ("databento", "numba", "numpy", "pandas", "polars", "pyarrow", "vpcore")


def machine() -> dict[str, Any]:
    cpu = platform.processor() or platform.machine()
    try:
        with open("/proc/cpuinfo") as lines:
            cpu = next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    return {
        "cpu": cpu,
        "cores": len(os.sched_getaffinity(0)),
        "system": platform.system(),
        "python": platform.python_version(),
        "load": os.getloadavg(),
        "versions": {name: version(name) for name in LIBRARIES},
    }


def load(target: str) -> Any:
    module, _, name = target.partition(":")
    return getattr(importlib.import_module(module), name)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("groups", nargs="*", metavar="GROUP", choices=[*COMPARISONS, *MEASURES, []])
    parser.add_argument("--rounds", type=int, default=5, help="interleaved rounds per job (default 5)")
    parser.add_argument("--small", action="store_true", help="a minute of market instead of an hour")
    options = parser.parse_args()
    wanted = options.groups or [*COMPARISONS, *MEASURES]
    data.BENCH.mkdir(parents=True, exist_ok=True)
    out = data.BENCH / ("results-small.json" if options.small else "results.json")
    if len(wanted) > 1:  # each in a process of its own: a child's peak memory includes its parent's
        more = [f"--rounds={options.rounds}", *(["--small"] if options.small else [])]
        for group in wanted:
            subprocess.run([sys.executable, __file__, group, *more], check=True)
        return
    results: dict[str, Any] = json.loads(out.read_text()) if out.exists() else {"comparisons": {}, "measures": {}}
    (group,) = wanted
    began, load_before = time.perf_counter(), os.getloadavg()[0]
    print(f"\n## {group}", flush=True)
    if group in COMPARISONS:
        rows = []
        for comparison in load(COMPARISONS[group])(options.small):
            comparison.measure(options.rounds)
            rows += comparison.rows()
        results["comparisons"][group] = rows
        print(harness.table(rows))
    else:
        results["measures"][group] = found = load(MEASURES[group])(options.small)
        print(harness.figures(found))
    results["machine"] = machine()
    results.setdefault("load", {})[group] = load_before
    out.write_text(json.dumps(results, indent=1, sort_keys=True) + "\n")
    print(f"({time.perf_counter() - began:.0f} s, load {load_before:.1f} before)", flush=True)
    print(f"\nWrote {out}")


if __name__ == "__main__":
    main()
