"""The profile `exact` carries what research evaluated, byte for byte, whatever the replay, the join and the clients."""

from __future__ import annotations

import asyncio
import shutil

import numpy as np
import pytest
from live_server import LiveServer, Received, live_server, receive
from real_data import ESH4, needs_esh4
from served_world import LEARNING, SIGNALS, publish, write

from vpcore import Workspace
from vpcore.api import generate
from vpcore.schema import GRID_VALUES
from vpcore.scoring import score_arrays
from vpcore_serving.bin_pipeline import BinStages
from vpcore_serving.live_pipeline import build_signal
from vpcore_serving.online_simulator import simulate
from vpcore_serving.registry import registry_of
from vpcore_serving.spec import published

pytestmark = pytest.mark.slow

ALIASES = ("erd", *LEARNING)


class Offline:
    """What `vp online-sim` streams for a version, and the columns of its dataset."""

    def __init__(self, workspace: Workspace, alias: str) -> None:
        runtime = published(registry_of(workspace), alias).spec.runtime
        dataset = workspace.datasets.open(runtime.dataset.dataset_id)
        signal = build_signal(runtime, workspace.plugins.load)
        stages = BinStages.on(dataset, signal, runtime.scoring, runtime.rules)
        self.values = simulate(dataset, stages, budget_ms=1e6).values
        self.score, self.state = score_arrays(
            *(dataset.grid(f"composite_d{i}") for i in (1, 2, 3)), dataset.valid, runtime.scoring
        )
        self.dataset, self.model = dataset, runtime.model

    def check(self, bins: np.ndarray) -> None:
        at = bins["bin_seq"]
        assert (np.diff(at) == 1).all(), "a bin is missing"
        dataset = self.dataset
        assert ((bins["flags"] & 1) == dataset.valid[at]).all()
        for name in GRID_VALUES:
            assert bins[name].tobytes() == dataset.grid(name)[at].tobytes(), name
        assert bins["score"].tobytes() == self.score[at].tobytes()
        assert bins["state"].tobytes() == self.state[at].tobytes()
        assert bins["end_ns"].tobytes() == dataset.bin("bin_end_ns")[at].tobytes()
        assert bins["mid"].tobytes() == dataset.bin("mid_price")[at].tobytes()
        first = 0
        if self.model is not None:  # before the first fit of the session the published model has values already
            first = int(np.flatnonzero(np.isfinite(self.values))[0])
            assert np.isfinite(bins["value"][at < first]).any() or not (at < first).any()
        own = at >= first
        assert bins["value"][own].tobytes() == self.values[at[own]].tobytes()


@pytest.fixture(scope="module")
def learning(served: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """The workspace, with a version of a signal that learns."""
    root = tmp_path_factory.mktemp("learning") / "ws"
    shutil.copytree(served.root, root)
    workspace = Workspace(root)
    publish(workspace, "day", LEARNING)
    return workspace


@pytest.fixture(scope="module")
def offline(learning: Workspace) -> dict[str, Offline]:
    return {alias: Offline(learning, alias) for alias in ALIASES}


async def from_start_and_later(server: LiveServer, serving_id: str) -> tuple[list[Received], list[Received]]:
    """Clients of one version: two from the start, one of them with the other profile, and three that join later."""

    def n_bins() -> int:
        return server.hub.channels[serving_id].n_bins if serving_id in server.hub.channels else 0

    first = [
        asyncio.create_task(receive(server, serving_id, profile="exact", since=-1)),
        asyncio.create_task(receive(server, serving_id, profile="view", since=-1, window=70)),
    ]
    while server.call(n_bins) < 10 and not first[0].done():
        await asyncio.sleep(0.02)
    tasks = []
    for wait in (0.3, 0.7):
        tasks.append(asyncio.create_task(receive(server, serving_id, profile="exact")))
        await asyncio.sleep(wait)
    half = await receive(server, serving_id, profile="exact", since=-1, until=lambda found: len(found.frames) > 4)
    if half.frames:
        seen = int(half.bins["bin_seq"][-1])
        half.frames += (await receive(server, serving_id, profile="exact", since=seen)).frames
    return await asyncio.gather(*first), [half, *await asyncio.gather(*tasks)]


@pytest.fixture(scope="module")
def streamed(learning: Workspace) -> dict[str, tuple[list[Received], list[Received]]]:
    """What the clients of both versions were sent by one server, from the start and later."""
    ids = registry_of(learning).aliases()

    async def run(speed: float) -> list[tuple[list[Received], list[Received]]]:
        with live_server(learning, options={"speed": speed, "batch_records": 10}) as server:
            return await asyncio.gather(*(from_start_and_later(server, ids[alias]) for alias in ALIASES))

    for speed in (30, 10, 3):
        found = asyncio.run(run(speed))
        # On a busy machine one may join behind the end.
        later = [one for _, (half, *rest) in found if half.frames for one in rest]
        if len(later) == 2 * len(ALIASES) and all(one.frames and one.bins["bin_seq"][0] > 0 for one in later):
            break
    return dict(zip(ALIASES, found, strict=True))


@pytest.mark.parametrize("alias", ALIASES)
def test_every_client_from_the_start_gets_the_session(
    streamed: dict[str, tuple[list[Received], list[Received]]], offline: dict[str, Offline], alias: str
) -> None:
    (found, view), _ = streamed[alias]
    assert len(found.bins) == offline[alias].dataset.n_bins
    assert found.of("end")
    offline[alias].check(found.bins)
    assert not found.bins["skipped"].any()
    entries = [text["bin_seq"] for text in found.of("event") if text["entry"]]
    assert entries == found.bins["bin_seq"][found.bins["entry"] != 0].tolist() != []
    bins = view.bins
    assert len(bins) == len(found.bins)
    for name in ("bid_depth", "ask_depth", "pressure", "vacuum", "v_add"):
        assert bins[name].tobytes() == found.bins[name].tobytes()
    assert np.array_equal(bins["score"], found.bins["score"].astype(np.float32))
    assert np.abs(bins["projection"] / 127.0 - found.bins["projection"]).max() <= 0.5 / 127 + 1e-12


@pytest.mark.parametrize("alias", ALIASES)
def test_whoever_joins_later_gets_the_same_bins(
    streamed: dict[str, tuple[list[Received], list[Received]]], offline: dict[str, Offline], alias: str
) -> None:
    _, (half, *rest) = streamed[alias]
    assert all(found.bins["bin_seq"][0] > 0 for found in rest)
    for found in (half, *rest):
        offline[alias].check(found.bins)
        assert found.bins["bin_seq"][-1] == offline[alias].dataset.n_bins - 1


def test_at_full_speed(learning: Workspace, offline: dict[str, Offline]) -> None:
    with live_server(learning, options={"speed": "max"}) as server:
        found = asyncio.run(receive(server, "erd", profile="exact", since=-1))
    offline["erd"].check(found.bins)
    assert len(found.bins) == offline["erd"].dataset.n_bins


@needs_esh4
def test_the_real_evening(tmp_path) -> None:
    workspace, _ = Workspace.create(tmp_path / "ws")
    capture = {"symbol": "ESH4", "date": "2023-12-25", "start_time": "18:00", "end_time": "18:02", "files": [str(ESH4)]}
    write(workspace, "pipelines", {"name": "real", "capture": capture, "pipeline": {"grid_radius_ticks": 12}})
    generate(workspace, workspace.pipeline("real"))
    publish(workspace, "real", {"erd": SIGNALS["erd"]})

    async def run() -> list[Received]:
        with live_server(workspace, options={"speed": "max"}, files=[str(ESH4)]) as server:
            return await asyncio.gather(*(receive(server, "erd", profile="exact", since=-1) for _ in range(2)))

    offline = Offline(workspace, "erd")
    for found in asyncio.run(run()):
        offline.check(found.bins)
        assert len(found.bins) == offline.dataset.n_bins
