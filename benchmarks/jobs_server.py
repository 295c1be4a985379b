"""`vp serve` under load, beside the simplest Starlette handler that encodes Arrow for every client."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import data
from harness import figure
from server_clients import SETTLE_S

HERE = Path(__file__).parent
TICK = os.sysconf("SC_CLK_TCK")


def workspace() -> Path:
    """The demo of ten minutes, with its published version."""
    root = data.BENCH / "served"
    if not (root / "demo.png").exists():
        shutil.rmtree(root, ignore_errors=True)
        subprocess.run(
            [sys.executable, "-m", "vpcore_cli", "demo", str(root), "--minutes", "10", "--nested"],
            check=True,
            capture_output=True,
        )
    return root


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def running(*command: str, port: int) -> Iterator[int]:
    """Run a server; give its process id."""
    with subprocess.Popen([sys.executable, *command], stderr=subprocess.DEVNULL) as process:
        try:
            for _ in range(300):
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                    break
                time.sleep(0.1)
            yield process.pid
        finally:
            process.terminate()


@contextlib.contextmanager
def served(speed: str, *more: str) -> Iterator[tuple[int, str]]:
    port = free_port()
    command = (
        "-m",
        "vpcore_cli",
        "serve",
        "--root",
        str(workspace()),
        "--port",
        str(port),
        "--speed",
        speed,
        "--max-clients",
        "100",
        *more,
    )
    with running(*command, port=port) as pid:
        yield pid, f"ws://127.0.0.1:{port}/v1/stream?serving=demo"


@contextlib.contextmanager
def warm(speed: str) -> Iterator[tuple[int, str]]:
    """Run a server whose channel is warm: its first bins load compiled code, and are late."""
    with served(speed, "--serving", "demo") as (pid, url):
        ready = url.replace("ws://", "http://").partition("/v1")[0] + "/readyz"
        for _ in range(600):
            with contextlib.suppress(urllib.error.HTTPError), urllib.request.urlopen(ready):
                break
            time.sleep(0.1)
        yield pid, url


def cpu(pid: int) -> float:
    """Processor seconds of a process, without its children."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def resident(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1e3


def worker_of(pid: int) -> int:
    """Return the worker among the children of a server; the others read the workspace."""
    children = [
        int(child) for found in Path(f"/proc/{pid}/task").glob("*/children") for child in found.read_text().split()
    ]
    return next(child for child in children if b"vpcore_server.worker" in Path(f"/proc/{child}/cmdline").read_bytes())


def clients(url: str, n: int, seconds: float, pid: int) -> dict[str, Any]:
    """Run clients: all but one in one process, where they wait for each other, and one alone.

    Add the processor time of the server per second from the middle of the run.
    """
    command = [sys.executable, str(HERE / "server_clients.py"), url]
    crowd, alone = (
        subprocess.Popen([*command, str(some), str(seconds)], stdout=subprocess.PIPE) for some in (n - 1, 1)
    )
    with crowd, alone:
        time.sleep(SETTLE_S + 1.0)
        began, first = time.monotonic(), cpu(pid)
        time.sleep(seconds - 2.0)
        share = (cpu(pid) - first) / (time.monotonic() - began)
        many, one = (json.loads(process.communicate()[0]) for process in (crowd, alone))
    return one | {"cpu": share} | {name: many[name] + one[name] for name in ("bins", "skipped")}


async def _stuck(url: str, seconds: float, profile: str, n: int) -> None:
    """Clients that start a stream and never read."""
    from websockets.asyncio.client import connect

    async with contextlib.AsyncExitStack() as stack:
        sockets = [await stack.enter_async_context(connect(url, max_queue=1)) for _ in range(n)]
        start = {"op": "start", "profile": profile, "mode": "latest", "window": 4096}
        for socket_ in sockets:
            await socket_.send(json.dumps(start))
        await asyncio.sleep(seconds)


def stuck(url: str, seconds: float, profile: str = "exact", n: int = 1) -> subprocess.Popen[bytes]:
    code = (
        f"import asyncio, sys; sys.path.insert(0, {str(HERE)!r}); "
        f"import jobs_server; asyncio.run(jobs_server._stuck({url!r}, {seconds}, {profile!r}, {n}))"
    )
    return subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL)


async def _full_speed(url: str) -> tuple[float, float]:
    """Return the seconds to the first bin and the bins per second from then on."""
    from vpcore_server.client import stream

    asked, first, n = time.monotonic(), 0.0, 0
    async for item in stream(url.partition("/v1")[0], "demo", profile="view", since=-1, reconnect=False):
        if not isinstance(item, dict):
            first = first or time.monotonic()
            n += len(item)
    return first - asked, n / (time.monotonic() - first)


def metrics(url: str, *names: str) -> list[float]:
    """Return metrics of the first channel; NaN for those that are missing."""
    with urllib.request.urlopen(url.replace("ws://", "http://").partition("/v1")[0] + "/metrics") as answer:
        lines = answer.read().decode().splitlines()
    return [
        next((float(line.split()[-1]) for line in lines if line.startswith(name + "{")), float("nan")) for name in names
    ]


def delays(url: str) -> tuple[float, float]:
    """Return the p99 of the server's metrics in ms: from the close of a bin to its message, and to the sockets."""
    worker, sockets = metrics(url, "vp_worker_p99_seconds", "vp_server_p99_seconds")
    return 1e3 * worker, 1e3 * sockets


async def _soak(url: str, pid: int, n_bins: int) -> dict[str, list[float]]:
    """Follow a replay that begins again and again; return the memory of every process, in MB, at each tenth."""
    from vpcore_server.client import stream

    found: dict[str, list[float]] = {"server": [], "worker": [], "client": []}

    async def follow() -> None:
        async for _ in stream(url.partition("/v1")[0], "demo", profile="view", mode="latest"):
            pass

    following = asyncio.create_task(follow())
    while len(found["server"]) <= 10:
        await asyncio.sleep(0.5)
        (n,) = await asyncio.to_thread(metrics, url, "vp_bins_total")
        if n >= n_bins * len(found["server"]) / 10:
            for name, process in (("server", pid), ("worker", worker_of(pid)), ("client", os.getpid())):
                found[name].append(resident(process))
    following.cancel()
    return found


def soak(small: bool) -> dict[str, Any]:
    """Memory over eight hours of bins, and of clients that do not read."""
    n_bins = 12_000 if small else 288_000
    found: dict[str, Any] = {}
    with served("max", "--loop") as (pid, url):
        memory = asyncio.run(_soak(url, pid, n_bins))
        for name, values in memory.items():
            found[f"{n_bins:,} bins: {name}, memory at the end"] = figure(values[-1], "MB")
            # The rings of the server hold an hour: they are full after the second tenth.
            found[f"{n_bins:,} bins: {name}, growth from the third tenth on"] = figure(
                values[-1] - max(values[2:4]), "MB", at_most=5
            )
    with served("10") as (pid, url):
        clients(url, 1, 4.0, pid)
        before, (bins,) = resident(pid), metrics(url, "vp_bins_total")
        with stuck(url, 60, "view", 20) as process:
            time.sleep(20.0)
            rings = (metrics(url, "vp_bins_total")[0] - bins) * 19e-3  # MB of what the server keeps anyway
            growth = resident(pid) - before - rings
            process.terminate()
    found["a client that never reads, memory of the server"] = figure(growth / 20, "MB", at_most=0.5)
    return found


def plain_clients(n: int, rate: int, seconds: float) -> dict[str, Any]:
    """Run clients of the plain handler."""
    port = free_port()
    with running(str(HERE / "server_plain.py"), str(port), str(rate), port=port) as pid:
        return clients(f"ws://127.0.0.1:{port}/v1/stream", n, seconds, pid)


def server(small: bool) -> dict[str, Any]:
    """Delays, processor time, memory and speed of the server."""
    seconds = 6.0 if small else 25.0
    found: dict[str, Any] = {}
    with warm("1") as (pid, url):
        few = clients(url, 20, 2 * seconds, pid)
        worker, sockets = delays(url)
    with warm("1") as (pid, url), stuck(url, 2 * seconds + SETTLE_S):
        beside = clients(url, 20, 2 * seconds, pid)
        _, sockets_beside = delays(url)
    found["a timer of 10 ms on this machine is late by, p99"] = figure(few["timer_p99"], "ms")
    found["20 clients x 10 bins/s: close of a bin to its message, p99"] = figure(worker, "ms")
    found["20 clients x 10 bins/s: close of a bin to the sockets, p99"] = figure(sockets, "ms", at_most=5)
    found["20 clients x 10 bins/s: close of a bin to a client, median"] = figure(few["p50"], "ms")
    found["20 clients x 10 bins/s: close of a bin to a client, p99"] = figure(few["p99"], "ms")
    found["the same to the sockets, beside a client that never reads, p99"] = figure(
        sockets_beside, "ms", at_most=sockets + 1
    )
    found["the same to a client, beside a client that never reads, p99"] = figure(beside["p99"], "ms")
    few_plain = plain_clients(20, 10, seconds)
    found["the plain handler, 20 clients x 10 bins/s, to a client, median"] = figure(few_plain["p50"], "ms")
    found["the plain handler, 20 clients x 10 bins/s, to a client, p99"] = figure(few_plain["p99"], "ms")
    with warm("10") as (pid, url):
        many = clients(url, 50, seconds, pid)
        _, sockets = delays(url)
        found["50 clients x 100 bins/s: close of a bin to the sockets, p99"] = figure(sockets, "ms", at_most=20)
        found["50 clients x 100 bins/s: close of a bin to a client, p99"] = figure(many["p99"], "ms")
        found["50 clients x 100 bins/s: processor of the server"] = figure(100 * many["cpu"], "% of a core", at_most=40)
        found["50 clients x 100 bins/s: bins left out"] = figure(many["skipped"], "bins")
        found["server, resident memory"] = figure(resident(pid), "MB", at_most=200)
        found["worker, resident memory"] = figure(resident(worker_of(pid)), "MB", at_most=350)
    plain = plain_clients(50, 100, seconds)
    found["the plain handler, 50 clients x 100 bins/s, to a client, p99"] = figure(plain["p99"], "ms")
    found["the plain handler: processor"] = figure(100 * plain["cpu"], "% of a core")
    per_bin = (plain["cpu"] / max(plain["bins"], 1)) / (many["cpu"] / max(many["bins"], 1))
    found["processor per bin and client, plain over ours"] = figure(per_bin, "times")
    with served("max") as (_, url):
        first, speed = asyncio.run(_full_speed(url))
    found["start of a channel to its first bin"] = figure(first, "s", at_most=3)
    found["one channel at full speed"] = figure(speed, "bins/s", at_least=1000)
    return found
