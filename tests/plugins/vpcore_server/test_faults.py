"""What goes wrong, and what clients then see."""

from __future__ import annotations

import asyncio
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import vp_fault_feed
from live_server import LiveServer, Received, live_server, receive
from virtual_time import VirtualTime

from vpcore import Workspace
from vpcore_server import channel as channel_module, hub as hub_module, worker as worker_module
from vpcore_server.messages import BIN, FAILED, split_bin
from vpcore_server.task import Task
from vpcore_server.wire import record_dtype
from vpcore_server.worker import Worker
from vpcore_serving.feed import protocol as feed_protocol
from vpcore_serving.registry import registry_of
from vpcore_serving.spec import published

VALID, GAP = 1, 4


@pytest.fixture(scope="module")
def faulty(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Let new processes find the faulty feed."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in vp_fault_feed.install(tmp_path_factory.mktemp("plugin")).items():
            patch.setenv(name, value)
        yield


class Run:
    """A worker's messages, in this process and in a time of its own."""

    def __init__(self, workspace: Workspace, **task: Any) -> None:
        out = io.BytesIO()
        pipeline = published(registry_of(workspace), "erd").spec.runtime.pipeline
        self.start_ns = pipeline.start_ns
        worker = Worker(Task(str(workspace.root), registry_of(workspace).aliases()["erd"], **task), workspace, out)
        vp_fault_feed._MARKETS.clear()
        with pytest.MonkeyPatch.context() as patch:
            VirtualTime().rule(patch, worker_module, vp_fault_feed, feed_protocol)
            worker.run()
        self.texts: list[dict[str, Any]] = []
        frames = []
        raw, at = out.getvalue(), 0
        while at < len(raw):
            kind, size = raw[at : at + 1], int.from_bytes(raw[at + 1 : at + 5], "little")
            content, at = raw[at + 5 : at + 5 + size], at + 5 + size
            if kind == BIN:
                frames.append(split_bin(content)[1])
            else:
                self.texts.append({"kind": kind, **json.loads(content)})
        hello = self.texts[0]
        dtype = record_dtype("exact", hello.get("n_cells", 1), len(hello.get("horizons_ms", [0])))
        self.bins = np.frombuffer(b"".join(frames), dtype)

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [text for text in self.texts if text.get("type") == kind]


def with_feed(workspace: Workspace) -> Workspace:
    """The workspace with the faulty feed among its plugins."""
    found = Workspace(workspace.root)
    found.plugins.register(vp_fault_feed, "faulty", "tests", "1")
    return found


def faulted(workspace: Workspace, fault: str, **task: Any) -> Run:
    start_ns = published(registry_of(workspace), "erd").spec.runtime.pipeline.start_ns
    options = {"fault": fault, "begin_s": 5, "end_s": 9, "stop_s": 14, "speed": 4.0}
    return Run(with_feed(workspace), feed="faulty", options=options, begin_ns=start_ns, grace_ms=1000, **task)


REASONS = {
    "lost": "The line was slow.",
    "silent": "The feed has been silent for 0.1 s.",
    "break": "The feed broke: The line broke.",
}


@pytest.mark.parametrize("fault", ["lost", "silent", "break", "doubt"])
def test_after_a_loss_no_bin_is_valid_until_a_snapshot(
    served: Workspace, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("FIRST_PAUSE_S", "LAST_PAUSE_S"):  # whatever their random part, the feed is back in time
        monkeypatch.setattr(f"vpcore_server.worker.{name}", 0.05)
    run = faulted(served, fault, stale_s=0.1)
    offline = served.datasets.open(served.datasets.ids()[0])
    valid = (run.bins["flags"] & VALID) != 0
    assert (np.diff(run.bins["bin_seq"]) == 1).all()
    first = int(np.flatnonzero(~valid)[0])
    assert first >= 38  # bins that the grace held back are lost too
    after = first + int(np.flatnonzero(valid[first:])[0])
    assert after >= max(89, first + 25)  # a silence is noticed stale_s later
    assert not valid[first:after].any()
    assert valid[after + 1 :].all()
    # Behind the snapshot the touch is that of research.
    n = min(len(run.bins), offline.n_bins)
    rest = slice(after + 5, n)
    bid = offline.bin("best_bid_price_int")[:n] // 250_000_000
    assert (run.bins["bid"][:n][rest] == bid[rest]).mean() > 0.99
    told = run.of("gap")
    if fault != "doubt":  # the engine sees the flag by itself
        assert [text["until_ns"] is None for text in told] == [True, False]
        assert told[0]["reason"] == told[1]["reason"] == REASONS[fault]
        assert run.start_ns + 3.5e9 <= told[1]["since_ns"] < run.bins["end_ns"][first] + 1.5e9
        assert told[1]["until_ns"] == run.bins["end_ns"][after]
        assert (run.bins["flags"][after] & GAP) != 0
        assert any(status["lost"] for status in run.of("status"))
        assert run.of("status")[-1]["lost"] is None


def test_two_minutes_of_lost_records(served: Workspace) -> None:
    """Bins go on, none of them valid, and the loss has its span."""
    start_ns = published(registry_of(served), "erd").spec.runtime.pipeline.start_ns
    options = {"plan": [["lost", 10, 130]], "stop_s": 150, "speed": 40.0}
    run = Run(with_feed(served), feed="faulty", options=options, begin_ns=start_ns, grace_ms=4000)
    seqs, valid = run.bins["bin_seq"], (run.bins["flags"] & VALID) != 0
    assert seqs.tolist() == list(range(len(seqs)))
    first = int(np.flatnonzero(~valid)[0])
    after = first + int(np.flatnonzero(valid[first:])[0])
    begun, ended = run.of("gap")
    since = (begun["since_ns"] - start_ns) / 1e8
    assert since >= 90
    assert since - 60 <= first <= since + 5  # what the grace held back is lost too
    assert after - first >= 1190
    assert not valid[first:after].any()
    assert valid[after:].all()
    assert not run.bins["entry"][first:after].any()
    assert np.isnan(run.bins["value"][first:after]).all()
    assert (run.bins["flags"] & GAP != 0).nonzero()[0].tolist() == [after]
    assert begun["until_ns"] is None
    assert ended["until_ns"] == run.bins["end_ns"][after]
    assert 118 <= (ended["until_ns"] - ended["since_ns"]) / 1e9 <= 135
    lost = [status["lost"] for status in run.of("status")]
    assert lost.count("The line was slow.") >= 2
    assert lost[-1] is None


def test_delays_count_from_the_arrival_of_the_records(served: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also the time in which they waited for the worker."""

    def arrived_before(records: Any, instrument_id: int) -> feed_protocol.Batch:
        return feed_protocol.Batch(records, instrument_id, feed_protocol.time.monotonic() - 0.03)

    monkeypatch.setattr(vp_fault_feed, "Batch", arrived_before)
    waited = faulted(served, "none").of("status")[-1]["p99_ms"]
    monkeypatch.undo()
    assert (waited > 30, faulted(served, "none").of("status")[-1]["p99_ms"] < 30) == (True, True)


def test_an_exception_in_a_signal_ends_the_channel(served: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    from vpcore_signals_stat import erd

    def broken(*_: Any) -> float:
        raise ZeroDivisionError("a hole in the sum")

    (cls,) = (
        found
        for found in vars(erd).values()
        if isinstance(found, type) and found.__module__ == erd.__name__ and hasattr(found, "step")
    )
    monkeypatch.setattr(cls, "step", broken)
    run = Run(Workspace(served.root), options={"speed": "max"})
    last = run.texts[-1]
    assert last["kind"] == FAILED
    assert last["code"] == 4500
    assert "a hole in the sum" in last["message"]


def test_a_late_join_gives_no_entry_before_the_windows_are_full(served: Workspace) -> None:
    start_ns = published(registry_of(served), "erd").spec.runtime.pipeline.start_ns
    options = {"speed": 8.0, "join_s": 20.0, "stop_s": 36.0}
    run = Run(with_feed(served), feed="faulty", options=options, begin_ns=start_ns, grace_ms=1000)
    valid, ready = (run.bins["flags"] & VALID) != 0, (run.bins["flags"] & 2) != 0
    assert 198 <= run.bins["bin_seq"][0] <= 215  # the bins before the join have no book
    first = int(np.flatnonzero(valid)[0])
    assert first <= 3
    warmup = run.of("hello")[0]["warmup_bins"]
    assert not ready[: first + 59].any()
    assert ready[first + warmup :].all()
    assert not run.bins["entry"][~ready].any()
    left = [status["warmup_bins_left"] for status in run.of("status")]
    assert left[-1] == 0 < left[0]


def test_a_live_feed_goes_on_with_the_next_session(served: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """The day after begins, here, four seconds after the session that the worker started in."""
    first = published(registry_of(served), "erd").spec.runtime.pipeline.start_ns
    starts = {first: first, first + 120 * 10**9: first + 4 * 10**9, first + 4 * 10**9: first + 4 * 10**9}
    monkeypatch.setattr(worker_module, "session_start", lambda _, at: starts.get(at, first + 10**15))
    run = Run(with_feed(served), feed="faulty", options={"speed": 8.0, "stop_s": 8.0}, begin_ns=first, grace_ms=1000)
    hellos = run.of("hello")
    assert hellos[0]["session"] != hellos[1]["session"]
    assert hellos[1]["start_ns"] == first + 4 * 10**9
    again = np.flatnonzero(np.diff(run.bins["bin_seq"]) < 0)
    assert len(again) == 1
    assert run.bins["bin_seq"][again[0] + 1] == 0
    assert run.bins["end_ns"][again[0] + 1] == first + 4_100_000_000
    assert (run.bins["flags"][-5:] & VALID).all()
    assert run.texts[-1]["type"] == "end"


# -- processes ---------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_killed_worker_is_replaced_and_no_bin_is_missing(served: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    take = channel_module.Channel._take_bin

    def kill_then_take(channel: channel_module.Channel, content: bytes) -> None:
        if channel.n_bins == 30 and channel.restarts == 0 and channel.pid is not None:
            os.kill(channel.pid, signal.SIGKILL)
        take(channel, content)

    monkeypatch.setattr(channel_module.Channel, "_take_bin", kill_then_take)

    async def run() -> tuple[list[Received], int]:
        with live_server(served, options={"speed": 40}) as server:
            found = await asyncio.gather(*(receive(server, "erd", profile="exact", since=-1) for _ in range(2)))
            (channel,) = server.call(lambda: list(server.hub.channels.values()))
            return found, channel.restarts

    found, restarts = asyncio.run(run())
    assert restarts == 1
    offline = served.datasets.open(served.datasets.ids()[0])
    for one in found:
        assert len(one.of("hello")) == 1
        assert one.bins["bin_seq"].tolist() == list(range(offline.n_bins))
        assert one.bins["pressure"].tobytes() == offline.grid("pressure").tobytes()
    assert found[0].bins["value"].tobytes() == found[1].bins["value"].tobytes()


@pytest.mark.slow
def test_a_worker_that_dies_too_often_ends_its_channel_alone(
    served: Workspace, faulty: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vpcore_server.channel.MOST_CRASHES", 0)
    start_ns = published(registry_of(served), "erd").spec.runtime.pipeline.start_ns
    options = {"fault": "die", "begin_s": 0.5, "end_s": 1e6, "speed": 10.0}

    async def run(server: LiveServer) -> Exception:
        from vpcore_server.client import StreamError

        with pytest.raises(StreamError) as caught:
            await receive(server, "erd")
        return caught.value

    with live_server(served, feed="faulty", options=options, begin_ns=start_ns) as server:
        error = asyncio.run(run(server))
        assert str(error) == "4500: The worker died 1 times in 10 minutes."
        assert server.get("/healthz")[0] == 200


# -- aliases and files -------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_an_alias_that_moves_and_a_file_that_is_edited(
    served: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub_module, "LOOK_S", 0.1)
    shutil.copytree(served.root, tmp_path / "ws")
    registry = registry_of(Workspace(tmp_path / "ws"))
    old, other = registry.aliases()["erd"], registry.aliases()["ofi"]

    def both(found: Received) -> bool:
        hellos = found.of("hello")  # of the old session again, if its replay begins anew meanwhile
        return hellos[-1:] != [] and hellos[-1]["serving_id"] == other and len(found.frames) > 0

    async def run(server: LiveServer) -> tuple[Received, Received]:
        wait = partial(receive, server, patience=240.0)
        watching = asyncio.create_task(wait("erd", profile="history", until=both))
        by_id = asyncio.create_task(wait(old, until=lambda found: bool(found.of("notice"))))
        await wait("erd", until=lambda found: len(found.frames) > 2)
        registry.publish(other, registry.resolve(other).data, "erd")
        moved = await watching
        file = registry.file_of(old)
        file.write_bytes(file.read_bytes() + b"\n")
        return moved, await by_id

    with live_server(Workspace(tmp_path / "ws"), options={"speed": 10}, loop=True, follow_alias=True) as server:
        moved, stayed = asyncio.run(run(server))
    (text,) = moved.of("alias")
    assert (text["alias"], text["serving_id"]) == ("erd", other)
    *before, last = moved.of("hello")
    assert {hello["serving_id"] for hello in before} == {old}
    assert (last["serving_id"], last["alias"]) == (other, "erd")
    assert {hello["serving_id"] for hello in stayed.of("hello")} == {old}
    (notice,) = stayed.of("notice")
    assert notice["message"].startswith("The stream goes on, but its version cannot be started again: The file of")


# -- the whole command -------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_sigterm_tells_the_clients_and_exits_with_0(served: Workspace) -> None:
    command = [
        sys.executable,
        "-m",
        "vpcore_cli",
        "serve",
        "--serving",
        "erd",
        "--port",
        "0",
        "--speed",
        "4",
        "--root",
        str(served.root),
    ]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        line = next(line for line in process.stderr if "127.0.0.1:" in line)  # a busy machine is remarked before
        port = int(line.partition("127.0.0.1:")[2].partition("/")[0])

        async def run() -> int:
            from websockets.asyncio.client import connect
            from websockets.exceptions import ConnectionClosed

            async with connect(f"ws://127.0.0.1:{port}/v1/stream?serving=erd") as client:
                await client.send('{"op": "start"}')
                await client.recv()
                process.send_signal(signal.SIGTERM)
                try:
                    while True:
                        await client.recv()
                except ConnectionClosed:
                    return client.close_code or 0

        assert asyncio.run(run()) == 1012
        begun = time.monotonic()
        assert process.wait(60) == 0
        assert time.monotonic() - begun < 30
