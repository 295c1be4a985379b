"""The profile `exact` carries what research evaluated, byte for byte, whatever the replay, the join and the clients."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest
from live_server import Received, live_server, receive
from real_data import ESH4, needs_esh4
from served_world import SIGNALS, publish, write

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
def offline(served: Workspace) -> dict[str, Offline]:
    return {alias: Offline(served, alias) for alias in SIGNALS}


def test_every_client_from_the_start_gets_the_session(served: Workspace, offline: dict[str, Offline]) -> None:
    async def run() -> list[Received]:
        wanted = {"profile": "exact", "since": -1}
        with live_server(served, options={"speed": "max"}) as server:
            both = [receive(server, alias, **wanted) for alias in ("erd", "logit", "erd")]
            return await asyncio.gather(*both, receive(server, "erd", profile="view", since=-1, window=70))

    *exact, view = asyncio.run(run())
    for alias, found in zip(("erd", "logit", "erd"), exact, strict=True):
        n = offline[alias].dataset.n_bins
        assert len(found.bins) == n
        assert found.of("end")
        offline[alias].check(found.bins)
        assert not found.bins["skipped"].any()
        entries = [text["bin_seq"] for text in found.of("event") if text["entry"]]
        assert entries == found.bins["bin_seq"][found.bins["entry"] != 0].tolist() != []
    bins = view.bins
    assert len(bins) == len(exact[0].bins)
    for name in ("bid_depth", "ask_depth", "pressure", "vacuum", "v_add"):
        assert bins[name].tobytes() == exact[0].bins[name].tobytes()
    assert np.array_equal(bins["score"], exact[0].bins["score"].astype(np.float32))
    assert np.abs(bins["projection"] / 127.0 - exact[0].bins["projection"]).max() <= 0.5 / 127 + 1e-12


@pytest.mark.parametrize(("alias", "options"), [("erd", {"speed": 150, "batch_records": 3}), ("logit", {"speed": 80})])
def test_whoever_joins_later_gets_the_same_bins(
    served: Workspace, offline: dict[str, Offline], alias: str, options: dict[str, Any]
) -> None:
    async def run(speed: float) -> list[Received]:
        with live_server(served, [alias], options={**options, "speed": speed}) as server:
            tasks = []
            for wait in (0.3, 0.7):
                tasks.append(asyncio.create_task(receive(server, alias, profile="exact")))
                await asyncio.sleep(wait)
            half = receive(server, alias, profile="exact", since=-1, until=lambda found: len(found.frames) > 4)
            found = [await half]
            if found[0].frames:
                seen = int(found[0].bins["bin_seq"][-1])
                rest = await receive(server, alias, profile="exact", since=seen)
                found[0].frames += rest.frames
            return found + await asyncio.gather(*tasks)

    for slower in (1, 4, 16):
        everything = asyncio.run(run(options["speed"] / slower))
        if all(found.frames for found in everything):  # on a busy machine one may join behind the end
            break
    for found in everything:
        offline[alias].check(found.bins)
        assert found.bins["bin_seq"][-1] == offline[alias].dataset.n_bins - 1


@needs_esh4
def test_the_real_evening(tmp_path) -> None:
    workspace, _ = Workspace.create(tmp_path / "ws")
    capture = {"symbol": "ESH4", "date": "2023-12-25", "start_time": "18:00", "end_time": "18:02", "files": [str(ESH4)]}
    write(workspace, "pipelines", {"name": "real", "capture": capture, "pipeline": {"grid_radius_ticks": 12}})
    generate(workspace, workspace.pipeline("real"))
    publish(workspace, "real")

    async def run() -> list[Received]:
        with live_server(workspace, options={"speed": "max"}, files=[str(ESH4)]) as server:
            return await asyncio.gather(*(receive(server, name, profile="exact", since=-1) for name in SIGNALS))

    for alias, found in zip(SIGNALS, asyncio.run(run()), strict=True):
        offline = Offline(workspace, alias)
        offline.check(found.bins)
        assert len(found.bins) == offline.dataset.n_bins
