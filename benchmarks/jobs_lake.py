"""The same experiment on a local disk, on an S3 server, and on Dask workers with the S3 server: time, bytes, memory."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from data import BENCH, ROOT, market

sys.path.insert(0, str(ROOT / "tests" / "support"))
from s3_server import REGION, Faults, faulty_proxy, make_bucket, s3_server

VP = str(Path(sys.executable).with_name("vp"))
ALLOWED = 1.5
"""A sweep over the object store, its columns in the cache, may take this times a local one."""

_EXPERIMENT = """name: lake
serving: lake
signals: [ads, msd]
eval:
  {{tp_ticks: [4, 8], sl_ticks: [4, 8], cooldown_bins: [0, 30], thresholds: [0.1, 0.25, 0.5], max_hold_bins: {hold}}}
sweep: {{per_signal: {{ads: {{zscore_window: [100, 150, 200, 250, 300]}}, msd: {{band_ticks: [3, 5, 8, 10, 12]}}}}}}
parallel: {{executor: local, max_workers: 2}}
"""
_PIPELINE = """name: lake
capture: {{symbol: ESU5, date: 2025-07-01, start_time: "09:30:00", end_time: "{end}", timezone: America/New_York}}
"""

_CHILD = """
import json, resource, subprocess, sys, time
began = time.perf_counter()
done = subprocess.run(sys.argv[1:], capture_output=True, text=True)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(json.dumps({"wall": time.perf_counter() - began, "cpu": used.ru_utime + used.ru_stime,
                  "peak": used.ru_maxrss * 1024, "code": done.returncode, "error": done.stderr[-2000:]}))
"""


def command(root: Path, env: dict[str, str], *arguments: str) -> dict[str, float]:
    """Run a command; return wall time, CPU time of it and its workers, and the peak memory of its largest process."""
    line = [sys.executable, "-c", _CHILD, VP, *arguments, "--root", str(root)]
    found: dict[str, Any] = json.loads(subprocess.run(line, check=True, capture_output=True, text=True, env=env).stdout)
    assert found.pop("code") == 0, found["error"]
    return found


def workspace(name: str, small: bool, storage: str) -> Path:
    root = BENCH / f"lake-{name}"
    shutil.rmtree(root, ignore_errors=True)
    for folder in ("pipelines", "serving", "experiments"):
        (root / "configs" / folder).mkdir(parents=True)
    (root / "lake" / "raw").mkdir(parents=True)
    (root / "configs" / "pipelines" / "lake.yaml").write_text(_PIPELINE.format(end="09:31:00" if small else "10:30:00"))
    (root / "configs" / "serving" / "lake.yaml").write_text("name: lake\npipeline: lake\nsignal: {name: msd}\n")
    (root / "configs" / "experiments" / "lake.yaml").write_text(_EXPERIMENT.format(hold=100 if small else 1200))
    if storage:
        (root / "configs" / "workspace.yaml").write_text(storage)
    return root


def moved(faults: Faults) -> dict[str, float]:
    """Return what went through the proxy since the last call."""
    found = {
        "requests": len(faults.seen),
        "bytes in": faults.taken,
        "bytes out": faults.given,
        "grid": sum(line.startswith("GET") and line.endswith("grid_clean.parquet") for line in faults.seen),
    }
    faults.seen.clear()
    faults.taken = faults.given = 0
    return found


@contextmanager
def cluster(env: dict[str, str], folder: Path) -> Iterator[str]:
    """Yield the address of a scheduler with two workers that have folders of their own."""
    folder.mkdir(parents=True, exist_ok=True)
    started = []
    file = folder / "scheduler.json"
    parts = ["--host", "127.0.0.1", "--no-dashboard"]
    dask = [sys.executable, "-m"]
    quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    try:
        line = [*dask, "distributed.cli.dask_scheduler", "--port", "0", "--scheduler-file", str(file), *parts]
        started.append(subprocess.Popen(line, env=env, **quiet))
        while not file.exists() or not file.read_text():
            time.sleep(0.05)
        address = json.loads(file.read_text())["address"]
        for name in ("one", "two"):
            own = env | {"XDG_CACHE_HOME": str(folder / name), "TMPDIR": str(folder / name)}
            (folder / name).mkdir(parents=True)
            line = [*dask, "distributed.cli.dask_worker", address, "--nthreads", "1", "--no-nanny", *parts]
            started.append(subprocess.Popen(line, env=own, cwd="/", **quiet))
        yield address
    finally:
        for process in reversed(started):
            process.kill()
            process.wait()


def peak(folder: Path) -> int:
    """Return the peak memory of the workers of `cluster`, by their environment."""
    most = 0
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            own = f"TMPDIR={folder}".encode() in (status.parent / "environ").read_bytes()
            line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM")) if own else ""
        except (OSError, StopIteration):
            continue
        most = max(most, int(line.split()[1]) * 1024 if line else 0)
    return most


def lake(small: bool) -> dict[str, Any]:
    """Measure the three lakes."""
    raw = market("minute" if small else "hour")
    found: dict[str, Any] = {}

    def note(place: str, step: str, of: dict[str, float]) -> None:
        print(f"  {place}: {step}: {of}", flush=True)
        for name, unit in (("wall", "s"), ("cpu", "s CPU"), ("peak", "B"), ("bytes in", "B"), ("bytes out", "B")):
            if name in of:
                found[f"{place}: {step}, {name}"] = {"value": of[name], "unit": unit}
        if "requests" in of:
            found[f"{place}: {step}, requests"] = {"value": of["requests"], "unit": "requests"}
            found[f"{place}: {step}, reads of the grid"] = {"value": of["grid"], "unit": "requests"}

    compiled = os.environ.get("NUMBA_CACHE_DIR") or os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    env = {**os.environ, "NUMBA_CACHE_DIR": compiled, "AWS_ACCESS_KEY_ID": "bench", "AWS_SECRET_ACCESS_KEY": "bench"}
    near = workspace("local", small, "")
    shutil.copyfile(raw, near / "lake" / "raw" / raw.name)
    note("local disk", "generate", command(near, env, "generate", "lake"))
    note("local disk", "first run", command(near, env, "run", "lake"))
    local = command(near, env, "run", "lake", "--force")
    note("local disk", "run with columns in the cache", local)
    with s3_server() as server:
        make_bucket(server, "lake")
        with faulty_proxy(server) as (address, faults):
            storage = (
                f"storage: {{backend: object, options: {{url: 's3://lake/vp', region: {REGION}, "
                f"endpoint: 'http://{address}', allow_http: true}}}}\n"
            )
            far = workspace("s3", small, storage)
            own = env | {"XDG_CACHE_HOME": str(BENCH / "lake-s3" / "cache")}
            line = (
                "import sys; from vpcore import Workspace; from pathlib import Path; "
                "Workspace(sys.argv[1]).storage.put_atomic('raw/' + Path(sys.argv[2]).name, Path(sys.argv[2]))"
            )
            subprocess.run([sys.executable, "-c", line, str(far), str(raw)], check=True, env=own)
            moved(faults)
            for step, arguments in (
                ("generate", ("generate", "lake")),
                ("first run", ("run", "lake")),
                ("run with columns in the cache", ("run", "lake", "--force")),
            ):
                used = command(far, own, *arguments)
                note("S3 server", step, used | moved(faults))
            found["S3 server / local disk, columns in the cache, CPU"] = {
                "value": used["cpu"] / local["cpu"],
                "unit": "times",
                "required": f"{ALLOWED}x",
                "met": used["cpu"] <= ALLOWED * local["cpu"],
            }
            with cluster(own, BENCH / "lake-s3" / "workers") as scheduler:
                on_dask = ("run", "lake", "--force", "--executor", "dask", "--executor-option", f"address={scheduler}")
                for step in ("first run", "run with columns in the cache"):
                    used = command(far, own, *on_dask)
                    used["peak"] = max(used["peak"], peak(BENCH / "lake-s3" / "workers"))
                    note("Dask and S3 server", step, used | moved(faults))
    return found
